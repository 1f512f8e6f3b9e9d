//! Layers, norms, rotary embeddings, attention, key-value caches, weight loading and saving.

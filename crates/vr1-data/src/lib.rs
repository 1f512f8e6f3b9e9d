//! Samples, dataset readers and synthetic scenes.

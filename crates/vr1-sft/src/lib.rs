//! Supervised loss and label masks.

//! Language-model backbones.

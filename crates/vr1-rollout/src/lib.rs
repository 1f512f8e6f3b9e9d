//! Sampling: shared-prefix group decoding, beam search, the RolloutEngine trait.

//! The Reward trait, verifiers and the reward language.

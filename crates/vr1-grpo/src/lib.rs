//! Group advantages and the GRPO family of losses.

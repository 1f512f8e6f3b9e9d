//! The DPO family of losses.

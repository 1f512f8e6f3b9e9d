#![doc = include_str!("../README.md")]

mod checks;
mod chunked;
mod error;
mod head;
mod logprobs;
mod masked;

pub use checks::{check_alike, check_device, check_floating, check_integers, check_rank, check_shape, check_token_ids};
pub use error::{Error, Result};
pub use head::{Head, HeadOutput, VocabularyMean};
pub use logprobs::{chunked_logprobs, head_logprobs, token_entropy, token_logprobs};
pub use masked::{masked_mean, masked_row_mean, masked_select_or_zero, masked_sum};

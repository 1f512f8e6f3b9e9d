//! `B` sequences, `T` queries, `S` keys, `H` heads, `K` key-value heads, `d` head size.

use tch::Tensor;

use crate::{Error, Result};

/// How many heads there are, and how large each is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heads {
    /// Query heads, `H`.
    pub count: i64,
    /// Key-value heads, `K`; a divisor of `count` (grouped-query attention, [arXiv:2305.13245](https://arxiv.org/abs/2305.13245)).
    pub key_value: i64,
    /// Size of a head, `d`.
    pub dim: i64,
}

impl Heads {
    /// Heads whose numbers fit.
    ///
    /// # Errors
    /// If a number is not positive or `key_value` does not divide `count`.
    pub fn new(count: i64, key_value: i64, dim: i64) -> Result<Self> {
        if count < 1 || key_value < 1 || dim < 1 || count % key_value != 0 {
            return Err(Error::Config(format!(
                "{count} attention heads of size {dim} cannot share {key_value} key-value heads"
            )));
        }
        Ok(Self { count, key_value, dim })
    }

    /// Splits a joint projection `[N, 3 · H · d]` into queries, keys and values `[N, H, d]`.
    pub fn split_qkv(&self, x: &Tensor) -> [Tensor; 3] {
        let parts = x.view([-1, 3, self.count, self.dim]);
        [0, 1, 2].map(|part| parts.select(1, part))
    }

    /// Splits a projection `[B, T, heads · d]` into `[B, T, heads, d]`.
    pub fn split(&self, x: &Tensor) -> Tensor {
        let size = x.size();
        x.view([size[0], size[1], -1, self.dim])
    }
}

/// Softmax attention of queries `[B, T, H, d]` over keys and values `[B, S, K, d]`, to `[B, T, H · d]`.
///
/// `mask` is added to the scores and broadcasts to `[B, H, T, S]`; without one every query sees every key. No score is
/// kept for the backward pass.
pub fn attention(query: &Tensor, key: &Tensor, value: &Tensor, mask: Option<&Tensor>, heads: Heads) -> Tensor {
    let [q, mut k, mut v] = [query, key, value].map(|x| x.transpose(1, 2));
    let mut grouped = heads.count != heads.key_value;
    if grouped && q.device().is_cuda() {
        // No fused kernel of CUDA takes both a mask and shared keys; the fallback would keep every score.
        [k, v] = [k, v].map(|x| x.repeat_interleave_self_int(heads.count / heads.key_value, 1, None));
        grouped = false;
    }
    let out = Tensor::scaled_dot_product_attention(&q, &k, &v, mask, 0.0, false, None, grouped);
    out.transpose(1, 2).flatten(2, 3)
}

//! `B` sequences, `P` prompts, `G` completions of each, `T` queries, `L` prompt tokens, `S` completion tokens,
//! `H` heads, `K` key-value heads, `R = H / K` query heads a key-value head, `d` head size.

use tch::{Kind, Tensor};

use crate::{Error, LayerKeyValues, Result};

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

/// Attention of each completion's newest token over its prompt, whose keys and values are shared by the group and never
/// copied, and over the completion.
///
/// The scores against the prompt are one product a prompt for all `G · R` queries of the group, those against the
/// completion one a completion; a single softmax runs over both.
///
/// # Shapes
/// `query` `[P·G, 1, H, d]`; `prefix` `[P, K, L, d]` with `prefix_mask` `[P, 1, 1, L]`; `own` keys and values
/// `[P, K, G, S, d]`; the result is `[P·G, 1, H · d]`.
pub(crate) fn shared_prefix(
    query: &Tensor,
    (prefix, prefix_mask): (&LayerKeyValues, &Tensor),
    (own_key, own_value): (&Tensor, &Tensor),
    heads: Heads,
) -> Tensor {
    let [p, k, g, s, d] = <[i64; 5]>::try_from(own_key.size()).unwrap_or_else(|_| unreachable!("keys are [P,K,G,S,d]"));
    let (r, l) = (heads.count / heads.key_value, prefix.key.size()[2]);
    // [P, K, G, R, d]
    let q = query.reshape([p, g, k, r, d]).transpose(1, 2) / (d as f64).sqrt();
    let to_prefix = q.reshape([p, k, g * r, d]).matmul(&prefix.key.transpose(2, 3)) + prefix_mask;
    let to_own = q.matmul(&own_key.transpose(3, 4));
    let scores = Tensor::cat(&[to_prefix.reshape([p, k, g, r, l]), to_own], -1);
    let weights = scores.softmax(-1, Kind::Float).to_kind(query.kind());
    let parts = weights.split_with_sizes([l, s], -1);
    let from_prefix = parts[0].reshape([p, k, g * r, l]).matmul(&prefix.value).reshape([p, k, g, r, d]);
    let from_own = parts[1].matmul(own_value);
    (from_prefix + from_own).transpose(1, 2).reshape([p * g, 1, heads.count * d])
}

/// Keys or values of completions, `[P·G, T, K, d]`, laid out as caches hold them, `[P, K, G, T, d]`.
pub(crate) fn by_prompt(x: &Tensor, prompts: i64) -> Tensor {
    let size = x.size();
    x.view([prompts, -1, size[1], size[2], size[3]]).permute([0, 3, 1, 2, 4])
}

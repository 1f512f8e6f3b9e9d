//! `P` prompts, `L` the longest, `G` completions of each, `B` rows, `T` tokens of a row, `N` tokens that lie ragged, `H`
//! heads, `K` key-value heads, `d` head size.

use tch::{Device, Kind, Tensor};
use vr1_torch::{Groups, attend, attend_spans, granted, merge_attention, shared_prefix_attention};

use crate::{GrowingCache, Heads, LayerKeyValues, Prefix, Recompute, attention, causal_mask, padding_mask};

/// What a forward pass attends to; a language model's layers hand it their queries, keys and values and need not know
/// whether they run over prompts, over groups of sequences in training, or over one sampled token.
#[derive(Debug)]
pub struct Context<'a> {
    seen: Seen<'a>,
}

#[derive(Debug)]
enum Seen<'a> {
    Prompts { lengths: Vec<i64>, mask: Tensor, padding: Option<Tensor>, layers: Vec<LayerKeyValues> },
    Groups(&'a Groups, Recompute),
    Sampling { prefix: &'a Prefix, cache: &'a mut GrowingCache },
}

impl<'a> Context<'a> {
    /// Prompts of these lengths, padded on the left to `width` tokens, each seeing itself causally. Their keys and
    /// values are kept for [`Context::into_prefix`].
    pub fn prompts(lengths: &[i64], width: i64, options: (Kind, Device)) -> Self {
        let padded = lengths.iter().any(|&length| length < width);
        let padding = padded.then(|| padding_mask(lengths, width, options));
        let causal = causal_mask(width, width, options);
        let mask = padding.as_ref().map_or_else(|| causal.shallow_clone(), |padding| &causal + padding);
        Self { seen: Seen::Prompts { lengths: lengths.to_vec(), mask, padding, layers: Vec::new() } }
    }

    /// Groups of sequences that lie ragged in one row: each prompt sees itself causally, each sequence its prompt and
    /// itself. The prompt's keys and values are read by all sequences, forwards and backwards, and copied for none.
    /// Layers keep for the backward pass what `recompute` says.
    pub fn groups(groups: &'a Groups, recompute: Recompute) -> Self {
        Self { seen: Seen::Groups(groups, recompute) }
    }

    /// The groups, if this is a pass over such, and what is kept of it.
    pub fn recompute(&self) -> Option<(&'a Groups, Recompute)> {
        match &self.seen {
            Seen::Groups(groups, recompute) => Some((*groups, *recompute)),
            Seen::Prompts { .. } | Seen::Sampling { .. } => None,
        }
    }

    /// One more token of each completion, seeing its prompt and what `cache` holds; its keys and values are appended.
    pub fn sampling(prefix: &'a Prefix, cache: &'a mut GrowingCache) -> Self {
        Self { seen: Seen::Sampling { prefix, cache } }
    }

    /// Attention in layer number `layer` for `query` `[B, T, H, d]`, `key` and `value` `[B, T, K, d]`: `[B, T, H · d]`.
    ///
    /// # Panics
    /// As all operations of tensors do where libtorch refuses them: for want of memory.
    pub fn attend(&mut self, layer: usize, query: &Tensor, key: Tensor, value: Tensor, heads: Heads) -> Tensor {
        match &mut self.seen {
            Seen::Prompts { mask, layers, .. } => {
                let out = attention(query, &key, &value, Some(mask), heads);
                layers.push(LayerKeyValues { key, value });
                out
            }
            Seen::Groups(groups, _) => {
                let [q, k, v] = [query, &key, &value].map(|x| x.squeeze_dim(0));
                let out = granted(shared_prefix_attention(&q, &k, &v, groups));
                out.flatten(1, 2).unsqueeze(0)
            }
            Seen::Sampling { prefix, cache } => {
                let shared = &prefix.layers[layer];
                let (prompts, rows) = (shared.key.size()[0], query.size()[0]);
                let (own_key, own_value) = cache.append(layer, &key, &value);
                // All completions of a prompt look at it together: [P, G, H, d].
                let together = query.view([prompts, -1, heads.count, heads.dim]);
                let ((out, lse), own) = match cache.fixed() {
                    Some(fixed) => (
                        granted(attend_spans(&together, &shared.key, &shared.value, &fixed.prompts)),
                        granted(attend_spans(query, &own_key, &own_value, &fixed.own)),
                    ),
                    None => (
                        granted(attend(&together, &shared.key, &shared.value, prefix.mask.as_ref())),
                        granted(attend(query, &own_key, &own_value, None)),
                    ),
                };
                if layer + 1 == cache.depth() {
                    cache.advance();
                }
                let lse = lse.transpose(1, 2).reshape([rows, heads.count, 1]);
                let (out, _) = granted(merge_attention((&out.reshape_as(query), &lse), (&own.0, &own.1)));
                out.flatten(2, 3)
            }
        }
    }

    /// The prompts' keys and values, if this was a pass over prompts; completions begin at `next_positions`.
    pub fn into_prefix(self, next_positions: Vec<i64>) -> Option<Prefix> {
        match self.seen {
            Seen::Prompts { lengths, padding, layers, .. } => {
                Some(Prefix { layers, mask: padding, lengths, next_positions })
            }
            Seen::Groups(..) | Seen::Sampling { .. } => None,
        }
    }
}

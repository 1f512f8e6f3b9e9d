use tch::{Device, Kind, Tensor};

use crate::attention::{by_prompt, shared_prefix};
use crate::{GrowingCache, Heads, LayerKeyValues, Prefix, attention, causal_mask, padding_mask};

/// What a forward pass attends to; a language model's layers hand it their queries, keys and values and need not know
/// whether they run over prompts, over completions in training, or over one sampled token.
#[derive(Debug)]
pub struct Context<'a> {
    seen: Seen<'a>,
}

#[derive(Debug)]
enum Seen<'a> {
    Prompts { mask: Tensor, padding: Tensor, layers: Vec<LayerKeyValues> },
    Completions { prefix: &'a Prefix, group_size: i64, mask: Tensor },
    Sampling { prefix: &'a Prefix, cache: &'a mut GrowingCache },
}

impl<'a> Context<'a> {
    /// Prompts of these lengths, padded on the left to `width` tokens, each seeing itself causally. Their keys and
    /// values are kept for [`Context::into_prefix`].
    pub fn prompts(lengths: &[i64], width: i64, options: (Kind, Device)) -> Self {
        let padding = padding_mask(lengths, width, options);
        let mask = causal_mask(width, width, options) + &padding;
        Self { seen: Seen::Prompts { mask, padding, layers: Vec::new() } }
    }

    /// `group_size` completions of each prompt, of `tokens` tokens (padded on the right), each seeing its prompt and
    /// itself causally.
    pub fn completions(prefix: &'a Prefix, group_size: i64, tokens: i64) -> Self {
        let causal = causal_mask(tokens, tokens, (prefix.mask.kind(), prefix.mask.device()));
        let (prompts, width) = (prefix.mask.size()[0], prefix.mask.size()[3]);
        let before = prefix.mask.expand([prompts, group_size, tokens, width], false);
        let own = causal.expand([prompts, group_size, tokens, tokens], false);
        let mask = Tensor::cat(&[before, own], -1).flatten(0, 1).unsqueeze(1); // [P·G, 1, T, L + T]
        Self { seen: Seen::Completions { prefix, group_size, mask } }
    }

    /// One more token of each completion, seeing its prompt and what `cache` holds; its keys and values are appended.
    pub fn sampling(prefix: &'a Prefix, cache: &'a mut GrowingCache) -> Self {
        Self { seen: Seen::Sampling { prefix, cache } }
    }

    /// Attention in layer number `layer` for `query` `[B, T, H, d]`, `key` and `value` `[B, T, K, d]`: `[B, T, H · d]`.
    pub fn attend(&mut self, layer: usize, query: &Tensor, key: Tensor, value: Tensor, heads: Heads) -> Tensor {
        match &mut self.seen {
            Seen::Prompts { mask, layers, .. } => {
                let out = attention(query, &key, &value, Some(mask), heads);
                layers.push(LayerKeyValues { key: key.transpose(1, 2), value: value.transpose(1, 2) });
                out
            }
            Seen::Completions { prefix, group_size, mask } => {
                // A prompt's keys are copied for each completion: a few heads of them weigh less than all scores would.
                let LayerKeyValues { key: prompt_key, value: prompt_value } = &prefix.layers[layer];
                let [key, value] = [(prompt_key, key), (prompt_value, value)].map(|(prompt, own)| {
                    let prompt = prompt.repeat_interleave_self_int(*group_size, 0, None).transpose(1, 2);
                    Tensor::cat(&[prompt, own], 1) // [P·G, L + T, K, d]
                });
                attention(query, &key, &value, Some(mask), heads)
            }
            Seen::Sampling { prefix, cache } => {
                let shared = &prefix.layers[layer];
                let prompts = shared.key.size()[0];
                let (key, value) = cache.append(layer, &by_prompt(&key, prompts), &by_prompt(&value, prompts));
                shared_prefix(query, (shared, &prefix.mask), (&key, &value), heads)
            }
        }
    }

    /// The prompts' keys and values, if this was a pass over prompts.
    pub fn into_prefix(self) -> Option<Prefix> {
        match self.seen {
            Seen::Prompts { padding, layers, .. } => Some(Prefix { layers, mask: padding }),
            Seen::Completions { .. } | Seen::Sampling { .. } => None,
        }
    }
}

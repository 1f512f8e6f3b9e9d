//! `B` rows, `T` tokens of a row, `N` tokens that lie ragged, `H` heads, `K` key-value heads, `d` head size.

use std::ops::Range;

use tch::{Device, Kind, Tensor};
use vr1_torch::{Groups, Sees, attend, granted, group_attention, merge_attention, shared_prefix_attention};

use crate::prefix::LayerKeyValues;
use crate::{Across, GrowingCache, Heads, PlainLayer, Prefix, Recompute, Rotation, Routing};

/// What a forward pass attends to; a language model's layers hand it their queries, keys and values and need not know
/// whether they run over prompts, over groups of sequences in training, or over one sampled token.
#[derive(Debug)]
pub struct Context<'a> {
    seen: Seen<'a>,
    across: Option<&'a Across>,
    /// Where what routers do is taken down.
    routing: Option<&'a Routing>,
}

#[derive(Debug)]
enum Seen<'a> {
    Prompts { prefix: &'a mut Prefix, chunk: Chunk },
    Groups(&'a Groups, Recompute),
    Sampling { prefix: &'a Prefix, cache: &'a mut GrowingCache },
}

/// Some tokens of prompts that lie ragged.
#[derive(Debug)]
struct Chunk {
    /// The number of the first.
    start: i64,
    /// How many of them go on with a prompt, and how many of that are before them.
    continued: (i64, i64),
    /// The prompts that begin behind these.
    begun: Option<Groups>,
}

impl Chunk {
    fn new(prefix: &Prefix, tokens: &Range<i64>) -> Self {
        let (mut continued, mut begun) = ((0, 0), Vec::new());
        for (start, length) in prefix.spans() {
            let count = tokens.end.min(start + length) - tokens.start.max(start);
            if count > 0 && start < tokens.start {
                continued = (count, tokens.start - start);
            } else if count > 0 {
                begun.push((count, Vec::new()));
            }
        }
        let begun = (!begun.is_empty()).then(|| granted(Groups::new(begun)));
        Self { start: tokens.start, continued, begun }
    }

    /// Attention of queries, keys and values `[T, heads, d]` of the chunk, whose layer of `prefix` has all keys before it.
    fn attend(&self, [q, k, v]: [&Tensor; 3], layer: usize, prefix: &Prefix) -> Tensor {
        let (count, before) = self.continued;
        let mut parts = Vec::with_capacity(2);
        if count > 0 {
            let [q, k, v] = [q, k, v].map(|x| x.narrow(0, 0, count).unsqueeze(0));
            let [keys, values] = [&prefix.layers[layer].key, &prefix.layers[layer].value]
                .map(|x| x.narrow(0, self.start - before, before).unsqueeze(0));
            let own = granted(attend(&q, &k, &v, Sees::Causal));
            let past = granted(attend(&q, &keys, &values, Sees::All));
            parts.push(granted(merge_attention((&past.0, &past.1), (&own.0, &own.1))).0.squeeze_dim(0));
        }
        if let Some(begun) = &self.begun {
            let [q, k, v] = [q, k, v].map(|x| x.narrow(0, count, begun.tokens()));
            parts.push(granted(shared_prefix_attention(&q, &k, &v, begun)));
        }
        if parts.len() == 1 { parts.remove(0) } else { Tensor::cat(&parts, 0) }
    }
}

impl<'a> Context<'a> {
    /// Tokens number `tokens` of prompts that lie ragged in one row, each prompt seeing itself causally; what is before them has been run
    /// over. Their keys and values are written into `prefix`. No gradient flows between chunks.
    ///
    /// # Panics
    /// As [`attend`](Self::attend).
    pub fn prompts(prefix: &'a mut Prefix, tokens: Range<i64>) -> Self {
        let chunk = Chunk::new(prefix, &tokens);
        Self { seen: Seen::Prompts { prefix, chunk }, across: None, routing: None }
    }

    /// Groups of sequences that lie ragged in one row: each prompt sees itself causally, each sequence its prompt and
    /// itself. The prompt's keys and values are read by all sequences, forwards and backwards, and copied for none.
    /// Layers keep for the backward pass what `recompute` says.
    pub fn groups(groups: &'a Groups, recompute: Recompute) -> Self {
        Self { seen: Seen::Groups(groups, recompute), across: None, routing: None }
    }

    /// The same over prompts or groups that show something beside their text, if anything; sampled tokens look at what their prompts do.
    #[must_use]
    pub fn beside(self, across: Option<&'a Across>) -> Self {
        Self { across, ..self }
    }

    /// What is shown beside the text of prompts or groups, if anything.
    pub fn across(&self) -> Option<&'a Across> {
        self.across
    }

    /// Whether anything is shown beside the text: where nothing is, layers that attend across do nothing.
    pub fn is_shown(&self) -> bool {
        match &self.seen {
            Seen::Prompts { .. } | Seen::Groups(..) => self.across.is_some(),
            Seen::Sampling { cache, .. } => cache.across().is_some(),
        }
    }

    /// 1 for tokens that are shown something and 0 for others, `[B, T, 1]` in the kind of what is shown, for `tokens` of them; nothing
    /// where all are.
    pub fn shown(&self, tokens: i64) -> Option<Tensor> {
        match &self.seen {
            Seen::Prompts { chunk, .. } => self.across?.shown(chunk.start..chunk.start + tokens),
            Seen::Groups(..) => self.across?.shown(0..tokens),
            Seen::Sampling { cache, .. } => cache.across()?.shown.as_ref().map(Tensor::shallow_clone),
        }
    }

    /// Attention of `query` `[B, T, H, d]` over what is shown beside the text, in the layer that is number `layer` of those which do so:
    /// `[B, T, H · d]`, 0 where nothing is shown. `keys` makes keys and values `[S, K, d]` of states `[S, D]`, where no layer before has.
    ///
    /// # Panics
    /// As [`attend`](Self::attend).
    pub fn attend_across(
        &mut self,
        layer: usize,
        query: &Tensor,
        keys: impl FnOnce(&Tensor) -> [Tensor; 2],
        heads: Heads,
    ) -> Tensor {
        let q = query.flatten(0, 1);
        let tokens = q.size()[0];
        let made = |across: &Across| {
            let [key, value] = keys(across.states());
            LayerKeyValues { key, value }
        };
        let out = match (&mut self.seen, self.across) {
            (Seen::Prompts { prefix, chunk }, Some(across)) => {
                if prefix.across.len() == layer {
                    prefix.across.push(made(across));
                }
                let (end, last) = (chunk.start + tokens, prefix.tokens());
                let out = across.attend(&q, &prefix.across[layer], chunk.start..end, heads);
                if end == last {
                    prefix.keep_across(layer, across);
                }
                out
            }
            (Seen::Groups(..), Some(across)) => across.attend(&q, &made(across), 0..tokens, heads),
            (Seen::Sampling { prefix, cache }, _) => cache.attend_across(&q, &prefix.across[layer]),
            (_, None) => q.zeros_like(),
        };
        out.reshape([query.size()[0], query.size()[1], heads.count * heads.dim])
    }

    /// The groups, if this is a pass over such, and what is kept of it.
    pub fn recompute(&self) -> Option<(&'a Groups, Recompute)> {
        match &self.seen {
            Seen::Groups(groups, recompute) => Some((*groups, *recompute)),
            Seen::Prompts { .. } | Seen::Sampling { .. } => None,
        }
    }

    /// The same, in which what routers do is taken down in `routing`.
    #[must_use]
    pub fn taking_down(self, routing: Option<&'a Routing>) -> Self {
        Self { routing, ..self }
    }

    /// Where what routers do is taken down.
    pub fn routing(&self) -> Option<&'a Routing> {
        self.routing
    }

    /// One more token of each completion, seeing its prompt and what `cache` holds; its keys and values are appended.
    pub fn sampling(prefix: &'a Prefix, cache: &'a mut GrowingCache) -> Self {
        Self { seen: Seen::Sampling { prefix, cache }, across: None, routing: None }
    }

    /// Attention in layer number `layer` for `query` `[B, T, H, d]`, `key` and `value` `[B, T, K, d]`: `[B, T, H · d]`. Tokens that lie
    /// ragged are one row, a sampled token is one of `B` rows.
    ///
    /// # Panics
    /// As all operations of tensors do where libtorch refuses them: for want of memory.
    pub fn attend(&mut self, layer: usize, query: &Tensor, key: Tensor, value: Tensor, heads: Heads) -> Tensor {
        let ragged = [query, &key, &value].map(|x| x.flatten(0, 1));
        let [q, k, v] = &ragged;
        let out = match &mut self.seen {
            Seen::Prompts { prefix, chunk } => {
                prefix.write(layer, chunk.start, k, v);
                chunk.attend([q, k, v], layer, prefix)
            }
            Seen::Groups(groups, _) => granted(shared_prefix_attention(q, k, v, groups)),
            Seen::Sampling { prefix, cache } => {
                cache.append(layer, k, v);
                sampled(layer, q, prefix, cache)
            }
        };
        out.reshape([query.size()[0], query.size()[1], heads.count * heads.dim])
    }

    /// The same of queries, keys and values that lie side by side and are not rotated yet, `[B, 1, (H + 2K)·d]`: where this is a pass over
    /// sampled tokens on a GPU, which has a kernel for it.
    ///
    /// # Panics
    /// As [`attend`](Self::attend).
    pub fn attend_joint(&mut self, layer: usize, qkv: &Tensor, rotation: &Rotation, heads: Heads) -> Option<Tensor> {
        let Seen::Sampling { prefix, cache } = &mut self.seen else { return None };
        if !qkv.device().is_cuda() {
            return None;
        }
        let query = cache.append_rotated(layer, &qkv.flatten(0, 1), rotation, heads);
        Some(sampled(layer, &query, prefix, cache).flatten(1, 2).unsqueeze(1))
    }

    /// The stream `x` `[B, 1, D]` behind a whole layer, number `layer`: where this is a pass over sampled tokens in f32 on the CPU, and
    /// the layer has no adapter.
    ///
    /// # Panics
    /// As [`attend`](Self::attend).
    pub fn decode(&mut self, layer: usize, plain: PlainLayer<'_>, x: &Tensor, rotation: &Rotation) -> Option<Tensor> {
        let Seen::Sampling { prefix, cache } = &mut self.seen else { return None };
        if x.device() != Device::Cpu || x.kind() != Kind::Float {
            return None;
        }
        let out = plain.decode(layer, x, rotation, prefix, cache)?;
        if layer + 1 == cache.depth() {
            cache.advance();
        }
        Some(out)
    }
}

/// Attention of the sampled tokens' queries `[B, H, d]`, whose keys and values are in `cache`: `[B, H, d]`.
fn sampled(layer: usize, query: &Tensor, prefix: &Prefix, cache: &mut GrowingCache) -> Tensor {
    let (shared, own) = cache.seen(layer, &prefix.layers[layer]);
    let out = granted(group_attention(query, &shared, &own));
    if layer + 1 == cache.depth() {
        cache.advance();
    }
    out
}

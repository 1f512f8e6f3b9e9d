//! `P` prompts, `G` completions of each, `K` key-value heads, `L` prompt tokens, `S` completion tokens, `d` head size.

use tch::Tensor;

/// One layer's keys and values.
#[derive(Debug)]
pub struct LayerKeyValues {
    /// Keys, rotated.
    pub key: Tensor,
    /// Values.
    pub value: Tensor,
}

/// The keys and values of a batch of prompts, computed once and shared by all completions of each.
#[derive(Debug)]
pub struct Prefix {
    /// One entry a layer, each tensor `[P, L, K, d]`, padded on the left.
    pub layers: Vec<LayerKeyValues>,
    /// What is added to the scores of padded positions, `[P, 1, 1, L]`; nothing where none is padded.
    pub mask: Option<Tensor>,
    /// The position of each prompt's next token.
    pub next_positions: Vec<i64>,
}

/// The keys and values of completions that are being sampled, one token at a time.
#[derive(Debug)]
pub struct GrowingCache {
    /// Each tensor `[P·G, K, capacity, d]`.
    layers: Vec<LayerKeyValues>,
    length: i64,
}

impl GrowingCache {
    /// Room for `capacity` tokens of `group_size` completions of each prompt of `prefix`.
    pub fn new(prefix: &Prefix, group_size: i64, capacity: i64) -> Self {
        let room = |like: &Tensor| {
            let (p, _, k, d) = like.size4().unwrap_or_else(|_| unreachable!("a prefix's keys have four dimensions"));
            like.new_zeros([p * group_size, k, capacity, d], (like.kind(), like.device()))
        };
        let layers = prefix.layers.iter().map(|kv| LayerKeyValues { key: room(&kv.key), value: room(&kv.value) });
        Self { layers: layers.collect(), length: 0 }
    }

    /// How many tokens are in it.
    pub fn length(&self) -> i64 {
        self.length
    }

    /// Appends `key` and `value` `[P·G, T, K, d]` to a layer and gives all of that layer, `[P·G, S, K, d]`.
    ///
    /// The length grows when the last layer is appended to.
    pub fn append(&mut self, layer: usize, key: &Tensor, value: &Tensor) -> (Tensor, Tensor) {
        let (start, count) = (self.length, key.size()[1]);
        let kv = &self.layers[layer];
        kv.key.narrow(2, start, count).copy_(&key.transpose(1, 2));
        kv.value.narrow(2, start, count).copy_(&value.transpose(1, 2));
        if layer + 1 == self.layers.len() {
            self.length += count;
        }
        let whole = |tensor: &Tensor| tensor.narrow(2, 0, start + count).transpose(1, 2);
        (whole(&kv.key), whole(&kv.value))
    }

    /// Puts the completions of each prompt in the order of `beams` `[P, G]`: entry `g` becomes a copy of `beams[p, g]`.
    pub fn reorder(&mut self, beams: &Tensor) {
        let (p, g) = beams.size2().unwrap_or_else(|_| unreachable!("beams have two dimensions"));
        let first = Tensor::arange(p, (beams.kind(), beams.device())).unsqueeze(1) * g;
        let rows = (beams + first).flatten(0, 1);
        for kv in &mut self.layers {
            for tensor in [&mut kv.key, &mut kv.value] {
                *tensor = tensor.index_select(0, &rows);
            }
        }
    }
}

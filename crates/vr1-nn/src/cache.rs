//! `P` prompts, `G` completions of each, `H_kv` key-value heads, `L` prompt tokens, `S` completion tokens, `d` head size.

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
    /// One entry a layer, each tensor `[P, H_kv, L, d]`. In training they carry gradients.
    pub layers: Vec<LayerKeyValues>,
    /// What is added to the scores of padded positions, `[P, 1, 1, L]`.
    pub mask: Tensor,
}

/// The keys and values of completions that are being sampled, one token at a time.
#[derive(Debug)]
pub struct GrowingCache {
    layers: Vec<LayerKeyValues>,
    length: i64,
}

impl GrowingCache {
    /// Room for `capacity` tokens of `group_size` completions of each prompt of `prefix`.
    pub fn new(prefix: &Prefix, group_size: i64, capacity: i64) -> Self {
        let room = |like: &Tensor| {
            let (p, h, _, d) = like.size4().unwrap_or_else(|_| unreachable!("a prefix's keys have four dimensions"));
            like.new_zeros([p, h, group_size, capacity, d], (like.kind(), like.device()))
        };
        let layers = prefix.layers.iter().map(|kv| LayerKeyValues { key: room(&kv.key), value: room(&kv.value) });
        Self { layers: layers.collect(), length: 0 }
    }

    /// How many tokens are in it.
    pub fn length(&self) -> i64 {
        self.length
    }

    /// Appends `key` and `value` `[P, H_kv, G, T, d]` to a layer and gives all of that layer, `[P, H_kv, G, S, d]`.
    ///
    /// The length grows when the last layer is appended to.
    pub fn append(&mut self, layer: usize, key: &Tensor, value: &Tensor) -> (Tensor, Tensor) {
        let (start, count) = (self.length, key.size()[3]);
        let kv = &self.layers[layer];
        kv.key.narrow(3, start, count).copy_(key);
        kv.value.narrow(3, start, count).copy_(value);
        if layer + 1 == self.layers.len() {
            self.length += count;
        }
        (kv.key.narrow(3, 0, start + count), kv.value.narrow(3, 0, start + count))
    }

    /// Puts the completions of each prompt in the order of `beams` `[P, G]`: entry `g` becomes a copy of `beams[p, g]`.
    pub fn reorder(&mut self, beams: &Tensor) {
        for kv in &mut self.layers {
            for tensor in [&mut kv.key, &mut kv.value] {
                let size = tensor.size();
                let index = beams.view([size[0], 1, size[2], 1, 1]).expand(&size, false);
                *tensor = tensor.gather(2, &index, false);
            }
        }
    }
}

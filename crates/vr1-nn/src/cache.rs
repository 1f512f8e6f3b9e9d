//! `P` prompts, `G` completions of each, `K` key-value heads, `L` prompt tokens, `S` completion tokens, `d` head size.

use tch::{Device, Kind, Tensor};
use vr1_torch::Spans;

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
    /// How many tokens each prompt has.
    pub lengths: Vec<i64>,
    /// The position of each prompt's next token.
    pub next_positions: Vec<i64>,
}

impl Prefix {
    fn device(&self) -> Device {
        self.layers.first().map_or(Device::Cpu, |layer| layer.key.device())
    }
}

/// The keys and values of completions that are being sampled, one token at a time.
///
/// On a GPU every tensor keeps its shape and its place from the first token to the last, and what changes from token to token, positions
/// and how much is seen, lies there too: a step can be recorded once and replayed.
#[derive(Debug)]
pub struct GrowingCache {
    /// Each tensor `[P·G, K, capacity, d]`, on a GPU `[P·G, capacity, K, d]`.
    layers: Vec<LayerKeyValues>,
    length: i64,
    /// The position of each completion's next token, `[P·G]`.
    next_positions: Tensor,
    fixed: Option<Fixed>,
}

/// What says on the device how far sampling is.
#[derive(Debug)]
pub(crate) struct Fixed {
    /// Where the next keys go, `[1]`.
    place: Tensor,
    /// What is seen of each prompt.
    pub(crate) prompts: Spans,
    /// What each completion sees of its own tokens, the one that is being appended among them.
    pub(crate) own: Spans,
}

impl Fixed {
    fn new(prefix: &Prefix, group_size: i64, capacity: i64) -> vr1_torch::Result<Self> {
        let width = prefix.layers.first().map_or(0, |layer| layer.key.size()[1]);
        let prompts: Vec<(i64, i64)> = prefix.lengths.iter().map(|&length| (width - length, length)).collect();
        let own = vec![(0, 1.min(capacity)); prefix.lengths.len() * group_size as usize];
        let device = prefix.device();
        Ok(Self {
            place: Tensor::zeros([1], (Kind::Int64, device)),
            prompts: Spans::new(&prompts, width, device)?,
            own: Spans::new(&own, capacity, device)?,
        })
    }
}

impl GrowingCache {
    /// Room for `capacity` tokens of `group_size` completions of each prompt of `prefix`.
    ///
    /// # Panics
    /// As all operations of tensors do where libtorch refuses them: for want of memory.
    pub fn new(prefix: &Prefix, group_size: i64, capacity: i64) -> Self {
        let on_gpu = prefix.device().is_cuda();
        if on_gpu {
            Self::in_place(prefix, group_size, capacity)
        } else {
            Self::empty(prefix, group_size, capacity, None)
        }
    }

    /// A cache as it is on a GPU, wherever it is: all its room is looked at, and what is seen of it is said on the device.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub fn in_place(prefix: &Prefix, group_size: i64, capacity: i64) -> Self {
        let fixed = Fixed::new(prefix, group_size, capacity)
            .unwrap_or_else(|error| panic!("a cache of {capacity} tokens: {error}"));
        Self::empty(prefix, group_size, capacity, Some(fixed))
    }

    fn empty(prefix: &Prefix, group_size: i64, capacity: i64, fixed: Option<Fixed>) -> Self {
        let next = Tensor::from_slice(&prefix.next_positions).repeat_interleave_self_int(group_size, 0, None);
        let (rows, device) = (next.size()[0], prefix.device());
        let room = |like: &Tensor| {
            let (_, _, k, d) = like.size4().unwrap_or_else(|_| unreachable!("a prefix's keys have four dimensions"));
            let size = if fixed.is_some() { [rows, capacity, k, d] } else { [rows, k, capacity, d] };
            like.new_zeros(size, (like.kind(), like.device()))
        };
        let layers = prefix.layers.iter().map(|kv| LayerKeyValues { key: room(&kv.key), value: room(&kv.value) });
        Self { layers: layers.collect(), length: 0, next_positions: next.to_device(device), fixed }
    }

    /// How many tokens were appended, those of replayed steps aside.
    pub fn length(&self) -> i64 {
        self.length
    }

    /// The position of each completion's next token, `[P·G]`.
    pub fn next_positions(&self) -> &Tensor {
        &self.next_positions
    }

    pub(crate) fn fixed(&self) -> Option<&Fixed> {
        self.fixed.as_ref()
    }

    /// Puts `key` and `value` `[P·G, 1, K, d]` of the next token into a layer and gives that layer, `[P·G, S, K, d]`; where what is seen of it
    /// is said on the device, all of its room.
    pub(crate) fn append(&mut self, layer: usize, key: &Tensor, value: &Tensor) -> (Tensor, Tensor) {
        let (kv, start) = (&mut self.layers[layer], self.length);
        if let Some(fixed) = &self.fixed {
            let _ = kv.key.index_copy_(1, &fixed.place, key);
            let _ = kv.value.index_copy_(1, &fixed.place, value);
            return (kv.key.shallow_clone(), kv.value.shallow_clone());
        }
        kv.key.narrow(2, start, 1).copy_(&key.transpose(1, 2));
        kv.value.narrow(2, start, 1).copy_(&value.transpose(1, 2));
        let whole = |tensor: &Tensor| tensor.narrow(2, 0, start + 1).transpose(1, 2);
        (whole(&kv.key), whole(&kv.value))
    }

    /// The token that was put into every layer is one of those before the next.
    pub(crate) fn advance(&mut self) {
        self.length += 1;
        let _ = self.next_positions.g_add_scalar_(1);
        if let Some(fixed) = &mut self.fixed {
            let _ = fixed.place.g_add_scalar_(1);
            fixed.own.grow();
        }
    }

    /// How many layers there are.
    pub(crate) fn depth(&self) -> usize {
        self.layers.len()
    }

    /// Puts the completions of each prompt in the order of `beams` `[P, G]`: entry `g` becomes a copy of `beams[p, g]`.
    pub fn reorder(&mut self, beams: &Tensor) {
        let (p, g) = beams.size2().unwrap_or_else(|_| unreachable!("beams have two dimensions"));
        let first = Tensor::arange(p, (beams.kind(), beams.device())).unsqueeze(1) * g;
        let rows = (beams + first).flatten(0, 1);
        self.next_positions = self.next_positions.index_select(0, &rows);
        for kv in &mut self.layers {
            for tensor in [&mut kv.key, &mut kv.value] {
                *tensor = tensor.index_select(0, &rows);
            }
        }
    }
}

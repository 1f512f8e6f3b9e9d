//! `P` groups of rows, `G` rows of each, `B = P·G`, `C` room for own tokens, `K` key-value heads, `d` head size.

use tch::{Kind, Tensor};
use vr1_torch::{OwnKeys, SharedKeys, granted, group_attention, rotate_into_cache};

use super::across::of_numbers;
use super::prefix::{LayerKeyValues, Prefix};
use crate::{Heads, Rotation};

/// Where a row of a cache comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seat {
    /// The row of the cache before, whose tokens it keeps.
    pub from: Option<usize>,
    /// How many tokens it has.
    pub length: i64,
}

/// The keys and values of completions that are being sampled, one token at a time.
///
/// Rows are of any age: each has its own length, and the rows of a group see one prompt. Every tensor keeps its shape and its place
/// from step to step, and what changes from token to token, positions and how much is seen, lies there too: on a GPU a step can be
/// recorded once and replayed. Rows leave and enter by [`seated`](Self::seated), which makes another cache of this one.
#[derive(Debug)]
pub struct GrowingCache {
    /// Each tensor `[B, C, K, d]`.
    layers: Vec<LayerKeyValues>,
    room: i64,
    /// The most tokens of a row, those of replayed steps aside.
    length: i64,
    /// Where the prompt of each group begins among all tokens of prompts, and how long it is, `[P]`, i32; how long the longest is.
    starts: Tensor,
    prompts: Tensor,
    longest: i64,
    /// How many tokens each row sees of its own, the one that is being appended among them, `[B]`, i32.
    lengths: Tensor,
    /// Where the next keys go among all `B·C`, `[B]`, and in their row, `[B]`, i32.
    places: Tensor,
    places_in_rows: Tensor,
    /// The position of each row's next token, `[B]`.
    next_positions: Tensor,
    /// Where rows look across, if any does.
    across: Option<AcrossRows>,
}

/// What rows look at beside the text: what their prompts do.
#[derive(Debug)]
pub(crate) struct AcrossRows {
    /// As of prompts: where it begins for each group, how long it is, and the longest.
    starts: Tensor,
    lengths: Tensor,
    longest: i64,
    /// Rows have none of their own: room for one `[B, 1, K, d]`, of which 0 are seen, `[B]`.
    own: Tensor,
    own_lengths: Tensor,
    /// 1 for rows that are shown something and 0 for others, `[B, 1, 1]`; nothing where all are.
    pub(crate) shown: Option<Tensor>,
}

impl AcrossRows {
    fn new(prefix: &Prefix, prompts: &[usize], group: usize) -> Option<Self> {
        let like = &prefix.across.first()?.key;
        let (device, spans) = (like.device(), prefix.sights());
        let seen = || prompts.iter().map(|&prompt| spans[prompt]);
        let longest = seen().map(|(_, length)| length).max().filter(|&longest| longest > 0)?;
        let short = |numbers: Vec<i64>| Tensor::from_slice(&numbers).to_device(device).to_kind(Kind::Int);
        let rows = (prompts.len() * group) as i64;
        let shown: Vec<f32> = seen().flat_map(|(_, length)| vec![f32::from(u8::from(length > 0)); group]).collect();
        Some(Self {
            starts: short(seen().map(|(start, _)| start).collect()),
            lengths: short(seen().map(|(_, length)| length).collect()),
            longest,
            own: like.new_zeros([rows, 1, like.size()[1], like.size()[2]], (like.kind(), device)),
            own_lengths: short(vec![0; rows as usize]),
            shown: shown.contains(&0.0).then(|| of_numbers(&shown, like.kind(), device).view([-1, 1, 1])),
        })
    }
}

impl GrowingCache {
    /// Room for `room` tokens of `group_size` completions of each prompt of `prefix`.
    ///
    /// # Panics
    /// As all operations of tensors do where libtorch refuses them: for want of memory.
    pub fn new(prefix: &Prefix, group_size: i64, room: i64) -> Self {
        let prompts: Vec<usize> = (0..prefix.lengths.len()).collect();
        let seats = vec![Seat { from: None, length: 0 }; prompts.len() * group_size as usize];
        Self::seated(None, prefix, &prompts, &seats, room)
    }

    /// Rows of which some were in `before`: `prompts[p]` of `prefix` is what group `p` sees, and the seats are those of its rows, group after
    /// group. Layers are moved one by one, so that no more than one is held twice.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub fn seated(before: Option<Self>, prefix: &Prefix, prompts: &[usize], seats: &[Seat], room: i64) -> Self {
        let device = prefix.device();
        let group = seats.len() / prompts.len().max(1);
        let list = |numbers: Vec<i64>| Tensor::from_slice(&numbers).to_device(device);
        let kept: Vec<(i64, i64)> =
            (0..).zip(seats).filter_map(|(row, seat)| seat.from.map(|from| (row, from as i64))).collect();
        let longest = seats.iter().map(|seat| seat.length).max().unwrap_or(0);
        let (to, from) =
            (list(kept.iter().map(|pair| pair.0).collect()), list(kept.iter().map(|pair| pair.1).collect()));
        let moved = |old: Option<&Tensor>, like: &Tensor| {
            let new = like.new_zeros([seats.len() as i64, room, like.size()[1], like.size()[2]], (like.kind(), device));
            if let Some(old) = old.filter(|_| !kept.is_empty() && longest > 0) {
                let part = old.narrow(1, 0, longest).index_select(0, &from);
                let _ = new.narrow(1, 0, longest).index_copy_(0, &to, &part);
            }
            new
        };
        let mut old = before.map_or_else(Vec::new, |before| before.layers).into_iter();
        let layer = |shared: &LayerKeyValues| {
            let old = old.next();
            let of = |old: Option<&Tensor>, like| moved(old, like);
            LayerKeyValues {
                key: of(old.as_ref().map(|kv| &kv.key), &shared.key),
                value: of(old.as_ref().map(|kv| &kv.value), &shared.value),
            }
        };
        let layers = prefix.layers.iter().map(layer).collect();
        let spans = prefix.spans();
        let short = |numbers: Vec<i64>| list(numbers).to_kind(Kind::Int);
        let seen = || prompts.iter().map(|&prompt| spans[prompt]);
        let next = |(row, seat): (usize, &Seat)| prefix.next_positions[prompts[row / group]] + seat.length;
        Self {
            layers,
            room,
            length: longest,
            starts: short(seen().map(|(start, _)| start).collect()),
            prompts: short(seen().map(|(_, length)| length).collect()),
            longest: seen().map(|(_, length)| length).max().unwrap_or(0),
            lengths: short(seats.iter().map(|seat| seat.length + 1).collect()),
            places_in_rows: short(seats.iter().map(|seat| seat.length).collect()),
            places: list((0..).zip(seats).map(|(row, seat)| row * room + seat.length).collect()),
            next_positions: list(seats.iter().enumerate().map(next).collect()),
            across: AcrossRows::new(prefix, prompts, group),
        }
    }

    /// The most tokens that a row has, those of replayed steps aside.
    pub fn length(&self) -> i64 {
        self.length
    }

    /// For how many tokens of a row there is room; whoever appends more writes over another row.
    pub fn room(&self) -> i64 {
        self.room
    }

    /// The position of each row's next token, `[B]`.
    pub fn next_positions(&self) -> &Tensor {
        &self.next_positions
    }

    /// Puts `key` and `value` `[B, K, d]` of the next token into a layer.
    pub(crate) fn append(&self, layer: usize, key: &Tensor, value: &Tensor) {
        let kv = &self.layers[layer];
        let _ = kv.key.flatten(0, 1).index_copy_(0, &self.places, key);
        let _ = kv.value.flatten(0, 1).index_copy_(0, &self.places, value);
    }

    /// The queries `[B, H, d]` of `qkv` `[B, (H + 2K)·d]`, rotated; its keys, rotated too, and values go into a layer.
    pub(crate) fn append_rotated(&self, layer: usize, qkv: &Tensor, rotation: &Rotation, heads: Heads) -> Tensor {
        let (kv, (cos, sin)) = (&self.layers[layer], rotation.of_rows());
        let heads = (heads.count, heads.key_value, heads.dim);
        granted(rotate_into_cache(qkv, heads, (&cos, &sin), (&kv.key, &kv.value), &self.places_in_rows))
    }

    /// Where each row's next token goes, `[B]`.
    pub(crate) fn places_in_rows(&self) -> &Tensor {
        &self.places_in_rows
    }

    /// What rows see in a layer: of `prompts`, and of their own.
    pub(crate) fn seen<'a>(&'a self, layer: usize, prompts: &'a LayerKeyValues) -> (SharedKeys<'a>, OwnKeys<'a>) {
        let kv = &self.layers[layer];
        let shared = SharedKeys {
            keys: &prompts.key,
            values: &prompts.value,
            starts: &self.starts,
            lengths: &self.prompts,
            longest: self.longest,
        };
        (shared, OwnKeys { keys: &kv.key, values: &kv.value, lengths: &self.lengths })
    }

    /// Where rows look across, if any does.
    pub(crate) fn across(&self) -> Option<&AcrossRows> {
        self.across.as_ref()
    }

    /// Attention of queries `[B, H, d]` over what their prompts look at across, `prompts` in this layer: `[B, H, d]`, 0 where that is nothing.
    pub(crate) fn attend_across(&self, query: &Tensor, prompts: &LayerKeyValues) -> Tensor {
        let Some(across) = &self.across else { return query.zeros_like() };
        let AcrossRows { starts, lengths, longest, own, own_lengths, .. } = across;
        let shared = SharedKeys { keys: &prompts.key, values: &prompts.value, starts, lengths, longest: *longest };
        granted(group_attention(query, &shared, &OwnKeys { keys: own, values: own, lengths: own_lengths }))
    }

    /// The token that was put into every layer is one of those before the next.
    pub(crate) fn advance(&mut self) {
        self.length += 1;
        let _ = self.next_positions.g_add_scalar_(1);
        let _ = self.places.g_add_scalar_(1);
        let _ = self.places_in_rows.g_add_scalar_(1);
        let _ = self.lengths.g_add_scalar_(1);
    }

    /// How many layers there are.
    pub(crate) fn depth(&self) -> usize {
        self.layers.len()
    }

    /// Row `b` becomes a copy of row `rows[b]`, which sees the same prompt and is as long.
    pub fn reorder(&mut self, rows: &Tensor) {
        for kv in &self.layers {
            for tensor in [&kv.key, &kv.value] {
                let mut used = tensor.narrow(1, 0, self.length);
                used.copy_(&used.index_select(0, rows));
            }
        }
    }
}

use std::ops::Range;

use tch::Tensor;

/// What is added to the states of some tokens behind the first layers: features of media, of several depths of their tower
/// (DeepStack, [arXiv:2406.04334](https://arxiv.org/abs/2406.04334)).
#[derive(Debug, Default)]
pub struct Deep {
    /// The numbers of these tokens, in order, each once.
    pub places: Vec<i64>,
    /// What is added behind each of the first layers, `[m, D]` for `m` places.
    pub added: Vec<Tensor>,
}

impl Deep {
    /// Whether nothing is added.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty() || self.added.is_empty()
    }

    /// The part for tokens number `range`, as their numbers are there.
    #[must_use]
    pub fn within(&self, range: &Range<i64>) -> Self {
        let before = self.places.partition_point(|&place| place < range.start);
        let end = self.places.partition_point(|&place| place < range.end);
        let part = |all: &Tensor| all.narrow(0, before as i64, (end - before) as i64);
        Self {
            places: self.places[before..end].iter().map(|place| place - range.start).collect(),
            added: self.added.iter().map(part).collect(),
        }
    }
}

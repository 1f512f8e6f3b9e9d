//! `N` patches of all images, `H` heads, `d` head size.

use tch::Tensor;

use crate::{Heads, attention};

/// Patches in a row, cut into segments: frames, or windows of frames. A patch attends to those of its own segment.
///
/// Segments of one length that follow each other are one batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segments {
    /// How many segments follow each other, and their length.
    runs: Vec<(i64, i64)>,
}

impl Segments {
    /// Segments of these lengths, in order.
    pub fn new(lengths: impl IntoIterator<Item = i64>) -> Self {
        let mut runs: Vec<(i64, i64)> = Vec::new();
        for length in lengths {
            match runs.last_mut() {
                Some((count, last)) if *last == length => *count += 1,
                _ => runs.push((1, length)),
            }
        }
        Self { runs }
    }

    /// Attention of queries, keys and values `[N, H, d]` within each segment, to `[N, H · d]`.
    pub fn attention(&self, query: &Tensor, key: &Tensor, value: &Tensor, heads: Heads) -> Tensor {
        let mut start = 0;
        let mut parts = Vec::with_capacity(self.runs.len());
        for &(count, length) in &self.runs {
            let [q, k, v] = [query, key, value]
                .map(|x| x.narrow(0, start, count * length).view([count, length, heads.count, heads.dim]));
            parts.push(attention(&q, &k, &v, None, heads).flatten(0, 1));
            start += count * length;
        }
        Tensor::cat(&parts, 0)
    }
}

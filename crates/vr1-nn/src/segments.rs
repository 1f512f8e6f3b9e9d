//! `N` patches of all images, `H` heads, `d` head size.

use std::sync::{Arc, Mutex, PoisonError};

use tch::{Device, Tensor};
use vr1_torch::{SegmentEnds, granted, segment_attention};

use crate::{Heads, attention};

/// Patches in a row, cut into segments: frames, or windows of frames. A patch attends to those of its own segment.
///
/// Segments of one length that follow each other are one batch; where the device has a kernel for segments side by side,
/// all are one call.
#[derive(Debug, Clone)]
pub struct Segments {
    /// How many segments follow each other, and their length.
    runs: Vec<(i64, i64)>,
    /// Where they end, on the device of the first queries.
    ends: Arc<Mutex<Option<SegmentEnds>>>,
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
        Self { runs, ends: Arc::default() }
    }

    /// Attention of queries, keys and values `[N, H, d]` within each segment, to `[N, H · d]`.
    ///
    /// # Panics
    /// As all operations of tensors do where libtorch refuses them: of other tokens than the segments', or for want of
    /// memory.
    pub fn attention(&self, query: &Tensor, key: &Tensor, value: &Tensor, heads: Heads) -> Tensor {
        self.in_one(query, key, value).unwrap_or_else(|| self.in_runs(query, key, value, heads))
    }

    /// By one call, where there is a kernel that takes these.
    fn in_one(&self, query: &Tensor, key: &Tensor, value: &Tensor) -> Option<Tensor> {
        if query.device() == Device::Cpu {
            return None;
        }
        let lengths = self.runs.iter().flat_map(|&(count, length)| (0..count).map(move |_| length));
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        let ends = ends.get_or_insert_with(|| granted(SegmentEnds::new(lengths, query.device())));
        Some(granted(segment_attention(query, key, value, ends))?.flatten(1, 2))
    }

    fn in_runs(&self, query: &Tensor, key: &Tensor, value: &Tensor, heads: Heads) -> Tensor {
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

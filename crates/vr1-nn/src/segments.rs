//! `N` patches of all images, `H` heads, `d` head size.

use std::sync::{Arc, Mutex, PoisonError};

use tch::Tensor;
use vr1_torch::{SegmentEnds, granted, segment_attention};

use crate::Heads;

/// Patches in a row, cut into segments: frames, or windows of frames. A patch attends to those of its own segment.
#[derive(Debug, Clone)]
pub struct Segments {
    lengths: Vec<i64>,
    /// Where they end, on the device of the first queries.
    ends: Arc<Mutex<Option<SegmentEnds>>>,
}

impl Segments {
    /// Segments of these lengths, in order.
    pub fn new(lengths: impl IntoIterator<Item = i64>) -> Self {
        Self { lengths: lengths.into_iter().collect(), ends: Arc::default() }
    }

    /// Attention of queries, keys and values `[N, H, d]` within each segment, to `[N, H · d]`.
    ///
    /// # Panics
    /// As all operations of tensors do where libtorch refuses them: of other tokens than the segments', or for want of
    /// memory.
    pub fn attention(&self, query: &Tensor, key: &Tensor, value: &Tensor, heads: Heads) -> Tensor {
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        let ends = ends.get_or_insert_with(|| granted(SegmentEnds::new(self.lengths.iter().copied(), query.device())));
        granted(segment_attention(query, key, value, ends)).view([-1, heads.count * heads.dim])
    }
}

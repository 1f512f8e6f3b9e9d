//! Bytes of tensors that are held while several ranks sum their gradients.

use super::memory::{Held, Phase, Setting};

/// Numbers of gradients that are summed over ranks at once, but for parameters that are larger.
const BUCKET: u64 = 1 << 23;

impl Setting<'_> {
    /// Bytes of the gradients of this rank's own micro-batches.
    pub(super) fn gradients(&self, micro_batches: usize) -> u64 {
        let wide = if micro_batches > 1 { 4 } else { self.trained_wide() };
        wide * self.summed_later()
    }

    /// Gradients are summed over ranks, some at a time: the sums take their place, where this rank keeps them.
    pub(crate) fn reduction(&self, micro_batches: usize) -> Option<Phase> {
        let largest = self.shape.sizes.iter().max().map_or(0, |&size| size as u64);
        let at_once = 4 * self.summed_later().min(BUCKET.max(largest));
        // What goes out in a row; on a CPU also what comes in.
        let on_the_way = if self.on_cpu { 2 * at_once + at_once / self.ranks } else { at_once };
        let gradients = match self.apart {
            Some(_) => self.gradients(micro_batches) + self.summed_at_once()[0],
            None => self.gradients(micro_batches).max(4 * self.own.trained),
        };
        let held = [
            Held { what: "gradients", bytes: gradients },
            Held { what: "sums over processes, on the way", bytes: on_the_way },
        ];
        (self.ranks > 1).then(|| self.phase("reduction", held))
    }
}

//! Bytes of tensors that are held while an optimizer makes its step, and while a model is written.

use vr1_learn::Moments;

use super::memory::{Held, Phase, Setting};

/// Numbers of parameters that an optimizer updates at once.
const UPDATED: u64 = 1 << 24;

impl Setting<'_> {
    /// The optimizer's step.
    pub(crate) fn optimizer(&self, micro_batches: usize) -> Phase {
        let shape = self.shape;
        // Sums over ranks are f32.
        let gradients = if self.ranks > 1 { 4 * self.own.trained } else { self.gradients(micro_batches) };
        let undo = match self.iterations {
            0 | 1 => 0,
            _ => {
                let brought = self.apart.map_or(shape.trained, |_| self.own.trained + self.summed_later());
                self.trained_wide() * brought + self.masters() + self.moments()
            }
        };
        let widened = |narrow: bool| if narrow { 4 } else { 0 };
        let packed = self.optimizer.moments == Moments::Blockwise8bit;
        let a_number = widened(gradients < 4 * self.own.trained)
            + 2 * widened(packed)
            + if self.offloads() { 4 * u64::from(self.wide < 4) + if packed { 2 } else { 8 } } else { 0 };
        self.phase(
            "optimizer",
            [
                Held { what: "gradients", bytes: gradients },
                Held { what: "state, to go back to", bytes: undo },
                Held { what: "what is updated at once, widened", bytes: a_number * self.own.trained.min(UPDATED) },
            ],
        )
    }

    /// The model is written.
    pub(crate) fn checkpoint(&self) -> Phase {
        let largest = 4 * self.shape.vocabulary * self.shape.hidden;
        let written = Held { what: "what is written, on the way", bytes: largest };
        self.phase("checkpoint", [written, self.layer_brought()])
    }
}

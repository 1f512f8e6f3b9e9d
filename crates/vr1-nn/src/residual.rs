use tch::Tensor;
use vr1_torch::gradients_collected;

/// The residual stream: what layers read by way of a norm, and add to.
///
/// Where gradients are collected, what is added is in the sum at once. Where none are, it waits for the norm that reads the
/// stream next, which adds it in the same pass over memory.
#[derive(Debug)]
pub struct Residual {
    sum: Tensor,
    waiting: Option<Tensor>,
    /// Whether nobody else holds the sum.
    owned: bool,
}

impl Residual {
    /// A stream that begins with `x`, which stays as it is.
    pub fn new(x: &Tensor) -> Self {
        Self { sum: x.shallow_clone(), waiting: None, owned: false }
    }

    /// Adds `y`, of the stream's shape.
    pub fn add(&mut self, y: Tensor) {
        self.settle();
        if gradients_collected() {
            (self.sum, self.owned) = (&self.sum + y, false);
        } else {
            self.waiting = Some(y);
        }
    }

    /// All that was added to what it began with.
    pub fn into_sum(mut self) -> Tensor {
        self.settle();
        self.sum
    }

    /// The same, and the stream goes on.
    pub fn sum(&mut self) -> &Tensor {
        self.settle();
        &self.sum
    }

    /// Makes the stream what `work` makes of its sum.
    pub(crate) fn through(&mut self, work: impl FnOnce(&Tensor) -> Tensor) {
        (self.sum, self.owned) = (work(self.sum()), false);
    }

    /// The sum, and what is still to be added to it, in place.
    pub(crate) fn parts(&mut self) -> (&Tensor, Option<Tensor>) {
        if !self.owned {
            self.settle();
        }
        (&self.sum, self.waiting.take())
    }

    fn settle(&mut self) {
        if let Some(y) = self.waiting.take() {
            self.sum = &self.sum + y;
            self.owned = true;
        }
    }
}

use tch::Tensor;
use vr1_torch::gradients_collected;

/// What a forward pass is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// Sequences are scored, by a model that learns or by one that it is compared with: by the same operations with gradients
    /// and without, so that two equal models say the same to the last bit.
    Scoring,
    /// Tokens are sampled: by fewer operations, whose last bits may differ.
    Sampling,
}

/// The residual stream: what layers read by way of a norm, and add to.
///
/// What is added is in the sum at once. Where tokens are sampled, it waits for the norm that reads the stream next, which adds
/// it in the same pass over memory.
#[derive(Debug)]
pub struct Residual {
    sum: Tensor,
    waiting: Option<Tensor>,
    /// Whether nobody else holds the sum.
    owned: bool,
    pass: Pass,
}

impl Residual {
    /// A stream that begins with `x`, which stays as it is.
    pub fn new(x: &Tensor, pass: Pass) -> Self {
        Self { sum: x.shallow_clone(), waiting: None, owned: false, pass }
    }

    /// What it is for.
    pub fn pass(&self) -> Pass {
        self.pass
    }

    /// Adds `y`, of the stream's shape.
    pub fn add(&mut self, y: Tensor) {
        self.settle();
        if self.pass == Pass::Scoring || gradients_collected() {
            (self.sum, self.owned) = (&self.sum + y, false);
        } else {
            self.waiting = Some(y);
        }
    }

    /// Adds `y` `[m, D]` to the tokens at `places` `[m]` of a stream `[1, T, D]`; no place is there twice.
    pub fn add_at(&mut self, places: &Tensor, y: &Tensor) {
        self.through(|sum| sum.index_add(1, places, &y.unsqueeze(0)));
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
    pub fn through(&mut self, work: impl FnOnce(&Tensor) -> Tensor) {
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

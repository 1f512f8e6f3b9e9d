//! Losses of the tests' own.

use std::cell::{Cell, RefCell};

use tch::{Kind, Tensor};
use vr1_learn::{Counts, Error, Fold, Loss, Needs, Result, Scored, Stats};

/// `−Σ signal · log π / tokens`: the plainest loss that there is.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Linear {
    pub(crate) needs: Needs,
}

impl Loss for Linear {
    fn needs(&self) -> Needs {
        self.needs
    }

    fn loss(&self, scored: &Scored, counts: &Counts) -> Result<(Tensor, Stats)> {
        let loss = -(scored.sums(&scored.logprobs)? * &scored.signals).sum(Kind::Float) / counts.tokens;
        let value = loss.double_value(&[]);
        Ok((loss, Stats::new([("loss", value, Fold::Sum)])))
    }
}

/// What a loss was handed: one list for each sequence, of its trained tokens.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spied {
    pub(crate) logprobs: Vec<Vec<f32>>,
    pub(crate) old: Vec<Vec<f32>>,
    pub(crate) drawn: Vec<Vec<f32>>,
    pub(crate) reference: Vec<Vec<f32>>,
    pub(crate) entropy: Vec<Vec<f32>>,
    pub(crate) likeliest: Vec<Vec<f32>>,
    pub(crate) mismatched_kl: Option<f64>,
    pub(crate) micro_batches: usize,
}

/// A loss that keeps what it was handed since it was last asked.
pub(crate) struct Spy {
    loss: Box<dyn Loss>,
    seen: RefCell<Spied>,
}

impl Spy {
    pub(crate) fn new(loss: impl Loss + 'static) -> Self {
        Self::of(Box::new(loss))
    }

    pub(crate) fn of(loss: Box<dyn Loss>) -> Self {
        Self { loss, seen: RefCell::default() }
    }

    pub(crate) fn take(&self) -> Spied {
        self.seen.take()
    }
}

impl Loss for Spy {
    fn needs(&self) -> Needs {
        self.loss.needs()
    }

    fn loss(&self, scored: &Scored, counts: &Counts) -> Result<(Tensor, Stats)> {
        let rows = |values: &Tensor| {
            let row = |i: i64| {
                let kept = values.get(i).masked_select(&scored.mask.get(i).ne(0));
                Vec::<f32>::try_from(kept.detach().to_kind(Kind::Float)).unwrap()
            };
            (0..values.size()[0]).map(row).collect::<Vec<_>>()
        };
        let mut seen = self.seen.borrow_mut();
        seen.logprobs.extend(rows(&scored.logprobs));
        seen.old.extend(rows(&scored.old_logprobs));
        seen.drawn.extend(scored.drawn.as_ref().map(rows).unwrap_or_default());
        seen.reference.extend(scored.ref_logprobs.as_ref().map(rows).unwrap_or_default());
        seen.entropy.extend(rows(&scored.entropy));
        seen.likeliest.extend(rows(&scored.likeliest));
        seen.mismatched_kl = scored.mismatched_kl;
        seen.micro_batches += 1;
        self.loss.loss(scored, counts)
    }
}

/// How a loss fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failing {
    /// It says so.
    Refuses,
    /// Its value is NaN.
    Value,
    /// Its gradient is NaN, though its value is not.
    Gradient,
}

/// A loss that fails at its so-manieth call, from 0, and is [`Linear`] before and after.
#[derive(Debug)]
pub(crate) struct FailsAt {
    how: Failing,
    at: usize,
    calls: Cell<usize>,
    needs: Needs,
}

impl Failing {
    pub(crate) fn at(self, at: usize, needs: Needs) -> FailsAt {
        FailsAt { how: self, at, calls: Cell::new(0), needs }
    }
}

impl FailsAt {
    pub(crate) fn calls(&self) -> usize {
        self.calls.get()
    }
}

impl Loss for FailsAt {
    fn needs(&self) -> Needs {
        self.needs
    }

    fn loss(&self, scored: &Scored, counts: &Counts) -> Result<(Tensor, Stats)> {
        let (loss, stats) = Linear { needs: self.needs }.loss(scored, counts)?;
        let now = self.calls.replace(self.calls.get() + 1) == self.at;
        match self.how {
            Failing::Refuses if now => Err(Error::Own("the loss has had enough".into())),
            Failing::Value if now => Ok((loss * f64::NAN, stats)),
            // The root of nothing is 0, and rises infinitely there.
            Failing::Gradient if now => Ok((loss + (scored.logprobs.sum(Kind::Float) * 0.0).sqrt(), stats)),
            _ => Ok((loss, stats)),
        }
    }
}

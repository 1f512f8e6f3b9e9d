use tch::{Kind, Tensor};
use vr1_ops::{check_alike, check_floating, check_rank};

use crate::config::Divergence;
use crate::range::LARGEST;
use crate::{Error, Extras, Result};

const NAMES: [&str; 4] = ["chosen_logprobs", "rejected_logprobs", "ref_chosen_logprobs", "ref_rejected_logprobs"];

/// The tensors of a batch of pairs, checked, in f32 or f64, `[B]` each. Gradient flows through `chosen` and `rejected`.
pub(crate) struct Batch {
    pub(crate) chosen: Tensor,
    pub(crate) rejected: Tensor,
    pub(crate) ref_chosen: Tensor,
    pub(crate) ref_rejected: Tensor,
    chosen_tokens: Option<Tensor>,
    rejected_tokens: Option<Tensor>,
    pub(crate) weights: Option<Tensor>,
}

/// How much likelier the policy finds completions than its reference does, and the scores of that under a divergence; `[B]` each.
pub(crate) struct LogRatios {
    pub(crate) chosen: Tensor,
    pub(crate) rejected: Tensor,
    pub(crate) chosen_score: Tensor,
    pub(crate) rejected_score: Tensor,
}

impl Batch {
    pub(crate) fn of(logprobs: [&Tensor; 4], extras: Extras<'_>) -> Result<Self> {
        let first = logprobs[0];
        check_rank(NAMES[0], first, 1)?;
        for (name, tensor) in NAMES.into_iter().zip(logprobs) {
            check_alike(name, tensor, NAMES[0], first)?;
            check_floating(name, tensor)?;
        }
        let kind = accumulation(first);
        let optional = |name, tensor: Option<&Tensor>| -> Result<Option<Tensor>> {
            let Some(tensor) = tensor else { return Ok(None) };
            check_alike(name, tensor, NAMES[0], first)?;
            Ok(Some(tensor.detach().f_to_kind(kind)?))
        };
        let [chosen, rejected, ref_chosen, ref_rejected] = logprobs.map(|tensor| tensor.to_kind(kind));
        let batch = Self {
            chosen,
            rejected,
            ref_chosen: ref_chosen.detach(),
            ref_rejected: ref_rejected.detach(),
            chosen_tokens: optional("chosen_tokens", extras.chosen_tokens)?,
            rejected_tokens: optional("rejected_tokens", extras.rejected_tokens)?,
            weights: optional("weights", extras.weights)?,
        };
        if batch.chosen.numel() == 0 {
            return Err(Error::EmptyBatch);
        }
        batch.check_values()?;
        Ok(batch)
    }

    /// NaN, ±∞ and completions without a token, found in one transfer from the device.
    fn check_values(&self) -> Result<()> {
        let none = || Tensor::zeros([], (Kind::Int64, self.chosen.device()));
        // Numbers of which products are infinite are as good as infinite.
        let bad = |tensor: &Tensor| tensor.abs().le(LARGEST).logical_not().sum(Kind::Int64);
        let short = |tensor: &Option<Tensor>| {
            tensor.as_ref().map_or_else(none, |tokens| {
                tokens.ge(1.0).logical_and(&tokens.isfinite()).logical_not().sum(Kind::Int64)
            })
        };
        let counts = [
            bad(&self.chosen),
            bad(&self.rejected),
            bad(&self.ref_chosen),
            bad(&self.ref_rejected),
            self.weights.as_ref().map_or_else(none, bad),
            short(&self.chosen_tokens),
            short(&self.rejected_tokens),
        ];
        let counts = Vec::<i64>::try_from(Tensor::stack(&counts, 0))?;
        if let Some((name, &count)) = NAMES.into_iter().chain(["weights"]).zip(&counts).find(|(_, count)| **count > 0) {
            return Err(Error::NonFinite { name, count });
        }
        let tokens = [("chosen_tokens", &self.chosen_tokens), ("rejected_tokens", &self.rejected_tokens)];
        for ((field, tensor), &count) in tokens.into_iter().zip(&counts[5..]) {
            if let (Some(tensor), true) = (tensor, count > 0) {
                return Err(Error::Setting {
                    field,
                    expected: "finite and at least 1",
                    got: tensor.min().double_value(&[]),
                });
            }
        }
        Ok(())
    }

    /// The chosen completions' numbers of tokens, which the loss cannot do without.
    pub(crate) fn chosen_tokens(&self) -> Result<&Tensor> {
        needed("chosen_tokens", &self.chosen_tokens)
    }

    /// The rejected completions' numbers of tokens, which the loss cannot do without.
    pub(crate) fn rejected_tokens(&self) -> Result<&Tensor> {
        needed("rejected_tokens", &self.rejected_tokens)
    }

    /// Whether numbers of tokens were handed in.
    pub(crate) fn has_tokens(&self) -> bool {
        self.chosen_tokens.is_some() || self.rejected_tokens.is_some()
    }

    pub(crate) fn log_ratios(&self, divergence: Divergence) -> LogRatios {
        let (chosen, rejected) = (&self.chosen - &self.ref_chosen, &self.rejected - &self.ref_rejected);
        LogRatios {
            chosen_score: score(&chosen, divergence),
            rejected_score: score(&rejected, divergence),
            chosen,
            rejected,
        }
    }
}

fn needed<'a>(name: &'static str, tokens: &'a Option<Tensor>) -> Result<&'a Tensor> {
    tokens.as_ref().ok_or(Error::Missing { name, reason: "the loss averages over the tokens of a completion" })
}

/// `f'(exp x)` of a log-ratio.
fn score(x: &Tensor, divergence: Divergence) -> Tensor {
    match divergence {
        Divergence::Alpha(alpha) if (alpha - 1.0).abs() >= 1e-6 => {
            let bound = if x.kind() == Kind::Double { 700.0 } else { 80.0 };
            ((x * (alpha - 1.0)).clamp_max(bound).exp() - 1.0) / (alpha - 1.0)
        }
        Divergence::ReverseKl | Divergence::Alpha(_) => x.shallow_clone(),
        Divergence::ForwardKl => -(-x).exp() + 1.0,
        Divergence::JensenShannon => x.log_sigmoid() + std::f64::consts::LN_2,
    }
}

/// The kind in which sums are taken: f64 stays, all else becomes f32.
pub(crate) fn accumulation(tensor: &Tensor) -> Kind {
    if tensor.kind() == Kind::Double { Kind::Double } else { Kind::Float }
}

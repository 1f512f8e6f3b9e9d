use tch::Tensor;

use crate::loss::dpo_loss_with;
use crate::{DpoConfig, DpoLoss, DpoStats, Error, Extras, Result};

/// MPO: 0.8 of sigmoid, 0.2 of BCO, 1 of the likelihood of the chosen ([arXiv:2411.10442](https://arxiv.org/abs/2411.10442)).
pub const MPO: [(f64, DpoLoss); 3] =
    [(0.8, DpoLoss::Sigmoid), (0.2, DpoLoss::Bco { shift: 0.0 }), (1.0, DpoLoss::ChosenNll)];

/// RPO as Insight-V trains with it: 1 of sigmoid, 1 of the likelihood of the chosen ([arXiv:2411.14432](https://arxiv.org/abs/2411.14432),
/// [arXiv:2404.19733](https://arxiv.org/abs/2404.19733)).
pub const RPO: [(f64, DpoLoss); 2] = [(1.0, DpoLoss::Sigmoid), (1.0, DpoLoss::ChosenNll)];

/// A weighted sum of losses of the same pairs.
///
/// ```text
/// loss = Σ_j w_j · loss_j
/// ```
///
/// `config` gives β, the divergence and the normaliser of all of them, and the label smoothing of those that have a place for it; its own `loss` is
/// not looked at. The statistics are those of the pairs, with `loss` the mixture's.
///
/// # Shapes
/// Those of [`dpo_loss_with`].
///
/// # Errors
/// Those of [`dpo_loss_with`]; [`Error::Setting`] for no term, or a weight that is not finite.
///
/// # Example
/// A policy that is still its reference pays ln 2, plus 3 nats over 2 tokens:
/// ```
/// use tch::Tensor;
/// use vr1_dpo::{DpoConfig, Extras, RPO, dpo_mixture_loss};
/// let t = |x: f64| Tensor::from_slice(&[x]);
/// let logprobs = [&t(-3.0), &t(-5.0), &t(-3.0), &t(-5.0)];
/// let extras = Extras { chosen_tokens: Some(&t(2.0)), ..Default::default() };
/// let (loss, _) = dpo_mixture_loss(logprobs, extras, &RPO, &DpoConfig::default())?;
/// assert!((loss.double_value(&[]) - (2f64.ln() + 1.5)).abs() < 1e-12);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn dpo_mixture_loss(
    logprobs: [&Tensor; 4],
    extras: Extras<'_>,
    terms: &[(f64, DpoLoss)],
    config: &DpoConfig,
) -> Result<(Tensor, DpoStats)> {
    let mut sum: Option<(Tensor, DpoStats)> = None;
    for &(weight, loss) in terms {
        if !weight.is_finite() {
            return Err(Error::Setting { field: "terms.weight", expected: "a finite number", got: weight });
        }
        let term = DpoConfig { loss, ..*config };
        let term = DpoConfig {
            label_smoothing: if term.smooths() { config.label_smoothing } else { 0.0 },
            divergence: if term.scores() { config.divergence } else { Default::default() },
            ..term
        };
        let (loss, stats) = dpo_loss_with(logprobs, extras, &term)?;
        let (loss, value) = (loss * weight, stats.loss * weight);
        sum = Some(match sum {
            None => (loss, DpoStats { loss: value, ..stats }),
            Some((total, stats)) => (total + loss, DpoStats { loss: stats.loss + value, ..stats }),
        });
    }
    sum.ok_or(Error::Setting { field: "terms", expected: "at least one", got: 0.0 })
}

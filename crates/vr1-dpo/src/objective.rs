use tch::Tensor;

use crate::Result;
use crate::batch::{Batch, LogRatios};
use crate::config::{DpoConfig, DpoLoss};

/// The loss of every pair, `[B]`.
pub(crate) fn per_pair(batch: &Batch, ratios: &LogRatios, config: &DpoConfig) -> Result<Tensor> {
    let (beta, epsilon) = (config.beta, config.label_smoothing);
    let LogRatios { chosen: c, rejected: r, chosen_score, rejected_score } = ratios;
    let delta = || chosen_score - rejected_score;
    let per_token =
        || -> Result<Tensor> { Ok(chosen_score / batch.chosen_tokens()? - rejected_score / batch.rejected_tokens()?) };
    let smoothed = |x: Tensor| -> Tensor {
        let kept = x.log_sigmoid() * -(1.0 - epsilon);
        if epsilon == 0.0 { kept } else { kept - (-x).log_sigmoid() * epsilon }
    };
    let sorted = |x: &Tensor| x.sort(0, false).0;
    Ok(match config.loss {
        DpoLoss::Sigmoid => smoothed(delta() * beta),
        DpoLoss::SigmoidNorm => -(per_token()? * beta).log_sigmoid(),
        DpoLoss::Hinge => (-(delta() * beta) + 1.0).relu(),
        DpoLoss::Ipo => {
            let gap = if batch.has_tokens() { per_token()? } else { delta() };
            (gap - 0.5 / beta).square()
        }
        DpoLoss::Exo => {
            let x = delta() * beta;
            let (log_w, log_l) = (x.log_sigmoid(), (-&x).log_sigmoid());
            x.sigmoid() * (log_w - (-epsilon).ln_1p()) + (-&x).sigmoid() * (log_l - epsilon.ln())
        }
        DpoLoss::Nca => {
            let (x, y) = (c * beta, r * beta);
            -x.log_sigmoid() - (-x).log_sigmoid() * 0.5 - (-y).log_sigmoid() * 0.5
        }
        DpoLoss::Robust => {
            let x = delta() * beta;
            ((-&x).log_sigmoid() * epsilon - x.log_sigmoid() * (1.0 - epsilon)) / (1.0 - 2.0 * epsilon)
        }
        DpoLoss::Bco { shift } => -(c * beta - shift).log_sigmoid() - (-(r * beta - shift)).log_sigmoid(),
        DpoLoss::Sppo => (c - 0.5 / beta).square() + (r + 0.5 / beta).square(),
        DpoLoss::Aot => {
            let policy = sorted(&(&batch.chosen - &batch.rejected));
            smoothed((policy - sorted(&(&batch.ref_chosen - &batch.ref_rejected))) * beta)
        }
        DpoLoss::AotUnpaired => smoothed((sorted(c) - sorted(r)) * beta),
        DpoLoss::ApoZero => -(c * beta).sigmoid() + (r * beta).sigmoid() + 1.0,
        DpoLoss::ApoDown => (c * beta).sigmoid() - ((c - r) * beta).sigmoid() + 1.0,
        DpoLoss::DiscoPop { temperature } => {
            let x = delta() * beta;
            let mix = &x / temperature;
            // m·exp(−x) as one exponential: apart, 0 and ∞ meet where the rejected completion is far likelier.
            -x.log_sigmoid() * (-&mix).sigmoid() + (mix.log_sigmoid() - x).exp()
        }
        DpoLoss::ChosenNllPerPair => -(&batch.chosen / batch.chosen_tokens()?),
        DpoLoss::ChosenNll => -&batch.chosen,
    })
}

use tch::{Kind, Tensor};
use vr1_dpo::{KtoConfig, KtoLoss, kto_loss};

use crate::{Counts, Error, Fold, Loss, Needs, Result, Scored, Stats};

/// The loss of answers that were judged one by one: [`vr1_dpo::kto_loss`]. A signal of 0 is disliked, any other liked; an
/// answer without a token to learn from is not looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct JudgedLoss {
    /// Its settings; it is divided by the answers of the step.
    pub config: KtoConfig,
}

impl Loss for JudgedLoss {
    fn needs(&self) -> Needs {
        Needs { reference: true, mismatched: self.config.loss == KtoLoss::Kto, ..Needs::default() }
    }

    fn loss(&self, scored: &Scored, counts: &Counts) -> Result<(Tensor, Stats)> {
        let rows = scored.lengths().nonzero().squeeze_dim(-1);
        if rows.numel() == 0 {
            return Ok((scored.sums(&scored.logprobs)?.sum(Kind::Float), Stats::default())); // 0
        }
        let sums = |logprobs: &Tensor| -> Result<Tensor> { Ok(scored.sums(logprobs)?.index_select(0, &rows)) };
        let reference = sums(scored.ref_logprobs.as_ref().ok_or(Error::NoReference)?)?;
        let (policy, judged) = (sums(&scored.logprobs)?, scored.signals.index_select(0, &rows));
        let config = KtoConfig { completions: Some(counts.occupied), ..self.config };
        let kl = scored.mismatched_kl.unwrap_or(0.0);
        let (loss, stats) = kto_loss(&policy, &reference, &judged, kl, &config)?;
        let (liked, disliked) = (Fold::Mean(stats.desirable as f64), Fold::Mean(stats.undesirable as f64));
        let mean = |these: &Tensor| policy.masked_select(these).mean(Kind::Double).double_value(&[]);
        let likes = judged.ne(0.0);
        let measured = [
            ("loss", stats.loss, Fold::Sum),
            ("kl", stats.kl, Fold::Mean(1.0)),
            ("rewards/chosen", stats.desirable_reward, liked),
            ("rewards/rejected", stats.undesirable_reward, disliked),
            ("logps/chosen", mean(&likes), liked),
            ("logps/rejected", mean(&likes.logical_not()), disliked),
        ];
        Ok((loss, Stats::new(measured)))
    }
}

use tch::{Kind, Tensor};
use vr1_dpo::{KtoConfig, KtoLoss, kto_loss};

use crate::{Counts, Error, Fold, Loss, Needs, Result, Scored, Stats};

/// The loss of answers that were judged one by one: [`vr1_dpo::kto_loss`]. A signal of 0 is disliked, any other liked.
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
        let reference = scored.sums(scored.ref_logprobs.as_ref().ok_or(Error::NoReference)?)?;
        let policy = scored.sums(&scored.logprobs)?;
        let config = KtoConfig { completions: Some(counts.sequences), ..self.config };
        let kl = scored.mismatched_kl.unwrap_or(0.0);
        let (loss, stats) = kto_loss(&policy, &reference, &scored.signals, kl, &config)?;
        let (liked, disliked) = (Fold::Mean(stats.desirable as f64), Fold::Mean(stats.undesirable as f64));
        let mean = |judged: &Tensor| policy.masked_select(judged).mean(Kind::Double).double_value(&[]);
        let likes = scored.signals.ne(0.0);
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

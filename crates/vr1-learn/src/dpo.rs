//! `P` pairs, `T` tokens of the longest answer.

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};
use vr1_dpo::{
    DpoConfig, DpoLoss, Extras, Normalizer, ReferenceFreeConfig, dpo_mixture_loss, length_desensitized,
    reference_free_loss,
};

use crate::{Counts, Coupling, Error, Fold, Loss, Needs, Result, Scored, Stats};

/// A loss of a mixture, with its weight.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightedLoss {
    /// What it is multiplied by.
    pub weight: f64,
    /// The loss.
    pub loss: DpoLoss,
}

/// How the pairs are compared.
#[derive(Debug, Clone, PartialEq)]
pub enum PairLoss {
    /// With a reference: DPO and its kin, one loss or a weighted sum of several.
    Referenced {
        /// Settings that the losses share.
        config: DpoConfig,
        /// The losses.
        terms: Vec<WeightedLoss>,
    },
    /// Without one: SimPO, ORPO, CPO.
    ReferenceFree(ReferenceFreeConfig),
}

/// A preference loss: [`vr1_dpo`]. Every group is a pair; the signal of the chosen is above that of the rejected.
#[derive(Debug, Clone, PartialEq)]
pub struct PreferenceLoss {
    /// How the pairs are compared.
    pub pairs: PairLoss,
    /// What the tokens beyond the shorter answer of a pair count, in [0, 1]; 1 is all (LD-DPO,
    /// [arXiv:2409.06411](https://arxiv.org/abs/2409.06411)).
    pub length_desensitisation: f64,
}

impl Loss for PreferenceLoss {
    fn needs(&self) -> Needs {
        let (reference, coupling) = match &self.pairs {
            PairLoss::ReferenceFree(_) => (false, Coupling::Group),
            PairLoss::Referenced { terms, .. } => {
                // These sort the margins of all pairs of the step.
                let sorts = |term: &WeightedLoss| matches!(term.loss, DpoLoss::Aot | DpoLoss::AotUnpaired);
                (true, if terms.iter().any(sorts) { Coupling::Step } else { Coupling::Group })
            }
        };
        Needs { reference, coupling, ..Needs::default() }
    }

    fn loss(&self, scored: &Scored, counts: &Counts) -> Result<(Tensor, Stats)> {
        let [chosen, rejected] = pairs(scored)?;
        let pick = |values: &Tensor, rows: &Tensor| values.index_select(0, rows);
        let sums = |logprobs: &Tensor| -> Result<[Tensor; 2]> {
            if self.length_desensitisation == 1.0 {
                let sums = scored.sums(logprobs)?;
                return Ok([&chosen, &rejected].map(|rows| pick(&sums, rows)));
            }
            let [(c, cm), (r, rm)] = [&chosen, &rejected].map(|rows| (pick(logprobs, rows), pick(&scored.mask, rows)));
            let (c, r) = length_desensitized(&c, &cm, &r, &rm, self.length_desensitisation)?;
            Ok([c, r])
        };
        let [policy_chosen, policy_rejected] = sums(&scored.logprobs)?;
        let lengths = scored.lengths();
        let [chosen_tokens, rejected_tokens] = [&chosen, &rejected].map(|rows| pick(&lengths, rows));
        let count = chosen.size()[0] as f64;
        match &self.pairs {
            PairLoss::Referenced { config, terms } => {
                let reference = scored.ref_logprobs.as_ref().ok_or(Error::NoReference)?;
                let [ref_chosen, ref_rejected] = sums(reference)?;
                let normalizer = Normalizer::Global { pairs: counts.groups, chosen_tokens: counts.chosen_tokens };
                let config = DpoConfig { normalizer, ..*config };
                let extras = Extras {
                    chosen_tokens: Some(&chosen_tokens),
                    rejected_tokens: Some(&rejected_tokens),
                    weights: None,
                };
                let terms: Vec<(f64, DpoLoss)> = terms.iter().map(|term| (term.weight, term.loss)).collect();
                let logprobs = [&policy_chosen, &policy_rejected, &ref_chosen, &ref_rejected];
                let (loss, stats) = dpo_mixture_loss(logprobs, extras, &terms, &config)?;
                let mean = Fold::Mean(count);
                let measured = [
                    ("loss", stats.loss, Fold::Sum),
                    ("rewards/chosen", stats.chosen_reward, mean),
                    ("rewards/rejected", stats.rejected_reward, mean),
                    ("rewards/margins", stats.margin, mean),
                    ("rewards/accuracies", stats.accuracy, mean),
                    ("logps/chosen", stats.chosen_logprob, mean),
                    ("logps/rejected", stats.rejected_logprob, mean),
                ];
                Ok((loss, Stats::new(measured)))
            }
            PairLoss::ReferenceFree(config) => {
                let config = ReferenceFreeConfig { whole: Some((counts.groups, counts.chosen_tokens)), ..*config };
                let (loss, stats) =
                    reference_free_loss(&policy_chosen, &policy_rejected, &chosen_tokens, &rejected_tokens, &config)?;
                let value = |logprobs: &Tensor| logprobs.mean(Kind::Double).double_value(&[]);
                let mean = Fold::Mean(count);
                let measured = [
                    ("loss", stats.loss, Fold::Sum),
                    ("nll", stats.nll, mean),
                    ("rewards/margins", stats.margin, mean),
                    ("rewards/accuracies", stats.accuracy, mean),
                    ("logps/chosen", value(&policy_chosen), mean),
                    ("logps/rejected", value(&policy_rejected), mean),
                ];
                Ok((loss, Stats::new(measured)))
            }
        }
    }
}

/// The rows of the chosen and of the rejected answers, `[P]` each.
fn pairs(scored: &Scored) -> Result<[Tensor; 2]> {
    let signals = Vec::<f32>::try_from(&scored.signals)?;
    let lengths = Vec::<f32>::try_from(&scored.lengths())?;
    let (mut chosen, mut rejected, mut at) = (Vec::new(), Vec::new(), 0);
    for (&size, sample) in scored.groups.iter().zip(&scored.samples) {
        let wrong = |reason: String| Err(Error::Sequence { sample: sample.clone(), reason });
        if size != 2 {
            return wrong(format!("a pair has two answers, not {size}"));
        }
        if lengths[at..at + 2].contains(&0.0) {
            return wrong("an answer of the pair has no token to learn from".to_owned());
        }
        let (first, second) = (signals[at], signals[at + 1]);
        if first == second {
            return wrong("neither answer of the pair is preferred".to_owned());
        }
        let (better, worse) = if first > second { (at, at + 1) } else { (at + 1, at) };
        chosen.push(better as i64);
        rejected.push(worse as i64);
        at += size;
    }
    Ok([chosen, rejected].map(|rows| Tensor::from_slice(&rows).to_device(scored.signals.device())))
}

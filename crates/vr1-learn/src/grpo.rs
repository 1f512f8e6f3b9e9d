use tch::Tensor;
use vr1_grpo::{EmptyRows, EntropyMask, Extras, GrpoConfig, Normalizer, SamplerCorrection, grpo_loss_with};

use crate::{Counts, Coupling, Fold, Loss, Needs, Old, Reach, Result, Scored, Stats};

/// The loss of group relative policy optimisation and its family: [`vr1_grpo`]. Signals are advantages.
#[derive(Debug, Clone, Copy)]
pub struct PolicyLoss {
    /// Its settings; the normalizer is the step's.
    pub config: GrpoConfig,
    /// The temperature that completions were sampled at.
    pub temperature: f64,
}

impl Loss for PolicyLoss {
    fn needs(&self) -> Needs {
        let corrected = self.config.sampler_correction != SamplerCorrection::None;
        // A share of the step's most uncertain tokens cannot be known from a part of it.
        let coupling =
            if matches!(self.config.entropy_mask, EntropyMask::Top(_)) { Coupling::Step } else { Coupling::None };
        Needs {
            temperature: self.temperature,
            reach: Reach::Sampled,
            old: if corrected { Old::Own } else { Old::Drawn },
            reference: self.config.beta != 0.0,
            coupling,
            ..Needs::default()
        }
    }

    fn loss(&self, scored: &Scored, counts: &Counts) -> Result<(Tensor, Stats)> {
        let sequences = match self.config.empty_rows {
            EmptyRows::Counted => counts.sequences,
            EmptyRows::Skipped => counts.occupied,
        };
        let normalizer = Normalizer::Global { tokens: counts.tokens, sequences };
        let entropy_tokens = (self.config.entropy_bonus != 0.0).then_some(counts.tokens);
        let config = GrpoConfig { normalizer, entropy_tokens, ..self.config };
        let extras = Extras { entropy: Some(&scored.entropy), sampler_logprobs: scored.drawn.as_ref() };
        let (loss, stats) = grpo_loss_with(
            &scored.logprobs,
            &scored.old_logprobs,
            scored.ref_logprobs.as_ref(),
            scored.token_signals.as_ref().unwrap_or(&scored.signals),
            &scored.mask,
            extras,
            &config,
        )?;
        let mean = Fold::Mean(stats.tokens as f64);
        let measured = [
            ("loss", stats.loss, Fold::Sum),
            ("policy_loss", stats.policy_loss, Fold::Sum),
            ("kl", stats.kl, mean),
            ("entropy", stats.entropy.unwrap_or(f64::NAN), mean),
            ("ratio_min", stats.ratio_min, Fold::Min),
            ("ratio_max", stats.ratio_max, Fold::Max),
            ("clip_ratio", stats.clip_ratio, mean),
            ("clip_ratio_low", stats.clip_ratio_low, mean),
            ("clip_ratio_high", stats.clip_ratio_high, mean),
            ("old_kl", stats.old_kl, mean),
            ("active_tokens", stats.active, mean),
            ("sampler_ratio", stats.sampler_ratio_mean, mean),
        ];
        Ok((loss, Stats::new(measured)))
    }
}

use tch::{Kind, Tensor};
use vr1_sft::{Alignment, Normalizer, SftConfig, sft_loss_of_logprobs};

use crate::{Counts, Fold, Loss, Needs, Result, Scored, Stats};

/// The supervised loss: [`vr1_sft`]. Every sequence is a document to imitate; signals are not looked at.
#[derive(Debug, Clone, Copy, Default)]
pub struct ImitationLoss {
    /// Its settings; the normalizer is the step's.
    pub config: SftConfig,
}

impl Loss for ImitationLoss {
    fn needs(&self) -> Needs {
        Needs { mean_logprobs: self.config.label_smoothing != 0.0, ..Needs::default() }
    }

    fn loss(&self, scored: &Scored, counts: &Counts) -> Result<(Tensor, Stats)> {
        let normalizer = Normalizer::Global(counts.tokens);
        let config = SftConfig { alignment: Alignment::Aligned, normalizer, ..self.config };
        let mean_logprobs = scored.mean_logprobs.as_ref();
        let (loss, stats) = sft_loss_of_logprobs(&scored.logprobs, &scored.mask, mean_logprobs, None, None, &config)?;
        let tokens = scored.tokens();
        let right = (&scored.likeliest * &scored.mask).sum(Kind::Double).double_value(&[]);
        let measured = [
            ("loss", stats.loss, Fold::Sum),
            ("nll", stats.nll, Fold::Mean(tokens)),
            ("token_accuracy", right / tokens, Fold::Mean(tokens)),
        ];
        Ok((loss, Stats::new(measured)))
    }
}

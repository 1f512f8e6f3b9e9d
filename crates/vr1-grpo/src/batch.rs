use tch::{Kind, Tensor};
use vr1_ops::{check_alike, check_device, check_floating, check_rank, check_shape, masked_select_or_zero};

use crate::config::{EntropyMask, GrpoConfig, Normalizer};
use crate::masks::entropy_threshold;
use crate::{Error, Extras, Result};

/// The tensors as they were handed in.
#[derive(Clone, Copy)]
pub(crate) struct Given<'a> {
    pub(crate) logprobs: &'a Tensor,
    pub(crate) old_logprobs: &'a Tensor,
    pub(crate) ref_logprobs: Option<&'a Tensor>,
    pub(crate) advantages: &'a Tensor,
    pub(crate) completion_mask: &'a Tensor,
    pub(crate) extras: Extras<'a>,
}

/// The same tensors in f32 or f64, holding 0 at every masked position, so that all arithmetic on them is safe. Gradient flows through
/// `logprobs` and `entropy`.
pub(crate) struct Batch {
    /// `[B, T]`, true where a token counts.
    pub(crate) keep: Tensor,
    /// `[B, 1]`, counted tokens of a sequence, at least 1.
    pub(crate) counts: Tensor,
    pub(crate) logprobs: Tensor,
    pub(crate) old_logprobs: Tensor,
    pub(crate) ref_logprobs: Option<Tensor>,
    pub(crate) entropy: Option<Tensor>,
    pub(crate) sampler_logprobs: Option<Tensor>,
    /// `[B, 1]` or `[B, T]`.
    pub(crate) advantages: Tensor,
}

impl Batch {
    /// Checks the tensors and selects what counts; nothing where they have no position at all.
    pub(crate) fn of(given: Given<'_>) -> Result<Option<Self>> {
        given.check()?;
        if given.logprobs.numel() == 0 {
            return Ok(None);
        }
        let kind = accumulation(given.logprobs);
        let keep = given.completion_mask.f_ne(0)?;
        let select =
            |tensor: &Tensor| -> Result<Tensor> { Ok(masked_select_or_zero(&tensor.f_to_kind(kind)?, &keep)?) };
        let advantages = given.advantages.detach();
        Ok(Some(Self {
            counts: keep.f_sum_dim_intlist(1i64, true, kind)?.clamp_min(1.0),
            logprobs: select(given.logprobs)?,
            old_logprobs: select(&given.old_logprobs.detach())?,
            ref_logprobs: given.ref_logprobs.map(|tensor| select(&tensor.detach())).transpose()?,
            entropy: given.extras.entropy.map(&select).transpose()?,
            sampler_logprobs: given.extras.sampler_logprobs.map(|tensor| select(&tensor.detach())).transpose()?,
            advantages: match advantages.dim() {
                1 => advantages.f_to_kind(kind)?.f_unsqueeze(1)?,
                _ => select(&advantages)?,
            },
            keep,
        }))
    }

    pub(crate) fn kind(&self) -> Kind {
        self.logprobs.kind()
    }

    /// The tokens that carry the policy loss by their entropy, `[B, T]`.
    pub(crate) fn active(&self, config: &GrpoConfig) -> Result<Tensor> {
        let Some(entropy) = self.entropy.as_ref().map(Tensor::detach) else { return Ok(self.keep.shallow_clone()) };
        let threshold = match config.entropy_mask {
            EntropyMask::All => return Ok(self.keep.shallow_clone()),
            EntropyMask::AtLeast(threshold) => threshold,
            EntropyMask::Top(share) => match entropy_threshold(&entropy, &self.keep, share) {
                // A part of a batch may be without a token.
                Err(Error::EmptyMask) if config.normalizer != Normalizer::Local => 0.0,
                threshold => threshold?,
            },
        };
        Ok(self.keep.logical_and(&entropy.ge(threshold)))
    }
}

impl Given<'_> {
    /// Ranks, shapes, kinds and devices.
    fn check(&self) -> Result<()> {
        let logprobs = self.logprobs;
        check_rank("logprobs", logprobs, 2)?;
        check_floating("logprobs", logprobs)?;
        let others = [
            ("old_logprobs", Some(self.old_logprobs)),
            ("ref_logprobs", self.ref_logprobs),
            ("entropy", self.extras.entropy),
            ("sampler_logprobs", self.extras.sampler_logprobs),
        ];
        for (name, tensor) in others {
            if let Some(tensor) = tensor {
                check_alike(name, tensor, "logprobs", logprobs)?;
                check_floating(name, tensor)?;
            }
        }
        check_alike("completion_mask", self.completion_mask, "logprobs", logprobs)?;
        let advantages = self.advantages;
        check_floating("advantages", advantages)?;
        let expected = if advantages.dim() == 2 { logprobs.size() } else { vec![logprobs.size()[0]] };
        check_shape("advantages", advantages, "logprobs", &expected)?;
        Ok(check_device("advantages", advantages, "logprobs", logprobs)?)
    }
}

/// The kind in which sums are taken: f64 stays, all else becomes f32.
pub(crate) fn accumulation(tensor: &Tensor) -> Kind {
    if tensor.kind() == Kind::Double { Kind::Double } else { Kind::Float }
}

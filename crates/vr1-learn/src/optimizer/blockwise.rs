//! Block-wise dynamic quantisation (Dettmers et al., [arXiv:2110.02861](https://arxiv.org/abs/2110.02861), sections 1.3 and 2.1), with the
//! blocks of 256 numbers that bitsandbytes has come to use. `n` blocks.
//!
//! # Differences from the paper
//! A square that is not 0 is never held as 0, but as the smallest value there is: where its gradient is 0 in the next step, the mean that
//! is left would be divided by ε alone.

use tch::{Device, Kind, Tensor};

/// Numbers that share a scale.
pub(super) const BLOCK: i64 = 256;

/// The 256 values from −1 or 0 to 1 that a code stands for, in rising order, and the middles between them.
///
/// A value is 0, 1, or a decade from 10⁻⁶ to 1 and a fraction from 0.1 to 1 in as many equal steps as the bits that are left have
/// numbers: the higher the decade, the more.
#[derive(Debug)]
pub(super) struct Codebook {
    values: Tensor,
    middles: Tensor,
    signs: Signs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Signs {
    Both,
    Positive,
}

impl Codebook {
    /// For numbers of both signs.
    pub(super) fn signed(device: Device) -> Self {
        Self::new(Signs::Both, device)
    }

    /// For numbers that are never negative: twice as many fractions in each decade.
    pub(super) fn unsigned(device: Device) -> Self {
        Self::new(Signs::Positive, device)
    }

    fn new(signs: Signs, device: Device) -> Self {
        let factors: &[f64] = if signs == Signs::Both { &[1.0, -1.0] } else { &[1.0] };
        let mut values = vec![0.0, 1.0];
        for decade in 0..7 {
            let fractions = (1 << (decade + 2 - factors.len())) as f64;
            for step in 0..fractions as usize {
                let fraction = 0.1 + 0.9 * (step as f64 + 0.5) / fractions;
                values.extend(factors.iter().map(|sign| sign * fraction * 10f64.powi(decade as i32 - 6)));
            }
        }
        values.sort_by(f64::total_cmp);
        let middles: Vec<f64> = values.windows(2).map(|pair| (pair[0] + pair[1]) / 2.0).collect();
        let [values, middles] =
            [values, middles].map(|list| Tensor::from_slice(&list).to_kind(Kind::Float).to_device(device));
        Self { values, middles, signs }
    }

    pub(super) fn shallow_clone(&self) -> Self {
        Self { values: self.values.shallow_clone(), middles: self.middles.shallow_clone(), signs: self.signs }
    }

    pub(super) fn device(&self) -> Device {
        self.values.device()
    }

    /// The values, and the middles between them.
    pub(super) fn tables(&self) -> [&Tensor; 2] {
        [&self.values, &self.middles]
    }

    /// The numbers of codes `[n, 256]` with scales `[n]`.
    pub(super) fn widen(&self, codes: &Tensor, scales: &Tensor) -> Tensor {
        let values = self.values.index_select(0, &codes.view([-1]).to_kind(Kind::Int));
        values.view([-1, BLOCK]) * scales.unsqueeze(-1)
    }

    /// The codes and scales of numbers in a row: a block's scale is its largest number, a code the nearest value.
    pub(super) fn narrow(&self, numbers: &Tensor) -> (Tensor, Tensor) {
        let missing = (BLOCK - numbers.numel() as i64 % BLOCK) % BLOCK;
        let blocks = numbers.constant_pad_nd([0, missing]).view([-1, BLOCK]);
        let scales = blocks.abs().amax([-1i64], false);
        // A block of nothing but 0 has no largest number to divide by.
        let shares = blocks / scales.clamp_min(f64::from(f32::MIN_POSITIVE)).unsqueeze(-1);
        let nearest = shares.bucketize(&self.middles, true, false);
        let codes = match self.signs {
            Signs::Both => nearest,
            Signs::Positive => nearest.maximum(&shares.gt(0.0)),
        };
        (codes.to_kind(Kind::Uint8), scales)
    }
}

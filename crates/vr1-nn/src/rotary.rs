//! `B` sequences, `T` tokens, `N` patches, `d` head size.

use tch::{Device, Kind, Tensor};

use crate::{Error, Result};

/// The cosines and sines that rotate queries and keys; computed once a forward pass and used by every layer.
#[derive(Debug)]
pub struct Rotation {
    cos: Tensor,
    sin: Tensor,
}

impl Rotation {
    /// Angles `[…, T, d/2]` made into a rotation of tensors `[…, T, H, d]`.
    fn new(angles: &Tensor, kind: Kind) -> Self {
        let angles = Tensor::cat(&[angles, angles], -1).unsqueeze(-2);
        Self { cos: angles.cos().to_kind(kind), sin: angles.sin().to_kind(kind) }
    }

    /// `x cos + rotate_half(x) sin` for `x` `[…, T, H, d]`, where `rotate_half([a, b]) = [−b, a]`.
    pub fn apply(&self, x: &Tensor) -> Tensor {
        let halves = x.chunk(2, -1);
        let turned = Tensor::cat(&[-&halves[1], halves[0].shallow_clone()], -1);
        x * &self.cos + turned * &self.sin
    }
}

/// Multimodal rotary embedding: the frequencies are dealt out to temporal, height and width positions in sections
/// (Qwen2-VL, [arXiv:2409.12191](https://arxiv.org/abs/2409.12191), section 2.1). With a single section it is the plain
/// rotary embedding (RoFormer, [arXiv:2104.09864](https://arxiv.org/abs/2104.09864)).
#[derive(Debug)]
pub struct MultimodalRotary {
    inverse_frequencies: Tensor,
    axis: Tensor,
}

impl MultimodalRotary {
    /// A rotation of heads of size `head_dim` with base `theta`; `sections` sum to `head_dim / 2`.
    ///
    /// # Errors
    /// If `head_dim` is odd or the sections do not fill it.
    pub fn new(head_dim: i64, theta: f64, sections: &[i64], device: Device) -> Result<Self> {
        if head_dim % 2 != 0 || sections.iter().sum::<i64>() != head_dim / 2 || sections.len() > 3 {
            return Err(Error::Config(format!(
                "rotary sections {sections:?} must be one to three and sum to half the head size {head_dim}"
            )));
        }
        let axis: Vec<i64> =
            sections.iter().enumerate().flat_map(|(axis, &n)| vec![axis as i64; n.max(0) as usize]).collect();
        Ok(Self {
            inverse_frequencies: inverse_frequencies(head_dim, theta, device),
            axis: Tensor::from_slice(&axis).to_device(device),
        })
    }

    /// The rotation for `position_ids` `[3, B, T]`, for queries and keys `[B, T, H, d]`.
    pub fn rotation(&self, position_ids: &Tensor, kind: Kind) -> Rotation {
        let positions = position_ids.permute([1, 2, 0]).index_select(-1, &self.axis).to_kind(Kind::Float);
        Rotation::new(&(positions * &self.inverse_frequencies), kind)
    }
}

/// The rotation of image patches by row and column: `rows` and `columns` `[N]`, for queries and keys `[N, H, d]`.
///
/// The first quarter of a head's angles is the row's, the second the column's (Qwen2-VL's vision tower).
pub fn vision_rotation(rows: &Tensor, columns: &Tensor, head_dim: i64, kind: Kind) -> Rotation {
    let frequencies = inverse_frequencies(head_dim / 2, 10_000.0, rows.device());
    let angles = |places: &Tensor| places.to_kind(Kind::Float).unsqueeze(-1) * &frequencies;
    Rotation::new(&Tensor::cat(&[angles(rows), angles(columns)], -1), kind)
}

/// `θ^(−2i/d)` for `i` in `0..d/2`.
fn inverse_frequencies(dim: i64, theta: f64, device: Device) -> Tensor {
    let exponents = Tensor::arange_start_step(0, dim, 2, (Kind::Float, device)) / dim as f64;
    (exponents * -theta.ln()).exp()
}

//! `B` sequences, `T` tokens, `N` patches, `d` head size.

use tch::{Device, Kind, Tensor};
use vr1_torch::{granted, rotate};

use crate::{Error, Result, Rope};

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

    /// The same rotation; its tensors are shared.
    #[must_use]
    pub fn shallow_clone(&self) -> Self {
        Self { cos: self.cos.shallow_clone(), sin: self.sin.shallow_clone() }
    }

    /// Cosines and sines of a token a row, `[B, d]` each.
    pub(crate) fn of_rows(&self) -> (Tensor, Tensor) {
        let of_rows = |x: &Tensor| x.flatten(0, -2);
        (of_rows(&self.cos), of_rows(&self.sin))
    }

    /// `x cos + rotate_half(x) sin` for `x` `[…, T, H, d]`, where `rotate_half([a, b]) = [−b, a]`; computed in the wider
    /// of both kinds, given in that of `x`.
    ///
    /// # Panics
    /// As all operations of tensors do where libtorch refuses them: where the rotation is of other tokens.
    pub fn apply(&self, x: &Tensor) -> Tensor {
        granted(rotate(x, &self.cos, &self.sin))
    }
}

/// Multimodal rotary embedding: the frequencies are dealt out to temporal, height and width positions
/// (Qwen2-VL, [arXiv:2409.12191](https://arxiv.org/abs/2409.12191), section 2.1). Where all follow one it is the plain
/// rotary embedding (RoFormer, [arXiv:2104.09864](https://arxiv.org/abs/2104.09864)).
#[derive(Debug)]
pub struct MultimodalRotary {
    inverse_frequencies: Tensor,
    axis: Tensor,
}

impl MultimodalRotary {
    /// A rotation of heads of size `head_dim` with the frequencies of `rope`.
    ///
    /// # Errors
    /// If `head_dim` is odd or the sections do not fill it.
    pub fn new(head_dim: i64, rope: &Rope, device: Device) -> Result<Self> {
        if head_dim % 2 != 0 {
            return Err(Error::Config(format!("a head of size {head_dim} has no two halves to rotate")));
        }
        let count = head_dim / 2;
        let axis = match &rope.sections {
            Some(sections) => sections.axes(count)?,
            None => vec![0; count as usize],
        };
        let inverse_frequencies = rope.scaling.apply(&inverse_frequencies(head_dim, rope.theta, device));
        Ok(Self { inverse_frequencies, axis: Tensor::from_slice(&axis).to_device(device) })
    }

    /// The rotation for `position_ids` `[3, B, T]`, for queries and keys `[B, T, H, d]`.
    pub fn rotation(&self, position_ids: &Tensor, kind: Kind) -> Rotation {
        let positions = position_ids.permute([1, 2, 0]).index_select(-1, &self.axis).to_kind(Kind::Float);
        Rotation::new(&(positions * &self.inverse_frequencies), kind)
    }
}

/// The rotation of image patches by row and column: `rows` and `columns` `[N]`, for queries and keys `[N, H, d]`.
///
/// The first quarter of a head's angles is the row's, the second the column's (the vision towers of Qwen2-VL and
/// Qwen2.5-VL). It is f32: these towers rotate in f32 whatever their kind is.
pub fn vision_rotation(rows: &Tensor, columns: &Tensor, head_dim: i64) -> Rotation {
    let frequencies = inverse_frequencies(head_dim / 2, 10_000.0, rows.device());
    let angles = |places: &Tensor| places.to_kind(Kind::Float).unsqueeze(-1) * &frequencies;
    Rotation::new(&Tensor::cat(&[angles(rows), angles(columns)], -1), Kind::Float)
}

/// `1 / θ^(2i/d)` for `i` in `0..d/2`, by the operations that transformers takes: position 30,000 shows every last bit.
fn inverse_frequencies(dim: i64, theta: f64, device: Device) -> Tensor {
    let exponents = Tensor::arange_start_step(0, dim, 2, (Kind::Float, Device::Cpu)) / dim as f64;
    Tensor::pow_scalar(theta, &exponents).reciprocal().to_device(device)
}

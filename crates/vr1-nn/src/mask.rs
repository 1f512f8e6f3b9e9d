//! `P` prompts, `L` prompt tokens, `T` new tokens, `S` tokens attended to.

use tch::{Device, Kind, Tensor};

/// What is added to the scores of positions that may not be seen: finite, so that a row that sees nothing at all (a
/// padded query) gives numbers and not NaN, whose gradient would spread.
fn hidden(kind: Kind) -> f64 {
    if kind == Kind::Half { -3e4 } else { -1e9 }
}

/// The causal mask: query `i` of the last `queries` positions sees the keys up to its own, `[T, S]`, added to scores.
///
/// # Example
/// ```
/// let mask = vr1_nn::causal_mask(2, 3, (tch::Kind::Float, tch::Device::Cpu));
/// assert_eq!(Vec::<Vec<f32>>::try_from(mask)?, [[0.0, 0.0, -1e9], [0.0, 0.0, 0.0]]);
/// # Ok::<(), tch::TchError>(())
/// ```
pub fn causal_mask(queries: i64, keys: i64, (kind, device): (Kind, Device)) -> Tensor {
    let full = Tensor::full([queries, keys], hidden(kind), (Kind::Float, device));
    full.triu(keys - queries + 1).to_kind(kind)
}

/// The mask of left-padded prompts: `lengths[p]` tokens at the right end of `width` are seen, `[P, 1, 1, L]`, added to
/// scores.
///
/// # Example
/// ```
/// let mask = vr1_nn::padding_mask(&[3, 1], 3, (tch::Kind::Float, tch::Device::Cpu)).flatten(0, 2);
/// assert_eq!(Vec::<Vec<f32>>::try_from(mask)?, [[0.0, 0.0, 0.0], [-1e9, -1e9, 0.0]]);
/// # Ok::<(), tch::TchError>(())
/// ```
pub fn padding_mask(lengths: &[i64], width: i64, (kind, device): (Kind, Device)) -> Tensor {
    let place = Tensor::arange(width, (Kind::Int64, device)).unsqueeze(0);
    let start = (width - Tensor::from_slice(lengths).to_device(device)).unsqueeze(1);
    let padded = place.lt_tensor(&start).to_kind(Kind::Float) * hidden(kind);
    padded.to_kind(kind).unsqueeze(1).unsqueeze(1)
}

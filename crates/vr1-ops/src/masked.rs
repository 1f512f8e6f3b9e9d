use tch::{Kind, Tensor};

use crate::checks::{check_alike, check_floating};
use crate::{Error, Result};

/// A copy of `values` that is 0 wherever `mask` is 0.
///
/// ```text
/// out = values  where mask ≠ 0
///       0       elsewhere
/// ```
///
/// This is a selection, not a product: what stands at a masked position (NaN and ±∞ included) reaches neither the result nor
/// the gradient. Do it before any other arithmetic.
///
/// # Shapes
/// `values [..]`, `mask [..]` → `[..]`, of the kind of `values`.
///
/// # Errors
/// Different shapes or devices, or `values` not floating-point.
///
/// # Example
/// ```
/// use tch::Tensor;
/// let values = Tensor::from_slice(&[1f32, f32::NAN, 3.0]);
/// let out = vr1_ops::masked_select_or_zero(&values, &Tensor::from_slice(&[1i64, 0, 1]))?;
/// assert_eq!(Vec::<f32>::try_from(out)?, [1.0, 0.0, 3.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn masked_select_or_zero(values: &Tensor, mask: &Tensor) -> Result<Tensor> {
    check_floating("values", values)?;
    check_alike("mask", mask, "values", values)?;
    Ok(values.f_where_self(&mask.f_ne(0)?, &values.f_zeros_like()?)?)
}

/// The sum of `values` where `mask` is not 0, along the last dimension.
///
/// ```text
/// out = Σ_t values_t   over t with mask_t ≠ 0
/// ```
///
/// # Shapes
/// `values [.., T]`, `mask [.., T]` → `[..]`.
///
/// # Errors
/// Different shapes or devices, or `values` not floating-point.
///
/// # Example
/// ```
/// use tch::Tensor;
/// let values = Tensor::from_slice2(&[[1f32, 2.0], [3.0, f32::NAN]]);
/// let mask = Tensor::from_slice2(&[[1i64, 1], [1, 0]]);
/// assert_eq!(Vec::<f32>::try_from(vr1_ops::masked_sum(&values, &mask)?)?, [3.0, 3.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn masked_sum(values: &Tensor, mask: &Tensor) -> Result<Tensor> {
    Ok(masked_select_or_zero(values, mask)?.f_sum_dim_intlist(-1i64, false, None::<Kind>)?)
}

/// The mean of `values` over all positions where `mask` is not 0.
///
/// ```text
/// mean = Σ_i values_i / N   over the N positions i with mask_i ≠ 0
/// ```
///
/// # Shapes
/// `values [..]`, `mask [..]` → a scalar.
///
/// # Errors
/// Different shapes or devices, `values` not floating-point, or a mask that selects nothing ([`Error::EmptyMask`]).
///
/// # Example
/// ```
/// use tch::Tensor;
/// let values = Tensor::from_slice(&[1f32, f32::NAN, 4.0]);
/// let mean = vr1_ops::masked_mean(&values, &Tensor::from_slice(&[1i64, 0, 1]))?;
/// assert_eq!(mean.double_value(&[]), 2.5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn masked_mean(values: &Tensor, mask: &Tensor) -> Result<Tensor> {
    let kept = masked_select_or_zero(values, mask)?;
    let count = mask.f_ne(0)?.f_sum(Kind::Int64)?.f_int64_value(&[])?;
    if count == 0 {
        return Err(Error::EmptyMask { name: "mask" });
    }
    Ok(kept.f_sum(None::<Kind>)?.f_div_scalar(count)?)
}

/// The mean of each row of `values` over its positions where `mask` is not 0; a row with none has mean 0.
///
/// ```text
/// out_i = Σ_t values_{i,t} / max(1, N_i)   over the N_i positions t with mask_{i,t} ≠ 0
/// ```
///
/// # Shapes
/// `values [.., T]`, `mask [.., T]` → `[..]`.
///
/// # Errors
/// Different shapes or devices, or `values` not floating-point.
///
/// # Example
/// ```
/// use tch::Tensor;
/// let values = Tensor::from_slice2(&[[1f32, 3.0], [5.0, 7.0], [9.0, 9.0]]);
/// let mask = Tensor::from_slice2(&[[1i64, 1], [1, 0], [0, 0]]);
/// assert_eq!(Vec::<f32>::try_from(vr1_ops::masked_row_mean(&values, &mask)?)?, [2.0, 5.0, 0.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn masked_row_mean(values: &Tensor, mask: &Tensor) -> Result<Tensor> {
    let sums = masked_sum(values, mask)?;
    let counts = mask.f_ne(0)?.f_sum_dim_intlist(-1i64, false, Kind::Int64)?.f_clamp_min(1)?;
    Ok(sums.f_div(&counts.f_to_kind(values.kind())?)?)
}

use tch::{Kind, Tensor};

use crate::{Error, Result};

/// Checks that `tensor` has `rank` dimensions.
///
/// # Errors
/// [`Error::Rank`] names the tensor and its shape.
///
/// # Example
/// ```
/// let t = tch::Tensor::from_slice(&[1f32, 2.0]);
/// let error = vr1_ops::check_rank("logits", &t, 3).unwrap_err();
/// assert_eq!(error.to_string(), "`logits` must have 3 dimension(s), but its shape is [2]");
/// ```
pub fn check_rank(name: &'static str, tensor: &Tensor, rank: usize) -> Result<()> {
    let got = size(name, tensor)?;
    if got.len() == rank { Ok(()) } else { Err(Error::Rank { name, expected: rank, got }) }
}

/// Checks that `tensor` has exactly the shape `expected`, which the tensor called `with` calls for.
///
/// # Errors
/// [`Error::Shape`] names both tensors and both shapes.
///
/// # Example
/// ```
/// let t = tch::Tensor::from_slice(&[1f32, 2.0]);
/// assert!(vr1_ops::check_shape("advantages", &t, "logprobs", &[2]).is_ok());
/// let error = vr1_ops::check_shape("advantages", &t, "logprobs", &[3]).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "`advantages` must have shape [3] to go with `logprobs`, but its shape is [2]"
/// );
/// ```
pub fn check_shape(name: &'static str, tensor: &Tensor, with: &'static str, expected: &[i64]) -> Result<()> {
    let got = size(name, tensor)?;
    if got == expected { Ok(()) } else { Err(Error::Shape { name, with, expected: expected.to_vec(), got }) }
}

/// Checks that `tensor` has the shape of `reference` and lies on the same device.
///
/// # Errors
/// [`Error::Shape`] or [`Error::Device`], both naming the two tensors.
///
/// # Example
/// ```
/// let (a, b) = (tch::Tensor::from_slice(&[1f32]), tch::Tensor::from_slice(&[1f32, 2.0]));
/// assert!(vr1_ops::check_alike("ref_logprobs", &a, "logprobs", &b).is_err());
/// ```
pub fn check_alike(name: &'static str, tensor: &Tensor, with: &'static str, reference: &Tensor) -> Result<()> {
    check_shape(name, tensor, with, &reference.size())?;
    check_device(name, tensor, with, reference)
}

/// Checks that two tensors lie on the same device.
///
/// # Errors
/// [`Error::Device`] names both tensors and both devices.
///
/// # Example
/// ```
/// let (a, b) = (tch::Tensor::from_slice(&[1f32]), tch::Tensor::from_slice(&[1f32, 2.0]));
/// assert!(vr1_ops::check_device("hidden", &a, "output_matrix", &b).is_ok());
/// ```
pub fn check_device(name: &'static str, tensor: &Tensor, with: &'static str, reference: &Tensor) -> Result<()> {
    let (got, expected) = (tensor.device(), reference.device());
    if got == expected { Ok(()) } else { Err(Error::Device { name, with, expected, got }) }
}

/// Checks that `tensor` holds real floating-point numbers (bf16, f16, f32 or f64).
///
/// # Errors
/// [`Error::Kind`] names the tensor and its kind.
///
/// # Example
/// ```
/// let ids = tch::Tensor::from_slice(&[1i64, 2]);
/// assert!(vr1_ops::check_floating("logprobs", &ids).is_err());
/// ```
pub fn check_floating(name: &'static str, tensor: &Tensor) -> Result<()> {
    size(name, tensor)?;
    match tensor.kind() {
        Kind::Float | Kind::Double | Kind::Half | Kind::BFloat16 => Ok(()),
        got => Err(Error::Kind { name, expected: "floating-point numbers", got }),
    }
}

/// Checks that `tensor` holds integers.
///
/// # Errors
/// [`Error::Kind`] names the tensor and its kind.
///
/// # Example
/// ```
/// let labels = tch::Tensor::from_slice(&[1f32, -100.0]);
/// let error = vr1_ops::check_integers("labels", &labels).unwrap_err();
/// assert_eq!(error.to_string(), "`labels` must hold integers, but its kind is Float");
/// ```
pub fn check_integers(name: &'static str, tensor: &Tensor) -> Result<()> {
    size(name, tensor)?;
    match tensor.kind() {
        Kind::Int64 | Kind::Int | Kind::Int16 | Kind::Int8 | Kind::Uint8 => Ok(()),
        got => Err(Error::Kind { name, expected: "integers", got }),
    }
}

/// Checks that every id in `ids` is a row of a vocabulary of `vocab` tokens.
///
/// It reads two numbers back from the device, once a call.
///
/// # Errors
/// [`Error::Kind`] when `ids` does not hold integers, [`Error::TokenOutOfRange`] names the offending id.
///
/// # Example
/// ```
/// let ids = tch::Tensor::from_slice(&[0i64, 7]);
/// let error = vr1_ops::check_token_ids("targets", &ids, 7).unwrap_err();
/// assert_eq!(error.to_string(), "`targets` holds the id 7, outside a vocabulary of 7");
/// ```
pub fn check_token_ids(name: &'static str, ids: &Tensor, vocab: i64) -> Result<()> {
    check_integers(name, ids)?;
    if ids.numel() == 0 {
        return Ok(());
    }
    let range = Tensor::f_stack(&[ids.f_min()?, ids.f_max()?], 0)?.f_to_kind(Kind::Int64)?;
    let range = Vec::<i64>::try_from(range)?;
    match (range[0], range[1]) {
        (low, _) if low < 0 => Err(Error::TokenOutOfRange { name, id: low, vocab }),
        (_, high) if high >= vocab => Err(Error::TokenOutOfRange { name, id: high, vocab }),
        _ => Ok(()),
    }
}

/// The shape of a tensor that is one: tch has a value for "no tensor", which every operation panics on.
fn size(name: &'static str, tensor: &Tensor) -> Result<Vec<i64>> {
    if tensor.defined() { Ok(tensor.size()) } else { Err(Error::Undefined { name }) }
}

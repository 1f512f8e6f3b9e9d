//! `N` tokens, `H` heads, `d` head size.

use std::ffi::{c_char, c_void};
use std::ptr;

use tch::{Device, Tensor};

use crate::attention::Fit;
use crate::message::check;
use crate::{Result, unfit};

unsafe extern "C" {
    fn vr1_takes_segments(query: *const c_void) -> bool;
    fn vr1_segment_attention(
        query: *const c_void,
        key: *const c_void,
        value: *const c_void,
        ends: *const c_void,
        longest: i64,
        out: *mut *mut c_void,
    ) -> *mut c_char;
}

/// Where segments that lie side by side end, for [`segment_attention`]; on a device.
#[derive(Debug)]
pub struct SegmentEnds {
    /// 0 and where each segment ends: i32.
    ends: Tensor,
    tokens: i64,
    longest: i64,
    /// How many segments of one length follow each other, and their length.
    runs: Vec<(i64, i64)>,
}

impl SegmentEnds {
    /// Segments of these lengths, in order.
    ///
    /// # Errors
    /// If a length is negative, or their sum is more than an i32 counts.
    pub fn new(lengths: impl IntoIterator<Item = i64>, device: Device) -> Result<Self> {
        let (mut ends, mut longest) = (vec![0i32], 0);
        let mut runs: Vec<(i64, i64)> = Vec::new();
        for length in lengths {
            let last = i64::from(ends[ends.len() - 1]);
            let end = last.checked_add(length).and_then(|end| i32::try_from(end).ok()).filter(|_| length >= 0);
            let Some(end) = end else {
                return Err(unfit("segment_attention", format!("a segment of {length} tokens behind {last}")));
            };
            ends.push(end);
            longest = longest.max(length);
            match runs.last_mut() {
                Some((count, last)) if *last == length => *count += 1,
                _ => runs.push((1, length)),
            }
        }
        let tokens = i64::from(ends[ends.len() - 1]);
        Ok(Self { ends: Tensor::from_slice(&ends).to_device(device), tokens, longest, runs })
    }
}

/// Attention of tokens over those of their own segment, forwards and backwards: one call of a kernel, whatever the lengths, where there is
/// one, which wants a GPU, narrow kinds and heads of at most 256 in steps of 8; else a call for all segments of one length that follow each
/// other.
///
/// # Shapes
/// `query`, `key` and `value` `[N, H, d]`; the result is `[N, H, d]`.
///
/// # Errors
/// If shapes, kinds or devices do not fit together or do not fit the segments, or libtorch fails.
///
/// # Example
/// ```
/// use tch::{Device, Kind, Tensor};
/// use vr1_torch::{SegmentEnds, segment_attention};
///
/// // Equal keys, so that weights are equal: of two tokens, and of one.
/// let keys = Tensor::zeros([3, 1, 1], (Kind::Float, Device::Cpu));
/// let values = Tensor::from_slice(&[2.0f32, 4.0, 6.0]).view([3, 1, 1]);
/// let out = segment_attention(&keys, &keys, &values, &SegmentEnds::new([2, 1], Device::Cpu)?)?;
/// assert_eq!(Vec::<f32>::try_from(out.view([-1]))?, [3.0, 3.0, 6.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn segment_attention(query: &Tensor, key: &Tensor, value: &Tensor, ends: &SegmentEnds) -> Result<Tensor> {
    let fit = Fit { function: "segment_attention", query, key, value };
    fit.check(3)?;
    let fits = |x: &Tensor| x.size()[0] == ends.tokens && x.device() == ends.ends.device();
    if !fits(query) || !fits(key) {
        return Err(fit.error(format!("the segments have {} tokens on {:?}", ends.tokens, ends.ends.device())));
    }
    let mut out = ptr::null_mut();
    // SAFETY: the tensors outlive the calls, of which the second catches every exception of C++; where it returns null, it
    // has written a tensor that nobody else owns.
    unsafe {
        if !vr1_takes_segments(query.as_ptr().cast()) {
            return run_by_run(query, key, value, ends);
        }
        check(vr1_segment_attention(
            query.as_ptr().cast(),
            key.as_ptr().cast(),
            value.as_ptr().cast(),
            ends.ends.as_ptr().cast(),
            ends.longest,
            &mut out,
        ))?;
        Ok(Tensor::from_ptr(out.cast()))
    }
}

fn run_by_run(query: &Tensor, key: &Tensor, value: &Tensor, ends: &SegmentEnds) -> Result<Tensor> {
    let (mut start, grouped) = (0, query.size()[1] != key.size()[1]);
    let mut parts = Vec::with_capacity(ends.runs.len());
    for &(count, length) in &ends.runs {
        let of = |x: &Tensor| x.f_narrow(0, start, count * length)?.f_unflatten(0, [count, length])?.f_transpose(1, 2);
        let (q, k, v) = (of(query)?, of(key)?, of(value)?);
        let seen = Tensor::f_scaled_dot_product_attention(&q, &k, &v, None::<&Tensor>, 0.0, false, None, grouped)?;
        parts.push(seen.f_transpose(1, 2)?.f_flatten(0, 1)?);
        start += count * length;
    }
    Ok(if parts.is_empty() { query.f_zeros_like()? } else { Tensor::f_cat(&parts, 0)? })
}

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
}

impl SegmentEnds {
    /// Segments of these lengths, in order.
    ///
    /// # Errors
    /// If a length is negative, or their sum is more than an i32 counts.
    pub fn new(lengths: impl IntoIterator<Item = i64>, device: Device) -> Result<Self> {
        let (mut ends, mut longest) = (vec![0i32], 0);
        for length in lengths {
            let last = i64::from(ends[ends.len() - 1]);
            let end = last.checked_add(length).and_then(|end| i32::try_from(end).ok()).filter(|_| length >= 0);
            let Some(end) = end else {
                return Err(unfit("segment_attention", format!("a segment of {length} tokens behind {last}")));
            };
            ends.push(end);
            longest = longest.max(length);
        }
        let tokens = i64::from(ends[ends.len() - 1]);
        Ok(Self { ends: Tensor::from_slice(&ends).to_device(device), tokens, longest })
    }
}

/// Attention of tokens over those of their own segment, forwards and backwards one call of a kernel, whatever the lengths;
/// nothing where there is no such kernel: it wants a GPU and narrow kinds, and heads of at most 256 in steps of 8.
///
/// # Shapes
/// `query`, `key` and `value` `[N, H, d]`; the result is `[N, H, d]`.
///
/// # Errors
/// If shapes, kinds or devices do not fit together or do not fit the segments, or libtorch fails.
pub fn segment_attention(query: &Tensor, key: &Tensor, value: &Tensor, ends: &SegmentEnds) -> Result<Option<Tensor>> {
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
            return Ok(None);
        }
        check(vr1_segment_attention(
            query.as_ptr().cast(),
            key.as_ptr().cast(),
            value.as_ptr().cast(),
            ends.ends.as_ptr().cast(),
            ends.longest,
            &mut out,
        ))?;
        Ok(Some(Tensor::from_ptr(out.cast())))
    }
}

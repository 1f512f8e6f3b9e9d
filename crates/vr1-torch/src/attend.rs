//! `B` batch, `T` queries, `S` keys, `H` heads, `K` key-value heads, `d` head size.

use std::ffi::{c_char, c_void};
use std::ptr;

use tch::{Device, Tensor};

use crate::attention::{Fit, Path};
use crate::message::check;
use crate::{Error, Result, described};

unsafe extern "C" {
    fn vr1_attend(
        query: *const c_void,
        key: *const c_void,
        value: *const c_void,
        mask: *const c_void,
        path: i64,
        out: *mut *mut c_void,
        lse: *mut *mut c_void,
    ) -> *mut c_char;
    fn vr1_attend_spans(
        query: *const c_void,
        key: *const c_void,
        value: *const c_void,
        starts: *const c_void,
        lengths: *const c_void,
        path: i64,
        out: *mut *mut c_void,
        lse: *mut *mut c_void,
    ) -> *mut c_char;
    fn vr1_merge_attention(
        out: *const c_void,
        lse: *const c_void,
        other_out: *const c_void,
        other_lse: *const c_void,
        merged_out: *mut *mut c_void,
        merged_lse: *mut *mut c_void,
    ) -> *mut c_char;
}

/// Attention of queries over cached keys and values, without gradients, and its log-sum-exp.
///
/// `out = softmax(q · k / √d + mask) v`, `lse = log Σ exp(q · k / √d + mask)`; neither is causal. Softmax and sums are
/// computed in f32 (f64 for f64) whatever the kind. Keys and values are read where they lie, also in a cache of which
/// they are a part, as long as the numbers of a head are side by side. A query that sees no key gets 0 and −∞, so that
/// [`merge_attention`] gives it no weight.
///
/// # Shapes
/// `query` `[B, T, H, d]`, `key` and `value` `[B, S, K, d]` with `K` a divisor of `H`; `mask`, added to the scores,
/// `[B | 1, 1, T | 1, S]`. The results are `[B, T, H, d]` and `[B, H, T]`, the latter f32 (f64 for f64).
///
/// # Errors
/// If shapes, kinds or devices do not fit together, or libtorch fails.
pub fn attend(query: &Tensor, key: &Tensor, value: &Tensor, mask: Option<&Tensor>) -> Result<(Tensor, Tensor)> {
    along(query, key, value, mask, Path::Fused)
}

fn along(query: &Tensor, key: &Tensor, value: &Tensor, mask: Option<&Tensor>, path: Path) -> Result<(Tensor, Tensor)> {
    let fit = Fit { function: "attend", query, key, value };
    fit.check(4)?;
    let (batch, queries, keys) = (query.size()[0], query.size()[1], key.size()[1]);
    if key.size()[0] != batch {
        return Err(fit.error("queries and keys differ in batch".to_owned()));
    }
    if let Some(mask) = mask {
        let size = mask.size();
        let fits = |x: i64, whole: i64| x == 1 || x == whole;
        if !matches!(size[..], [b, 1, t, s] if fits(b, batch) && fits(t, queries) && s == keys) {
            return Err(fit.error(format!("a mask {size:?} is not [{batch} | 1, 1, {queries} | 1, {keys}]")));
        }
        if !mask.is_floating_point() || mask.device() != query.device() {
            return Err(fit.error(format!("a mask of {:?} on {:?}", mask.kind(), mask.device())));
        }
    }
    let (mut out, mut lse) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: the tensors outlive the call, which catches every exception of C++; where it returns null, it has written
    // two tensors that nobody else owns.
    unsafe {
        check(vr1_attend(
            query.as_ptr().cast(),
            key.as_ptr().cast(),
            value.as_ptr().cast(),
            mask.map_or(ptr::null(), |mask| mask.as_ptr().cast()),
            path as i64,
            &mut out,
            &mut lse,
        ))?;
        Ok((Tensor::from_ptr(out.cast()), Tensor::from_ptr(lse.cast())))
    }
}

/// Which keys of `[B, S, K, d]` each row of queries sees: `length` of them from `start` on.
///
/// They are held on the device, where they may change without the host and without a change of any shape: what is
/// recorded once in a [`Graph`](crate::Graph) goes on to see a cache that grows.
#[derive(Debug)]
pub struct Spans {
    /// Where each row's span begins among all `B·S` keys in a row, and then `B·S`: `[B + 1]`, i32.
    starts: Tensor,
    /// `[B]`, i32.
    lengths: Tensor,
}

impl Spans {
    /// For each row the `(start, length)` of its span, among `keys` keys a row.
    ///
    /// # Errors
    /// If a span is not among its row's keys, or all keys are more than an i32 counts.
    pub fn new(spans: &[(i64, i64)], keys: i64, device: Device) -> Result<Self> {
        let all = i64::try_from(spans.len()).ok().and_then(|rows| rows.checked_mul(keys));
        let Some(all) = all.and_then(|all| i32::try_from(all).ok()) else {
            return Err(Error::Spans(format!("{} rows of {keys} keys are more than an i32 counts", spans.len())));
        };
        if let Some(row) = spans.iter().position(|&(start, length)| start < 0 || length < 0 || start > keys - length) {
            let (start, length) = spans[row];
            return Err(Error::Spans(format!("row {row} sees {length} keys from {start} on, and has {keys}")));
        }
        let start = |(row, &(start, _)): (usize, &(i64, i64))| (row as i64 * keys + start) as i32;
        let starts: Vec<i32> = spans.iter().enumerate().map(start).chain([all]).collect();
        let lengths: Vec<i32> = spans.iter().map(|&(_, length)| length as i32).collect();
        let [starts, lengths] = [starts, lengths].map(|list| Tensor::from_slice(&list).to_device(device));
        Ok(Self { starts, lengths })
    }

    /// Makes every span one key longer, on the device.
    pub fn grow(&mut self) {
        let _ = self.lengths.g_add_scalar_(1);
    }
}

/// [`attend`] over a span of the keys of each row. Keys outside are not looked at, or count nothing: numbers must stand there.
///
/// # Shapes
/// As [`attend`]'s, with `T` and `S` whatever they are.
///
/// # Errors
/// If shapes, kinds or devices do not fit together, or libtorch fails.
pub fn attend_spans(query: &Tensor, key: &Tensor, value: &Tensor, spans: &Spans) -> Result<(Tensor, Tensor)> {
    spans_along(query, key, value, spans, Path::Fused)
}

fn spans_along(query: &Tensor, key: &Tensor, value: &Tensor, spans: &Spans, path: Path) -> Result<(Tensor, Tensor)> {
    let fit = Fit { function: "attend_spans", query, key, value };
    fit.check(4)?;
    let batch = query.size()[0];
    if key.size()[0] != batch || spans.lengths.size()[0] != batch || spans.lengths.device() != query.device() {
        let rows = described(&spans.lengths);
        return Err(fit.error(format!("queries, keys and spans differ in batch or device (spans {rows})")));
    }
    spans_at(query, key, value, (&spans.starts, &spans.lengths), path)
}

/// [`attend_spans`] over `lengths` `[B]` keys from `starts` `[B + 1]` on, as [`Spans`] holds them; the shapes fit.
pub(crate) fn spans_at(
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    (starts, lengths): (&Tensor, &Tensor),
    path: Path,
) -> Result<(Tensor, Tensor)> {
    let (mut out, mut lse) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: the tensors outlive the call, which catches every exception of C++; where it returns null, it has written
    // two tensors that nobody else owns.
    unsafe {
        check(vr1_attend_spans(
            query.as_ptr().cast(),
            key.as_ptr().cast(),
            value.as_ptr().cast(),
            starts.as_ptr().cast(),
            lengths.as_ptr().cast(),
            path as i64,
            &mut out,
            &mut lse,
        ))?;
        Ok((Tensor::from_ptr(out.cast()), Tensor::from_ptr(lse.cast())))
    }
}

/// What queries get from two parts of their keys, made into what they get from both, without gradients.
///
/// `lse = log(exp lse_a + exp lse_b)`, `out = exp(lse_a − lse) out_a + exp(lse_b − lse) out_b`, in the kind of the
/// log-sum-exps; the output keeps its kind.
///
/// # Shapes
/// As [`attend`] returns them: outputs `[B, T, H, d]`, log-sum-exps `[B, H, T]`.
///
/// # Errors
/// If the parts differ in shape or kind.
pub fn merge_attention(a: (&Tensor, &Tensor), b: (&Tensor, &Tensor)) -> Result<(Tensor, Tensor)> {
    let facts = |x: &Tensor| (x.size(), x.kind(), x.device());
    let fits = |x: &[i64], lse: &[i64]| matches!((x, lse), (&[b, t, h, _], lse) if lse == [b, h, t]);
    if facts(a.0) != facts(b.0) || facts(a.1) != facts(b.1) || !fits(&a.0.size(), &a.1.size()) {
        let described = |part: (&Tensor, &Tensor)| format!("{} with {}", described(part.0), described(part.1));
        return Err(Error::Parts { a: described(a), b: described(b) });
    }
    let (mut out, mut lse) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: the tensors outlive the call, which catches every exception of C++; where it returns null, it has written
    // two tensors that nobody else owns.
    unsafe {
        check(vr1_merge_attention(
            a.0.as_ptr().cast(),
            a.1.as_ptr().cast(),
            b.0.as_ptr().cast(),
            b.1.as_ptr().cast(),
            &mut out,
            &mut lse,
        ))?;
        Ok((Tensor::from_ptr(out.cast()), Tensor::from_ptr(lse.cast())))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use tch::Kind;

    use super::*;

    /// The keys of the second case are a part of a cache whose batch and heads cannot be seen as one dimension.
    #[test]
    fn products_and_a_softmax_give_what_the_fused_kernel_gives() {
        let random = |size: &[i64]| Tensor::randn(size, (Kind::Double, Device::Cpu));
        let hidden = random(&[3, 1, 1, 50]).gt(0.5);
        let mask = Tensor::zeros([3, 1, 1, 50], (Kind::Double, Device::Cpu)).masked_fill(&hidden, f64::NEG_INFINITY);
        let none = Tensor::full([3, 1, 1, 50], f64::NEG_INFINITY, (Kind::Double, Device::Cpu));
        for (kind, tolerance) in [(Kind::Double, 1e-12), (Kind::Float, 1e-5)] {
            let query = random(&[3, 2, 4, 8]).to_kind(kind);
            let [key, value] = [0, 1].map(|_| random(&[3, 2, 60, 8]).transpose(1, 2).narrow(1, 0, 50).to_kind(kind));
            let [wide_key, wide_value] = [0, 1].map(|_| random(&[3, 60, 2, 8]).narrow(1, 0, 50).to_kind(kind));
            for (key, value) in [(&key, &value), (&wide_key, &wide_value)] {
                for mask in [None, Some(&mask), Some(&none)] {
                    let [fused, plain] =
                        [Path::Fused, Path::Plain].map(|path| along(&query, key, value, mask, path).unwrap());
                    for (fused, plain) in [(fused.0, plain.0), (fused.1, plain.1)] {
                        assert_eq!((fused.size(), fused.kind()), (plain.size(), plain.kind()));
                        assert!(fused.allclose(&plain, tolerance, tolerance, false), "{kind:?}: {fused} {plain}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_span_is_attended_to_as_if_the_other_keys_were_not_there() {
        let random = |size: &[i64]| Tensor::randn(size, (Kind::Float, Device::Cpu));
        let (query, key, value) = (random(&[4, 2, 4, 8]), random(&[4, 9, 2, 8]), random(&[4, 9, 2, 8]));
        let mut seen = vec![(0, 9), (3, 6), (2, 4), (8, 0)];
        let mut spans = Spans::new(&seen, 9, Device::Cpu).unwrap();
        for _ in 0..2 {
            let [fused, plain] =
                [Path::Fused, Path::Plain].map(|path| spans_along(&query, &key, &value, &spans, path).unwrap());
            for (row, &(start, length)) in seen.iter().enumerate() {
                let row = row as i64;
                let [q, k, v] = [&query, &key, &value].map(|x| x.narrow(0, row, 1));
                let length = length.min(9 - start);
                let (out, lse) = attend(&q, &k.narrow(1, start, length), &v.narrow(1, start, length), None).unwrap();
                for found in [&fused, &plain] {
                    assert!(found.0.narrow(0, row, 1).allclose(&out, 1e-5, 1e-5, false), "row {row}");
                    assert!(found.1.narrow(0, row, 1).allclose(&lse, 1e-5, 1e-5, false), "row {row}");
                }
            }
            spans.grow();
            seen.iter_mut().for_each(|(_, length)| *length += 1);
        }
    }

    #[test]
    fn a_span_beyond_its_row_is_named() {
        let error = |spans: &[(i64, i64)]| Spans::new(spans, 5, Device::Cpu).unwrap_err().to_string();
        assert_eq!(error(&[(0, 5), (2, 4)]), "attend_spans: row 1 sees 4 keys from 2 on, and has 5");
        assert_eq!(error(&[(-1, 2)]), "attend_spans: row 0 sees 2 keys from -1 on, and has 5");
        assert!(Spans::new(&[(0, 1); 3], i64::from(i32::MAX), Device::Cpu).is_err());
    }
}

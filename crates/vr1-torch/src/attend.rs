//! `B` batch, `T` queries, `S` keys, `H` heads, `K` key-value heads, `d` head size.

use std::ffi::{c_char, c_void};
use std::ptr;

use tch::Tensor;

use crate::attention::{Fit, Path};
use crate::message::check;
use crate::{Error, Result, described};

unsafe extern "C" {
    fn vr1_attend(
        query: *const c_void,
        key: *const c_void,
        value: *const c_void,
        sees: i64,
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

/// Which keys a query sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i64)]
pub enum Sees {
    /// All of them.
    All = 0,
    /// Those up to its own place; there are as many keys as queries.
    Causal = 1,
}

/// Attention of queries over keys and values, without gradients, and its log-sum-exp.
///
/// `out = softmax(q · k / √d) v`, `lse = log Σ exp(q · k / √d)`. Softmax and sums are computed in f32 (f64 for f64) whatever
/// the kind. Keys and values are read where they lie, also in a cache of which they are a part, as long as the numbers of a
/// head are side by side. A query that sees no key gets 0 and −∞, so that [`merge_attention`] gives it no weight.
///
/// # Shapes
/// `query` `[B, T, H, d]`, `key` and `value` `[B, S, K, d]` with `K` a divisor of `H`. The results are `[B, T, H, d]` and
/// `[B, H, T]`, the latter f32 (f64 for f64).
///
/// # Errors
/// If shapes, kinds or devices do not fit together, or libtorch fails.
pub fn attend(query: &Tensor, key: &Tensor, value: &Tensor, sees: Sees) -> Result<(Tensor, Tensor)> {
    along(query, key, value, sees, Path::Fused)
}

fn along(query: &Tensor, key: &Tensor, value: &Tensor, sees: Sees, path: Path) -> Result<(Tensor, Tensor)> {
    let fit = Fit { function: "attend", query, key, value };
    fit.check(4)?;
    let (batch, queries, keys) = (query.size()[0], query.size()[1], key.size()[1]);
    if key.size()[0] != batch {
        return Err(fit.error("queries and keys differ in batch".to_owned()));
    }
    if sees == Sees::Causal && queries != keys {
        return Err(fit.error(format!("{queries} queries do not see {keys} keys causally")));
    }
    let (mut out, mut lse) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: the tensors outlive the call, which catches every exception of C++; where it returns null, it has written
    // two tensors that nobody else owns.
    unsafe {
        check(vr1_attend(
            query.as_ptr().cast(),
            key.as_ptr().cast(),
            value.as_ptr().cast(),
            sees as i64,
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

    use tch::{Device, Kind};

    use super::*;

    /// The keys of the second case are a part of a cache whose batch and heads cannot be seen as one dimension.
    #[test]
    fn products_and_a_softmax_give_what_the_fused_kernel_gives() {
        let random = |size: &[i64]| Tensor::randn(size, (Kind::Double, Device::Cpu));
        for (kind, tolerance) in [(Kind::Double, 1e-12), (Kind::Float, 1e-5)] {
            let [query, square] = [2, 50].map(|queries| random(&[3, queries, 4, 8]).to_kind(kind));
            let narrow = [0, 1].map(|_| random(&[3, 2, 60, 8]).transpose(1, 2).narrow(1, 0, 50).to_kind(kind));
            let wide = [0, 1].map(|_| random(&[3, 60, 2, 8]).narrow(1, 0, 50).to_kind(kind));
            for [key, value] in [&narrow, &wide] {
                for (query, sees) in [(&query, Sees::All), (&square, Sees::Causal)] {
                    let [fused, plain] =
                        [Path::Fused, Path::Plain].map(|path| along(query, key, value, sees, path).unwrap());
                    for (fused, plain) in [(fused.0, plain.0), (fused.1, plain.1)] {
                        assert_eq!((fused.size(), fused.kind()), (plain.size(), plain.kind()));
                        assert!(fused.allclose(&plain, tolerance, tolerance, false), "{kind:?}: {fused} {plain}");
                    }
                }
            }
        }
    }
}

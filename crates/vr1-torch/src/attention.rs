//! `N` tokens, `H` heads, `K` key-value heads, `d` head size.

use std::ffi::{c_char, c_void};
use std::ptr;

use tch::{Kind, Tensor};

use crate::groups::CPlan;
use crate::message::check;
use crate::{Error, Groups, Result, described};

/// What computes an attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i64)]
pub(crate) enum Path {
    /// The fused kernels of the device, where they take the tensors.
    Fused = 0,
    /// Products and a softmax.
    #[cfg_attr(not(test), expect(dead_code, reason = "C++ chooses it where no fused kernel takes the tensors"))]
    Plain = 1,
}

unsafe extern "C" {
    fn vr1_shared_prefix_attention(
        query: *const c_void,
        key: *const c_void,
        value: *const c_void,
        plan: *mut CPlan,
        path: i64,
        out: *mut *mut c_void,
    ) -> *mut c_char;
}

/// Causal self-attention of sequences that share prefixes, in which a prefix is computed once and never copied.
///
/// Every sequence is a prefix followed by one of its suffixes, and token `t` of it attends to the tokens up to itself:
///
/// `out_t = Σ_{s ≤ t} softmax_s(q_t · k_s / √d) v_s`
///
/// Prefixes and suffixes attend causally over themselves; all suffixes of a group attend in one call over their prefix;
/// the two results of a suffix's token are merged exactly by their log-sum-exp, in f32 (f64 for f64). The backward pass
/// gives each of these calls the merged result, which makes its gradients exact parts of the whole, so that beside the
/// inputs only the output and a number a token and head are kept; where no gradient is wanted, nothing is.
///
/// The work of a group with prefix `P` and `G` suffixes `S` is `P² + G · S · (2P + S)` in place of `G · (P + S)²`.
///
/// A second derivative is an error of the backward pass that asks for it.
///
/// # Shapes
/// `query` `[N, H, d]`, `key` and `value` `[N, K, d]` with `K` a divisor of `H` (grouped-query attention,
/// [arXiv:2305.13245](https://arxiv.org/abs/2305.13245)): key-value head `j` serves the heads `j · H / K ..`; `N` is
/// [`Groups::tokens`]. The result is `[N, H, d]`. Kinds: f64, f32, bf16, f16.
///
/// # Errors
/// If shapes, kinds or devices do not fit together or do not fit `groups`, or libtorch fails.
///
/// # Example
/// ```
/// use tch::{Device, Kind, Tensor};
/// use vr1_torch::{Groups, shared_prefix_attention};
///
/// // A prompt of one token with two completions of one token each; equal keys, so that weights are equal.
/// let groups = Groups::new([(1, vec![1, 1])])?;
/// let key = Tensor::zeros([3, 1, 1], (Kind::Float, Device::Cpu));
/// let value = Tensor::from_slice(&[2.0f32, 4.0, 6.0]).view([3, 1, 1]);
/// let out = shared_prefix_attention(&key, &key, &value, &groups)?;
/// // Each completion sees the prompt and itself, not the other.
/// assert_eq!(Vec::<f32>::try_from(out.view([-1]))?, [2.0, 3.0, 4.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn shared_prefix_attention(query: &Tensor, key: &Tensor, value: &Tensor, groups: &Groups) -> Result<Tensor> {
    along(query, key, value, groups, Path::Fused)
}

fn along(query: &Tensor, key: &Tensor, value: &Tensor, groups: &Groups, path: Path) -> Result<Tensor> {
    let fit = Fit { function: "shared_prefix_attention", query, key, value };
    fit.check(3)?;
    let (tokens, expected) = (query.size()[0], groups.tokens());
    if tokens != expected || key.size()[0] != expected {
        return Err(fit.error(format!("the groups have {expected} tokens")));
    }
    let mut out = ptr::null_mut();
    // SAFETY: the three tensors and the plan outlive the call, which catches every exception of C++; where it returns
    // null, it has written a tensor that nobody else owns.
    unsafe {
        check(vr1_shared_prefix_attention(
            query.as_ptr().cast(),
            key.as_ptr().cast(),
            value.as_ptr().cast(),
            groups.plan(),
            path as i64,
            &mut out,
        ))?;
        Ok(Tensor::from_ptr(out.cast()))
    }
}

/// The tensors of an attention, to be checked.
pub(crate) struct Fit<'a> {
    pub(crate) function: &'static str,
    pub(crate) query: &'a Tensor,
    pub(crate) key: &'a Tensor,
    pub(crate) value: &'a Tensor,
}

impl Fit<'_> {
    /// Kinds, devices, the number of dimensions and the last two of them, heads and head size.
    pub(crate) fn check(&self, dims: usize) -> Result<()> {
        let tensors = [self.query, self.key, self.value];
        if tensors.iter().any(|x| x.dim() != dims) {
            return Err(self.error(format!("every tensor must have {dims} dimensions")));
        }
        let [(heads, d), (shared, key_d), _] = tensors.map(|x| (x.size()[dims - 2], x.size()[dims - 1]));
        if self.key.size() != self.value.size() {
            return Err(self.error("keys and values differ in shape".to_owned()));
        }
        if d != key_d || d < 1 {
            return Err(self.error("queries and keys differ in head size, or have none".to_owned()));
        }
        if shared < 1 || heads < 1 || heads % shared != 0 {
            return Err(self.error(format!("{heads} heads cannot share {shared} key-value heads")));
        }
        let kind = self.query.kind();
        if !matches!(kind, Kind::Double | Kind::Float | Kind::BFloat16 | Kind::Half)
            || tensors.iter().any(|x| x.kind() != kind || x.device() != self.query.device())
        {
            return Err(self.error("all must be of one floating-point kind and on one device".to_owned()));
        }
        Ok(())
    }

    pub(crate) fn error(&self, reason: String) -> Error {
        let [query, key, value] = [self.query, self.key, self.value].map(described);
        Error::Attention { function: self.function, reason, query, key, value }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use tch::Device;

    use super::*;

    /// Output and gradients of queries, keys and values.
    fn run(path: Path, inputs: &[Tensor; 3], weights: &Tensor, groups: &Groups) -> [Tensor; 4] {
        let [q, k, v] = inputs.each_ref().map(|x| x.copy().set_requires_grad(true));
        let out = along(&q, &k, &v, groups, path).unwrap();
        (&out * weights).sum(Kind::Double).backward();
        [out.detach(), q.grad(), k.grad(), v.grad()]
    }

    /// The last group's scores are more than a plain computation holds at a time.
    #[test]
    fn products_and_a_softmax_give_what_the_fused_kernels_give() {
        let groups = Groups::new([(9, vec![4, 30, 11]), (5, vec![]), (1100, vec![300, 2])]).unwrap();
        let random = |heads| Tensor::randn([groups.tokens(), heads, 8], (Kind::Double, Device::Cpu));
        let (inputs, weights) = ([random(4), random(2), random(2)], random(4));
        let both = |kind, to: &dyn Fn(&Tensor) -> Tensor| {
            let (inputs, weights) = (inputs.each_ref().map(to), to(&weights));
            [Path::Fused, Path::Plain].map(|path| {
                let found = run(path, &inputs, &weights, &groups);
                assert!(found.iter().all(|tensor| tensor.kind() == kind));
                found
            })
        };
        for (kind, tolerance) in [(Kind::Double, 1e-12), (Kind::Float, 1e-5)] {
            let [fused, plain] = both(kind, &|x| x.to_kind(kind));
            for (fused, plain) in fused.iter().zip(&plain) {
                let off = (fused - plain).abs().max() / fused.abs().max();
                assert!(off.double_value(&[]) < tolerance, "{kind:?}: off by {off}");
            }
        }
        // In bf16 the products are at least as near the truth as the kernels, which tests/attention holds to libtorch's own.
        let narrow = Kind::BFloat16;
        let ([fused, plain], [truth, _]) =
            (both(narrow, &|x| x.to_kind(narrow)), both(Kind::Double, &|x| x.to_kind(narrow).to_kind(Kind::Double)));
        let off = |found: &Tensor, truth: &Tensor| (found.to_kind(Kind::Double) - truth).norm().double_value(&[]);
        for ((fused, plain), truth) in fused.iter().zip(&plain).zip(&truth) {
            let (fused, plain) = (off(fused, truth), off(plain, truth));
            assert!(plain < 1.2 * fused, "off by {plain}, the kernels by {fused}");
        }
    }
}

//! [`sample`](crate::sample) on the CPU. Letters as there.

use std::ffi::{c_char, c_void};
use std::ptr;

use tch::{Device, Kind, Tensor};

use crate::message::check;
use crate::{Draw, Drawn, Result};

unsafe extern "C" {
    fn vr1_draw(
        tensors: *const *const c_void,
        unreachable: *const c_void,
        temperature: f64,
        out: *mut *mut c_void,
    ) -> *mut c_char;
}

/// Nothing where it does not take these. Shapes, kinds and devices were checked.
pub(crate) fn on_cpu(logits: &Tensor, draw: &Draw<'_>) -> Result<Option<Drawn>> {
    let narrow = matches!(logits.kind(), Kind::Float | Kind::BFloat16 | Kind::Half);
    if logits.device() != Device::Cpu || !narrow {
        return Ok(None);
    }
    let tensors = [logits, draw.states, draw.positions].map(|x| x.as_ptr().cast());
    let unreachable = draw.unreachable.map_or(ptr::null(), |x| x.as_ptr().cast());
    let mut out = [ptr::null_mut(); 4];
    // SAFETY: the tensors outlive the call, which catches every exception of C++ and reads `[B, V]`, `[V]`, `[B]` and `[B]` or `[1]` numbers of
    // the kinds that were checked; where it returns null, it has written four tensors that nobody else owns.
    let [ids, logprobs, drawn_logprobs, entropies] = unsafe {
        check(vr1_draw(tensors.as_ptr(), unreachable, draw.temperature, out.as_mut_ptr()))?;
        out.map(|x| Tensor::from_ptr(x.cast()))
    };
    Ok(Some(Drawn { ids, logprobs, drawn_logprobs, entropies }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    /// Against f64, in which [`sample`](crate::sample) is composed of libtorch's operators; temperatures, vocabularies that no stretch
    /// divides, and logits far apart.
    #[test]
    fn one_pass_draws_and_says_what_operators_do() {
        tch::manual_seed(2);
        for (vocabulary, spread) in [(1, 1.0), (200, 3.0), (1000, 0.1), (4097, 60.0)] {
            let logits = Tensor::randn([64, vocabulary], (Kind::Double, Device::Cpu)) * spread;
            let hidden = Tensor::rand([vocabulary], (Kind::Float, Device::Cpu)).gt(0.8);
            let _ = hidden.narrow(0, 0, 1).fill_(0);
            let states = Tensor::randint(i64::MAX, [64], (Kind::Int64, Device::Cpu));
            let positions = Tensor::arange(64, (Kind::Int64, Device::Cpu));
            for unreachable in [None, Some(&hidden)] {
                for (kind, temperature) in [
                    (Kind::Float, 1.0),
                    (Kind::Float, 0.7),
                    (Kind::Float, 0.0),
                    (Kind::BFloat16, 1.0),
                    (Kind::Half, 2.0),
                ] {
                    let narrow = logits.to_kind(kind);
                    let draw = Draw { temperature, unreachable, states: &states, positions: &positions };
                    let found = on_cpu(&narrow, &draw).unwrap().unwrap();
                    let truth = crate::sample(&narrow.to_kind(Kind::Double), &draw).unwrap();
                    // A number that falls on the border of two tokens may go to either.
                    let differ = found.ids.ne_tensor(&truth.ids);
                    assert!(
                        differ.to_kind(Kind::Int64).sum(Kind::Int64).int64_value(&[]) <= 1,
                        "{vocabulary}: {differ}"
                    );
                    let near = |found: &Tensor, truth: &Tensor| {
                        let off = (found.to_kind(Kind::Double) - truth).abs().masked_fill(&differ, 0.0);
                        // f32's rounding of a logit, and of sums of a stretch.
                        let bound = 1e-5 + 4.0 * f64::from(f32::EPSILON) * spread;
                        assert!(off.max().double_value(&[]) < bound, "{vocabulary}, {kind:?}: off by {}", off.max());
                    };
                    near(&found.logprobs, &truth.logprobs);
                    near(&found.drawn_logprobs, &truth.drawn_logprobs);
                    near(&found.entropies, &truth.entropies);
                }
            }
        }
    }
}

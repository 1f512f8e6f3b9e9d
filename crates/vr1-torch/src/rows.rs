//! [`group_attention`](crate::group_attention) without its own kernel. Letters as there.

use std::ffi::{c_char, c_void};
use std::ptr;

use tch::Tensor;

use crate::attention::Path;
use crate::message::check;
use crate::{Error, OwnKeys, Result, SharedKeys, unfit};

unsafe extern "C" {
    fn vr1_rows(tensors: *const *const c_void, longest: i64, path: i64, out: *mut *mut c_void) -> *mut c_char;
}

/// On the CPU in one pass over the keys of each row, on a GPU by libtorch's kernels over both parts of the keys. Shapes, kinds and devices
/// were checked.
pub(crate) fn rows(query: &Tensor, prefix: &SharedKeys<'_>, own: &OwnKeys<'_>, path: Path) -> Result<Tensor> {
    let tensors = [query, prefix.keys, prefix.values, prefix.starts, prefix.lengths, own.keys, own.values, own.lengths];
    let tensors = tensors.map(|x| x.as_ptr().cast());
    let mut out = ptr::null_mut();
    // SAFETY: the eight tensors outlive the call, which catches every exception of C++ and looks at starts and lengths where
    // it reads by them; where it returns null, it has written a tensor that nobody else owns.
    unsafe {
        check(vr1_rows(tensors.as_ptr(), prefix.longest, path as i64, &mut out)).map_err(|error| match error {
            Error::Torch(reason) => unfit("group_attention", reason),
            error => error,
        })?;
        Ok(Tensor::from_ptr(out.cast()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use tch::{Device, Kind};

    use super::*;

    const HEADS: i64 = 6;
    const SHARED: i64 = 2;

    struct Case {
        query: Tensor,
        prompts: [Tensor; 2],
        spans: Vec<(i64, i64)>,
        own: [Tensor; 2],
        lengths: Vec<i32>,
    }

    /// Three groups of four rows; the first has no prompt, the last two see one. Lengths are none, one, a block's and more: the first row sees
    /// nothing.
    fn case(d: i64) -> Case {
        tch::manual_seed(5);
        let random = |size: &[i64]| Tensor::randn(size, (Kind::Double, Device::Cpu));
        Case {
            query: random(&[12, HEADS, d]) * 2.0,
            prompts: [0, 1].map(|_| random(&[200, SHARED, d])),
            spans: vec![(0, 0), (1, 130), (1, 130)],
            own: [0, 1].map(|_| random(&[12, 90, SHARED, d])),
            lengths: vec![0, 1, 2, 63, 64, 65, 90, 7, 0, 90, 33, 1],
        }
    }

    impl Case {
        fn run(&self, kind: Kind, device: Device, path: Path) -> Tensor {
            let to = |x: &Tensor| x.to_device(device).to_kind(kind);
            let ([key, value], [own_key, own_value]) = (self.prompts.each_ref().map(to), self.own.each_ref().map(to));
            let list = |numbers: Vec<i32>| Tensor::from_slice(&numbers).to_device(device);
            let starts = list(self.spans.iter().map(|span| span.0 as i32).collect());
            let lengths = list(self.spans.iter().map(|span| span.1 as i32).collect());
            let own_lengths = list(self.lengths.clone());
            let prefix = SharedKeys { keys: &key, values: &value, starts: &starts, lengths: &lengths, longest: 130 };
            let own = OwnKeys { keys: &own_key, values: &own_value, lengths: &own_lengths };
            rows(&to(&self.query), &prefix, &own, path).unwrap().to_device(Device::Cpu).to_kind(Kind::Double)
        }

        /// One row after the other, by a softmax over all that it sees, of numbers rounded to `kind`.
        fn truth(&self, kind: Kind) -> Tensor {
            let round = |x: &Tensor| x.to_kind(kind).to_kind(Kind::Double);
            let one = |row: i64| {
                let (start, length) = self.spans[row as usize / 4];
                let seen = |i: usize| {
                    let own = round(&self.own[i]).get(row).narrow(0, 0, self.lengths[row as usize].into());
                    let all = Tensor::cat(&[round(&self.prompts[i]).narrow(0, start, length), own], 0);
                    all.repeat_interleave_self_int(HEADS / SHARED, 1, None).transpose(0, 1)
                };
                let query = round(&self.query).get(row).unsqueeze(1);
                let scores = query.matmul(&seen(0).transpose(1, 2)) / (query.size()[2] as f64).sqrt();
                scores.softmax(-1, Kind::Double).matmul(&seen(1)).squeeze_dim(1)
            };
            Tensor::stack(&(0..12).map(one).collect::<Vec<_>>(), 0)
        }
    }

    fn off(found: &Tensor, truth: &Tensor) -> f64 {
        (found - truth).abs().max().double_value(&[])
    }

    #[test]
    fn a_row_gets_the_softmax_over_its_prompt_and_its_own_tokens() {
        for d in [8, 20, 64, 80] {
            let case = case(d);
            // Half a unit in the last place of outputs that stay below 4, and of the f32 that sums are in.
            for (kind, bound) in
                [(Kind::Double, 1e-13), (Kind::Float, 4e-6), (Kind::BFloat16, 8e-3), (Kind::Half, 1e-3)]
            {
                let truth = case.truth(kind);
                let found = case.run(kind, Device::Cpu, Path::Fused);
                assert!(off(&found, &truth) < bound, "{kind:?}, heads of {d}: off by {}", off(&found, &truth));
            }
            let plain = case.run(Kind::Double, Device::Cpu, Path::Plain);
            assert!(off(&plain, &case.truth(Kind::Double)) < 1e-12);
        }
    }

    #[test]
    fn a_row_gets_the_same_numbers_alone() {
        let case = case(64);
        let whole = case.run(Kind::Float, Device::Cpu, Path::Fused);
        for row in 0..12 {
            let alone = Case {
                query: case.query.narrow(0, row, 1),
                prompts: case.prompts.each_ref().map(Tensor::shallow_clone),
                spans: vec![case.spans[row as usize / 4]],
                own: case.own.each_ref().map(|x| x.narrow(0, row, 1)),
                lengths: vec![case.lengths[row as usize]],
            };
            assert!(alone.run(Kind::Float, Device::Cpu, Path::Fused).get(0).equal(&whole.get(row)), "row {row}");
        }
    }

    /// Where there is no GPU, this says so and passes.
    #[test]
    fn a_gpu_gives_what_the_definition_gives() {
        let device = match crate::device("cuda") {
            Ok(device) => device,
            Err(error) => return println!("skipped: {error}"),
        };
        for (d, kinds) in [(64, &[Kind::Double, Kind::Float, Kind::BFloat16, Kind::Half][..]), (20, &[Kind::Float])] {
            let case = case(d);
            for &kind in kinds {
                let truth = case.truth(kind);
                let there = off(&case.run(kind, device, Path::Plain), &truth);
                let found = off(&case.run(kind, device, Path::Fused), &truth);
                assert!(found <= 4.0 * there + 1e-14, "{kind:?}: off by {found}, products by {there}");
            }
        }
    }
}

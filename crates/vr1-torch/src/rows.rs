//! `P` groups, `G` rows of each, `B = P·G`, `H` heads, `K` key-value heads, `d` head size, `N` tokens of all prompts, `C` room.

use std::ffi::{c_char, c_void};
use std::ptr;

use tch::{Device, Kind, Tensor};

use crate::attention::{Fit, Path};
use crate::message::check;
use crate::{Error, Result, described};

unsafe extern "C" {
    fn vr1_attend_rows(
        query: *const c_void,
        key: *const c_void,
        value: *const c_void,
        starts: *const c_void,
        lengths: *const c_void,
        own_key: *const c_void,
        own_value: *const c_void,
        own_lengths: *const c_void,
        path: i64,
        out: *mut *mut c_void,
    ) -> *mut c_char;
}

/// Keys and values of prompts that lie ragged, and which of them each group of rows sees.
#[derive(Debug)]
pub struct SharedKeys<'a> {
    /// Keys, `[N, K, d]`.
    pub key: &'a Tensor,
    /// Values, `[N, K, d]`.
    pub value: &'a Tensor,
    /// Which tokens each group sees.
    pub spans: &'a Spans,
}

/// Which of `N` tokens each of `P` groups of rows sees: `length` of them from `start` on. Groups may see the same.
#[derive(Debug)]
pub struct Spans {
    /// `[P + 1]`, i32; the last is `N`.
    starts: Tensor,
    /// `[P]`, i32.
    lengths: Tensor,
    keys: i64,
}

impl Spans {
    /// For each group the `(start, length)` of its span, among `keys`.
    ///
    /// # Errors
    /// If a span is not among the keys, or these are more than an i32 counts.
    pub fn new(spans: &[(i64, i64)], keys: i64, device: Device) -> Result<Self> {
        if i32::try_from(keys).is_err() {
            return Err(Error::Spans(format!("{keys} keys are more than an i32 counts")));
        }
        if let Some(group) = spans.iter().position(|&(start, length)| start < 0 || length < 0 || start > keys - length)
        {
            let (start, length) = spans[group];
            return Err(Error::Spans(format!("group {group} sees {length} keys from {start} on, of {keys}")));
        }
        let starts: Vec<i32> = spans.iter().map(|&(start, _)| start as i32).chain([keys as i32]).collect();
        let lengths: Vec<i32> = spans.iter().map(|&(_, length)| length as i32).collect();
        let [starts, lengths] = [starts, lengths].map(|list| Tensor::from_slice(&list).to_device(device));
        Ok(Self { starts, lengths, keys })
    }

    /// Where each group's span begins, `[P]`, i32.
    pub fn starts(&self) -> Tensor {
        self.starts.narrow(0, 0, self.groups())
    }

    /// How long it is, `[P]`, i32.
    pub fn lengths(&self) -> &Tensor {
        &self.lengths
    }

    /// How many groups there are.
    pub fn groups(&self) -> i64 {
        self.lengths.size()[0]
    }
}

/// Keys and values of each row's own tokens, and how many there are.
#[derive(Debug)]
pub struct OwnKeys<'a> {
    /// Keys, `[B, C, K, d]`; behind a row's length stands anything that is a number.
    pub key: &'a Tensor,
    /// Values, `[B, C, K, d]`.
    pub value: &'a Tensor,
    /// How many each row sees, `[B]`, i32.
    pub lengths: &'a Tensor,
}

/// Attention of one query a row over its prompt and its own tokens, without gradients.
///
/// `out = softmax(q · k / √d) v` over both together. The rows of a group adjoin and look at their prompt at once, which is copied for none.
/// Lengths lie on the device, where they may change without the host and without a change of any shape: what is recorded
/// once in a [`Graph`](crate::Graph) goes on to see a cache that grows. A row that sees no key gets 0.
///
/// On the CPU a row's numbers are computed by the same operations whatever rows stand beside it.
///
/// # Shapes
/// `query` `[B, H, d]` with `K` a divisor of `H`; the result is `[B, H, d]`.
///
/// # Errors
/// If shapes, kinds or devices do not fit together, or libtorch fails.
///
/// # Example
/// ```
/// use tch::{Device, Kind, Tensor};
/// use vr1_torch::{OwnKeys, SharedKeys, Spans, attend_rows};
///
/// // Two rows behind a prompt of one token; equal keys, so that weights are equal. The first has one token, the second none.
/// let query = Tensor::zeros([2, 1, 1], (Kind::Float, Device::Cpu));
/// let prompt = Tensor::from_slice(&[2.0f32]).view([1, 1, 1]);
/// let own = Tensor::from_slice(&[4.0f32, 6.0]).view([2, 1, 1, 1]);
/// let shared = SharedKeys { key: &prompt.zeros_like(), value: &prompt, spans: &Spans::new(&[(0, 1)], 1, Device::Cpu)? };
/// let lengths = Tensor::from_slice(&[1i32, 0]);
/// let own = OwnKeys { key: &own.zeros_like(), value: &own, lengths: &lengths };
/// assert_eq!(Vec::<f32>::try_from(attend_rows(&query, &shared, &own)?.view([-1]))?, [3.0, 2.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn attend_rows(query: &Tensor, shared: &SharedKeys<'_>, own: &OwnKeys<'_>) -> Result<Tensor> {
    along(query, shared, own, Path::Fused)
}

fn along(query: &Tensor, shared: &SharedKeys<'_>, own: &OwnKeys<'_>, path: Path) -> Result<Tensor> {
    let fit = Fit { function: "attend_rows", query, key: shared.key, value: shared.value };
    fit.check(3)?;
    let [rows, _, d] = query.size()[..] else { unreachable!("three dimensions were checked") };
    let (heads, groups) = (shared.key.size()[1], shared.spans.groups());
    if shared.spans.keys != shared.key.size()[0] {
        return Err(fit.error(format!("the spans are of {} keys", shared.spans.keys)));
    }
    let alike = |x: &Tensor| {
        matches!(x.size()[..], [b, _, k, n] if [b, k, n] == [rows, heads, d])
            && (x.kind(), x.device()) == (query.kind(), query.device())
            && x.is_contiguous()
    };
    if !alike(own.key) || !alike(own.value) || own.key.size() != own.value.size() {
        let own = [own.key, own.value].map(described).join(", ");
        return Err(
            fit.error(format!("the rows' own keys and values are not [{rows}, C, {heads}, {d}] side by side: {own}"))
        );
    }
    let lists = [(&shared.spans.lengths, groups), (own.lengths, rows)];
    let counts = |&(x, n): &(&Tensor, i64)| x.size() == [n] && x.kind() == Kind::Int && x.device() == query.device();
    if groups < 1 || rows % groups != 0 || !lists.iter().all(counts) {
        let lengths = lists.map(|(list, _)| described(list)).join(", ");
        return Err(fit.error(format!("{groups} groups of {rows} rows, with lengths {lengths}")));
    }
    let mut out = ptr::null_mut();
    // SAFETY: the tensors outlive the call, which catches every exception of C++; where it returns null, it has written
    // a tensor that nobody else owns. Shapes and kinds are as the function reads them, spans are among the keys, and a row's
    // length is cut to its room.
    unsafe {
        check(vr1_attend_rows(
            query.as_ptr().cast(),
            shared.key.as_ptr().cast(),
            shared.value.as_ptr().cast(),
            shared.spans.starts.as_ptr().cast(),
            shared.spans.lengths.as_ptr().cast(),
            own.key.as_ptr().cast(),
            own.value.as_ptr().cast(),
            own.lengths.as_ptr().cast(),
            path as i64,
            &mut out,
        ))?;
        Ok(Tensor::from_ptr(out.cast()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

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

    /// Three groups of four rows; the last two see one prompt. Lengths are none, one, a block's and more.
    fn case(d: i64) -> Case {
        tch::manual_seed(5);
        let random = |size: &[i64]| Tensor::randn(size, (Kind::Double, Device::Cpu));
        Case {
            query: random(&[12, HEADS, d]) * 2.0,
            prompts: [0, 1].map(|_| random(&[200, SHARED, d])),
            spans: vec![(0, 1), (1, 130), (1, 130)],
            own: [0, 1].map(|_| random(&[12, 90, SHARED, d])),
            lengths: vec![0, 1, 2, 63, 64, 65, 90, 7, 0, 90, 33, 1],
        }
    }

    impl Case {
        fn run(&self, kind: Kind, device: Device, path: Path) -> Tensor {
            let to = |x: &Tensor| x.to_device(device).to_kind(kind);
            let ([key, value], [own_key, own_value]) = (self.prompts.each_ref().map(to), self.own.each_ref().map(to));
            let spans = Spans::new(&self.spans, 200, device).unwrap();
            let shared = SharedKeys { key: &key, value: &value, spans: &spans };
            let lengths = Tensor::from_slice(&self.lengths).to_device(device);
            let own = OwnKeys { key: &own_key, value: &own_value, lengths: &lengths };
            along(&to(&self.query), &shared, &own, path).unwrap().to_device(Device::Cpu).to_kind(Kind::Double)
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

    #[test]
    fn what_does_not_fit_is_an_error_that_names_shapes() {
        let error = |spans: &[(i64, i64)]| Spans::new(spans, 5, Device::Cpu).unwrap_err().to_string();
        assert_eq!(error(&[(0, 5), (2, 4)]), "attend_rows: group 1 sees 4 keys from 2 on, of 5");
        assert_eq!(error(&[(-1, 2)]), "attend_rows: group 0 sees 2 keys from -1 on, of 5");
        let x = |size: &[i64]| Tensor::zeros(size, (Kind::Float, Device::Cpu));
        let says = |own: &[i64], lengths: i64, keys: i64, expected: &str| {
            let (key, own) = (x(&[keys, 1, 4]), x(own));
            let shared = SharedKeys { key: &key, value: &key, spans: &Spans::new(&[(0, 5)], 5, Device::Cpu).unwrap() };
            let lengths = Tensor::zeros([lengths], (Kind::Int, Device::Cpu));
            let own = OwnKeys { key: &own, value: &own, lengths: &lengths };
            let text = attend_rows(&x(&[2, 2, 4]), &shared, &own).unwrap_err().to_string();
            assert!(text.contains(expected), "{text}");
        };
        says(&[2, 3, 1, 8], 2, 5, "own keys and values are not [2, C, 1, 4]");
        says(&[2, 3, 1, 4], 3, 5, "1 groups of 2 rows, with lengths Int [1]");
        says(&[2, 3, 1, 4], 2, 6, "the spans are of 5 keys");
    }
}

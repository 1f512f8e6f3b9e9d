//! Own kernels against libtorch's operators, on a GPU: neither may be further from f64's truth than the kind makes it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{Mutex, MutexGuard, PoisonError};

use tch::{Device, Kind, Tensor};
use vr1_torch::{
    Draw, Drawn, Gate, Graph, Kernel, OwnKeys, SharedKeys, add_rms_norm, gated, group_attention, leave_out_kernels,
    quick_gelu, rotate, rotate_into_cache, sample, silu_product, uniforms,
};

const KINDS: [Kind; 3] = [Kind::BFloat16, Kind::Half, Kind::Float];

/// The GPU, for one test at a time: which kernels are left out is one setting for all.
fn gpu() -> Option<(Device, MutexGuard<'static, ()>)> {
    static ONE: Mutex<()> = Mutex::new(());
    let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    match vr1_torch::device("cuda") {
        Ok(device) => Some((device, one)),
        Err(reason) => {
            eprintln!("no GPU: not compared ({reason})");
            None
        }
    }
}

/// A kernel that was left to the operators would be compared with itself.
fn all_are_trusted() {
    assert_eq!(vr1_torch::kernel_faults(), Vec::<String>::new());
}

fn by_operators<R>(work: impl FnOnce() -> R) -> R {
    leave_out_kernels(&Kernel::ALL);
    let done = work();
    leave_out_kernels(&[]);
    done
}

fn random(size: &[i64], device: Device) -> Tensor {
    Tensor::randn(size, (Kind::Double, device))
}

/// What a kernel may be off from the truth: twice what the operators are off, or a rounding of its own.
fn close(kernel: &Tensor, operators: &Tensor, truth: &Tensor, what: &str) {
    assert_eq!((kernel.size(), kernel.kind()), (operators.size(), operators.kind()), "{what}");
    let kind = kernel.kind();
    let off = |x: &Tensor| (x.to_kind(Kind::Double) - truth).abs().max().double_value(&[]);
    let rounding = match kind {
        Kind::BFloat16 => 1.0 / 256.0,
        Kind::Half => 1.0 / 2048.0,
        _ => 1.0 / f64::from(1 << 23),
    };
    let bound = 2.0 * off(operators).max(rounding * truth.abs().max().double_value(&[]));
    let found = off(kernel);
    all_are_trusted();
    assert!(found <= bound, "{what}: off by {found:.2e}, and the operators by {:.2e}", off(operators));
}

#[test]
fn a_norm_of_a_sum() {
    let Some((device, _one)) = gpu() else { return };
    for kind in KINDS {
        for (rows, hidden) in [(1, 1536), (64, 1536), (3, 64), (2, 896), (5, 20_480), (2, 8)] {
            let [x, y] = [0, 1].map(|_| random(&[rows, hidden], device).to_kind(kind));
            let weight = random(&[hidden], device).to_kind(kind);
            let (first, second) = (x.copy(), x.copy());
            let kernel = add_rms_norm(&first, &y, &weight, 1e-6).unwrap();
            let operators = by_operators(|| add_rms_norm(&second, &y, &weight, 1e-6).unwrap());
            assert!(first.equal(&second), "{kind:?} [{rows}, {hidden}]");
            let wide = first.to_kind(Kind::Double);
            let nothing = wide.zeros_like();
            let truth = add_rms_norm(&wide, &nothing, &weight.to_kind(Kind::Double), 1e-6).unwrap();
            close(&kernel, &operators, &truth, &format!("{kind:?} [{rows}, {hidden}]"));
        }
    }
}

#[test]
fn a_gated_product() {
    let Some((device, _one)) = gpu() else { return };
    for kind in KINDS {
        for gate in [Gate::Silu, Gate::Gelu, Gate::GeluTanh, Gate::QuickGelu] {
            for (rows, width) in [(1, 8960), (64, 8960), (7, 24)] {
                let x = (random(&[rows, 2 * width], device) * 3.0).to_kind(kind);
                let kernel = gated(&x, gate).unwrap();
                let operators = by_operators(|| gated(&x, gate).unwrap());
                let truth = gated(&x.to_kind(Kind::Double), gate).unwrap();
                close(&kernel, &operators, &truth, &format!("{gate:?} {kind:?} [{rows}, {width}]"));
            }
        }
    }
}

#[test]
fn rotated_heads_and_a_cache() {
    let Some((device, _one)) = gpu() else { return };
    for kind in KINDS {
        for rotation in [kind, Kind::Float] {
            for (rows, heads, shared, d) in [(1, 12, 2, 128), (64, 12, 2, 128), (3, 4, 4, 64), (5, 3, 1, 80)] {
                let capacity = 9;
                let qkv = random(&[rows, (heads + 2 * shared) * d], device).to_kind(kind);
                let angles = random(&[rows, d], device) * 100.0;
                let (cos, sin) = (angles.cos().to_kind(rotation), angles.sin().to_kind(rotation));
                let places: Vec<i32> = (0..rows as i32).map(|row| row * 5 % 11 - 1).collect(); // some are outside
                let places = Tensor::from_slice(&places).to_device(device);
                let cache = random(&[rows, capacity, shared, d], device);
                let run = |kind: Kind, rotation: Kind| {
                    let [keys, values] = [0, 1].map(|_| cache.to_kind(kind).copy());
                    let [qkv, cos, sin] =
                        [(&qkv, kind), (&cos, rotation), (&sin, rotation)].map(|(x, kind)| x.to_kind(kind));
                    let query =
                        rotate_into_cache(&qkv, (heads, shared, d), (&cos, &sin), (&keys, &values), &places).unwrap();
                    [query, keys, values]
                };
                let kernel = run(kind, rotation);
                let operators = by_operators(|| run(kind, rotation));
                for (kernel, operators) in kernel.iter().zip(&operators) {
                    // Each operation is rounded as the operators round it.
                    assert!(kernel.equal(operators), "{kind:?} by {rotation:?} [{rows}, {heads}, {shared}, {d}]");
                }
            }
        }
    }
}

/// What `function` makes of these, and the gradient of each where the result's is `weights`.
fn with_gradients(inputs: &[Tensor], weights: &Tensor, function: &dyn Fn(&[Tensor]) -> Tensor) -> Vec<Tensor> {
    let leaves: Vec<Tensor> = inputs.iter().map(|x| x.detach().copy().set_requires_grad(true)).collect();
    let out = function(&leaves);
    (&out * weights).sum(Kind::Double).backward();
    std::iter::once(out.detach()).chain(leaves.iter().map(Tensor::grad)).collect()
}

#[test]
fn heads_that_are_turned_and_turned_back() {
    let Some((device, _one)) = gpu() else { return };
    for kind in KINDS {
        for rotation in [kind, Kind::Float] {
            for (tokens, heads, d) in [(300, 12, 128), (7, 16, 80), (1, 3, 64)] {
                // The middle of three heads' worth that lie side by side.
                let x = random(&[tokens, 3, heads, d], device).to_kind(kind).select(1, 1);
                let angles = random(&[tokens, 1, d / 2], device) * 100.0;
                let [cos, sin] = [angles.cos(), angles.sin()].map(|x| Tensor::cat(&[&x, &x], -1).to_kind(rotation));
                let weights = random(&[tokens, heads, d], device).to_kind(kind);
                let run = || {
                    let turned = rotate(&x, &cos, &sin).unwrap();
                    let learnt = |x: &[Tensor]| rotate(&x[0], &cos, &sin).unwrap();
                    let mut all = with_gradients(&[x.shallow_clone()], &weights, &learnt);
                    all.push(turned);
                    all
                };
                let (kernel, operators) = (run(), by_operators(run));
                all_are_trusted();
                for (kernel, operators) in kernel.iter().zip(&operators) {
                    assert!(kernel.equal(operators), "{kind:?} by {rotation:?} [{tokens}, {heads}, {d}]");
                }
            }
        }
    }
}

#[test]
fn activations_and_their_slopes() {
    type Function = (&'static str, usize, fn(&[Tensor]) -> Tensor);
    let Some((device, _one)) = gpu() else { return };
    let functions: [Function; 2] = [
        ("silu_product", 2, |x| silu_product(&x[0], &x[1]).unwrap()),
        ("quick_gelu", 1, |x| quick_gelu(&x[0]).unwrap()),
    ];
    for kind in KINDS {
        for (name, count, function) in functions {
            for size in [[70, 8960], [3, 24], [3, 5]] {
                let inputs: Vec<Tensor> = (0..count).map(|_| (random(&size, device) * 3.0).to_kind(kind)).collect();
                let weights = random(&size, device).to_kind(kind);
                let wide: Vec<Tensor> = inputs.iter().map(|x| x.to_kind(Kind::Double)).collect();
                let kernel = with_gradients(&inputs, &weights, &function);
                let operators = by_operators(|| with_gradients(&inputs, &weights, &function));
                let truth = with_gradients(&wide, &weights.to_kind(Kind::Double), &function);
                for (place, truth) in truth.iter().enumerate() {
                    close(&kernel[place], &operators[place], truth, &format!("{name} {kind:?} {size:?}, {place}"));
                }
            }
        }
    }
}

/// Groups of `each` rows, with what their attention is over.
struct Groups {
    query: Tensor,
    prefix: [Tensor; 4],
    own: [Tensor; 3],
    longest: i64,
}

impl Groups {
    fn new(each: i64, (heads, shared, d): (i64, i64, i64), prefixes: &[i32], own: &[i32], device: Device) -> Self {
        let (rows, capacity) = (prefixes.len() as i64 * each, i64::from(own.iter().copied().max().unwrap()) + 3);
        let lengths: Vec<i32> = (0..rows as usize).map(|row| own[row % own.len()]).collect();
        let mut starts = vec![1i32];
        prefixes.iter().for_each(|length| starts.push(starts[starts.len() - 1] + length + 2));
        let keys = i64::from(starts[prefixes.len()]);
        let list = |x: &[i32]| Tensor::from_slice(x).to_device(device);
        let [prefix_keys, prefix_values] = [0, 1].map(|_| random(&[keys, shared, d], device));
        let [own_keys, own_values] = [0, 1].map(|_| random(&[rows, capacity, shared, d], device));
        Self {
            query: random(&[rows, heads, d], device),
            prefix: [prefix_keys, prefix_values, list(&starts[..prefixes.len()]), list(prefixes)],
            own: [own_keys, own_values, list(&lengths)],
            longest: i64::from(prefixes.iter().copied().max().unwrap()) + 5,
        }
    }

    fn to_kind(&self, kind: Kind) -> Self {
        let cast = |x: &Tensor| if x.is_floating_point() { x.to_kind(kind) } else { x.shallow_clone() };
        let [prefix, own] = [&self.prefix[..], &self.own[..]].map(|list| list.iter().map(cast).collect::<Vec<_>>());
        Self {
            query: cast(&self.query),
            prefix: prefix.try_into().unwrap(),
            own: own.try_into().unwrap(),
            longest: self.longest,
        }
    }

    fn attend(&self) -> Tensor {
        let [keys, values, starts, lengths] = &self.prefix;
        let prefix = SharedKeys { keys, values, starts, lengths, longest: self.longest };
        let [keys, values, lengths] = &self.own;
        group_attention(&self.query, &prefix, &OwnKeys { keys, values, lengths }).unwrap()
    }
}

#[test]
fn attention_over_prefixes_and_own_keys() {
    let Some((device, _one)) = gpu() else { return };
    let shapes = [(12, 2, 128), (4, 4, 64), (14, 2, 64), (8, 1, 96), (6, 2, 80), (8, 4, 256), (70, 1, 64)];
    type Case = (i64, &'static [i32], &'static [i32]);
    let cases: [Case; 6] = [
        (8, &[1051], &[0, 1, 5, 63, 64, 65, 256, 2]),
        (1, &[0], &[33]),
        (1, &[17, 0, 64, 65], &[0, 0, 3, 700]),
        (8, &[1051, 300, 64, 1, 2000, 1051, 1051, 1052], &[256, 17, 130]),
        (24, &[700], &[9, 0, 64]),
        (2, &[32_000], &[1, 2]),
    ];
    for (heads, shared, d) in shapes {
        for (each, prefixes, own) in cases {
            let groups = Groups::new(each, (heads, shared, d), prefixes, own, device);
            for kind in KINDS {
                // What the kind makes of the inputs is given; the truth is of these.
                let narrow = groups.to_kind(kind);
                let kernel = narrow.attend();
                let operators = by_operators(|| narrow.attend());
                let truth = narrow.to_kind(Kind::Double).attend();
                close(
                    &kernel,
                    &operators,
                    &truth,
                    &format!("{kind:?} {heads}/{shared}·{d}, {each} × {prefixes:?}, {own:?}"),
                );
            }
        }
    }
}

#[test]
fn a_recorded_attention_sees_keys_that_come_later() {
    let Some((device, _one)) = gpu() else { return };
    let groups = Groups::new(4, (12, 2, 128), &[100, 300], &[1, 70, 2], device).to_kind(Kind::BFloat16);
    let mut out = groups.attend();
    let graph = Graph::record(device, || out = groups.attend()).unwrap();
    for _ in 0..3 {
        let _ = groups.own[2].shallow_clone().g_add_scalar_(1);
        graph.replay().unwrap();
        assert!(out.equal(&groups.attend()));
    }
}

#[test]
fn a_head_is_read_where_it_lies_in_a_larger_cache() {
    let Some((device, _one)) = gpu() else { return };
    let groups = Groups::new(4, (12, 2, 128), &[100, 300], &[1, 70, 2], device).to_kind(Kind::BFloat16);
    let mut strided = groups.to_kind(Kind::BFloat16);
    for (from, to) in [(&groups.own[0], 0), (&groups.own[1], 1)] {
        strided.own[to] = Tensor::cat(&[from, from], 1).narrow(1, 0, from.size()[1]);
    }
    strided.prefix[0] = groups.prefix[0].transpose(0, 1).contiguous().transpose(0, 1);
    assert!(!strided.prefix[0].is_contiguous() && !strided.own[0].is_contiguous());
    assert!(strided.attend().equal(&groups.attend()));
}

#[test]
fn numbers_of_rows() {
    let Some((device, _one)) = gpu() else { return };
    let states: Vec<i64> = (0..300).map(|row: i64| row.wrapping_mul(0x1e37_79b9_7f4a_7c15).wrapping_sub(1)).collect();
    let states = Tensor::from_slice(&states);
    for positions in [Tensor::arange(300, (Kind::Int64, Device::Cpu)), Tensor::from_slice(&[7i64])] {
        let expected = uniforms(&states, &positions).unwrap();
        let found = uniforms(&states.to_device(device), &positions.to_device(device)).unwrap();
        assert!(found.to_device(Device::Cpu).equal(&expected));
    }
}

#[test]
fn a_drawn_token_and_what_is_recorded_of_it() {
    let Some((device, _one)) = gpu() else { return };
    for kind in KINDS {
        for (rows, vocabulary) in [(1, 151_936), (64, 151_936), (5, 50_257), (9, 300), (3, 4096), (2, 1)] {
            for (temperature, hides) in [(1.0, false), (0.7, true), (0.0, true)] {
                let logits = (random(&[rows, vocabulary], device) * 3.0).to_kind(kind);
                let hidden = random(&[vocabulary], device).gt(1.0);
                let _ = hidden.narrow(0, vocabulary - 1, 1).fill_(0);
                let states = Tensor::arange(rows, (Kind::Int64, device)) * 77;
                let positions = Tensor::arange(rows, (Kind::Int64, device));
                let unreachable = hides.then_some(&hidden);
                let draw = Draw { temperature, unreachable, states: &states, positions: &positions };
                let kernel = sample(&logits, &draw).unwrap();
                let truth = sample(&logits.to_kind(Kind::Double), &draw).unwrap();
                let what = format!("{kind:?} [{rows}, {vocabulary}] at {temperature}");
                drawn_alike(&kernel, &truth, &logits.to_kind(Kind::Double), &draw, &what);
            }
        }
    }
}

/// An id may be another where the number falls within rounding of where one token ends and the next begins.
fn drawn_alike(kernel: &Drawn, truth: &Drawn, logits: &Tensor, draw: &Draw<'_>, what: &str) {
    let near = |found: &Tensor, expected: &Tensor| {
        let off = (found.to_kind(Kind::Double) - expected).abs().max().double_value(&[]);
        assert!(off < 1e-4, "{what}: off by {off:.1e}");
    };
    near(&kernel.entropies, &truth.entropies);
    let of = |x: &Tensor| x.gather(1, &kernel.ids.unsqueeze(1), false).squeeze_dim(1);
    near(&kernel.logprobs, &of(&logits.log_softmax(-1, Kind::Double)));
    if draw.temperature == 0.0 {
        assert!(kernel.ids.equal(&truth.ids), "{what}");
        assert_eq!(kernel.drawn_logprobs.abs().max().double_value(&[]), 0.0);
        return;
    }
    let scaled = logits / draw.temperature;
    let scaled =
        draw.unreachable.map_or(scaled.shallow_clone(), |hidden| scaled.masked_fill(hidden, f64::NEG_INFINITY));
    near(&kernel.drawn_logprobs, &of(&scaled.log_softmax(-1, Kind::Double)));
    let probabilities = scaled.softmax(-1, Kind::Double);
    let after = of(&probabilities.cumsum(-1, Kind::Double));
    let before = &after - of(&probabilities);
    let number = uniforms(draw.states, draw.positions).unwrap();
    let inside = number.ge_tensor(&(before - 1e-5)).logical_and(&number.lt_tensor(&(after + 1e-5)));
    assert!(bool::try_from(inside.all()).unwrap(), "{what}");
}

/// How long each takes in a graph at the shapes of Qwen2-VL-2B, in microseconds: `--ignored --nocapture` shows it.
#[test]
#[ignore = "prints times"]
fn times_of_a_step() {
    let Some((device, _one)) = gpu() else { return };
    let (hidden, width, heads, shared, d, vocabulary) = (1536, 8960, 12, 2, 128, 151_936);
    for (prefixes, each) in [(1usize, 8i64), (8, 8), (32, 8)] {
        let rows = prefixes as i64 * each;
        let groups =
            Groups::new(each, (heads, shared, d), &vec![1051; prefixes], &[256], device).to_kind(Kind::BFloat16);
        let made = |size: &[i64]| random(size, device).to_kind(Kind::BFloat16);
        let (x, weight, both) = (made(&[rows, hidden]), made(&[hidden]), made(&[rows, 2 * width]));
        let (qkv, cos, logits) = (made(&[rows, (heads + 2 * shared) * d]), made(&[rows, d]), made(&[rows, vocabulary]));
        let states = Tensor::arange(rows, (Kind::Int64, device));
        let draw = Draw { temperature: 1.0, unreachable: None, states: &states, positions: &states };
        let own = &groups.own;
        let works: [(&str, &dyn Fn()); 5] = [
            ("add_rms_norm", &|| drop(add_rms_norm(&x, &x, &weight, 1e-6).unwrap())),
            ("rotate_into_cache", &|| {
                drop(rotate_into_cache(&qkv, (heads, shared, d), (&cos, &cos), (&own[0], &own[1]), &own[2]).unwrap());
            }),
            ("group_attention", &|| drop(groups.attend())),
            ("gated", &|| drop(gated(&both, Gate::Silu).unwrap())),
            ("sample", &|| drop(sample(&logits, &draw).unwrap())),
        ];
        for (name, work) in works {
            let time = |repeats: u32| {
                let graph = Graph::record(device, || (0..repeats).for_each(|_| work())).unwrap();
                graph.replay().unwrap();
                tch::Cuda::synchronize(0);
                let start = std::time::Instant::now();
                (0..20).for_each(|_| graph.replay().unwrap());
                tch::Cuda::synchronize(0);
                start.elapsed().as_secs_f64() * 1e6 / 20.0
            };
            let each = |()| (time(100) - time(20)) / 80.0;
            let kernel = each(());
            let operators = by_operators(|| each(()));
            eprintln!("{rows:4} rows {name:18} {kernel:8.1} µs, by operators {operators:8.1}");
        }
    }
}

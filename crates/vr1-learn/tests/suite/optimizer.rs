//! Updates against those of torch.optim; the numbers come from `fixtures/optimizer/generate.py`.

use std::collections::BTreeMap;

use serde::Deserialize;
use tch::{Device, Kind, Tensor};
use vr1_learn::{Method, Moments, Optimizer, OptimizerConfig, ParameterGroup, Schedule};
use vr1_torch::{AdamWStep, allocated, fused_adamw};

#[derive(Deserialize)]
struct Steps {
    shape: Vec<i64>,
    start: Vec<f32>,
    gradients: Vec<Vec<f32>>,
    after: Vec<Vec<f32>>,
}

fn recorded(method: &str) -> Vec<Steps> {
    let all: serde_json::Value = serde_json::from_str(include_str!("../fixtures/optimizer/steps.json")).unwrap();
    serde_json::from_value(all[method].clone()).unwrap()
}

fn config(method: Method) -> OptimizerConfig {
    OptimizerConfig {
        method,
        learning_rate: 0.1,
        schedule: Schedule::Constant,
        beta2: 0.98,
        weight_decay: 0.05,
        max_grad_norm: 1e9,
        ..OptimizerConfig::default()
    }
}

/// The largest difference of any step, for a parameter called `name`.
fn difference(steps: &Steps, name: &str, method: Method) -> f64 {
    let tensor = |values: &[f32]| Tensor::from_slice(values).view(steps.shape.as_slice());
    let parameter = tensor(&steps.start).set_requires_grad(true);
    let mut optimizer = Optimizer::new(vec![(name.to_owned(), parameter.shallow_clone())], config(method)).unwrap();
    let mut worst: f64 = 0.0;
    for (step, (gradient, after)) in steps.gradients.iter().zip(&steps.after).enumerate() {
        optimizer.step(vec![Some(tensor(gradient))], step as u64, 3).unwrap();
        worst = worst.max((parameter.detach() - tensor(after)).abs().max().double_value(&[]));
    }
    worst
}

#[test]
fn adamw_steps_are_those_of_torch() {
    for steps in recorded("adamw") {
        assert!(difference(&steps, "visual.blocks.0.mlp.fc1.weight", Method::AdamW) < 1e-6);
    }
}

#[test]
fn muon_steps_are_those_of_torch() {
    for steps in recorded("muon") {
        let worst = difference(&steps, "model.layers.0.mlp.up_proj.weight", Method::Muon);
        assert!(worst < 1e-5, "{:?}: {worst}", steps.shape);
    }
}

#[test]
fn muon_leaves_embeddings_to_adamw() {
    for steps in recorded("adamw") {
        assert!(difference(&steps, "model.embed_tokens.weight", Method::Muon) < 1e-6);
    }
}

/// Parameters of these kinds and sizes, the same every time.
fn parameters(device: Device, sizes: &[(Kind, &[i64])]) -> Vec<(String, Tensor)> {
    let one = |(i, (kind, size)): (usize, &(Kind, &[i64]))| {
        let parameter = numbers(size, i as u64).to_kind(*kind).to_device(device);
        (format!("model.layers.{i}.weight"), parameter.set_requires_grad(true))
    };
    sizes.iter().enumerate().map(one).collect()
}

/// Numbers of very different sizes; `seed` says which.
fn numbers(size: &[i64], seed: u64) -> Tensor {
    let count: i64 = size.iter().product();
    let t = Tensor::arange(count, (Kind::Double, Device::Cpu)) + seed as f64 * 0.37;
    let numbers = (&t * 12.9898).sin() * (&t * 0.7).sin().abs().pow_tensor_scalar(4);
    numbers.to_kind(Kind::Float).view(size)
}

fn adam(moments: Moments, offload: bool) -> OptimizerConfig {
    OptimizerConfig { moments, offload, learning_rate: 1e-2, max_grad_norm: 1.0, ..config(Method::AdamW) }
}

/// An optimizer after steps `from..to`, and the norms that its gradients had.
fn walked(optimizer: &mut Optimizer, steps: std::ops::Range<u64>) -> Vec<f64> {
    let step = |step: u64| {
        let one = |(i, p): (usize, &Tensor)| {
            let gradient = numbers(&p.size(), 100 + 10 * step + i as u64).to_kind(p.kind()).to_device(p.device());
            (step % 3 != 1 || i != 0).then_some(gradient)
        };
        let gradients = optimizer.parameters().iter().enumerate().map(one).collect();
        optimizer.step(gradients, step, 10).unwrap()
    };
    steps.map(step).collect()
}

fn same(a: &Optimizer, b: &Optimizer) -> bool {
    a.parameters().iter().zip(b.parameters()).all(|(a, b)| a.detach() == b.detach())
}

const SIZES: [(Kind, &[i64]); 4] =
    [(Kind::Float, &[70, 90]), (Kind::BFloat16, &[64, 80]), (Kind::BFloat16, &[5000]), (Kind::Float, &[7])];

#[test]
fn what_lies_on_the_host_is_updated_as_it_would_be_on_the_device() {
    let gpu = vr1_torch::device("cuda");
    if let Err(error) = &gpu {
        println!("no GPU: only the CPU is tested ({error})");
    }
    for device in [Device::Cpu].into_iter().chain(gpu) {
        for moments in [Moments::F32, Moments::Blockwise8bit] {
            let [mut here, mut host] = [false, true].map(|offload| {
                let settings = adam(moments, offload);
                let (optimizer, bytes) =
                    allocated(|| Optimizer::new(parameters(device, &SIZES), settings).unwrap()).unwrap();
                println!("{device:?}, {moments:?}, offload {offload}: {bytes:?}");
                optimizer
            });
            assert_eq!(walked(&mut here, 0..4), walked(&mut host, 0..4));
            assert!(same(&here, &host), "{device:?}, {moments:?}");
        }
    }
}

#[test]
fn a_parameter_larger_than_a_piece_is_updated_like_one_that_is_not() {
    let large = [(1i64 << 24) + 1003];
    let given = numbers(&large, 1);
    let parameter = given.copy().set_requires_grad(true);
    let mut optimizer = Optimizer::new(
        vec![("a".into(), parameter.shallow_clone())],
        OptimizerConfig { max_grad_norm: 1e9, ..adam(Moments::F32, false) },
    )
    .unwrap();
    let gradient = numbers(&large, 2);
    let hyper = AdamWStep { learning_rate: 1e-2, beta1: 0.9, beta2: 0.98, weight_decay: 0.0, epsilon: 1e-8 };
    let (m, v) = (given.zeros_like(), given.zeros_like());
    for t in 1..=2 {
        optimizer.step(vec![Some(gradient.copy())], t - 1, 10).unwrap();
        let step = Tensor::from(t as f32);
        fused_adamw(
            &[given.shallow_clone()],
            &[gradient.copy()],
            &[m.shallow_clone()],
            &[v.shallow_clone()],
            &[step],
            &hyper,
        )
        .unwrap();
    }
    assert!(parameter.detach() == given);
}

#[test]
fn a_saved_optimizer_goes_on_bit_for_bit() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("optimizer.safetensors");
    for (moments, offload) in [(Moments::F32, true), (Moments::Blockwise8bit, false), (Moments::Blockwise8bit, true)] {
        let mut whole = Optimizer::new(parameters(Device::Cpu, &SIZES), adam(moments, offload)).unwrap();
        walked(&mut whole, 0..3);
        whole.save(&file).unwrap();
        let names = (0..).map(|i| format!("model.layers.{i}.weight"));
        let copies = names.zip(whole.parameters()).map(|(name, p)| (name, p.detach().copy().set_requires_grad(true)));
        let mut resumed = Optimizer::new(copies.collect(), adam(moments, offload)).unwrap();
        resumed.restore(&file).unwrap();
        walked(&mut whole, 3..6);
        walked(&mut resumed, 3..6);
        assert!(same(&whole, &resumed), "{moments:?}, {offload}");
    }
    // Moments of another kind are not taken for these.
    let error =
        Optimizer::new(parameters(Device::Cpu, &SIZES), adam(Moments::F32, false)).unwrap().restore(&file).unwrap_err();
    assert!(error.to_string().contains("exp_avg.model.layers.0.weight is missing"), "{error}");
}

/// The values of an 8-bit code by the paper's figure 2: a sign where there is one, an exponent, and linear steps.
fn values(signed: bool) -> Vec<f64> {
    let mut values = vec![0.0, 1.0];
    for exponent in 0..7u32 {
        let steps = if signed { 1 << exponent } else { 2 << exponent };
        let edge = |i: i32| 0.1 + 0.9 * f64::from(i) / f64::from(steps);
        for i in 0..steps {
            let value = (edge(i) + edge(i + 1)) / 2.0 * 10f64.powi(exponent as i32 - 6);
            values.push(value);
            if signed {
                values.push(-value);
            }
        }
    }
    assert_eq!(values.len(), 256);
    values
}

/// Numbers as they come out of 8 bits.
fn through_8_bits(tensor: &Tensor, signed: bool) -> Tensor {
    let (values, numbers) = (values(signed), Vec::<f32>::try_from(tensor.view([-1])).unwrap());
    let block = |block: &[f32]| {
        let largest = block.iter().fold(0f32, |most, x| most.max(x.abs()));
        let one = |&x: &f32| {
            let far = |value: &&f64| (**value - f64::from(x) / f64::from(largest)).abs();
            let held = |value: &&f64| signed || x == 0.0 || **value > 0.0;
            let nearest = values.iter().filter(held).min_by(|a, b| far(a).total_cmp(&far(b))).unwrap();
            (*nearest as f32) * largest
        };
        block.iter().map(one).collect::<Vec<f32>>()
    };
    let held: Vec<f32> = numbers.chunks(256).flat_map(block).collect();
    Tensor::from_slice(&held).view(tensor.size().as_slice())
}

#[test]
fn moments_of_8_bits_are_held_as_the_paper_has_them() {
    // A last block that is not full, and a parameter that is too small.
    for (size, narrow) in [(vec![60, 100], true), (vec![4096], true), (vec![4095], false)] {
        let given = numbers(&size, 3);
        let parameter = given.copy().set_requires_grad(true);
        let settings = OptimizerConfig { max_grad_norm: 1e9, weight_decay: 0.0, ..adam(Moments::Blockwise8bit, false) };
        let mut optimizer = Optimizer::new(vec![("a".into(), parameter.shallow_clone())], settings).unwrap();
        let hyper = AdamWStep { learning_rate: 1e-2, beta1: 0.9, beta2: 0.98, weight_decay: 0.0, epsilon: 1e-8 };
        let (mut m, mut v) = (given.zeros_like(), given.zeros_like());
        for t in 1..=4 {
            let gradient = numbers(&size, 50 + t);
            optimizer.step(vec![Some(gradient.copy())], t - 1, 10).unwrap();
            let lists = [&given, &gradient, &m, &v].map(|x| [x.shallow_clone()]);
            fused_adamw(&lists[0], &lists[1], &lists[2], &lists[3], &[Tensor::from(t as f32)], &hyper).unwrap();
            if narrow {
                (m, v) = (through_8_bits(&m, true), through_8_bits(&v, false));
            }
            let worst = (parameter.detach() - &given).abs().max().double_value(&[]);
            // Of updates of 0.01; a code of which a number is as far as from its neighbour may be either.
            assert!(worst < 1e-6, "{size:?}, step {t}: {worst}");
        }
    }
}

#[test]
fn eight_bits_take_an_eighth_of_the_memory_of_two_f32() {
    let held = |moments: Moments| {
        let named = parameters(Device::Cpu, &[(Kind::Float, &[400, 1000])]);
        let (_optimizer, bytes) = allocated(|| Optimizer::new(named, adam(moments, false)).unwrap()).unwrap();
        bytes.left
    };
    let (wide, narrow) = (held(Moments::F32), held(Moments::Blockwise8bit));
    // Two codes a parameter, and two scales for 256; both codebooks.
    assert!(wide >= 8 * 400_000 && narrow < 2 * 400_000 + 2 * 4 * 400_000 / 256 + 8192, "{wide}, {narrow}");
}

#[derive(Deserialize)]
struct Grouped {
    shapes: BTreeMap<String, Vec<i64>>,
    start: BTreeMap<String, Vec<f32>>,
    steps: Vec<BTreeMap<String, Moved>>,
}

#[derive(Deserialize)]
struct Moved {
    gradient: Vec<f32>,
    after: Vec<f32>,
}

fn group(patterns: &[&str], learning_rate: Option<f64>, weight_decay: Option<f64>) -> ParameterGroup {
    let matches = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
    ParameterGroup { matches, learning_rate, weight_decay }
}

/// As a model has it.
fn part(name: &str) -> Option<&'static str> {
    Some(match name {
        _ if name.starts_with("visual.merger") => "merger",
        _ if name.starts_with("visual") => "tower",
        _ => "language",
    })
}

#[test]
fn groups_step_as_parameter_groups_of_torch_do() {
    let all: serde_json::Value = serde_json::from_str(include_str!("../fixtures/optimizer/steps.json")).unwrap();
    let recorded: Grouped = serde_json::from_value(all["grouped"].clone()).unwrap();
    let tensor = |name: &str, values: &[f32]| Tensor::from_slice(values).view(recorded.shapes[name].as_slice());
    let named: Vec<(String, Tensor)> = recorded
        .start
        .iter()
        .map(|(name, values)| (name.clone(), tensor(name, values).set_requires_grad(true)))
        .collect();
    let groups = vec![
        group(&["visual.*.bias"], None, Some(0.2)),
        group(&["tower"], Some(0.01), None),
        group(&["merger"], Some(0.3), Some(0.0)),
        group(&["model.layers.0"], Some(0.02), Some(0.5)),
    ];
    let settings = OptimizerConfig { schedule: Schedule::Linear, groups, ..config(Method::AdamW) };
    let names: Vec<String> = named.iter().map(|(name, _)| name.clone()).collect();
    let mut optimizer = Optimizer::of_parts(named, settings, part).unwrap();
    for (step, moved) in recorded.steps.iter().enumerate() {
        let gradients = names.iter().map(|name| Some(tensor(name, &moved[name].gradient))).collect();
        let norm = optimizer.step(gradients, step as u64, 4).unwrap();
        for (name, parameter) in names.iter().zip(optimizer.parameters()) {
            let worst = (parameter.detach() - tensor(name, &moved[name].after)).abs().max().double_value(&[]);
            assert!(worst < 1e-6, "{name}, step {step}: {worst}");
        }
        let of = |wanted: &str| {
            let squares = |(_, moved): (_, &Moved)| moved.gradient.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
            moved.iter().filter(|(name, _)| part(name) == Some(wanted)).map(squares).sum::<f64>().sqrt()
        };
        let parts = optimizer.norms();
        assert_eq!(parts.keys().copied().collect::<Vec<_>>(), ["language", "merger", "tower"]);
        assert!(parts.iter().all(|(part, norm)| (norm - of(part)).abs() < 1e-5 * norm), "{parts:?}");
        let together = parts.values().map(|norm| norm * norm).sum::<f64>().sqrt();
        assert!((together - norm).abs() < 1e-5 * norm, "{together} {norm}");
    }
}

#[test]
fn a_group_that_says_what_holds_anyway_changes_nothing() {
    for (moments, method) in
        [(Moments::F32, Method::AdamW), (Moments::Blockwise8bit, Method::AdamW), (Moments::F32, Method::Muon)]
    {
        let usual = OptimizerConfig { method, weight_decay: 0.1, ..adam(moments, false) };
        let said =
            vec![group(&["model.layers.1", "model.layers.3"], Some(1e-2), None), group(&["*.0.*"], None, Some(0.1))];
        let mut plain = Optimizer::new(parameters(Device::Cpu, &SIZES), usual.clone()).unwrap();
        let grouped = OptimizerConfig { groups: said, ..usual };
        let mut grouped = Optimizer::new(parameters(Device::Cpu, &SIZES), grouped).unwrap();
        assert_eq!(walked(&mut plain, 0..4), walked(&mut grouped, 0..4));
        assert!(same(&plain, &grouped), "{moments:?}, {method:?}");
    }
}

#[test]
fn a_rate_of_a_group_moves_its_parameters_and_no_others() {
    for (moments, method) in
        [(Moments::F32, Method::AdamW), (Moments::Blockwise8bit, Method::AdamW), (Moments::F32, Method::Muon)]
    {
        let usual = OptimizerConfig { method, ..adam(moments, false) };
        let mut plain = Optimizer::new(parameters(Device::Cpu, &SIZES), usual.clone()).unwrap();
        let groups = vec![group(&["model.layers.1"], Some(3e-2), None), group(&["model.layers.2"], None, Some(10.0))];
        let mut grouped = Optimizer::new(parameters(Device::Cpu, &SIZES), OptimizerConfig { groups, ..usual }).unwrap();
        walked(&mut plain, 0..2);
        walked(&mut grouped, 0..2);
        let equal: Vec<bool> =
            plain.parameters().iter().zip(grouped.parameters()).map(|(a, b)| a.detach() == b.detach()).collect();
        assert_eq!(equal, [true, false, false, true], "{moments:?}, {method:?}");
    }
}

#[test]
fn a_group_of_nothing_is_refused_by_its_place() {
    let refused = |groups: Vec<ParameterGroup>| {
        let settings = OptimizerConfig { groups, ..adam(Moments::F32, false) };
        Optimizer::of_parts(parameters(Device::Cpu, &SIZES), settings, part).unwrap_err().to_string()
    };
    let nothing = refused(vec![group(&["model.layers.0"], Some(1e-3), None), group(&["tower"], Some(1e-3), None)]);
    assert!(nothing.contains("optimizer.groups.1.match.0: \"tower\" fits no parameter"), "{nothing}");
    let taken = refused(vec![group(&["language"], Some(1e-3), None), group(&["model.layers.0"], Some(1e-3), None)]);
    assert!(taken.contains("optimizer.groups.1.match.0") && taken.contains("groups before it"), "{taken}");
    assert!(refused(vec![group(&[], Some(1e-3), None)]).contains("match"));
    assert!(refused(vec![group(&["*"], None, None)]).contains("learning_rate"));
    assert!(refused(vec![group(&["*"], Some(0.0), None)]).contains("freeze"));
    assert!(refused(vec![group(&["*"], None, Some(-1.0))]).contains("weight_decay"));
}

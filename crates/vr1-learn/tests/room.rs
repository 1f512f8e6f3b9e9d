//! Where memory runs out in a step, what is left is the state before it or the state behind it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod tiny;

use tch::{Device, Kind, Tensor};
use tiny::{FIRST, Linear, Named, changed, learner, mixed, model, plain, signals, state, steady};
use vr1_learn::{Error, Learner, LearnerConfig, Method, Moments, Optimizer, OptimizerConfig};
use vr1_torch::{allocated, guarded, limited};

/// Every way in which an optimizer holds something on the way.
fn ways() -> Vec<OptimizerConfig> {
    let mut ways = Vec::new();
    for method in [Method::AdamW, Method::Muon] {
        for moments in [Moments::F32, Moments::Blockwise8bit] {
            for offload in [false, true] {
                ways.push(OptimizerConfig { method, moments, offload, ..steady(1e-2) });
            }
        }
    }
    ways
}

fn parameters(kind: Kind) -> Vec<(String, Tensor)> {
    let one = |i: i64, size: &[i64]| {
        let count: i64 = size.iter().product();
        let numbers = (Tensor::arange(count, (Kind::Float, Device::Cpu)) * (0.37 + i as f64)).sin();
        (format!("model.layers.{i}.weight"), numbers.view(size).to_kind(kind).set_requires_grad(true))
    };
    vec![one(0, &[96, 80]), one(1, &[6000]), one(2, &[40, 150]), one(3, &[7])]
}

fn tensors(optimizer: &Optimizer, file: &std::path::Path) -> Vec<(String, Tensor)> {
    optimizer.save(file).unwrap();
    let mut all = Tensor::read_safetensors(file).unwrap();
    let own = optimizer.parameters().iter().enumerate();
    all.extend(own.map(|(i, p)| (format!("parameter {i}"), p.detach().copy())));
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

fn same(a: &[(String, Tensor)], b: &[(String, Tensor)]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0 && a.1.equal(&b.1))
}

#[test]
fn an_optimizer_without_room_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("state.safetensors");
    for kind in [Kind::Float, Kind::BFloat16] {
        for way in ways() {
            let gradients = |optimizer: &Optimizer| -> Vec<Option<Tensor>> {
                optimizer.parameters().iter().map(|p| Some((p.detach() * 3.0).cos())).collect()
            };
            let begun = || {
                let mut optimizer = Optimizer::new(parameters(kind), way.clone()).unwrap();
                let first = gradients(&optimizer);
                optimizer.step(first, 0, 10).unwrap();
                optimizer
            };
            let mut whole = begun();
            let before = tensors(&whole, &file);
            let second = gradients(&whole);
            let (_, bytes) = allocated(|| whole.step(second, 1, 10).unwrap()).unwrap();
            let after = tensors(&whole, &file);
            assert!(!same(&before, &after));
            let mut ended = [0; 2];
            for room in (0..48).map(|i| bytes.peak as u64 * i / 40) {
                let mut optimizer = begun();
                let second = gradients(&optimizer);
                let stepped = limited(room, || guarded(|| optimizer.step(second, 1, 10))).unwrap();
                let stepped = stepped.map_err(Error::from).flatten();
                let found = tensors(&optimizer, &file);
                let what = format!("{kind:?}, {way:?}, room for {room} bytes of {}", bytes.peak);
                assert!(optimizer.is_whole(), "{what}");
                assert!(same(&found, if stepped.is_ok() { &after } else { &before }), "{what}: torn");
                ended[usize::from(stepped.is_ok())] += 1;
            }
            assert!(ended[0] > 0 && ended[1] > 0, "{kind:?}, {way:?}: {ended:?}");
        }
    }
}

fn begun(way: &OptimizerConfig, kind: Kind, iterations: u64) -> Learner {
    let config = LearnerConfig { optimizer: way.clone(), iterations, ..LearnerConfig::default() };
    learner(model("qwen2_vl_1", kind), config)
}

#[test]
fn a_step_in_any_memory_is_whole_or_not_at_all() {
    let groups = mixed();
    let signals = signals(&groups);
    let step = |learner: &mut Learner| learner.update(&groups, &signals, &Linear::default(), FIRST);
    for (kind, iterations) in [(Kind::Float, 1), (Kind::BFloat16, 1), (Kind::BFloat16, 2)] {
        for way in ways().into_iter().filter(|way| way.offload) {
            let mut whole = begun(&way, kind, iterations);
            let before = state(&whole);
            let (_, bytes) = allocated(|| step(&mut whole).unwrap()).unwrap();
            let after = state(&whole);
            let mut ended = [0; 2];
            for room in (1..=10).map(|i| bytes.peak as u64 * i / 9) {
                let mut learner = begun(&way, kind, iterations);
                let stepped = limited(room, || step(&mut learner)).unwrap();
                let expected: &Named = match &stepped {
                    Ok(_) => &after,
                    Err(Error::OutOfMemory { step: 1, .. }) => &before,
                    Err(other) => panic!("{other}"),
                };
                let what = format!("{kind:?}, {way:?}, room for {room} bytes of {}", bytes.peak);
                assert_eq!(changed(expected, &state(&learner)), Vec::<String>::new(), "{what}");
                ended[usize::from(stepped.is_ok())] += 1;
                // And it goes on.
                step(&mut learner).unwrap();
            }
            assert!(ended[0] > 0 && ended[1] > 0, "{kind:?}, {way:?}: {ended:?}");
        }
    }
}

#[test]
fn where_a_step_took_its_time_is_told() {
    let groups = mixed();
    let mut learner = plain(model("qwen2_vl_1", Kind::Float), 1e-3);
    let begun = std::time::Instant::now();
    let update = learner.update(&groups, &signals(&groups), &Linear::default(), FIRST).unwrap();
    let all = begun.elapsed().as_secs_f64();
    let parts = ["seconds_forward", "seconds_backward", "seconds_optimizer"].map(|part| update.seconds[part]);
    assert!(parts.iter().all(|seconds| *seconds > 0.0) && parts.iter().sum::<f64>() <= all, "{parts:?} of {all}");
    assert!(!update.seconds.contains_key("seconds_reference"), "nothing was compared");
}

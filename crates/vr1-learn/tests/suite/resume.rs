//! What has no part in a step is not moved by it, and what was saved goes on as if nothing had been.

use std::path::Path;
use std::rc::Rc;

use tch::{Device, Kind, Tensor};
use vr1_dpo::{DpoConfig, DpoLoss};
use vr1_learn::{
    Error, Learner, LearnerConfig, OptimizerConfig, PairLoss, PreferenceLoss, Schedule, Signals, WeightedLoss,
};
use vr1_nn::Adapter;
use vr1_rollout::Version;
use vr1_vlm::{Backbone, Model};

use crate::tiny::{
    self, FIRST, Linear, answers, changed, group, learner, mixed, model, plain, prompt, signals, state, steady, step,
};

#[test]
fn a_parameter_without_a_gradient_is_not_moved() {
    let mut learner = learner(model("qwen2_vl_1", Kind::Float), config());
    let with_pictures = mixed();
    learner.update(&with_pictures, &signals(&with_pictures), &Linear::default(), FIRST).unwrap();
    let before = state(&learner);
    let text = [group(9, &prompt("text", &[], "Two and two?"), &answers(&[4, 5]))];
    learner.update(&text, &Signals::new(vec![1.0, -0.5]), &Linear::default(), step(1)).unwrap();
    let changed = changed(&before, &state(&learner));
    // Weight decay and the moments of the step before would have moved the tower.
    let of_tower: Vec<&String> = changed.iter().filter(|name| name.contains("visual.")).collect();
    assert_eq!(of_tower, Vec::<&String>::new());
    // Everything else moved: parameters, both moments and the step count.
    let others = before.keys().filter(|name| !name.contains("visual."));
    assert!(others.eq(changed.iter()));
    let tower = before.keys().filter(|name| name.contains("visual.")).count();
    assert!(tower > 100, "{tower}");
}

fn config() -> LearnerConfig {
    let optimizer = OptimizerConfig { weight_decay: 0.1, schedule: Schedule::COSINE, warmup_steps: 2, ..steady(1e-3) };
    LearnerConfig { optimizer, tokens_per_micro_batch: 100, ..LearnerConfig::default() }
}

/// A model of each kind that is trained, from a directory that it was saved into.
fn from(dir: &Path, name: &str) -> Model {
    let kind = if name == "f32" { Kind::Float } else { Kind::BFloat16 };
    match name {
        "adapter" => model("qwen2_vl_1", kind).with_adapter(Adapter::open(dir).unwrap()).unwrap(),
        _ => Model::load(dir, Device::Cpu, kind).unwrap(),
    }
}

#[test]
fn a_resumed_learner_goes_on_bit_for_bit() {
    let groups = mixed();
    let (all, loss) = (signals(&groups), Linear::default());
    let some = Signals::new(vec![0.5, -1.0]);
    for name in ["f32", "bf16", "adapter"] {
        let begin = match name {
            "f32" => model("qwen2_vl_1", Kind::Float),
            "bf16" => model("qwen2_vl_1", Kind::BFloat16),
            _ => {
                let adapter = tiny::folder("crates/vr1-learn/tests/fixtures/trl/adapter");
                model("qwen2_vl_1", Kind::BFloat16).with_adapter(Adapter::open(&adapter).unwrap()).unwrap()
            }
        };
        let mut never = learner(begin, config());
        (0..3).for_each(|done| drop(never.update(&groups, &all, &loss, step(done)).unwrap()));
        let dir = tempfile::tempdir().unwrap();
        match name {
            "adapter" => never.model().save_adapter(dir.path(), None).unwrap(),
            _ => never.model().save(dir.path(), never.model().kind()).unwrap(),
        }
        never.save(dir.path()).unwrap();
        let mut resumed = learner(from(dir.path(), name), config());
        resumed.restore(dir.path(), Version(3)).unwrap();
        assert_eq!(changed(&state(&never), &state(&resumed)), Vec::<String>::new(), "{name}");
        for done in 3..5 {
            let [a, b] = [&mut never, &mut resumed].map(|learner| match done {
                3 => learner.update(&groups, &all, &loss, step(done)).unwrap(),
                _ => learner.update(&groups[3..], &some, &loss, step(done)).unwrap(),
            });
            assert_eq!((a.metrics, a.version), (b.metrics, b.version), "{name}");
            assert_eq!(changed(&state(&never), &state(&resumed)), Vec::<String>::new(), "{name}");
        }
        assert_eq!(resumed.snapshot().version, Version(5));
    }
}

fn preference() -> PreferenceLoss {
    let terms = vec![WeightedLoss { weight: 1.0, loss: DpoLoss::Sigmoid }];
    let pairs = PairLoss::Referenced { config: DpoConfig::default(), terms };
    PreferenceLoss { pairs, length_desensitisation: 1.0 }
}

#[test]
fn what_the_reference_said_is_saved_and_not_computed_again() {
    let groups = [mixed().remove(3)];
    let signals = Signals::new(vec![1.0, -1.0]);
    let mut first = plain(model("qwen2_vl_1", Kind::Float), 1e-3);
    first.keep_reference().unwrap();
    first.update(&groups, &signals, &preference(), FIRST).unwrap();
    let dir = tempfile::tempdir().unwrap();
    first.save(dir.path()).unwrap();
    first.model().save(dir.path(), Kind::Float).unwrap();

    let mut resumed = plain(Model::load(dir.path(), Device::Cpu, Kind::Float).unwrap(), 1e-3);
    // A reference that would say something else, if it were asked.
    resumed.set_reference(Rc::new(model("qwen2_vl_1", Kind::Float)) as Rc<dyn Backbone>);
    let norm = resumed.reference().unwrap().parameters().get("model.norm.weight").unwrap().shallow_clone();
    tch::no_grad(|| drop(norm.shallow_clone().g_mul_scalar_(3.0)));
    resumed.restore(dir.path(), Version(1)).unwrap();
    let [a, b] = [&mut first, &mut resumed].map(|one| one.update(&groups, &signals, &preference(), step(1)).unwrap());
    assert_eq!((a.metrics, a.version), (b.metrics, b.version));
}

#[test]
fn state_of_another_learner_or_broken_state_is_an_error_that_names_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("optimizer.safetensors");
    let mut small = plain(model("qwen2_vl_1", Kind::Float), 1e-3);
    let refused = |learner: &mut Learner, reason: &str| {
        let before = state(learner);
        let error = learner.restore(dir.path(), Version(4)).unwrap_err();
        assert!(matches!(error, Error::State { .. }));
        let error = error.to_string();
        assert!(error.starts_with(&dir.path().display().to_string()) && error.contains(reason), "{error}");
        assert_eq!(changed(&before, &state(learner)), Vec::<String>::new());
        assert_eq!(learner.snapshot().version, Version(0));
    };
    refused(&mut small, "optimizer.safetensors");
    std::fs::write(&file, b"no tensors").unwrap();
    refused(&mut small, "optimizer.safetensors");
    plain(model("qwen2_vl_3", Kind::Float), 1e-3).save(dir.path()).unwrap();
    refused(&mut small, "should be");
    let freeze = vec!["language".to_owned()];
    learner(model("qwen2_vl_1", Kind::Float), LearnerConfig { freeze, ..LearnerConfig::default() })
        .save(dir.path())
        .unwrap();
    refused(&mut small, "is missing");
    small.save(dir.path()).unwrap();
    let known = dir.path().join("reference_logprobs.safetensors");
    Tensor::write_safetensors(&[("an answer", Tensor::from_slice(&[1.0f32]))], &known).unwrap();
    refused(&mut small, "names no answer");
    std::fs::write(&known, b"no tensors").unwrap();
    refused(&mut small, "reference_logprobs.safetensors");
}

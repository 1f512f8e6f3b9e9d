//! A step happens whole or not at all, and what cannot be learnt from is named.

use std::cell::RefCell;
use std::rc::Rc;

use tch::{Kind, Tensor};
use vr1_dpo::{DpoConfig, KtoConfig, ReferenceFreeConfig, ReferenceFreeLoss};
use vr1_learn::{
    Counts, Error, JudgedLoss, Learner, LearnerConfig, Loss, Needs, PairLoss, PreferenceLoss, ReferenceConfig, Result,
    Scored, Signals, Stats,
};
use vr1_nn::{Adapter, LoraConfig, Modules};
use vr1_rollout::{Group, Sequence, Version};
use vr1_vlm::Model;

use crate::tiny::{
    self, FIRST, Failing, Linear, changed, group, learner, mixed, model, plain, prompt, signals, state, steady, step,
};

/// Models of every kind that is trained: f32, bf16 with masters, bf16 with an f32 adapter.
fn models() -> [(&'static str, Model); 3] {
    let lora = LoraConfig {
        rank: 2,
        alpha: 4.0,
        target_modules: Modules::Names(vec!["q_proj".into(), "v_proj".into()]),
        exclude_modules: None,
        dropout: 0.0,
        rslora: false,
    };
    let adapter = Adapter::random(lora, 1).unwrap();
    [
        ("f32", model("qwen2_vl_1", Kind::Float)),
        ("bf16", model("qwen2_vl_1", Kind::BFloat16)),
        ("adapter", model("qwen2_vl_1", Kind::BFloat16).with_adapter(adapter).unwrap()),
    ]
}

fn config() -> LearnerConfig {
    let reference = ReferenceConfig::Ema { decay: 0.5 };
    let optimizer = steady(1e-3);
    LearnerConfig { optimizer, tokens_per_micro_batch: 80, iterations: 2, reference, ..LearnerConfig::default() }
}

/// All that a step may change: parameters, moments, masters, gradients, the reference, the version.
fn everything(learner: &Learner) -> tiny::Named {
    let mut all = tiny::state(learner);
    let reference = tiny::parameters(learner.reference().unwrap().as_ref());
    all.extend(reference.into_iter().map(|(name, tensor)| (format!("reference: {name}"), tensor)));
    let gradients = learner.model().parameters().iter().filter(|(_, tensor)| tensor.grad().defined());
    assert_eq!(gradients.count(), 0);
    all.insert("version".into(), Tensor::from(learner.snapshot().version.0 as i64));
    all
}

const NEEDS: Needs = Needs { reference: true, ..DEFAULT };
const DEFAULT: Needs = Needs {
    temperature: 1.0,
    reach: vr1_learn::Reach::Whole,
    old: vr1_learn::Old::Own,
    reference: false,
    mean_logprobs: false,
    mismatched: false,
    coupling: vr1_learn::Coupling::None,
};

#[test]
fn a_step_that_fails_changes_nothing_and_the_next_is_as_if_it_had_not_been() {
    let groups = mixed();
    let signals = signals(&groups);
    let good = Linear { needs: NEEDS };
    for (name, _) in models() {
        let begun = || {
            let (_, model) = models().into_iter().find(|(other, _)| *other == name).unwrap();
            let mut learner = learner(model, config());
            learner.keep_reference().unwrap();
            let update = learner.update(&groups, &signals, &good, FIRST).unwrap();
            (learner, update.metrics["micro_batches"] as usize)
        };
        let (mut never, parts) = begun();
        never.update(&groups, &signals, &good, step(1)).unwrap();
        let expected = everything(&never);
        assert!(parts > 2);
        for how in [Failing::Refuses, Failing::Value, Failing::Gradient] {
            // In the first micro-batch, in the last, in the first of the second iteration and in its last.
            for at in [0, parts - 1, parts, 2 * parts - 1] {
                let what = format!("{name}, {how:?} at call {at} of {}", 2 * parts);
                let (mut learner, _) = begun();
                let before = everything(&learner);
                let bad = how.at(at, NEEDS);
                let error = learner.update(&groups, &signals, &bad, step(1)).unwrap_err();
                match (how, &error) {
                    (Failing::Refuses, error) => assert_eq!(error.to_string(), "the loss has had enough"),
                    (Failing::Value, Error::NotFinite { what, step: 2 }) => assert_eq!(what, "the loss"),
                    (Failing::Gradient, Error::NotFinite { what, step: 2 }) => {
                        assert!(what.starts_with("the gradient of "), "{what}");
                    }
                    _ => panic!("{what}: {error}"),
                }
                let expected_calls = if how == Failing::Gradient { (at / parts + 1) * parts } else { at + 1 };
                assert_eq!(bad.calls(), expected_calls, "{what}");
                assert_eq!(changed(&before, &everything(&learner)), Vec::<String>::new(), "{what}");
                learner.update(&groups, &signals, &good, step(1)).unwrap();
                assert_eq!(changed(&expected, &everything(&learner)), Vec::<String>::new(), "{what}, the next step");
            }
        }
    }
}

#[test]
fn what_is_not_finite_is_named_by_its_sample_and_a_parameter_by_its_name() {
    let groups = mixed();
    let signals = signals(&groups);
    let mut broken = plain(model("qwen2_vl_1", Kind::Float), 1e-3);
    let norm = broken.model().parameters().get("model.norm.weight").unwrap().shallow_clone();
    drop(tch::no_grad(|| norm.detach().get(0).fill_(f64::NAN)));
    let error = broken.update(&groups, &signals, &Linear::default(), FIRST).unwrap_err().to_string();
    let first = groups[0].prompt().sample();
    assert!(error.contains(&format!("step 1: the log-probability of token 0 of completion 0 of `{first}`")), "{error}");
    // A rate that no model survives: what it had learnt is not lost with it.
    let mut wild = plain(model("qwen2_vl_1", Kind::Float), 1e38);
    let before = tiny::state(&wild);
    let error = wild.update(&groups, &signals, &Linear::default(), FIRST).unwrap_err();
    assert!(error.to_string().contains("step 1: the parameter "), "{error}");
    assert_eq!(changed(&before, &tiny::state(&wild)), Vec::<String>::new());
    assert!(!matches!(wild.update(&groups, &signals, &Linear::default(), FIRST), Err(Error::Torn { .. })));
}

#[test]
fn gradients_left_from_elsewhere_are_no_part_of_a_step() {
    let groups = mixed();
    let signals = signals(&groups);
    let [mut clean, mut left] = [0, 1].map(|_| plain(model("qwen2_vl_1", Kind::Float), 1e-3));
    let norm = left.model().parameters().get("model.norm.weight").unwrap().shallow_clone();
    (norm * 100.0).sum(Kind::Float).backward();
    clean.update(&groups, &signals, &Linear::default(), FIRST).unwrap();
    left.update(&groups, &signals, &Linear::default(), FIRST).unwrap();
    assert_eq!(changed(&tiny::state(&clean), &tiny::state(&left)), Vec::<String>::new());
}

/// A loss that is no number, or that no gradient flows from.
#[derive(Debug)]
struct Odd(fn(&Scored) -> Tensor);

impl Loss for Odd {
    fn needs(&self) -> Needs {
        Needs::default()
    }

    fn loss(&self, scored: &Scored, _: &Counts) -> Result<(Tensor, Stats)> {
        Ok(((self.0)(scored), Stats::default()))
    }
}

#[test]
fn a_loss_that_is_not_one_number_with_a_gradient_is_an_error() {
    let groups = mixed();
    let signals = signals(&groups);
    let mut learner = plain(model("qwen2_vl_1", Kind::Float), 1e-3);
    let before = tiny::state(&learner);
    let odd: [fn(&Scored) -> Tensor; 3] = [
        |scored| scored.logprobs.shallow_clone(),
        |scored| scored.logprobs.detach().sum(Kind::Float),
        |scored| scored.logprobs.sum(Kind::Float).to_kind(Kind::Int64),
    ];
    for odd in odd {
        assert!(learner.update(&groups, &signals, &Odd(odd), FIRST).is_err());
        assert_eq!(changed(&before, &tiny::state(&learner)), Vec::<String>::new());
    }
}

/// A loss that comes back to the micro-batch before, whose graph is gone.
#[derive(Debug, Default)]
struct Stale(RefCell<Option<Tensor>>);

impl Loss for Stale {
    fn needs(&self) -> Needs {
        Needs::default()
    }

    fn loss(&self, scored: &Scored, _: &Counts) -> Result<(Tensor, Stats)> {
        let own = scored.logprobs.sum(Kind::Float);
        let before = self.0.replace(Some(own.shallow_clone()));
        Ok((before.map_or_else(|| own.shallow_clone(), |before| &own + before), Stats::default()))
    }
}

#[test]
fn a_backward_pass_that_breaks_off_leaves_no_gradient() {
    // Text, and then a picture: the tower has its gradients before the pass comes to the text's graph.
    let mut groups = mixed();
    let groups = [groups.remove(1), groups.pop().unwrap()];
    let mut learner = learner(model("qwen2_vl_1", Kind::Float), config());
    learner.keep_reference().unwrap();
    let before = everything(&learner);
    let error = learner.update(&groups, &signals(&groups), &Stale::default(), FIRST).unwrap_err();
    assert!(matches!(error, Error::Torch(_)), "{error}");
    assert_eq!(changed(&before, &everything(&learner)), Vec::<String>::new());
}

/// What an update of `groups` says.
fn refused(groups: &[Group], signals: Signals, loss: &dyn Loss) -> Error {
    let mut learner = plain(model("qwen2_vl_1", Kind::Float), 1e-3);
    let before = tiny::state(&learner);
    let error = learner.update(groups, &signals, loss, step(6)).unwrap_err();
    assert_eq!(changed(&before, &tiny::state(&learner)), Vec::<String>::new());
    assert_eq!(learner.snapshot().version, Version(0));
    error
}

#[test]
fn signals_that_do_not_go_with_the_groups_are_named() {
    let groups = mixed();
    let linear = Linear::default();
    let error = refused(&groups, Signals::new(vec![1.0; 3]), &linear);
    assert_eq!(error.to_string(), "signals: 3 for 11 sequences");
    for bad in [f32::NAN, f32::INFINITY] {
        let mut values = vec![1.0; 11];
        values[7] = bad;
        let error = refused(&groups, Signals::new(values), &linear);
        assert_eq!(error.to_string(), format!("sample `two`: its signal is {bad}, and must be finite"));
    }
    let short = Signals::by_token(groups.iter().flat_map(Group::sequences).map(|_| vec![1.0]).collect());
    let error = refused(&groups, short, &linear);
    assert_eq!(error.to_string(), "sample `one`: 1 signals of tokens for 3 trained tokens");
    let error = Signals::new(vec![1.0; 3]).taking_part(vec![true; 2]).unwrap_err();
    assert_eq!(error.to_string(), "marks: 2 for 3 sequences");
}

#[test]
fn a_step_without_a_token_to_learn_from_is_an_error_that_names_it() {
    let groups = mixed();
    let linear = Linear::default();
    let nothing = "step 7: not one token to learn from";
    assert_eq!(refused(&[], Signals::default(), &linear).to_string(), nothing);
    let left_out = signals(&groups).taking_part(vec![false; 11]).unwrap();
    assert_eq!(refused(&groups, left_out, &linear).to_string(), nothing);
    let prompt = groups[0].prompt();
    let silent = [group(0, prompt, &[vec![], vec![]])];
    assert_eq!(refused(&silent, Signals::new(vec![1.0, 2.0]), &linear).to_string(), nothing);
    let shown = Sequence::new(prompt.clone(), prompt.tail(&[5, 6], "").unwrap(), vec![false; 2], "".into()).unwrap();
    let shown = [Group::new(tiny::key(0), vec![shown]).unwrap()];
    assert_eq!(refused(&shown, Signals::new(vec![1.0]), &linear).to_string(), nothing);
}

#[test]
fn a_sequence_that_the_model_cannot_take_is_named() {
    let (short, linear) = (prompt("short", &[], "?"), Linear::default());
    let long = [group(0, &short, &[vec![5], vec![6; 600]])];
    let error = refused(&long, Signals::new(vec![1.0, 2.0]), &linear);
    assert_eq!(error.to_string(), format!("sample `short`: {} tokens where 512 fit", short.len() + 600));
    let asked = vr1_learn::logprobs(&model("qwen2_vl_1", Kind::Float), &long, 1.0).unwrap_err();
    assert_eq!(asked.to_string(), error.to_string());
    assert!(vr1_learn::logprobs(&model("qwen2_vl_1", Kind::Float), &[], 1.0).unwrap().is_empty());
    let beyond = [group(0, &short, &[vec![5, 374]])];
    let error = refused(&beyond, Signals::new(vec![1.0]), &linear).to_string();
    assert!(error.contains("the id 374 in `short`"), "{error}");
    let mut blind = plain(model("qwen2_1", Kind::Float), 1e-3);
    let error = blind.update(&mixed(), &signals(&mixed()), &linear, FIRST).unwrap_err().to_string();
    assert!(error.contains("media (1) in `one`, but no vision tower"), "{error}");
}

#[test]
fn what_a_loss_cannot_compare_is_named() {
    let groups = mixed();
    let pairs = PairLoss::ReferenceFree(ReferenceFreeConfig::of(ReferenceFreeLoss::Orpo));
    let preference = PreferenceLoss { pairs, length_desensitisation: 1.0 };
    let error = refused(&groups, signals(&groups), &preference);
    assert_eq!(error.to_string(), "sample `one`: a pair has two answers, not 5");
    let alike = [group(0, groups[3].prompt(), &[vec![5], vec![6]])];
    let error = refused(&alike, Signals::new(vec![0.5, 0.5]), &preference);
    assert_eq!(error.to_string(), "sample `again`: neither answer of the pair is preferred");
    let pairs = PairLoss::Referenced { config: DpoConfig::default(), terms: Vec::new() };
    let referenced = PreferenceLoss { pairs, length_desensitisation: 1.0 };
    let judged = JudgedLoss { config: KtoConfig::default() };
    let two = [alike[0].clone(), group(1, groups[1].prompt(), &[vec![5], vec![6]])];
    for loss in [&referenced as &dyn Loss, &judged] {
        assert!(matches!(refused(&two, Signals::new(vec![1.0, 0.0, 1.0, 0.0]), loss), Error::NoReference));
    }
    let silent = [group(0, groups[3].prompt(), &[vec![5], vec![]])];
    let error = refused(&silent, Signals::new(vec![1.0, 0.0]), &preference);
    assert_eq!(error.to_string(), "sample `again`: an answer of the pair has no token to learn from");
}

#[test]
fn a_learner_that_could_learn_nothing_is_refused() {
    let config = |freeze: &[&str]| LearnerConfig {
        freeze: freeze.iter().map(|entry| (*entry).to_owned()).collect(),
        ..LearnerConfig::default()
    };
    let new = |config| Learner::new(Rc::new(model("qwen2_vl_1", Kind::Float)), config, &[]);
    assert!(matches!(new(config(&["visual", "language"])), Err(Error::NothingToTrain)));
    let error = new(config(&["visuals"])).unwrap_err().to_string();
    assert!(error.contains("`visuals`"), "{error}");
    let error = new(LearnerConfig { iterations: 0, ..LearnerConfig::default() }).unwrap_err();
    assert_eq!(error.to_string(), "iterations is 0, and must be 1 or more");
    let reference = ReferenceConfig::Ema { decay: 1.0 };
    let error = new(LearnerConfig { reference, ..LearnerConfig::default() }).unwrap_err();
    assert_eq!(error.to_string(), "reference.decay is 1, and must be in [0, 1)");
}

/// A loss that asks for more memory than there is, at its second call.
struct Giant(std::cell::Cell<usize>);

impl Loss for Giant {
    fn needs(&self) -> Needs {
        Needs::default()
    }

    fn loss(&self, scored: &Scored, counts: &Counts) -> Result<(Tensor, Stats)> {
        if self.0.replace(self.0.get() + 1) == 1 {
            let _ = Tensor::zeros([1 << 50], (Kind::Float, tch::Device::Cpu));
        }
        Linear::default().loss(scored, counts)
    }
}

#[test]
fn a_step_that_finds_no_memory_changes_nothing_and_says_what_helps() {
    for iterations in [1, 2] {
        let config = LearnerConfig {
            optimizer: steady(1e-3),
            tokens_per_micro_batch: if iterations == 1 { 60 } else { 0 },
            iterations,
            ..LearnerConfig::default()
        };
        let mut learner = learner(model("qwen2_vl_1", Kind::Float), config);
        let before = state(&learner);
        let groups = mixed();
        let error = learner.update(&groups, &signals(&groups), &Giant(0.into()), step(4)).unwrap_err();
        assert!(matches!(error, Error::OutOfMemory { step: 5, .. }), "{error:?}");
        let text = error.to_string();
        for said in ["step 5: the machine is out of memory: 4194304.00 GiB", "tokens_per_micro_batch", "recompute"] {
            assert!(text.contains(said), "{text}");
        }
        assert_eq!(changed(&before, &state(&learner)), Vec::<String>::new());
        learner.update(&groups, &signals(&groups), &Linear::default(), step(4)).unwrap();
    }
}

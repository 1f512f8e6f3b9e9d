//! A picture is encoded once a step where its tower is frozen, and a backbone of the user's own is as good as any.

use std::rc::Rc;

use tch::Kind;
use vr1_dpo::KtoConfig;
use vr1_learn::{JudgedLoss, Learner, LearnerConfig, Loss, Needs, ReferenceConfig};
use vr1_nn::{Adapter, LoraConfig, Modules, Recompute};
use vr1_rollout::Group;
use vr1_vlm::{Backbone, Model};

use crate::tiny::{
    self, FIRST, Linear, changed, group, learner, mixed, model, parameters, signals, state, steady, step,
};

/// Four pictures, of which one is shown again.
fn groups() -> Vec<Group> {
    let mut groups = mixed();
    let again = groups[2].prompt().clone();
    groups.push(group(7, &again, &tiny::answers(&[2, 3])));
    groups
}

const PICTURES: usize = 4;

fn config(freeze: &[&str], tokens_per_micro_batch: usize, iterations: u64) -> LearnerConfig {
    let freeze = freeze.iter().map(|entry| (*entry).to_owned()).collect();
    LearnerConfig { freeze, optimizer: steady(1e-3), tokens_per_micro_batch, iterations, ..LearnerConfig::default() }
}

fn compared() -> Linear {
    Linear { needs: Needs { reference: true, ..Needs::default() } }
}

fn adapted(targets: &str) -> Model {
    let target_modules = Modules::Pattern(targets.to_owned());
    let lora = LoraConfig { rank: 2, alpha: 4.0, target_modules, exclude_modules: None, dropout: 0.0, rslora: false };
    model("qwen2_vl_1", Kind::Float).with_adapter(Adapter::random(lora, 3).unwrap()).unwrap()
}

#[test]
fn pictures_of_a_frozen_tower_are_encoded_once_a_step() {
    let groups = groups();
    let judged = JudgedLoss { config: KtoConfig::default() };
    let losses: [(&str, &dyn Loss); 3] =
        [("alone", &Linear::default()), ("compared", &compared()), ("judged", &judged)];
    let models: [(&str, Model, &[&str]); 2] = [
        ("frozen", model("qwen2_vl_1", Kind::Float), &["visual"]),
        ("adapter", adapted(r"model\.layers\.\d+\.self_attn\.[qv]_proj"), &[]),
    ];
    for (name, model, freeze) in models {
        let (model, tally) = tiny::counted(model);
        for (budget, recompute) in [(0, Recompute::None), (1, Recompute::Layers), (120, Recompute::Attention)] {
            let config = LearnerConfig { recompute, ..config(freeze, budget, 2) };
            let mut learner = Learner::new(model.clone(), config, &[]).unwrap();
            learner.keep_reference().unwrap();
            for (loss_name, loss) in losses {
                for done in 0..2 {
                    learner.update(&groups, &signals(&groups), loss, step(done)).unwrap();
                    let what = format!("{name}, {loss_name}, {budget} tokens, step {done}");
                    assert_eq!(tally.take_encoded(), PICTURES, "{what}");
                    assert_eq!(tally.derived().take_encoded(), 0, "{what}: the reference has the same tower");
                }
            }
        }
    }
}

#[test]
fn pictures_of_a_trained_tower_are_encoded_wherever_they_are_seen() {
    let groups = groups();
    let (model, tally) = tiny::counted(model("qwen2_vl_1", Kind::Float));
    let mut learner = Learner::new(model, config(&[], 1, 1), &[]).unwrap();
    learner.keep_reference().unwrap();
    learner.update(&groups, &signals(&groups), &compared(), FIRST).unwrap();
    // Each sequence is a micro-batch: 5 with one picture, 3 with two, 2 with one, 2 with two.
    assert_eq!(tally.take_encoded(), 5 + 6 + 2 + 4);
    // The reference does not move within a step.
    assert_eq!(tally.derived().take_encoded(), PICTURES);
}

#[test]
fn a_picture_shown_twice_in_a_micro_batch_is_encoded_once() {
    let groups = groups();
    let (model, tally) = tiny::counted(model("qwen2_vl_1", Kind::Float));
    let mut learner = Learner::new(model, config(&[], 0, 1), &[]).unwrap();
    learner.update(&groups, &signals(&groups), &Linear::default(), FIRST).unwrap();
    assert_eq!(tally.take_encoded(), PICTURES);
}

#[test]
fn text_asks_for_no_encoding() {
    let (model, tally) = tiny::counted(model("qwen2_vl_1", Kind::Float));
    let mut learner = Learner::new(model, config(&[], 0, 1), &[]).unwrap();
    let text = [mixed().remove(1)];
    learner.update(&text, &signals(&text), &Linear::default(), FIRST).unwrap();
    assert_eq!(tally.take_encoded(), 0);
}

#[test]
fn what_is_kept_of_a_step_changes_nothing() {
    // A frozen tower's features in many micro-batches, against one.
    let groups = groups();
    let update = |budget| {
        let mut learner = learner(model("qwen2_vl_1", Kind::Float), config(&["visual"], budget, 1));
        learner.keep_reference().unwrap();
        learner.update(&groups, &signals(&groups), &compared(), FIRST).unwrap().metrics
    };
    let (whole, cut) = (update(0), update(1));
    assert!((whole["loss"] - cut["loss"]).abs() < 1e-5 * whole["loss"].abs());
    assert!((whole["grad_norm"] - cut["grad_norm"]).abs() < 1e-5 * whole["grad_norm"]);
}

#[test]
fn a_reference_with_another_tower_sees_with_its_own() {
    let groups = mixed();
    let needs = Needs { reference: true, ..Needs::default() };
    // A frozen adapter in the tower, which the reference does not have; and a reference whose tower is another.
    let tower = adapted(r"visual\..*(qkv|proj|fc1|fc2)|model\.layers\.0\.mlp\.up_proj");
    let b = |name: &str| name.starts_with("visual.") && name.ends_with("lora_B.weight");
    for (_, tensor) in tower.parameters().iter().filter(|(name, _)| b(name)) {
        tch::no_grad(|| drop(tensor.shallow_clone().fill_(0.2)));
    }
    let other = model("qwen2_vl_1", Kind::Float);
    let norm = other.parameters().get("visual.merger.mlp.0.weight").unwrap();
    tch::no_grad(|| drop(norm.shallow_clone().g_mul_scalar_(2.0)));
    for (name, policy, reference) in [
        ("adapter", tower, None),
        ("other", model("qwen2_vl_1", Kind::Float), Some(Rc::new(other) as Rc<dyn Backbone>)),
    ] {
        let mut learner = learner(policy, config(&["visual"], 100, 1));
        match reference {
            Some(reference) => learner.set_reference(reference),
            None => learner.keep_reference().unwrap(),
        }
        let alone = vr1_learn::logprobs(learner.reference().unwrap().as_ref(), &groups, 1.0).unwrap();
        let spy = tiny::Spy::new(Linear { needs });
        learner.update(&groups, &signals(&groups), &spy, FIRST).unwrap();
        let (seen, own) = (spy.take(), vr1_learn::logprobs(tiny::of(&learner), &groups, 1.0).unwrap());
        let gap = |a: &[Vec<f32>], b: &[Vec<f32>]| {
            a.concat().iter().zip(b.concat()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
        };
        assert!(gap(&seen.reference, &alone) < 1e-4, "{name}: {}", gap(&seen.reference, &alone));
        assert!(gap(&own, &alone) > 1e-2, "{name}: nothing tells the two apart");
    }
}

#[test]
fn a_backbone_of_the_users_own_learns_as_the_model_within_it() {
    let groups = groups();
    let reference = ReferenceConfig::Ema { decay: 0.9 };
    let config = LearnerConfig { reference, ..config(&["tower"], 100, 1) };
    let mut bare = learner(model("qwen2_vl_1", Kind::Float), config.clone());
    let (own, tally) = tiny::counted(model("qwen2_vl_1", Kind::Float));
    let mut own = Learner::new(own, config, &[]).unwrap();
    for learner in [&mut bare, &mut own] {
        learner.keep_reference().unwrap();
        for done in 0..2 {
            learner.update(&groups, &signals(&groups), &compared(), step(done)).unwrap();
        }
    }
    assert!(tally.take_scored() > 0 && tally.derived().take_scored() > 0);
    assert_eq!(changed(&state(&bare), &state(&own)), Vec::<String>::new());
    let [a, b] = [&bare, &own].map(|learner| parameters(learner.reference().unwrap().as_ref()));
    assert_eq!(changed(&a, &b), Vec::<String>::new());
}

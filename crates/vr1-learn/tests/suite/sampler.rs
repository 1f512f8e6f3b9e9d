//! Sequences know what they were drawn by, and the trainer measures how far it is from it.

use std::rc::Rc;

use tch::{Kind, Tensor};
use vr1_decode::LocalEngine;
use vr1_grpo::{GrpoConfig, SamplerCorrection};
use vr1_learn::{Learner, LearnerConfig, PolicyLoss, Signals};
use vr1_rollout::{Engine, Group, Request, Sampling};
use vr1_vlm::Backbone;

use crate::tiny::{self, Spied, Spy, mixed, model, processor, steady, step};

/// A learner, an engine over the same weights, and the ids that neither draws.
fn pair(name: &str, kind: Kind, learning_rate: f64) -> (Learner, LocalEngine) {
    let model: Rc<dyn Backbone> = Rc::new(model(name, kind));
    let processor = processor();
    let unreachable = processor.tokenizer().unreachable_ids(model.lm_head().size()[0]);
    assert!(!unreachable.is_empty());
    let engine = LocalEngine::new(model.clone(), processor.tokenizer().clone()).unwrap();
    let config = LearnerConfig { optimizer: steady(learning_rate), ..LearnerConfig::default() };
    (Learner::new(model, config, &unreachable).unwrap(), engine)
}

fn draw(engine: &mut LocalEngine, sampling: &Sampling) -> Vec<Group> {
    let request = |group: &Group| Request::new(group.prompt().clone(), 3, sampling.clone(), group.key());
    engine.generate(mixed().iter().map(request).collect()).unwrap()
}

fn sampling() -> Sampling {
    Sampling { max_completion_tokens: 12, seed: 5, ..Sampling::default() }
}

fn policy(temperature: f64) -> PolicyLoss {
    PolicyLoss { config: GrpoConfig { beta: 0.0, ..GrpoConfig::default() }, temperature }
}

fn advantages(groups: &[Group]) -> Signals {
    tiny::signals(groups)
}

#[test]
fn the_sampler_and_the_trainer_of_the_same_weights_agree_until_the_weights_move() {
    for name in ["qwen2_vl_1", "qwen2_5_vl_1"] {
        let (mut learner, mut engine) = pair(name, Kind::Float, 1e-2);
        for temperature in [1.0, 1.7] {
            let groups = draw(&mut engine, &Sampling { temperature, ..sampling() });
            let update = |learner: &mut Learner, done| {
                learner.update(&groups, &advantages(&groups), &policy(temperature), step(done)).unwrap().metrics
            };
            let same = update(&mut learner, 0);
            println!("{name}, temperature {temperature}: {:e}, at most {:e}", same["sampler_kl"], same["sampler_gap"]);
            // Of f32's rounding d, d²/2 is left.
            assert!(same["sampler_gap"] < 2e-5, "{name}: {}", same["sampler_gap"]);
            assert!((0.0..1e-10).contains(&same["sampler_kl"]), "{name}: {}", same["sampler_kl"]);
            let moved = update(&mut learner, 1);
            assert!(moved["sampler_kl"] > 1e-4, "{name}: {}", moved["sampler_kl"]);
            engine.load(&learner.snapshot()).unwrap();
        }
    }
}

#[test]
fn without_the_sampled_vocabulary_the_trainer_would_not_agree() {
    // A trainer that spreads its softmax over media tokens sees other numbers than those drawn by.
    let (learner, mut engine) = pair("qwen2_vl_1", Kind::Float, 1e-6);
    let groups = draw(&mut engine, &sampling());
    let config = LearnerConfig { optimizer: steady(1e-6), ..LearnerConfig::default() };
    let mut all = Learner::new(learner.model().clone(), config, &[]).unwrap();
    let metrics = all.update(&groups, &advantages(&groups), &policy(1.0), step(0)).unwrap().metrics;
    assert!(metrics["sampler_kl"] > 1e-8, "{}", metrics["sampler_kl"]);
}

fn drawn(groups: &[Group]) -> Vec<Vec<f32>> {
    groups.iter().flat_map(Group::sequences).map(|sequence| sequence.sampled().unwrap().drawn.clone()).collect()
}

/// One step, and what the loss was handed.
fn spied(learner: &mut Learner, groups: &[Group], loss: PolicyLoss) -> Spied {
    let spy = Spy::new(loss);
    learner.update(groups, &advantages(groups), &spy, step(0)).unwrap();
    spy.take()
}

#[test]
fn old_logprobs_are_those_drawn_by() {
    let (mut learner, mut engine) = pair("qwen2_vl_1", Kind::Float, 1e-3);
    let groups = draw(&mut engine, &sampling());
    let seen = spied(&mut learner, &groups, policy(1.0));
    assert_eq!(seen.old, drawn(&groups));
    assert_eq!(seen.drawn, drawn(&groups));
    // After a step the model says otherwise, and what was drawn by is still what it was.
    let again = spied(&mut learner, &groups, policy(1.0));
    assert_eq!(again.old, drawn(&groups));
    assert_ne!(again.logprobs, seen.logprobs);
}

#[test]
fn old_logprobs_stay_what_they_were_through_all_updates_of_a_step() {
    let (first, mut engine) = pair("qwen2_vl_1", Kind::Float, 1e-3);
    let sampled = draw(&mut engine, &sampling());
    for (groups, by) in [(mixed(), None), (sampled.clone(), Some(drawn(&sampled)))] {
        let config = LearnerConfig { optimizer: steady(1e-2), iterations: 3, ..LearnerConfig::default() };
        let mut learner = Learner::new(first.model().clone(), config, &[]).unwrap();
        let seen = spied(&mut learner, &groups, policy(1.0));
        let rows = seen.old.len() / 3;
        let begin = by.unwrap_or_else(|| seen.logprobs[..rows].to_vec());
        assert!(seen.old.chunks(rows).all(|old| old == begin));
        assert_ne!(seen.logprobs[..rows], seen.logprobs[rows..2 * rows]);
        assert_ne!(seen.logprobs[rows..2 * rows], seen.logprobs[2 * rows..]);
    }
}

#[test]
fn a_corrected_loss_has_the_models_own_old_logprobs_beside_those_drawn_by() {
    let (mut learner, mut engine) = pair("qwen2_vl_1", Kind::Float, 1e-3);
    let groups = draw(&mut engine, &sampling());
    learner.update(&groups, &advantages(&groups), &policy(1.0), step(0)).unwrap();
    let correction = SamplerCorrection::TokenTruncate { min: None, max: 3.0 };
    let config = GrpoConfig { beta: 0.0, sampler_correction: correction, ..GrpoConfig::default() };
    let seen = spied(&mut learner, &groups, PolicyLoss { config, temperature: 1.0 });
    assert_eq!(seen.old, seen.logprobs);
    assert_eq!(seen.drawn, drawn(&groups));
    assert_ne!(seen.old, seen.drawn);
}

#[test]
fn with_temperature_and_top_k_old_logprobs_are_renormalised() {
    let (mut learner, mut engine) = pair("qwen2_vl_1", Kind::Float, 1e-3);
    let groups = draw(&mut engine, &Sampling { temperature: 0.7, top_k: 5, ..sampling() });
    let never = Tensor::from_slice(&processor().tokenizer().unreachable_ids(374));
    // By hand: the five likeliest of what can be sampled, at the temperature, a pass for each token.
    let by_hand = |group: &Group, ids: &[i64], t: usize| {
        let before = group.prompt().extend(&ids[..t], "").unwrap();
        let (hidden, _) = learner.model().prefill(&[&before]).unwrap();
        let logits = learner.model().logits(&hidden).get(0).index_fill(0, &never, f64::NEG_INFINITY) / 0.7;
        let (top, which) = logits.topk(5, 0, true, true);
        let place = Vec::<i64>::try_from(which).unwrap().iter().position(|id| *id == ids[t]).unwrap();
        let own = logits.log_softmax(0, Kind::Float).double_value(&[ids[t]]) as f32;
        (top.log_softmax(0, Kind::Float).double_value(&[place as i64]) as f32, own)
    };
    let mut expected = Vec::new();
    for group in &groups {
        for sequence in group.sequences() {
            let ids = sequence.ids();
            expected.push(tch::no_grad(|| (0..ids.len()).map(|t| by_hand(group, ids, t)).collect::<Vec<_>>()));
        }
    }
    let seen = spied(&mut learner, &groups, policy(0.7));
    for ((old, logprobs), expected) in seen.old.iter().zip(&seen.logprobs).zip(&expected) {
        assert_eq!(old.len(), expected.len());
        for ((old, logprob), (renormalised, own)) in old.iter().zip(logprobs).zip(expected) {
            assert!((old - renormalised).abs() < 2e-5, "{old}, by hand {renormalised}");
            assert!((logprob - own).abs() < 2e-5, "{logprob}, by hand {own}");
        }
    }
    let flat = |rows: &[Vec<f32>]| rows.concat().iter().sum::<f32>();
    assert!(flat(&seen.old) > flat(&seen.logprobs) + 1.0, "five tokens have more in all than the whole vocabulary");
}

#[test]
fn where_some_was_sampled_and_some_was_not_each_has_old_logprobs_of_its_own() {
    // However the step is cut: a micro-batch with a sequence that nobody sampled is no other than one without.
    let written = mixed().remove(3);
    for budget in [0, 1, 120] {
        let (first, mut engine) = pair("qwen2_vl_1", Kind::Float, 1e-3);
        let mut groups = draw(&mut engine, &sampling());
        let by = drawn(&groups);
        groups.push(written.clone());
        let config =
            LearnerConfig { optimizer: steady(1e-3), tokens_per_micro_batch: budget, ..LearnerConfig::default() };
        let never = processor().tokenizer().unreachable_ids(374);
        let mut learner = Learner::new(first.model().clone(), config, &never).unwrap();
        // The weights move on after they were sampled with.
        learner.update(&groups, &advantages(&groups), &policy(1.0), step(0)).unwrap();
        let spy = Spy::new(policy(1.0));
        let metrics = learner.update(&groups, &advantages(&groups), &spy, step(1)).unwrap().metrics;
        let seen = spy.take();
        let (sampled, own) = seen.old.split_at(by.len());
        assert_eq!(sampled, by, "{budget} tokens");
        assert_eq!(own, &seen.logprobs[by.len()..], "{budget} tokens");
        assert!(seen.drawn[by.len()..].concat().iter().all(|x| x.is_nan()), "{budget} tokens");
        // Measured over what was sampled alone.
        let gaps = seen.logprobs.concat().into_iter().zip(by.concat()).map(|(x, y)| f64::from(x) - f64::from(y));
        let kl = gaps.clone().map(|d| d.exp() - 1.0 - d).sum::<f64>() / by.concat().len() as f64;
        assert!((metrics["sampler_kl"] - kl).abs() < 1e-9, "{budget} tokens: {} and {kl}", metrics["sampler_kl"]);
    }
}

#[test]
fn where_nobody_sampled_nothing_is_measured() {
    let (mut learner, _) = pair("qwen2_vl_1", Kind::Float, 1e-3);
    let groups = mixed();
    let metrics = learner.update(&groups, &advantages(&groups), &policy(1.0), step(0)).unwrap().metrics;
    assert!(!metrics.contains_key("sampler_kl") && !metrics.contains_key("sampler_gap"));
}

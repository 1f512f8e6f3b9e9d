//! Seen is seen: another picture gives other log-probabilities, whoever is asked, and another update.

use std::sync::Arc;

use tch::Kind;
use vr1_learn::{LearnerConfig, Needs, ReferenceConfig, Signals};
use vr1_processor::{Layout, Message, Prompt, PromptRequest};
use vr1_rollout::{Group, Sequence};

use crate::tiny::{
    self, FIRST, Linear, SEEING, Spy, answers, bits, group, key, learner, model, picture, processor, prompt, state,
    steady, step,
};

const NEEDS: fn() -> Needs = || Needs { reference: true, ..Needs::default() };

/// Two answers to a question about a picture of this shade.
fn behind_a_picture(shade: u32) -> Group {
    group(0, &prompt("prompt", &[picture(56, 84, shade)], "What colour is it?"), &answers(&[4, 2]))
}

/// A picture as it stands among other tokens.
fn shown(shade: u32) -> Prompt {
    let messages = [Message::user([picture(56, 84, shade)], "")];
    let request = PromptRequest { sample: "tail", messages: &messages, layout: Layout::Raw, prefill: "" };
    processor().prompt(&request).unwrap()
}

/// Answers that call for a picture, see it, and go on.
fn with_a_picture_in_the_tail(shade: u32) -> Group {
    let before = prompt("tail", &[], "Look closely.");
    let one = |more: &[i64]| {
        let tail = before.tail(&[7, 8, 9], "").unwrap().followed_by(&shown(shade));
        let marks = [vec![true; 3], vec![false; tail.len() - 3], vec![true; more.len()]].concat();
        Sequence::new(before.clone(), tail.extend(more, "").unwrap(), marks, String::new()).unwrap()
    };
    Group::new(key(0), vec![one(&[20, 21, 22]), one(&[30])]).unwrap()
}

/// What is said of a group and what is learnt from it, in a learner of its own.
fn said(name: &str, freeze: &[&str], budget: usize, group: Group) -> (tiny::Spied, tiny::Named) {
    let freeze = freeze.iter().map(|entry| (*entry).to_owned()).collect();
    let config =
        LearnerConfig { freeze, optimizer: steady(1e-3), tokens_per_micro_batch: budget, ..LearnerConfig::default() };
    let mut learner = learner(model(name, Kind::Float), config);
    learner.keep_reference().unwrap();
    // With weights that have moved, policy and reference are two.
    let other = [tiny::group(5, &prompt("other", &[], "?"), &answers(&[3, 3]))];
    learner.update(&other, &Signals::new(vec![1.0, -1.0]), &Linear::default(), FIRST).unwrap();
    let spy = Spy::new(Linear { needs: NEEDS() });
    learner.update(&[group], &Signals::new(vec![1.0, -0.5]), &spy, step(1)).unwrap();
    (spy.take(), state(&learner))
}

/// Which tokens of two lists differ.
fn differ(a: &[Vec<f32>], b: &[Vec<f32>]) -> Vec<Vec<bool>> {
    a.iter().zip(b).map(|(a, b)| a.iter().zip(b).map(|(a, b)| (a - b).abs() > 1e-4).collect()).collect()
}

fn check(group: fn(u32) -> Group, expected: &[Vec<bool>]) {
    for name in SEEING {
        for freeze in [&[][..], &["visual"], &["tower"]] {
            for budget in [0, 1] {
                let what = format!("{name}, {freeze:?} frozen, {budget} tokens");
                let [(one, moved), (other, moved_otherwise)] =
                    [0, 2].map(|shade| said(name, freeze, budget, group(shade)));
                assert_eq!(differ(&one.logprobs, &other.logprobs), expected, "{what}: the policy");
                assert_eq!(differ(&one.old, &other.old), expected, "{what}: the old policy");
                assert_eq!(differ(&one.reference, &other.reference), expected, "{what}: the reference");
                assert_ne!(one.reference, one.logprobs, "{what}");
                let differs = |name: &str| bits(&moved[name]) != bits(&moved_otherwise[name]);
                assert!(differs("model.layers.0.self_attn.q_proj.weight"), "{what}: the update");
                let towers = moved.keys().filter(|name| name.starts_with("visual.") && name.contains("weight"));
                let of_tower = towers.filter(|name| differs(name)).count();
                assert_eq!(of_tower > 0, !freeze.contains(&"visual"), "{what}: the tower's update");
            }
        }
    }
}

#[test]
fn another_picture_in_the_prompt_moves_every_number_and_the_update() {
    check(behind_a_picture, &[vec![true; 4], vec![true; 2]]);
}

#[test]
fn another_picture_in_the_tail_moves_what_follows_it_and_the_update() {
    let after = |more: usize| [vec![false; 3], vec![true; more]].concat();
    check(with_a_picture_in_the_tail, &[after(3), after(1)]);
}

#[test]
fn a_picture_in_the_tail_is_seen_as_if_it_stood_in_the_prompt() {
    for name in SEEING {
        let model = model(name, Kind::Float);
        let group = with_a_picture_in_the_tail(1);
        let sequence = &group.sequences()[0];
        let whole = sequence.prompt().followed_by(sequence.tail());
        let (before, _) = whole.split(whole.len() - 3).unwrap();
        let moved = tiny::group(0, &Arc::new(before), &[vec![20, 21, 22]]);
        let in_tail = vr1_learn::logprobs(&model, &[group], 1.0).unwrap();
        let in_prompt = vr1_learn::logprobs(&model, &[moved], 1.0).unwrap();
        for (a, b) in in_tail[0][3..].iter().zip(&in_prompt[0]) {
            assert!((a - b).abs() < 1e-4, "{name}: {a} in the tail, {b} in the prompt");
        }
    }
}

#[test]
fn the_reference_sees_a_picture_that_changed_from_epoch_to_epoch() {
    // The same sample of the data set, augmented otherwise: what the reference said before is not said of this.
    let mut learner = learner(model("qwen2_vl_1", Kind::Float), LearnerConfig::default());
    learner.keep_reference().unwrap();
    let spy = Spy::new(Linear { needs: NEEDS() });
    let mut reference = |shade: u32, done: u64| {
        let group = behind_a_picture(shade);
        learner.update(&[group], &Signals::new(vec![1.0, 2.0]), &spy, step(done)).unwrap();
        spy.take().reference
    };
    let (first, other, again) = (reference(0, 0), reference(2, 1), reference(0, 2));
    assert_eq!(differ(&first, &other), [vec![true; 4], vec![true; 2]]);
    assert_eq!(first, again);
}

#[test]
fn a_reference_that_moves_with_the_tower_sees_by_its_own() {
    let reference = ReferenceConfig::Ema { decay: 0.5 };
    let config = LearnerConfig { optimizer: steady(1e-2), reference, ..LearnerConfig::default() };
    let mut learner = learner(model("qwen2_vl_1", Kind::Float), config);
    learner.keep_reference().unwrap();
    let spy = Spy::new(Linear { needs: NEEDS() });
    for done in 0..2 {
        let expected = vr1_learn::logprobs(learner.reference().unwrap().as_ref(), &[behind_a_picture(0)], 1.0).unwrap();
        learner.update(&[behind_a_picture(0)], &Signals::new(vec![1.0, 2.0]), &spy, step(done)).unwrap();
        let seen = spy.take();
        assert_eq!(differ(&seen.reference, &expected), [vec![false; 4], vec![false; 2]]);
        assert_eq!(differ(&seen.reference, &seen.logprobs)[0].contains(&true), done > 0);
    }
}

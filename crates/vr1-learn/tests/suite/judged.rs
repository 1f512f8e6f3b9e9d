//! Answers that are judged one by one, against what they would be to other prompts.

use tch::Kind;
use vr1_dpo::KtoConfig;
use vr1_learn::{JudgedLoss, Learner, LearnerConfig, Signals};
use vr1_rollout::Group;
use vr1_vlm::Backbone;

use crate::tiny::{self, FIRST, Spy, answers, group, learner, mixed, model, steady, step};

/// A learner with a reference.
fn compared(tokens_per_micro_batch: usize) -> Learner {
    let config = LearnerConfig { optimizer: steady(3e-3), tokens_per_micro_batch, ..LearnerConfig::default() };
    let mut learner = learner(model("qwen2_vl_1", Kind::Float), config);
    learner.keep_reference().unwrap();
    learner
}

/// The sums of log-probabilities of every prompt with the first answer of the group before it, each in a pass of its own.
fn swapped(model: &dyn Backbone, groups: &[Group]) -> Vec<f64> {
    let one = |i: usize| {
        let ids = groups[(i + groups.len() - 1) % groups.len()].sequences()[0].ids();
        let token = |t: usize| {
            let before = groups[i].prompt().extend(&ids[..t], "").unwrap();
            let (hidden, _) = model.prefill(&[&before]).unwrap();
            model.logits(&hidden).log_softmax(-1, Kind::Double).double_value(&[0, ids[t]])
        };
        (0..ids.len()).map(token).sum()
    };
    tch::no_grad(|| (0..groups.len()).map(one).collect())
}

#[test]
fn the_divergence_of_kto_is_that_of_answers_to_other_prompts() {
    let prompts = mixed();
    let lengths: [&[usize]; 4] = [&[3, 2], &[6], &[1, 1, 4], &[5]];
    let one = |i: usize| group(i as u64, prompts[i].prompt(), &answers(lengths[i]));
    let groups: Vec<Group> = (0..4).map(one).collect();
    let likes = Signals::new(vec![1.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0]);
    let spy = Spy::new(JudgedLoss { config: KtoConfig::default() });
    let mut positive = 0;
    for budget in [0, 1, 150] {
        let mut learner = compared(budget);
        for done in 0..3 {
            let [own, kept] = [tiny::of(&learner), learner.reference().unwrap().as_ref()].map(|m| swapped(m, &groups));
            let mean = own.iter().zip(&kept).map(|(own, kept)| own - kept).sum::<f64>() / 4.0;
            let update = learner.update(&groups, &likes, &spy, step(done)).unwrap();
            let (found, expected) = (spy.take().mismatched_kl.unwrap(), mean.max(0.0));
            assert!((found - expected).abs() < 1e-4, "step {done}, {budget} tokens: {found}, by hand {expected}");
            assert!((update.metrics["kl"] - found).abs() < 1e-9);
            positive += usize::from(expected > 1e-2);
        }
    }
    assert!(positive > 0, "the policy never went away from the reference");
}

#[test]
fn kto_needs_answers_to_other_prompts() {
    let alone = [group(0, mixed()[0].prompt(), &answers(&[3, 2]))];
    let mut learner = compared(0);
    let judged = JudgedLoss { config: KtoConfig::default() };
    let error = learner.update(&alone, &Signals::new(vec![1.0, 0.0]), &judged, FIRST).unwrap_err().to_string();
    assert_eq!(error, "sample `one`: its step has no other prompt, whose answers it could be compared with");
}

#[test]
fn answers_of_nothing_are_not_judged() {
    let (prompts, judged) = (mixed(), JudgedLoss { config: KtoConfig::default() });
    let with = [group(0, prompts[0].prompt(), &[vec![5, 6], vec![]]), group(1, prompts[1].prompt(), &[vec![7]])];
    let without = [group(0, prompts[0].prompt(), &[vec![5, 6]]), group(1, prompts[1].prompt(), &[vec![7]])];
    for budget in [0, 1] {
        let of = |groups: &[Group], likes: Vec<f32>| {
            let mut learner = compared(budget);
            learner.update(groups, &Signals::new(likes), &judged, FIRST).unwrap().metrics
        };
        let (a, b) = (of(&with, vec![1.0, 0.0, 0.0]), of(&without, vec![1.0, 0.0]));
        for key in ["loss", "grad_norm", "rewards/chosen", "logps/rejected"] {
            assert!((a[key] - b[key]).abs() < 1e-5, "{budget} tokens, {key}: {} and {}", a[key], b[key]);
        }
    }
}

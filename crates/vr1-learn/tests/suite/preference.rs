//! Pairs: what is taken of their tokens, and who of them is preferred.

use tch::Kind;
use vr1_dpo::{DpoConfig, DpoLoss, ReferenceFreeConfig, ReferenceFreeLoss};
use vr1_learn::{
    Learner, LearnerConfig, OptimizerConfig, PairLoss, PreferenceLoss, SequenceLogprobs, Signals, WeightedLoss,
    logprobs,
};
use vr1_rollout::Group;

use crate::tiny::{self, FIRST, answers, bits, difference, gradients, group, learner, mixed, model, steady, step};

fn referenced(loss: DpoLoss, length_desensitisation: f64) -> PreferenceLoss {
    let terms = vec![WeightedLoss { weight: 1.0, loss }];
    PreferenceLoss { pairs: PairLoss::Referenced { config: DpoConfig::default(), terms }, length_desensitisation }
}

/// A learner with a reference, whose first moment after a step is that step's gradient.
fn compared(tokens_per_micro_batch: usize) -> Learner {
    let optimizer = OptimizerConfig { beta1: 0.0, max_grad_norm: 1e9, ..steady(3e-3) };
    let config = LearnerConfig { optimizer, tokens_per_micro_batch, ..LearnerConfig::default() };
    let mut learner = learner(model("qwen2_vl_1", Kind::Float), config);
    learner.keep_reference().unwrap();
    learner
}

/// Pairs of unequal answers, of which now the first and now the second is preferred.
fn pairs() -> (Vec<Group>, Signals) {
    let prompts = mixed();
    let two: [&[usize]; 3] = [&[3, 7], &[6, 2], &[4, 4]];
    let groups = (0..3).map(|i| group(i as u64, prompts[i].prompt(), &answers(two[i]))).collect();
    (groups, Signals::new(vec![1.0, -1.0, -1.0, 1.0, 1.0, -1.0]))
}

/// Log-probabilities of the preferred and the other answer of each pair, by policy and reference.
fn said(learner: &Learner, groups: &[Group]) -> [Vec<[SequenceLogprobs; 2]>; 2] {
    [tiny::of(learner), learner.reference().unwrap().as_ref()].map(|model| {
        let lists = logprobs(model, groups, 1.0).unwrap();
        let one = |(i, pair): (usize, &[SequenceLogprobs])| {
            let (first, second) = (pair[0].clone(), pair[1].clone());
            if i == 1 { [second, first] } else { [first, second] }
        };
        lists.chunks(2).enumerate().map(one).collect()
    })
}

fn log_sigmoid(x: f64) -> f64 {
    -(-x).exp().ln_1p()
}

fn sum(list: &[f32]) -> f64 {
    list.iter().map(|&x| f64::from(x)).sum()
}

#[test]
fn tokens_beyond_the_shorter_answer_count_as_much_as_they_are_told() {
    let (groups, signals) = pairs();
    for alpha in [0.0, 0.3, 1.0] {
        let loss = referenced(DpoLoss::Sigmoid, alpha);
        let mut learner = compared(1);
        learner.update(&groups, &signals, &loss, FIRST).unwrap();
        let [policy, reference] = said(&learner, &groups);
        let margin = |(policy, reference): (&[SequenceLogprobs; 2], &[SequenceLogprobs; 2])| {
            let shared = policy[0].len().min(policy[1].len());
            let part = |list: &[f32]| sum(&list[..shared]) + alpha * sum(&list[shared..]);
            let gain = |i: usize| part(&policy[i]) - part(&reference[i]);
            0.1 * (gain(0) - gain(1))
        };
        let margins: Vec<f64> = policy.iter().zip(&reference).map(margin).collect();
        let expected = -margins.iter().map(|margin| log_sigmoid(*margin)).sum::<f64>() / 3.0;
        let metrics = learner.update(&groups, &signals, &loss, step(1)).unwrap().metrics;
        assert!((metrics["loss"] - expected).abs() < 1e-5, "{alpha}: {} and {expected}", metrics["loss"]);
        let mean = margins.iter().sum::<f64>() / 3.0;
        assert!((metrics["rewards/margins"] - mean).abs() < 1e-5, "{alpha}: {} and {mean}", metrics["rewards/margins"]);
        assert!(mean > 0.1, "{alpha}: nothing was learnt");
    }
}

#[test]
fn without_a_reference_pairs_are_compared_by_their_own_likelihood() {
    let (groups, signals) = pairs();
    let simpo =
        ReferenceFreeConfig { nll_weight: 0.0, ..ReferenceFreeConfig::of(ReferenceFreeLoss::SimPo { gamma: 0.5 }) };
    let orpo = ReferenceFreeConfig::of(ReferenceFreeLoss::Orpo);
    for config in [simpo, orpo] {
        let loss = PreferenceLoss { pairs: PairLoss::ReferenceFree(config), length_desensitisation: 1.0 };
        let update = |budget: usize| {
            let mut learner = compared(budget);
            let [policy, _] = said(&learner, &groups);
            let metrics = learner.update(&groups, &signals, &loss, FIRST).unwrap().metrics;
            (policy, metrics, gradients(&learner))
        };
        let (policy, whole, gradient) = update(0);
        let per_token = |list: &SequenceLogprobs| sum(list) / list.len() as f64;
        let log_odds = |p: f64| p - (-p.exp()).ln_1p();
        let pair = |[chosen, rejected]: &[SequenceLogprobs; 2]| {
            let (c, r) = (per_token(chosen), per_token(rejected));
            match config.loss {
                ReferenceFreeLoss::SimPo { gamma } => -log_sigmoid(config.beta * (c - r) - gamma),
                _ => -config.beta * log_sigmoid(log_odds(c) - log_odds(r)),
            }
        };
        let tokens: usize = policy.iter().map(|pair| pair[0].len()).sum();
        let nll = -policy.iter().map(|pair| sum(&pair[0])).sum::<f64>() / tokens as f64;
        let expected = policy.iter().map(pair).sum::<f64>() / 3.0 + config.nll_weight * nll;
        assert!((whole["loss"] - expected).abs() < 1e-4, "{config:?}: {} and {expected}", whole["loss"]);
        let (_, cut, other) = update(1);
        assert_eq!(cut["micro_batches"], 3.0);
        assert!((whole["loss"] - cut["loss"]).abs() < 1e-5, "{config:?}");
        let error = difference(&other, &gradient);
        assert!(error < 5e-5, "{config:?}: {error}");
    }
}

#[test]
fn chosen_tokens_are_those_of_the_preferred_answer_whatever_the_signals_are() {
    // Rewards as signals: both positive, or the better one 0.
    let groups = [group(0, mixed()[0].prompt(), &answers(&[3, 7])), group(1, mixed()[1].prompt(), &answers(&[4, 2]))];
    let loss = referenced(DpoLoss::ChosenNll, 1.0);
    let of = |signals: [f32; 4]| {
        let mut learner = compared(0);
        let update = learner.update(&groups, &Signals::new(signals.to_vec()), &loss, FIRST).unwrap();
        (update.metrics["loss"], gradients(&learner))
    };
    let (value, gradient) = of([1.0, -1.0, -1.0, 1.0]);
    for signals in [[0.9, 0.3, 0.2, 0.7], [0.0, -3.0, -1.0, 0.0]] {
        let (other_value, other) = of(signals);
        assert_eq!(other_value, value);
        assert!(gradient.iter().all(|(name, tensor)| bits(tensor) == bits(&other[name])));
    }
}

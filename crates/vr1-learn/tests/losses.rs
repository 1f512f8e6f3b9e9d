//! The losses of the learner are those of the objective crates on whole tensors.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod tiny;

use tch::{Kind, Tensor};
use tiny::{
    FIRST, Linear, Named, Spy, answers, bits, difference, gradients, group, learner, mixed, model, signals, steady,
    step,
};
use vr1_dpo::KtoConfig;
use vr1_grpo::{GrpoConfig, grpo_loss};
use vr1_learn::{
    ImitationLoss, JudgedLoss, Learner, LearnerConfig, Loss, OptimizerConfig, PolicyLoss, Signals, Update,
};
use vr1_rollout::Group;
use vr1_sft::{Alignment, Objective, SftConfig, sft_loss};
use vr1_vlm::{Backbone, Batch, Model, Piece};

/// A learner whose first moment after a step is that step's gradient.
fn bare() -> Learner {
    let optimizer = OptimizerConfig { beta1: 0.0, max_grad_norm: 1e9, ..steady(1e-4) };
    let config = LearnerConfig { optimizer, tokens_per_micro_batch: 100, ..LearnerConfig::default() };
    learner(model("qwen2_vl_1", Kind::Float), config)
}

/// The update of a loss, and its gradient.
fn updated(loss: &dyn Loss, groups: &[Group], signals: &Signals) -> (Update, Named) {
    let mut learner = bare();
    let update = learner.update(groups, signals, loss, FIRST).unwrap();
    (update, gradients(&learner))
}

/// The logits that predict the trained tokens of all groups `[M, V]`, and those tokens `[M]`, with gradients.
fn logits(model: &Model, groups: &[Group]) -> (Tensor, Tensor) {
    let pieces: Vec<Piece<'_>> = groups.iter().map(Piece::whole).collect();
    let batch = Batch::new(&pieces).unwrap();
    let media: Vec<_> = batch.media.iter().map(|media| media.patches.clone()).collect();
    let features = model.encode(&media).unwrap();
    let hidden = model.score(&batch, &features.iter().collect::<Vec<_>>()).unwrap();
    (model.logits(&hidden), Tensor::from_slice(&batch.targets))
}

/// The gradients that `loss` leaves on a model's parameters.
fn gradients_of(loss: impl FnOnce(&Model) -> Tensor) -> (f64, Named) {
    let model = model("qwen2_vl_1", Kind::Float);
    let parameters = Backbone::train(&model, &[]).unwrap();
    let loss = loss(&model);
    loss.backward();
    let gradients = parameters.iter().map(|(name, leaf)| (name.clone(), leaf.grad())).collect();
    (loss.double_value(&[]), gradients)
}

#[test]
fn the_supervised_loss_is_that_of_whole_logits() {
    let groups = mixed();
    let configs = [
        SftConfig::default(),
        SftConfig { label_smoothing: 0.15, ..SftConfig::default() },
        SftConfig { objective: Objective::Dft, ..SftConfig::default() },
    ];
    for config in configs {
        let (update, found) = updated(&ImitationLoss { config }, &groups, &signals(&groups));
        let (value, expected) = gradients_of(|model| {
            let (logits, targets) = logits(model, &groups);
            let config = SftConfig { alignment: Alignment::Aligned, ..config };
            sft_loss(&logits.unsqueeze(0), &targets.unsqueeze(0), &config).unwrap().0
        });
        let error = difference(&found, &expected);
        assert!((update.metrics["loss"] - value).abs() < 1e-5, "{config:?}: {} and {value}", update.metrics["loss"]);
        assert!(error < 1e-5, "{config:?}: {error}");
    }
}

#[test]
fn the_supervised_loss_measures_likelihood_and_hits() {
    let groups = mixed();
    let smooth = SftConfig { label_smoothing: 0.15, ..SftConfig::default() };
    let (update, _) = updated(&ImitationLoss { config: smooth }, &groups, &signals(&groups));
    let (logits, targets) = tch::no_grad(|| logits(&model("qwen2_vl_1", Kind::Float), &groups));
    let nll = logits.cross_entropy_for_logits(&targets).double_value(&[]);
    let hits = logits.argmax(-1, false).eq_tensor(&targets).to_kind(Kind::Double).mean(Kind::Double).double_value(&[]);
    assert!((update.metrics["nll"] - nll).abs() < 1e-5, "{} and {nll}", update.metrics["nll"]);
    assert!((update.metrics["token_accuracy"] - hits).abs() < 1e-9);
}

#[test]
fn the_policy_loss_is_that_of_the_whole_step() {
    let prompts = mixed();
    let drawn = |i: usize| tiny::sampled(i as u64, prompts[i].prompt(), &answers(&[3, 1, 5][..i + 1]), -5.5);
    let groups: Vec<Group> = (0..3).map(drawn).collect();
    let advantages = signals(&groups);
    let config = GrpoConfig { beta: 0.0, ..GrpoConfig::default() };
    let (update, found) = updated(&PolicyLoss { config, temperature: 0.8 }, &groups, &advantages);
    let lengths = [3, 3, 1, 3, 1, 5];
    let (value, expected) = gradients_of(|model| {
        let (logits, targets) = logits(model, &groups);
        let logprobs = (logits / 0.8).log_softmax(-1, Kind::Float).gather(1, &targets.unsqueeze(1), false).squeeze();
        // Padded to the longest; what stands in the padding does not matter.
        let rows: Vec<Tensor> = logprobs.split_with_sizes(lengths.map(|length| length as i64), 0);
        let pad = |row: &Tensor| row.constant_pad_nd([0, 5 - row.size()[0]]);
        let logprobs = Tensor::stack(&rows.iter().map(pad).collect::<Vec<_>>(), 0);
        let mask = Tensor::stack(&rows.iter().map(|row| pad(&row.detach().ones_like())).collect::<Vec<_>>(), 0);
        let old = logprobs.full_like(-5.5);
        let advantages = Tensor::from_slice(advantages.values());
        grpo_loss(&logprobs, &old, None, &advantages, &mask.to_kind(Kind::Int64), &config).unwrap().0
    });
    let error = difference(&found, &expected);
    assert!((update.metrics["loss"] - value).abs() < 1e-5, "{} and {value}", update.metrics["loss"]);
    assert!(error < 3e-6, "{error}");
}

#[test]
fn token_signals_weigh_each_token_by_its_own() {
    let groups = [mixed().remove(0)];
    let config = GrpoConfig { beta: 0.0, ..GrpoConfig::default() };
    let loss = PolicyLoss { config, temperature: 1.0 };
    let lists = |value: fn(usize, usize) -> f32| {
        let rows = [3, 7, 1, 4, 2].iter().enumerate();
        Signals::by_token(rows.map(|(row, &length)| (0..length).map(|t| value(row, t)).collect()).collect())
    };
    let one = |row: usize| [0.5, -1.0, 2.0, 0.25, -0.75][row];
    let (_, shared) = updated(&loss, &groups, &Signals::new((0..5).map(one).collect()));
    let (_, alike) = updated(&loss, &groups, &lists(|row, _| [0.5, -1.0, 2.0, 0.25, -0.75][row]));
    let error = difference(&alike, &shared);
    assert!(error < 1e-6, "{error}");
    let (_, apart) = updated(&loss, &groups, &lists(|row, t| [0.5, -1.0, 2.0, 0.25, -0.75][row] * (t as f32 - 0.5)));
    assert!(difference(&apart, &shared) > 0.1);
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
        let optimizer = steady(3e-3);
        let config = LearnerConfig { optimizer, tokens_per_micro_batch: budget, ..LearnerConfig::default() };
        let mut learner = learner(model("qwen2_vl_1", Kind::Float), config);
        learner.keep_reference().unwrap();
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
    let mut learner = bare();
    learner.keep_reference().unwrap();
    let judged = JudgedLoss { config: KtoConfig::default() };
    let error = learner.update(&alone, &Signals::new(vec![1.0, 0.0]), &judged, FIRST).unwrap_err().to_string();
    assert_eq!(error, "sample `one`: its step has no other prompt, whose answers it could be compared with");
}

#[test]
fn chosen_tokens_are_those_of_the_preferred_answer_whatever_the_signals_are() {
    // Rewards as signals: both positive, or the better one 0.
    use vr1_dpo::{DpoConfig, DpoLoss};
    use vr1_learn::{PairLoss, PreferenceLoss, WeightedLoss};
    let groups = [group(0, mixed()[0].prompt(), &answers(&[3, 7])), group(1, mixed()[1].prompt(), &answers(&[4, 2]))];
    let terms = vec![WeightedLoss { weight: 1.0, loss: DpoLoss::ChosenNll }];
    let pairs = PairLoss::Referenced { config: DpoConfig::default(), terms };
    let loss = PreferenceLoss { pairs, length_desensitisation: 1.0 };
    let of = |signals: [f32; 4]| {
        let mut learner = bare();
        learner.keep_reference().unwrap();
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

#[test]
fn answers_of_nothing_are_not_judged() {
    let (prompts, judged) = (mixed(), JudgedLoss { config: KtoConfig::default() });
    let with = [group(0, prompts[0].prompt(), &[vec![5, 6], vec![]]), group(1, prompts[1].prompt(), &[vec![7]])];
    let without = [group(0, prompts[0].prompt(), &[vec![5, 6]]), group(1, prompts[1].prompt(), &[vec![7]])];
    for budget in [0, 1] {
        let of = |groups: &[Group], likes: Vec<f32>| {
            let config = LearnerConfig { tokens_per_micro_batch: budget, ..LearnerConfig::default() };
            let mut learner = learner(model("qwen2_vl_1", Kind::Float), config);
            learner.keep_reference().unwrap();
            learner.update(groups, &Signals::new(likes), &judged, FIRST).unwrap().metrics
        };
        let (a, b) = (of(&with, vec![1.0, 0.0, 0.0]), of(&without, vec![1.0, 0.0]));
        for key in ["loss", "grad_norm", "rewards/chosen", "logps/rejected"] {
            assert!((a[key] - b[key]).abs() < 1e-5, "{budget} tokens, {key}: {} and {}", a[key], b[key]);
        }
    }
}

#[test]
fn a_plain_loss_follows_its_signals() {
    // What has a positive signal becomes likelier, what has a negative one less likely.
    let groups = [group(0, mixed()[0].prompt(), &answers(&[4, 4]))];
    let mut learner = learner(
        model("qwen2_vl_1", Kind::Float),
        LearnerConfig { optimizer: steady(1e-3), ..LearnerConfig::default() },
    );
    let sums = |learner: &Learner| {
        let said = vr1_learn::logprobs(tiny::of(learner), &groups, 1.0).unwrap();
        [0, 1].map(|i: usize| said[i].iter().sum::<f32>())
    };
    let before = sums(&learner);
    learner.update(&groups, &Signals::new(vec![1.0, -1.0]), &Linear::default(), FIRST).unwrap();
    let after = sums(&learner);
    assert!(after[0] > before[0] && after[1] < before[1], "{before:?} {after:?}");
}

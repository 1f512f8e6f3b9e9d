//! The losses of the learner are those of the objective crates on whole tensors.

use tch::{Kind, Tensor};
use vr1_grpo::{Aggregation, EmptyRows, GrpoConfig, grpo_loss};
use vr1_learn::{ImitationLoss, Learner, LearnerConfig, Loss, OptimizerConfig, PolicyLoss, Signals, Update};
use vr1_rollout::Group;
use vr1_sft::{Alignment, Objective, SftConfig, sft_loss};
use vr1_vlm::{Backbone, Batch, Model, Piece};

use crate::tiny::{
    self, FIRST, Linear, Named, answers, difference, gradients, group, learner, mixed, model, signals, steady,
};

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
    let features = model.encode(&media, vr1_nn::Recompute::None).unwrap();
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
    let mut groups = mixed();
    // What the model itself would say is hit throughout.
    let (prompt, own) = (groups[1].prompt().clone(), model("qwen2_vl_1", Kind::Float));
    let mut ids = Vec::new();
    for _ in 0..6 {
        let (hidden, _) = tch::no_grad(|| own.prefill(&[&prompt.extend(&ids, "").unwrap()])).unwrap();
        ids.push(own.logits(&hidden).argmax(-1, false).int64_value(&[0]));
    }
    groups.push(group(9, &prompt, &[ids]));
    let smooth = SftConfig { label_smoothing: 0.15, ..SftConfig::default() };
    let (update, _) = updated(&ImitationLoss { config: smooth }, &groups, &signals(&groups));
    let (logits, targets) = tch::no_grad(|| logits(&model("qwen2_vl_1", Kind::Float), &groups));
    let nll = logits.cross_entropy_for_logits(&targets).double_value(&[]);
    let hits = logits.argmax(-1, false).eq_tensor(&targets).to_kind(Kind::Double).mean(Kind::Double).double_value(&[]);
    assert!((update.metrics["nll"] - nll).abs() < 1e-5, "{} and {nll}", update.metrics["nll"]);
    assert!(hits > 0.1 && (update.metrics["token_accuracy"] - hits).abs() < 1e-9, "{hits}");
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
    assert!(error < 5e-5, "{error}");
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
    assert!(error < 5e-5, "{error}");
    let (_, apart) = updated(&loss, &groups, &lists(|row, t| [0.5, -1.0, 2.0, 0.25, -0.75][row] * (t as f32 - 0.5)));
    assert!(difference(&apart, &shared) > 0.1);
}

#[test]
fn what_takes_no_part_teaches_nothing() {
    // Behind one prompt, a whole group, and in the midst of others.
    let groups = mixed();
    let parts = [true, false, true, true, true, true, false, false, false, true, true];
    let kept: Vec<Group> = {
        let mut marks = parts.iter();
        let own = |group: &Group| {
            let sequences = group.sequences().iter().cloned();
            Group::new(group.key(), sequences.filter(|_| *marks.next().unwrap()).collect()).ok()
        };
        groups.iter().filter_map(own).collect()
    };
    assert_eq!(kept.iter().map(Group::size).collect::<Vec<_>>(), [4, 1, 2]);
    let values = signals(&groups).values().to_vec();
    let marked = values.iter().zip(parts).filter(|(_, part)| *part).map(|(value, _)| *value).collect();
    let (some, all) = (Signals::new(marked), Signals::new(values).taking_part(parts.to_vec()).unwrap());
    let token = GrpoConfig { beta: 0.0, aggregation: Aggregation::Token, ..GrpoConfig::default() };
    let skipped = GrpoConfig { beta: 0.0, empty_rows: EmptyRows::Skipped, ..GrpoConfig::default() };
    let policy = |config| PolicyLoss { config, temperature: 1.0 };
    let supervised = ImitationLoss::default();
    let losses: [&dyn Loss; 4] = [&Linear::default(), &supervised, &policy(token), &policy(skipped)];
    for (i, loss) in losses.into_iter().enumerate() {
        let ((a, with), (b, without)) = (updated(loss, &groups, &all), updated(loss, &kept, &some));
        let error = difference(&with, &without);
        assert!(error < 1e-5, "loss {i}: {error}");
        assert!((a.metrics["loss"] - b.metrics["loss"]).abs() < 1e-5, "loss {i}");
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

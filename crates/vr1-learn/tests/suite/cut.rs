//! A step is one step, however its groups are shaped and its micro-batches cut.

use std::rc::Rc;

use tch::{Kind, Tensor};
use vr1_dpo::{DpoConfig, DpoLoss, KtoConfig};
use vr1_grpo::{Aggregation, EntropyMask, GrpoConfig, Importance};
use vr1_learn::{
    ImitationLoss, JudgedLoss, LearnerConfig, Loss, OptimizerConfig, PairLoss, PolicyLoss, PreferenceLoss, Signals,
    WeightedLoss, logprobs,
};
use vr1_nn::{Adapter, LoraConfig, Modules};
use vr1_rollout::Group;
use vr1_sft::SftConfig;
use vr1_vlm::{Backbone, Model};

use crate::tiny::{
    self, FIRST, Linear, Spy, difference, gradients, group, learner, mixed, model, signals, steady, step,
};

/// The log-probabilities of a sequence's trained tokens, each in a pass of its own over all that is before it.
fn one_by_one(model: &Model, group: &Group, i: usize) -> Vec<f32> {
    let sequence = &group.sequences()[i];
    let trained = sequence.trained().iter().enumerate().filter(|(_, trained)| **trained);
    let one = |(t, _): (usize, &bool)| {
        let before = group.prompt().extend(&sequence.ids()[..t], "").unwrap();
        let (hidden, _) = model.prefill(&[&before]).unwrap();
        let all = model.logits(&hidden).to_kind(Kind::Float).log_softmax(-1, Kind::Float);
        all.double_value(&[0, sequence.ids()[t]]) as f32
    };
    tch::no_grad(|| trained.map(one).collect())
}

/// Groups that a model can take: those without pictures where it is blind.
fn seen_by(model: &Model) -> Vec<Group> {
    mixed().into_iter().filter(|group| Backbone::check(model, group.prompt()).is_ok()).collect()
}

#[test]
fn sequences_of_unequal_groups_have_the_logprobs_of_a_pass_of_their_own() {
    for name in ["llama_1", "llama_3", "qwen2_1", "qwen2_vl_1", "qwen2_vl_2", "qwen2_5_vl_1", "qwen2_5_vl_2"] {
        let model = model(name, Kind::Float);
        let groups = seen_by(&model);
        let together = logprobs(&model, &groups, 1.0).unwrap();
        let alone: Vec<Vec<f32>> = groups
            .iter()
            .flat_map(|group| (0..group.size()).map(|i| one_by_one(&model, group, i)).collect::<Vec<_>>())
            .collect();
        assert_eq!(together.len(), alone.len());
        for (row, (together, alone)) in together.iter().zip(&alone).enumerate() {
            assert_eq!(together.len(), alone.len());
            let worst = together.iter().zip(alone).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-4, "{name}, sequence {row}: {worst}");
        }
    }
}

/// What is trained.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Trained {
    Everything,
    Language,
    Adapter,
}

/// A learner whose first moment after a step is that step's gradient.
fn bare(name: &str, trained: Trained, tokens_per_micro_batch: usize) -> vr1_learn::Learner {
    let optimizer = OptimizerConfig { beta1: 0.0, max_grad_norm: 1e9, ..steady(1e-4) };
    let freeze = if trained == Trained::Language { vec!["tower".to_owned(), "merger".to_owned()] } else { Vec::new() };
    let mut model = model(name, Kind::Float);
    if trained == Trained::Adapter {
        let target_modules = Modules::default();
        let lora =
            LoraConfig { rank: 3, alpha: 6.0, target_modules, exclude_modules: None, dropout: 0.0, rslora: false };
        model = model.with_adapter(Adapter::random(lora, 7).unwrap()).unwrap();
    }
    learner(model, LearnerConfig { optimizer, freeze, tokens_per_micro_batch, ..LearnerConfig::default() })
}

#[test]
fn the_gradient_of_groups_is_the_sum_of_that_of_each_sequence_alone() {
    let families = ["qwen2_vl_1", "qwen2_5_vl_1", "qwen2_vl_2"].map(|name| (name, Trained::Everything));
    let parts = [("qwen2_vl_1", Trained::Language), ("qwen2_vl_1", Trained::Adapter)];
    for (name, trained) in families.into_iter().chain(parts) {
        let (groups, loss) = (mixed(), Linear::default());
        let signals = signals(&groups);
        let mut together = bare(name, trained, 0);
        together.update(&groups, &signals, &loss, FIRST).unwrap();
        let tokens: usize = groups.iter().flat_map(Group::sequences).map(|sequence| sequence.trained_tokens()).sum();
        let mut sum: Option<tiny::Named> = None;
        let sequences = groups.iter().flat_map(|group| group.sequences().iter().map(|one| (group.key(), one)));
        for ((key, sequence), &signal) in sequences.zip(signals.values()) {
            let mut alone = bare(name, trained, 0);
            let group = Group::new(key, vec![sequence.clone()]).unwrap();
            alone.update(&[group], &Signals::new(vec![signal]), &loss, FIRST).unwrap();
            let share = sequence.trained_tokens() as f64 / tokens as f64;
            let mine = gradients(&alone).into_iter().map(|(name, tensor)| (name, tensor * share));
            sum = Some(match sum {
                None => mine.collect(),
                Some(sum) => mine.map(|(name, tensor)| (name.clone(), tensor + &sum[&name])).collect(),
            });
        }
        let error = difference(&gradients(&together), &sum.unwrap());
        println!("{name}, {trained:?}: {error:e}");
        assert!(error < 1e-5, "{name}, {trained:?}: {error}");
    }
}

/// Pairs, and signals that prefer now the first and now the second.
fn pairs() -> (Vec<Group>, Signals) {
    let pair = |(i, group): (usize, &Group)| {
        let two = [[3, 1], [2, 6], [5, 4], [1, 7]][i];
        tiny::group(i as u64, group.prompt(), &tiny::answers(&two))
    };
    let groups: Vec<Group> = mixed().iter().enumerate().map(pair).collect();
    (groups, Signals::new(vec![1.0, -1.0, -1.0, 1.0, 1.0, -1.0, -1.0, 1.0]))
}

/// As if all had been sampled.
fn drawn() -> (Vec<Group>, Signals) {
    let one = |(i, group): (usize, &Group)| {
        let ids: Vec<Vec<i64>> = group.sequences().iter().map(|sequence| sequence.ids().to_vec()).collect();
        tiny::sampled(i as u64, group.prompt(), &ids, -5.0)
    };
    let groups: Vec<Group> = mixed().iter().enumerate().map(one).collect();
    let signals = signals(&groups);
    (groups, signals)
}

/// A name, a loss and what it learns from.
type Learnt = (&'static str, Box<dyn Loss>, Vec<Group>, Signals);

/// Every kind of loss that may be cut, with what it learns from.
fn losses() -> Vec<Learnt> {
    let policy = |config: GrpoConfig| Box::new(PolicyLoss { config, temperature: 0.9 });
    let (whole, parts) = (mixed(), vec![true, false, true, true, true, false, true, true, true, true, true]);
    let (groups, advantages) = drawn();
    let left_out = advantages.clone().taking_part(parts).unwrap();
    let (pairs, preferred) = pairs();
    let terms = [(0.8, DpoLoss::Sigmoid), (0.2, DpoLoss::Bco { shift: 0.1 }), (1.0, DpoLoss::ChosenNll)];
    let terms = terms.map(|(weight, loss)| WeightedLoss { weight, loss }).to_vec();
    let mixture = PairLoss::Referenced { config: DpoConfig::default(), terms };
    let likes = Signals::new((0..signals(&whole).values().len()).map(|i| (i % 2) as f32).collect());
    let token = GrpoConfig { aggregation: Aggregation::Token, entropy_bonus: 0.1, ..GrpoConfig::default() };
    let sequence = GrpoConfig { importance: Importance::Sequence, epsilon: 0.5, ..GrpoConfig::default() };
    let smooth = SftConfig { label_smoothing: 0.1, ..SftConfig::default() };
    vec![
        ("grpo", policy(GrpoConfig::default()) as Box<dyn Loss>, groups.clone(), advantages.clone()),
        ("dapo", policy(token), groups.clone(), left_out),
        ("gspo", policy(sequence), groups, advantages),
        (
            "mpo",
            Box::new(PreferenceLoss { pairs: mixture, length_desensitisation: 0.7 }) as Box<dyn Loss>,
            pairs,
            preferred,
        ),
        ("kto", Box::new(JudgedLoss { config: KtoConfig::default() }), whole.clone(), likes),
        ("sft", Box::new(ImitationLoss { config: smooth }), whole.clone(), signals(&whole)),
    ]
}

/// Two updates of a step each, in micro-batches of `budget` tokens: the gradient of the last, how far it all moved, what was
/// measured, and in how many parts.
struct Updated {
    gradient: tiny::Named,
    moved: tiny::Named,
    metrics: Vec<std::collections::BTreeMap<String, f64>>,
    parts: usize,
}

fn updated(loss: &Spy, groups: &[Group], signals: &Signals, budget: usize, steps: u64) -> Updated {
    // An epsilon that updates are smooth by: without one they are signs, and those of nothing are chance.
    // A single one may be so large that the rounding of weights themselves is nothing beside it.
    let learning_rate = if steps == 1 { 0.1 } else { 1e-3 };
    let optimizer = OptimizerConfig { beta1: 0.0, epsilon: 1e-2, ..steady(learning_rate) };
    let config =
        LearnerConfig { optimizer, tokens_per_micro_batch: budget, iterations: steps, ..LearnerConfig::default() };
    let mut learner = learner(model("qwen2_vl_1", Kind::Float), config);
    learner.keep_reference().unwrap();
    let start = tiny::parameters(tiny::of(&learner));
    let metrics = (0..steps).map(|done| learner.update(groups, signals, loss, step(done)).unwrap().metrics).collect();
    let after = tiny::parameters(tiny::of(&learner));
    let moved = start.iter().map(|(name, tensor)| (name.clone(), &after[name] - tensor)).collect();
    Updated { gradient: gradients(&learner), moved, metrics, parts: loss.take().micro_batches }
}

#[test]
fn an_update_does_not_depend_on_how_it_was_cut() {
    for (name, loss, groups, signals) in losses() {
        let loss = Spy::of(loss);
        for steps in [1, 2] {
            let whole = updated(&loss, &groups, &signals, 0, steps);
            for budget in [1, 60, 100, 170, 100_000] {
                let cut = updated(&loss, &groups, &signals, budget, steps);
                let what = format!("{name}, {steps} steps, {budget} tokens, {} parts", cut.parts);
                assert_eq!(cut.parts > whole.parts, budget < 100_000, "{what}");
                let [gradient, moved] =
                    [(&cut.gradient, &whole.gradient), (&cut.moved, &whole.moved)].map(|(a, b)| difference(a, b));
                println!("{what}: the gradient {gradient:e}, the update {moved:e}");
                // A second step of two updates begins where rounding led the first ones.
                let (bound, of_metrics) = if steps == 1 { (5e-5, 1e-4) } else { (1e-4, 1e-3) };
                assert!(gradient < bound && moved < bound, "{what}: the gradient {gradient}, the update {moved}");
                for (ours, theirs) in cut.metrics.iter().zip(&whole.metrics) {
                    for (key, value) in ours.iter().filter(|(key, _)| *key != "micro_batches") {
                        let error = (value - theirs[key]).abs() / theirs[key].abs().max(1.0);
                        assert!(error < of_metrics, "{what}, {key}: {value}, and {} whole", theirs[key]);
                    }
                }
            }
        }
    }
}

#[test]
fn losses_that_look_at_sequences_together_get_them_together() {
    let (groups, signals) = pairs();
    let terms = vec![WeightedLoss { weight: 1.0, loss: DpoLoss::Aot }];
    let pairs = PairLoss::Referenced { config: DpoConfig::default(), terms };
    let sorting = PreferenceLoss { pairs, length_desensitisation: 1.0 };
    let uncertain = GrpoConfig { entropy_mask: EntropyMask::Top(0.2), beta: 0.0, ..GrpoConfig::default() };
    for loss in [Box::new(sorting) as Box<dyn Loss>, Box::new(PolicyLoss { config: uncertain, temperature: 1.0 })] {
        let mut learner = bare("qwen2_vl_1", Trained::Everything, 1);
        learner.keep_reference().unwrap();
        let update = learner.update(&groups, &signals, loss.as_ref(), FIRST).unwrap();
        assert_eq!(update.metrics["micro_batches"], 1.0);
    }
}

#[test]
fn a_group_longer_than_a_micro_batch_is_shared_out_in_runs_that_fit() {
    let groups = mixed();
    let budget = groups[0].prompt().len() + 8;
    let mut learner = bare("qwen2_vl_1", Trained::Everything, budget);
    let loss = Spy::new(Linear::default());
    learner.update(&groups[..1], &Signals::new(vec![1.0; 5]), &loss, FIRST).unwrap();
    // Tokens run over: 2 + 6, 0 + 3 + 1.
    assert_eq!(loss.take().micro_batches, 2);
}

#[test]
fn a_prompts_sequences_have_its_hidden_states_once() {
    // A batch holds a prompt's tokens once, whatever the size of its group.
    let groups = mixed();
    let pieces: Vec<_> = groups.iter().map(vr1_vlm::Piece::whole).collect();
    let batch = vr1_vlm::Batch::new(&pieces).unwrap();
    let own: usize = [3, 7, 1, 4, 2, 9, 5, 5, 8, 1, 6].iter().map(|length| length - 1).sum();
    let prompts: usize = groups.iter().map(|group| group.prompt().len()).sum();
    assert_eq!(batch.input_ids.len(), prompts + own);
    assert_eq!(batch.targets.len(), 51 - 3);
    let model: Rc<dyn Backbone> = Rc::new(model("qwen2_vl_1", Kind::Float));
    let media: Vec<_> = batch.media.iter().map(|media| media.patches.clone()).collect();
    let features = model.encode(&media, vr1_nn::Recompute::None).unwrap();
    let hidden = model.score(&batch, &features.iter().collect::<Vec<_>>()).unwrap();
    assert_eq!(hidden.size(), [48, Tensor::size(model.lm_head())[1]]);
}

#[test]
fn an_answer_of_nothing_takes_part_in_nothing() {
    let groups = mixed();
    let prompt = groups[0].prompt();
    let with = vec![group(0, prompt, &[vec![5, 6], vec![], vec![7]]), group(1, prompt, &[vec![]])];
    let without = vec![group(0, prompt, &[vec![5, 6], vec![7]])];
    for budget in [0, 1] {
        let [mut a, mut b] = [0, 1].map(|_| bare("qwen2_vl_1", Trained::Everything, budget));
        a.update(&with, &Signals::new(vec![1.0, 2.0, -1.0, 3.0]), &Linear::default(), FIRST).unwrap();
        b.update(&without, &Signals::new(vec![1.0, -1.0]), &Linear::default(), FIRST).unwrap();
        let error = difference(&gradients(&a), &gradients(&b));
        assert!(error < 5e-5, "{budget} tokens: {error}");
    }
}

//! bf16 weights learn as f32 ones do, but for what bf16 itself rounds away.

use tch::{Kind, Tensor};
use vr1_learn::{Error, Learner, LearnerConfig, Optimizer, OptimizerConfig, Signals};
use vr1_nn::Adapter;
use vr1_ops::{Head, head_logprobs};
use vr1_rollout::Group;
use vr1_vlm::{Backbone, Batch, Model, Piece};

use crate::tiny::{
    self, FIRST, Linear, Named, difference, group, learner, mixed, model, prompt, signals, state, steady, step,
};

/// Its file holds bf16 numbers, so that the f32 model has the same weights.
const STORED_NARROW: &str = "qwen2_vl_1";

fn smooth() -> OptimizerConfig {
    // An epsilon that updates are smooth by: without one they are signs, and those of nothing are chance.
    OptimizerConfig { epsilon: 1e-2, max_grad_norm: 1.0, ..steady(1e-3) }
}

fn start(kind: Kind, tokens_per_micro_batch: usize) -> Learner {
    let config = LearnerConfig { optimizer: smooth(), tokens_per_micro_batch, ..LearnerConfig::default() };
    learner(model(STORED_NARROW, kind), config)
}

/// The weights that updates are added to: masters where there are some.
fn masters(learner: &Learner) -> Named {
    let all = state(learner);
    let master = |name: &str| all.get(&format!("optimizer: master.{name}")).unwrap_or(&all[name]).shallow_clone();
    learner.model().parameters().iter().map(|(name, _)| (name.to_owned(), master(name))).collect()
}

/// How far each of these masters is from where it began.
fn moved(after: &Named) -> Named {
    let before = model(STORED_NARROW, Kind::Float);
    let before = tiny::parameters(&before);
    after.iter().map(|(name, tensor)| (name.clone(), tensor.to_kind(Kind::Float) - &before[name])).collect()
}

#[test]
fn the_file_is_the_same_model_in_bf16_and_f32() {
    let [narrow, wide] = [Kind::BFloat16, Kind::Float].map(|kind| tiny::parameters(&model(STORED_NARROW, kind)));
    assert!(narrow.iter().all(|(name, tensor)| tensor.to_kind(Kind::Float).equal(&wide[name])));
}

#[test]
fn in_bf16_an_update_depends_on_the_cut_by_no_more_than_bf16_rounds() {
    let groups = mixed();
    let signals = signals(&groups);
    let update = |kind: Kind, budget: usize| {
        let mut learner = start(kind, budget);
        learner.update(&groups, &signals, &Linear::default(), FIRST).unwrap();
        moved(&masters(&learner))
    };
    let truth = update(Kind::Float, 0);
    let whole = update(Kind::BFloat16, 0);
    let rounding = difference(&whole, &truth);
    assert!(rounding > 1e-3, "{rounding}: this does not round");
    for budget in [1, 60, 100, 170] {
        let cut = update(Kind::BFloat16, budget);
        let [from_truth, from_whole] = [&truth, &whole].map(|other| difference(&cut, other));
        println!(
            "{budget} tokens: {from_truth:e} from f32, {from_whole:e} from the whole, which is {rounding:e} from f32"
        );
        assert!(from_truth < 1.2 * rounding, "{budget} tokens: {from_truth}, and the whole {rounding}");
        assert!(from_whole < 1.5 * rounding, "{budget} tokens: {from_whole}, and bf16 {rounding}");
    }
}

/// Sequences enough that a bf16 sum of their gradients loses what is added last.
fn many() -> Vec<Group> {
    let prompt = prompt("many", &[], "?");
    (0..300).map(|i| group(i, &prompt, &[vec![(i as i64 * 7) % 90, 40, 41]])).collect()
}

/// The sum of the gradients of [`Linear`] over groups in two ways: in f64, and as leaves gather them when nobody takes them
/// out, in the kind of the parameters.
fn summed(model: &Model, groups: &[Group]) -> [Named; 2] {
    let parameters = Backbone::train(model, &[]).unwrap();
    let mut gathered: Named = parameters.iter().map(|(name, leaf)| (name.clone(), Tensor::zeros_like(leaf))).collect();
    let mut wide: Named =
        parameters.iter().map(|(name, leaf)| (name.clone(), leaf.zeros_like().to_kind(Kind::Double))).collect();
    let tokens: usize = groups.iter().map(|group| group.sequences()[0].trained_tokens()).sum();
    for group in groups {
        let batch = Batch::new(&[Piece::whole(group)]).unwrap();
        let hidden = model.score(&batch, &[]).unwrap();
        let said = head_logprobs(&hidden, &Tensor::from_slice(&batch.targets), &Head::new(model.lm_head())).unwrap();
        (-said.logprobs.sum(Kind::Float) / tokens as f64).backward();
        for (name, leaf) in &parameters {
            let Some(gradient) = vr1_torch::take_gradient(leaf) else { continue };
            tch::no_grad(|| {
                let _ = wide.get_mut(name).unwrap().g_add_(&gradient);
                let _ = gathered.get_mut(name).unwrap().g_add_(&gradient);
            });
        }
    }
    [wide, gathered]
}

/// The masters' update that these gradients make.
fn stepped(gradients: &Named) -> Named {
    let narrow = model(STORED_NARROW, Kind::BFloat16);
    let parameters = Backbone::train(&narrow, &[]).unwrap();
    let wide = parameters.iter().map(|(name, _)| gradients[name].to_kind(Kind::Float));
    // A tower that saw no picture has none.
    let wide = wide.map(|gradient| (gradient.abs().max().double_value(&[]) > 0.0).then_some(gradient)).collect();
    let mut optimizer = Optimizer::new(parameters, smooth()).unwrap();
    optimizer.step(wide, 0, 100).unwrap();
    let dir = tempfile::tempdir().unwrap();
    optimizer.save(&dir.path().join("state")).unwrap();
    let kept = Tensor::read_safetensors(dir.path().join("state")).unwrap().into_iter();
    moved(&kept.filter_map(|(name, tensor)| Some((name.strip_prefix("master.")?.to_owned(), tensor))).collect())
}

#[test]
fn three_hundred_micro_batches_add_up_in_f32() {
    let groups = many();
    let ones = Signals::new(vec![1.0; groups.len()]);
    let update = |kind: Kind, budget: usize| {
        let mut learner = start(kind, budget);
        let update = learner.update(&groups, &ones, &Linear::default(), FIRST).unwrap();
        (moved(&masters(&learner)), update.metrics["micro_batches"])
    };
    let (truth, _) = update(Kind::Float, 0);
    let (whole, _) = update(Kind::BFloat16, 0);
    let (cut, parts) = update(Kind::BFloat16, 1);
    assert_eq!(parts, 300.0);
    let [whole, from_truth] = [&whole, &cut].map(|update| difference(update, &truth));
    println!("from f32: {whole:e} whole, {from_truth:e} in 300 parts");
    assert!(from_truth < 1.2 * whole, "{from_truth} in 300 parts, {whole} whole");

    // The same three hundred gradients, added up in f64 and in bf16.
    let [exact, narrow] = summed(&model(STORED_NARROW, Kind::BFloat16), &groups).map(|sum| stepped(&sum));
    let [here, narrow] = [&cut, &narrow].map(|update| difference(update, &exact));
    println!("from a sum in f64: {here:e} here, {narrow:e} in bf16");
    assert!(here < 5e-5, "{here}");
    assert!(narrow > 5e-3, "{narrow} summed in bf16: this test would not tell them apart");
}

#[test]
fn at_a_learning_rate_of_1e_6_bf16_weights_keep_their_updates_in_f32_masters() {
    let groups = mixed();
    let signals = signals(&groups);
    let after = |kind: Kind| {
        let optimizer = OptimizerConfig { epsilon: 1e-2, ..steady(1e-6) };
        let mut learner = learner(model(STORED_NARROW, kind), LearnerConfig { optimizer, ..LearnerConfig::default() });
        (0..5).for_each(|done| drop(learner.update(&groups, &signals, &Linear::default(), step(done)).unwrap()));
        (moved(&masters(&learner)), tiny::parameters(tiny::of(&learner)))
    };
    let ((narrow, weights), (wide, _)) = (after(Kind::BFloat16), after(Kind::Float));
    let error = difference(&narrow, &wide);
    // What bf16 rounds in a gradient is about a tenth of it.
    assert!(error < 0.15, "{error}");
    // The weights themselves have not felt much of it yet: without masters it would be gone.
    let weights = moved(&weights);
    let lost = difference(&weights, &wide);
    assert!(lost > 0.5, "{lost}: bf16 holds these updates, and the test shows nothing");
}

#[test]
fn many_small_updates_reach_the_bf16_weights_themselves() {
    // Half of the last digit of 0.02 in bf16 is 6.1e-5, sixty of these steps.
    let narrow = || Tensor::full([4], 0.02, (Kind::BFloat16, tch::Device::Cpu)).set_requires_grad(true);
    let parameter = narrow();
    let before = parameter.double_value(&[0]);
    let mut optimizer = Optimizer::new(vec![("w".to_owned(), parameter.shallow_clone())], steady(1e-6)).unwrap();
    for done in 0..500 {
        let gradient = Tensor::full([4], 0.1, (Kind::Float, tch::Device::Cpu));
        optimizer.step(vec![Some(gradient)], done, 500).unwrap();
    }
    let after = parameter.double_value(&[0]);
    assert!((before - after - 5e-4).abs() < 1.3e-4, "from {before} to {after}");
    // The same updates added to the weight itself are lost one by one.
    let mut direct = narrow().detach();
    (0..500).for_each(|_| direct -= 1e-6);
    assert_eq!(direct.double_value(&[0]), before);
}

#[test]
fn f16_is_refused() {
    // With an f32 adapter too: what flows back to it is f16.
    let adapter = tiny::folder("crates/vr1-learn/tests/fixtures/trl/adapter");
    let adapted = model(STORED_NARROW, Kind::Half).with_adapter(Adapter::open(&adapter).unwrap()).unwrap();
    for model in [model(STORED_NARROW, Kind::Half), adapted] {
        let error = Learner::new(std::rc::Rc::new(model), LearnerConfig::default(), &[]).unwrap_err();
        assert!(matches!(error, Error::Half));
        assert!(error.to_string().contains("f16"), "{error}");
    }
}

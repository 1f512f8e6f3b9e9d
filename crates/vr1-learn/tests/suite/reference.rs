//! What a learner compares with: how it begins, how it moves, what it shares, and that it is asked once.

use std::rc::Rc;

use tch::{Device, Kind, Tensor};
use vr1_learn::{Error, Learner, LearnerConfig, Needs, ReferenceConfig};
use vr1_nn::{Adapter, Derived};
use vr1_rollout::{Group, Version};
use vr1_vlm::{Backbone, Model};

use crate::tiny::{
    self, FIRST, Linear, Named, Spy, changed, difference, learner, mixed, model, parameters, signals, steady, step,
};

fn compared() -> Linear {
    Linear { needs: Needs { reference: true, ..Needs::default() } }
}

fn config(reference: ReferenceConfig) -> LearnerConfig {
    LearnerConfig { optimizer: steady(1e-2), reference, ..LearnerConfig::default() }
}

fn adapted() -> Model {
    let adapter = tiny::folder("crates/vr1-learn/tests/fixtures/trl/adapter");
    model("qwen2_vl_1", Kind::Float).with_adapter(Adapter::open(&adapter).unwrap()).unwrap()
}

fn start(model: Model, config: LearnerConfig) -> Learner {
    let mut learner = learner(model, config);
    learner.keep_reference().unwrap();
    learner
}

fn reference(learner: &Learner) -> Named {
    parameters(learner.reference().unwrap().as_ref())
}

fn policy(learner: &Learner) -> Named {
    parameters(tiny::of(learner))
}

fn learn(learner: &mut Learner, done: u64) {
    let groups = mixed();
    learner.update(&groups, &signals(&groups), &compared(), step(done)).unwrap();
}

#[test]
fn the_start_stays_what_it_was() {
    let mut learner = start(model("qwen2_vl_1", Kind::Float), config(ReferenceConfig::Start));
    let before = policy(&learner);
    (0..3).for_each(|done| learn(&mut learner, done));
    assert_eq!(changed(&before, &reference(&learner)), Vec::<String>::new());
    assert_eq!(changed(&before, &policy(&learner)).len(), before.len());
    assert!(learner.moved_reference().is_none());
}

#[test]
fn with_an_adapter_the_start_is_the_model_without_it_and_shares_all_of_it() {
    let mut learner = start(adapted(), config(ReferenceConfig::Start));
    let bare = parameters(&model("qwen2_vl_1", Kind::Float));
    learn(&mut learner, 0);
    let kept = learner.reference().unwrap();
    assert!(kept.parameters().adapter().is_none());
    assert_eq!(changed(&bare, &parameters(kept.as_ref())), Vec::<String>::new());
    for (name, tensor) in kept.parameters().iter() {
        assert_eq!(tensor.data_ptr(), tiny::of(&learner).parameters().get(name).unwrap().data_ptr(), "{name}");
    }
    // It says what the model said before it was adapted, and not what the adapted one says.
    let groups = mixed();
    let said = |model: &dyn Backbone| vr1_learn::logprobs(model, &groups, 1.0).unwrap().concat();
    assert_eq!(said(kept.as_ref()), said(&model("qwen2_vl_1", Kind::Float)));
    assert_ne!(said(kept.as_ref()), said(tiny::of(&learner)));
}

#[test]
fn what_is_frozen_is_shared_and_what_is_trained_is_copied() {
    let freeze = vec!["visual".to_owned(), "model.layers.1".to_owned()];
    let learner = start(model("qwen2_vl_1", Kind::Float), LearnerConfig { freeze, ..LearnerConfig::default() });
    let (mut shared, mut copied) = (0, 0);
    for (name, tensor) in tiny::of(&learner).parameters().iter() {
        let kept = learner.reference().unwrap().parameters().get(name).unwrap();
        let frozen = name.starts_with("visual.") || name.starts_with("model.layers.1.");
        assert_eq!(tensor.requires_grad(), !frozen, "{name}");
        assert_eq!(kept.data_ptr() == tensor.data_ptr(), frozen, "{name}");
        assert!(!kept.requires_grad(), "{name}");
        *(if frozen { &mut shared } else { &mut copied }) += 1;
    }
    assert!(shared > 50 && copied > 10, "{shared} shared, {copied} copied");
}

/// `share · a + (1 − share) · b` in f64.
fn between(a: &Named, b: &Named, share: f64) -> Named {
    let double = |tensor: &Tensor| tensor.to_kind(Kind::Double);
    a.iter().map(|(name, a)| (name.clone(), double(a) * share + double(&b[name]) * (1.0 - share))).collect()
}

#[test]
fn a_synced_reference_moves_every_so_many_steps_and_as_far_as_it_is_told() {
    for (mixup, what) in [(1.0, "wholly"), (0.6, "in part")] {
        let mut learner =
            start(model("qwen2_vl_1", Kind::Float), config(ReferenceConfig::Synced { every_steps: 2, mixup }));
        let mut expected = policy(&learner);
        for done in 0..5 {
            learn(&mut learner, done);
            if done % 2 == 1 {
                expected = between(&policy(&learner), &expected, mixup);
            }
            let error = difference(&reference(&learner), &expected);
            assert!(error < 1e-7, "{what}, step {done}: {error}");
            assert_eq!(learner.moved_reference().is_some(), done > 0, "{what}, step {done}");
        }
        let same = changed(&policy(&learner), &reference(&learner)).is_empty();
        assert!(!same, "{what}: the policy went on after the last sync");
    }
}

#[test]
fn after_a_whole_sync_the_reference_is_the_policy_to_the_last_bit() {
    for kind in [Kind::Float, Kind::BFloat16] {
        let sync = ReferenceConfig::Synced { every_steps: 2, mixup: 1.0 };
        let mut learner = start(model("qwen2_vl_1", kind), config(sync));
        (0..2).for_each(|done| learn(&mut learner, done));
        assert_eq!(changed(&policy(&learner), &reference(&learner)), Vec::<String>::new());
    }
}

#[test]
fn a_moving_average_moves_by_its_share_after_every_step() {
    for adapter in [false, true] {
        let begin = if adapter { adapted() } else { model("qwen2_vl_1", Kind::Float) };
        let mut learner = start(begin, config(ReferenceConfig::Ema { decay: 0.9 }));
        let mut expected = policy(&learner);
        assert_eq!(changed(&expected, &reference(&learner)), Vec::<String>::new(), "it begins as the policy");
        for done in 0..3 {
            learn(&mut learner, done);
            expected = between(&policy(&learner), &expected, 0.1);
            let error = difference(&reference(&learner), &expected);
            assert!(error < 1e-7, "adapter {adapter}, step {done}: {error}");
        }
        assert!(difference(&reference(&learner), &policy(&learner)) > 1e-3);
    }
}

#[test]
fn a_moving_average_of_bf16_weights_moves_by_less_than_bf16_holds() {
    let config = LearnerConfig { optimizer: steady(1e-3), ..config(ReferenceConfig::Ema { decay: 0.99 }) };
    let mut learner = start(model("qwen2_vl_1", Kind::BFloat16), config);
    let begin = policy(&learner);
    let text = [mixed().remove(1)];
    // The average of what the policy was: in f64, and in bf16 step by step.
    let (mut exact, mut narrow) = (between(&begin, &begin, 1.0), policy(&learner));
    for done in 0..60 {
        learner.update(&text, &signals(&text), &compared(), step(done)).unwrap();
        let now = policy(&learner);
        exact = between(&now, &exact, 0.01);
        narrow.iter_mut().for_each(|(name, tensor)| *tensor = tensor.lerp(&now[name], 0.01));
    }
    let moved = |to: &Named| -> Named {
        let one = |name: &String| to[name].to_kind(Kind::Double) - begin[name].to_kind(Kind::Double);
        begin.keys().filter(|name| !name.starts_with("visual.")).map(|name| (name.clone(), one(name))).collect()
    };
    let [here, narrow] = [&reference(&learner), &narrow].map(|average| difference(&moved(average), &moved(&exact)));
    println!("a moving average in bf16: {narrow:e} off, here {here:e}");
    assert!(here < 0.1 && narrow > 0.5, "{here} here, {narrow} in bf16");
}

#[test]
fn a_moving_average_of_bf16_weights_is_resumed_to_the_last_bit() {
    let config = || LearnerConfig { optimizer: steady(1e-3), ..config(ReferenceConfig::Ema { decay: 0.99 }) };
    let mut never = start(model("qwen2_vl_1", Kind::BFloat16), config());
    (0..2).for_each(|done| learn(&mut never, done));
    let (dir, kept) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    never.save(dir.path()).unwrap();
    never.model().save(dir.path(), Kind::BFloat16).unwrap();
    never.moved_reference().unwrap().save(kept.path(), Kind::BFloat16).unwrap();
    let load = |dir: &std::path::Path| Model::load(dir, Device::Cpu, Kind::BFloat16).unwrap();
    let mut resumed = learner(load(dir.path()), config());
    resumed.set_moved_reference(Rc::new(load(kept.path())));
    resumed.restore(dir.path(), Version(2)).unwrap();
    for done in 2..40 {
        let text = [mixed().remove(1)];
        for learner in [&mut never, &mut resumed] {
            learner.update(&text, &signals(&text), &compared(), step(done)).unwrap();
        }
    }
    assert_eq!(changed(&policy(&never), &policy(&resumed)), Vec::<String>::new());
    assert_eq!(changed(&reference(&never), &reference(&resumed)), Vec::<String>::new());
}

#[test]
fn a_renewed_reference_is_the_policy_as_it_is_adapter_included() {
    let mut learner = start(adapted(), config(ReferenceConfig::Start));
    learn(&mut learner, 0);
    learner.renew_reference().unwrap();
    let now = policy(&learner);
    assert_eq!(changed(&now, &reference(&learner)), Vec::<String>::new());
    learn(&mut learner, 1);
    assert_eq!(changed(&now, &reference(&learner)), Vec::<String>::new());
    assert!(learner.moved_reference().is_some());
}

#[test]
fn a_loss_is_handed_what_the_reference_says_of_the_trained_tokens() {
    let groups = mixed();
    let mut learner = start(model("qwen2_vl_1", Kind::Float), config(ReferenceConfig::Start));
    learn(&mut learner, 0);
    let spy = Spy::new(compared());
    learner.update(&groups, &signals(&groups), &spy, step(1)).unwrap();
    let kept = learner.reference().unwrap().clone();
    let expected = vr1_learn::logprobs(kept.as_ref(), &groups, 1.0).unwrap();
    let asked = learner.reference_logprobs(&groups, &compared().needs).unwrap();
    for found in [spy.take().reference, asked] {
        let worst = found.concat().iter().zip(expected.concat()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(found.iter().map(Vec::len).eq(expected.iter().map(Vec::len)) && worst < 1e-5, "{worst}");
    }
}

/// How many batches the reference scored in each of some steps.
fn asked(learner: &mut Learner, tally: &tiny::Tally, groups: &[&[Group]], needs: Needs) -> Vec<usize> {
    let one = |(done, groups): (usize, &&[Group])| {
        learner.update(groups, &signals(groups), &Linear { needs }, step(done as u64)).unwrap();
        tally.derived().take_scored()
    };
    groups.iter().enumerate().map(one).collect()
}

#[test]
fn a_reference_that_stays_is_asked_once_of_answers_that_come_up_again() {
    let needs = Needs { reference: true, ..Needs::default() };
    let (documents, pairs) = (&mixed()[..2], &mixed()[2..]);
    let begun = |reference: ReferenceConfig| {
        let (model, tally) = tiny::counted(model("qwen2_vl_1", Kind::Float));
        let mut learner = Learner::new(model, config(reference), &[]).unwrap();
        learner.keep_reference().unwrap();
        (learner, tally)
    };
    let (mut learner, tally) = begun(ReferenceConfig::Start);
    assert_eq!(asked(&mut learner, &tally, &[documents, pairs, documents, pairs], needs), [1, 1, 0, 0]);
    // Of the same answers at another temperature it says otherwise.
    let warm = Needs { temperature: 0.7, ..needs };
    assert_eq!(asked(&mut learner, &tally, &[documents, documents], warm), [1, 0]);
    // And another reference may say anything.
    let base = learner.model().derive(Derived::Base).unwrap();
    learner.set_reference(base);
    assert_eq!(asked(&mut learner, &tally, &[documents, documents], needs), [1, 0]);

    let (mut learner, tally) = begun(ReferenceConfig::Ema { decay: 0.9 });
    assert_eq!(asked(&mut learner, &tally, &[documents, documents], needs), [1, 1]);
    let (mut learner, tally) = begun(ReferenceConfig::Synced { every_steps: 2, mixup: 0.5 });
    assert_eq!(asked(&mut learner, &tally, &[documents; 4], needs), [1, 0, 1, 0]);

    // What was sampled does not come up again, and is not kept.
    let prompt = mixed()[0].prompt().clone();
    let drawn = [tiny::sampled(0, &prompt, &tiny::answers(&[3, 2]), -4.0)];
    let (mut learner, tally) = begun(ReferenceConfig::Start);
    assert_eq!(asked(&mut learner, &tally, &[&drawn, &drawn], needs), [1, 1]);
    // Nor is anybody asked who is not wanted.
    assert_eq!(asked(&mut learner, &tally, &[documents], Needs::default()), [0]);
}

#[test]
fn other_answers_under_the_same_key_are_other_answers() {
    let (model, tally) = tiny::counted(model("qwen2_vl_1", Kind::Float));
    let mut learner = Learner::new(model, config(ReferenceConfig::Start), &[]).unwrap();
    learner.keep_reference().unwrap();
    let prompt = mixed()[1].prompt().clone();
    let needs = Needs { reference: true, ..Needs::default() };
    let one = [tiny::group(0, &prompt, &[vec![5, 6]])];
    let other = [tiny::group(0, &prompt, &[vec![6, 5]])];
    assert_eq!(asked(&mut learner, &tally, &[&one, &other, &other], needs), [1, 1, 0]);
}

#[test]
fn without_a_reference_a_loss_that_compares_is_refused() {
    let groups = mixed();
    let mut learner = learner(model("qwen2_vl_1", Kind::Float), LearnerConfig::default());
    let error = learner.update(&groups, &signals(&groups), &compared(), FIRST).unwrap_err();
    assert!(matches!(error, Error::NoReference));
    assert!(matches!(learner.reference_logprobs(&groups, &compared().needs), Err(Error::NoReference)));
    // One that is set is as good as one that is kept.
    learner.set_reference(Rc::new(model("qwen2_vl_1", Kind::Float)));
    learner.update(&groups, &signals(&groups), &compared(), FIRST).unwrap();
}

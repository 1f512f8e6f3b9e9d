//! Ranks that each hold a share of the parameters of layers, which are brought to all while a layer runs, learn what ranks learn that hold
//! them all.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../tiny/mod.rs"]
mod tiny;
mod watched;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::rc::Rc;

use tch::{Device, Kind, Tensor};
use tiny::{Failing, answers, bits, group, key, mixed, model, parameters, prompt, ranks, saved, signals, steady, step};
use vr1_learn::{
    Counts, Fold, Learner, LearnerConfig, Loss, Method, Moments, Needs, OptimizerConfig, ParameterGroup,
    ReferenceConfig, Result, Scored, Sharding, Signals, Stats, World, logprobs,
};
use vr1_nn::{Adapter, LoraConfig, Modules, Recompute};
use vr1_rollout::Group;
use vr1_torch::{Storage, allocated, guarded};
use vr1_vlm::{Backbone, Model};

/// How a learner learns in these tests.
#[derive(Debug, Clone)]
struct Way {
    kind: Kind,
    adapter: bool,
    config: LearnerConfig,
}

fn way(kind: Kind, optimizer: OptimizerConfig) -> Way {
    let config = LearnerConfig { optimizer, recompute: Recompute::Layers, ..LearnerConfig::default() };
    Way { kind, adapter: false, config }
}

fn ways() -> Vec<(usize, Way)> {
    let adam = steady(1e-2);
    let tower = ParameterGroup { matches: vec!["tower".into()], learning_rate: Some(1e-3), weight_decay: Some(0.1) };
    let [mut twice, mut frozen, mut partly] = [0, 1, 2].map(|_| way(Kind::BFloat16, adam.clone()));
    twice.config.iterations = 2;
    frozen.config.freeze = vec!["tower".into()];
    partly.config.freeze = vec!["model.layers.0.self_attn.q_proj".into(), "model.layers.1".into()];
    let adapted = Way { adapter: true, ..way(Kind::BFloat16, adam.clone()) };
    let grouped = OptimizerConfig { groups: vec![tower], weight_decay: 0.01, ..adam.clone() };
    let packed = OptimizerConfig { moments: Moments::Blockwise8bit, offload: true, ..adam.clone() };
    let muon = OptimizerConfig { method: Method::Muon, max_grad_norm: 1e-3, ..adam };
    vec![
        (4, way(Kind::Float, grouped)),
        (2, way(Kind::BFloat16, packed)),
        (2, way(Kind::Float, muon)),
        (2, twice),
        (2, frozen),
        (2, partly),
        (2, adapted),
    ]
}

fn learner(way: &Way, sharding: Sharding, world: World) -> Learner {
    let config = LearnerConfig { sharding, ..way.config.clone() };
    let model = model("qwen2_vl_1", way.kind);
    let lora = LoraConfig {
        rank: 3,
        alpha: 6.0,
        target_modules: Modules::default(),
        exclude_modules: None,
        dropout: 0.0,
        rslora: false,
    };
    let model = match way.adapter {
        true => model.with_adapter(Adapter::random(lora, 7).unwrap()).unwrap(),
        false => model,
    };
    Learner::in_world(Rc::new(model), config, &[], world).unwrap()
}

/// Pushes likelihoods by their signals, and says what the reference thinks.
#[derive(Debug, Default)]
struct Compares {
    needs: Needs,
}

impl Compares {
    fn with_reference() -> Self {
        Self { needs: Needs { reference: true, ..Needs::default() } }
    }
}

impl Loss for Compares {
    fn needs(&self) -> Needs {
        self.needs
    }

    fn loss(&self, scored: &Scored, counts: &Counts) -> Result<(Tensor, Stats)> {
        let loss = -(scored.sums(&scored.logprobs)? * &scored.signals).sum(Kind::Float) / counts.tokens;
        let said = scored.ref_logprobs.as_ref().map_or(0.0, |said| said.sum(Kind::Double).double_value(&[]));
        let value = loss.double_value(&[]);
        Ok((loss, Stats::new([("loss", value, Fold::Sum), ("reference", said, Fold::Sum)])))
    }
}

/// All parameters, brought together.
fn weights(learner: &Learner) -> BTreeMap<String, Vec<u8>> {
    learner.gather_parameters().unwrap();
    let all = parameters(learner.model().as_ref());
    learner.free_parameters().unwrap();
    all.iter().map(|(name, tensor)| (name.clone(), bits(tensor))).collect()
}

/// Bytes of the parameters that are here: all of them, and those of layers alone.
fn held(model: &dyn Backbone) -> (usize, usize) {
    let parameters = model.parameters();
    let names: BTreeSet<&str> =
        parameters.layers().iter().flat_map(|(place, _)| parameters.of_layer(place).map(|(name, _)| name)).collect();
    let bytes = |(name, tensor): (&str, &Tensor)| match Storage::of(tensor).unwrap().is_there() {
        true => (tensor.numel() * tensor.kind().elt_size_in_bytes(), names.contains(name)),
        false => (0, false),
    };
    let here = parameters.iter().map(bytes);
    here.fold((0, 0), |(all, apart), (bytes, of_layer)| (all + bytes, apart + if of_layer { bytes } else { 0 }))
}

/// The bytes of each layer's parameters, and of the largest of them.
fn sizes(model: &dyn Backbone) -> (Vec<usize>, usize) {
    let parameters = model.parameters();
    let bytes = |tensor: &Tensor| tensor.numel() * tensor.kind().elt_size_in_bytes();
    let layer = |place: &str| parameters.of_layer(place).map(|(_, tensor)| bytes(tensor)).collect::<Vec<_>>();
    let layers: Vec<Vec<usize>> = parameters.layers().iter().map(|(place, _)| layer(place)).collect();
    let largest = layers.iter().flatten().copied().max().unwrap_or(0);
    (layers.iter().map(|layer| layer.iter().sum()).collect(), largest)
}

/// What a rank came to.
struct Came {
    weights: BTreeMap<String, Vec<u8>>,
    metrics: Vec<BTreeMap<String, f64>>,
    state: u64,
    held: (usize, usize),
    print: String,
}

/// Two steps of each rank, after which the first writes the model into `folder`.
fn run(
    (size, way): (usize, &Way),
    sharding: Sharding,
    groups: &(impl Fn() -> Vec<Group> + Sync),
    folder: Option<&Path>,
) -> Vec<Came> {
    ranks(size, |world| {
        let mut learner = learner(way, sharding, world);
        learner.keep_reference().unwrap();
        let loss = Compares::with_reference();
        let one = |done: u64| {
            let groups = groups();
            learner.update(&groups, &signals(&groups), &loss, step(done)).unwrap().metrics
        };
        let metrics = (0..2).map(one).collect();
        let held = held(learner.model().as_ref());
        if let Some(folder) = folder {
            let written = learner.together(|| match learner.world().is_first() {
                true => learner.save(folder).and_then(|()| Ok(learner.model().save(folder, way.kind)?)),
                false => learner.save_share(Ok(None)),
            });
            written.unwrap();
        }
        let (state, print) = (learner.optimizer().state_bytes(), learner.fingerprint().unwrap());
        Came { weights: weights(&learner), metrics, state, held, print }
    })
}

#[test]
fn layers_that_lie_apart_learn_what_zero2_learns_to_the_last_bit() {
    for (size, way) in &ways() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [before, apart] = [Sharding::Zero2, Sharding::Zero3];
        let before = run((*size, way), before, &mixed, Some(folders[0].path()));
        let apart = run((*size, way), apart, &mixed, Some(folders[1].path()));
        let whole = learner(way, Sharding::None, World::default());
        let (layers, largest) = sizes(whole.model().as_ref());
        let (all, of_layers) = (held(whole.model().as_ref()).0, layers.iter().sum::<usize>());
        for (rank, (expected, mine)) in before.iter().zip(&apart).enumerate() {
            assert!(expected.weights == mine.weights && expected.print == mine.print, "{way:?}, rank {rank}");
            for (expected, found) in expected.metrics.iter().zip(&mine.metrics) {
                let (mut expected, mut found) = (expected.clone(), found.clone());
                let [brought, gathered] = [&mut expected, &mut found].map(|row| row.remove("gathered_bytes").unwrap());
                assert_eq!(expected, found, "{way:?}");
                // Forwards and backwards, but for what the reference and pictures take more, and a frozen tower less.
                assert!(
                    gathered > brought && gathered <= 5.0 * of_layers as f64 * way.config.iterations as f64 + brought
                );
            }
            // A share of what is in layers, of which queries, keys and values are one piece, and what is outside.
            let rest = mine.held.0 - mine.held.1;
            assert_eq!(rest, all - of_layers, "{way:?}");
            let share = of_layers / size + 3 * largest;
            assert!(mine.held.1 <= share, "{way:?}, rank {rank}: {} of {of_layers}, at most {share}", mine.held.1);
            assert_eq!(expected.held.0, all);
        }
        assert_eq!(apart.iter().map(|rank| rank.held.1).sum::<usize>(), of_layers, "{way:?}: each lies at one rank");
        let state = |ranks: &[Came]| ranks.iter().map(|rank| rank.state).sum::<u64>();
        assert_eq!(state(&apart), state(&before), "{way:?}: every number is held once");
        let [before, apart] = [&folders[0], &folders[1]].map(|folder| saved(folder.path()));
        assert!(before == apart, "{way:?}: the checkpoint holds the same");
    }
}

/// What is special of a step, how many ranks take it, what is frozen, and what it is.
type Uneven = (&'static str, usize, &'static [&'static str], fn() -> Vec<Group>);

/// Steps in which ranks differ in how much they have, and some have nothing.
fn uneven() -> Vec<Uneven> {
    fn words() -> Vec<Group> {
        (0..3).map(|i| group(i, &prompt("words", &[], "Two and two?"), &answers(&[4 + i as usize, 2]))).collect()
    }
    fn few() -> Vec<Group> {
        mixed().into_iter().take(2).collect()
    }
    vec![
        ("several micro-batches", 2, &[], mixed),
        ("several micro-batches behind a frozen tower", 2, &["tower"], mixed),
        ("no picture", 2, &[], words),
        ("ranks without anything", 4, &[], few),
    ]
}

#[test]
fn several_micro_batches_make_the_same_update_but_for_the_order_of_sums() {
    // A large ε makes an update as large as its gradient: what differs in a gradient shows in the weights as it is.
    let optimizer = OptimizerConfig { learning_rate: 0.1, epsilon: 1.0, ..steady(0.1) };
    let mut way = way(Kind::Float, optimizer);
    way.config.tokens_per_micro_batch = 40;
    for (kind, size, freeze, groups) in uneven() {
        way.config.freeze = freeze.iter().map(|&part| part.to_owned()).collect();
        let [before, apart] =
            [Sharding::Zero2, Sharding::Zero3].map(|sharding| run((size, &way), sharding, &groups, None));
        let mut moved = 0.0;
        let numbers = |bytes: &[u8]| -> Vec<f32> {
            bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
        };
        let start = parameters(&model("qwen2_vl_1", Kind::Float));
        for (rank, (expected, found)) in before.iter().zip(&apart).enumerate() {
            assert_eq!(apart[0].print, found.print, "{kind}: all ranks have the same bits");
            for (name, bytes) in &expected.weights {
                let (expected, found) = (numbers(bytes), numbers(&found.weights[name]));
                let gap = expected.iter().zip(&found).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(gap < 1e-6, "{kind}, rank {rank}: {name} is {gap} off");
                let was = Vec::<f32>::try_from(start[name].flatten(0, -1)).unwrap();
                moved = expected.iter().zip(&was).map(|(a, b)| (a - b).abs()).fold(moved, f32::max);
            }
        }
        assert!(moved > 1e-4, "{kind}: it learns");
    }
}

#[test]
fn a_rank_that_fails_ends_the_step_on_all_and_nothing_is_changed() {
    let way = way(Kind::Float, steady(1e-2));
    for (how, at, said) in [(Failing::Refuses, 0, "has had enough"), (Failing::Value, 0, "is not finite")] {
        let told = ranks(2, |world| {
            let mut learner = learner(&way, Sharding::Zero3, world);
            let (before, groups) = (weights(&learner), mixed());
            let here = held(learner.model().as_ref());
            let fails = how.at(if learner.world().rank() == 1 { at } else { usize::MAX }, Needs::default());
            let error = learner.update(&groups, &signals(&groups), &fails, step(0)).unwrap_err();
            assert_eq!(held(learner.model().as_ref()), here, "what was brought is given back");
            assert!(weights(&learner) == before, "{error}");
            // The ranks are in step all the same.
            learner.update(&groups, &signals(&groups), &Compares::default(), step(0)).unwrap();
            (error.to_string(), learner.fingerprint().unwrap())
        });
        let never = ranks(2, |world| {
            let mut learner = learner(&way, Sharding::Zero3, world);
            let groups = mixed();
            learner.update(&groups, &signals(&groups), &Compares::default(), step(0)).unwrap();
            learner.fingerprint().unwrap()
        });
        for ((error, print), expected) in told.iter().zip(&never) {
            assert!(error.contains(said), "{error}");
            assert_eq!(print, expected);
        }
    }
}

#[test]
fn what_does_not_go_with_it_is_refused_by_name() {
    let way = way(Kind::Float, steady(1e-2));
    let refused = |config: LearnerConfig| {
        let config = LearnerConfig { sharding: Sharding::Zero3, ..config };
        let model = Rc::new(model("qwen2_vl_1", Kind::Float));
        Learner::new(model, config, &[]).unwrap_err().to_string()
    };
    for recompute in [Recompute::None, Recompute::Attention] {
        let error = refused(LearnerConfig { recompute, ..way.config.clone() });
        assert!(error.starts_with("recompute is ") && error.contains("`layers` with `sharding: zero3`"), "{error}");
    }
    let reference = ReferenceConfig::Ema { decay: 0.9 };
    let error = refused(LearnerConfig { reference, ..way.config.clone() });
    assert!(error.starts_with("reference.kind is ema"), "{error}");
    ranks(2, |world| {
        let learner = learner(&way, Sharding::Zero3, world.clone());
        let groups = vec![group(0, &prompt("some", &[], "?"), &answers(&[3]))];
        // By one rank for itself, nothing is run: nobody would give it what it needs.
        let error = guarded(|| logprobs(learner.model().as_ref(), &groups, 1.0)).unwrap_err().to_string();
        assert!(error.contains("model.layers.0") && error.contains("sharding: zero3"), "{error}");
        let config = LearnerConfig { sharding: Sharding::Zero3, ..way.config.clone() };
        let error = Learner::in_world(learner.model().clone(), config, &[], world).unwrap_err().to_string();
        assert!(error.contains("one learner of a model at a time"), "{error}");
    });
}

#[test]
fn a_model_that_is_given_up_can_be_had_by_another_learner() {
    let way = way(Kind::Float, steady(1e-2));
    let prints = [Sharding::Zero2, Sharding::Zero3].map(|sharding| {
        ranks(2, |world| {
            let mut first = learner(&way, sharding, world.clone());
            let groups = mixed();
            first.update(&groups, &signals(&groups), &Compares::default(), step(0)).unwrap();
            first.gather_parameters().unwrap();
            let model = first.model().clone();
            let said = logprobs(model.as_ref(), &groups[1..2], 1.0).unwrap();
            assert!(said[0].iter().all(|logprob| logprob.is_finite()));
            first.free_parameters().unwrap();
            first.release();
            if sharding == Sharding::Zero3 {
                let error = guarded(|| logprobs(model.as_ref(), &groups[1..2], 1.0)).unwrap_err().to_string();
                assert!(error.contains("sharding: zero3"), "{error}");
            }
            let config = LearnerConfig { sharding, freeze: vec!["tower".into()], ..way.config.clone() };
            let mut second = Learner::in_world(model, config, &[], world).unwrap();
            second.renew_reference().unwrap();
            let loss = Compares::with_reference();
            let told = second.update(&groups, &signals(&groups), &loss, step(0)).unwrap();
            (second.fingerprint().unwrap(), told.metrics["reference"].to_bits())
        })
    });
    assert_eq!(prints[0], prints[1]);
}

#[test]
fn a_group_of_no_tokens_is_no_reason_to_wait() {
    let way = way(Kind::Float, steady(1e-2));
    let told = ranks(2, |world| {
        let mut learner = learner(&way, Sharding::Zero3, world);
        let groups = vec![Group::new(key(0), mixed().swap_remove(0).sequences().to_vec()).unwrap()];
        let nothing = Signals::new(vec![0.0; groups[0].size()]).taking_part(vec![false; groups[0].size()]).unwrap();
        learner.update(&groups, &nothing, &Compares::default(), step(0)).unwrap_err().to_string()
    });
    assert!(told.iter().all(|error| error.contains("not one token to learn from")), "{told:?}");
}

#[test]
fn a_model_of_which_a_share_is_loaded_is_that_of_which_a_share_is_kept() {
    let way = way(Kind::BFloat16, steady(1e-2));
    let dir = tiny::folder(tiny::FAMILIES).join("qwen2_vl_1");
    let prints = [false, true].map(|shared| {
        ranks(2, |world| {
            let place = (world.rank(), world.size());
            let (loaded, bytes) = allocated(|| match shared {
                true => Model::load_share(&dir, Device::Cpu, way.kind, place).unwrap(),
                false => Model::load(&dir, Device::Cpu, way.kind).unwrap(),
            })
            .unwrap();
            let (here, (layers, largest)) = (held(&loaded), sizes(&loaded));
            let share = layers.iter().sum::<usize>() / 2 + 3 * largest;
            assert!(!shared || (here.1 > 0 && here.1 <= share), "{here:?}");
            assert!(!shared || bytes.left <= (here.0 + 4096) as i64, "{bytes:?} where {here:?} are held");
            let error = |model: &Model| {
                let groups = vec![group(0, &prompt("some", &[], "?"), &answers(&[3]))];
                guarded(|| logprobs(model, &groups, 1.0)).map(drop).map_err(|error| error.to_string())
            };
            assert_eq!(error(&loaded).is_err(), shared);
            let config = LearnerConfig { sharding: Sharding::Zero3, ..way.config.clone() };
            let mut learner = Learner::in_world(Rc::new(loaded), config, &[], world).unwrap();
            learner.keep_reference().unwrap();
            let groups = mixed();
            let told = learner.update(&groups, &signals(&groups), &Compares::with_reference(), step(0)).unwrap();
            (learner.fingerprint().unwrap(), told.metrics["reference"].to_bits())
        })
    });
    assert_eq!(prints[0], prints[1]);
}

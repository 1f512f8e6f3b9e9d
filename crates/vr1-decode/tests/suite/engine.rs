//! What the engine takes and refuses: queues of unlike requests, weights, adapters.

use std::any::Any;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use tch::{Device, Kind};
use vr1_decode::LocalEngine;
use vr1_nn::{Adapter, LoraConfig, Modules};
use vr1_rollout::{Engine, Error, Group, Request, Result, Sampling, Search, Version, Weights};
use vr1_vlm::{Backbone, Model, Snapshot};

use crate::tiny::{Tiny, assert_recorded, key, model};

fn tiny() -> Tiny {
    Tiny::ending_at(&(20..50).collect::<Vec<i64>>())
}

fn sampling() -> Sampling {
    Sampling { max_completion_tokens: 8, seed: 3, ..Sampling::default() }
}

fn ids(groups: &[Group]) -> Vec<Vec<i64>> {
    groups.iter().flat_map(Group::sequences).map(|sequence| sequence.ids().to_vec()).collect()
}

#[test]
fn requests_of_unlike_settings_in_one_queue_are_each_alone() {
    let tiny = tiny();
    let [text, one, two] = <[_; 3]>::try_from(tiny.prompts()).unwrap();
    let hot = Sampling { temperature: 2.0, ..sampling() };
    let longer = Sampling { max_completion_tokens: 12, ..hot.clone() };
    let beam =
        Request { search: Search::Beam { beams: 3, length_penalty: 1.0 }, ..asked(&two, 1, Sampling::greedy(6), 3) };
    fn asked(prompt: &Arc<vr1_processor::Prompt>, completions: usize, sampling: Sampling, index: u64) -> Request {
        Request::new(prompt.clone(), completions, sampling, key(index))
    }
    let requests = vec![
        asked(&text, 2, sampling(), 0),
        asked(&one, 2, sampling(), 1),
        asked(&one, 3, sampling(), 2),
        beam.clone(),
        asked(&two, 2, hot.clone(), 4),
        asked(&text, 2, longer, 5),
        asked(&one, 2, Sampling::greedy(8), 6),
        asked(&two, 2, sampling(), 7),
        beam,
    ];
    let groups = tiny.generate(requests.clone());
    assert_eq!(groups.len(), requests.len());
    for (group, request) in groups.iter().zip(&requests) {
        assert!(Arc::ptr_eq(group.prompt(), &request.prompt));
        assert_eq!((group.key(), group.size()), (request.key, request.completions));
        assert_eq!(ids(std::slice::from_ref(group)), ids(&tiny.generate(vec![request.clone()])));
        group.sequences().iter().for_each(|sequence| tiny.assert_recorded(sequence));
    }
}

#[test]
fn what_is_submitted_comes_once_by_its_ticket() {
    let tiny = tiny();
    let mut engine = tiny.engine();
    assert!(engine.poll().unwrap().is_empty() && engine.generate(Vec::new()).unwrap().is_empty());
    let mut requests = tiny.requests(1, &sampling());
    requests[1].sampling.seed = 9;
    let tickets: Vec<_> = requests.iter().map(|request| engine.submit(request.clone()).unwrap()).collect();
    let mut found = Vec::new();
    loop {
        let more = engine.poll().unwrap();
        if more.is_empty() {
            break;
        }
        found.extend(more);
    }
    found.sort_by_key(|(ticket, _)| *ticket);
    assert_eq!(found.iter().map(|(ticket, _)| *ticket).collect::<Vec<_>>(), tickets);
    assert!(found.iter().zip(&requests).all(|((_, group), request)| group.key() == request.key));
    // Tickets are not given twice.
    assert!(!tickets.contains(&engine.submit(requests[0].clone()).unwrap()));
}

#[test]
fn what_cannot_be_completed_is_refused_when_it_is_submitted() {
    let tiny = tiny();
    let mut engine = tiny.engine();
    let prompt = tiny.prompt("one", &[(56, 84)], "What colour is it?");
    let asked = |sampling| Request::new(prompt.clone(), 1, sampling, key(0));
    let mut refused = |request: Request| {
        let error = engine.submit(request).unwrap_err().to_string();
        assert!(engine.poll().unwrap().is_empty(), "nothing of it is under way");
        error
    };
    let error = refused(asked(Sampling { top_p: 0.0, ..sampling() }));
    assert!(error.starts_with("sampling: top_p is 0"), "{error}");
    let error = refused(Request { completions: 0, ..asked(sampling()) });
    assert!(error.starts_with("sampling: completions is 0"), "{error}");

    let room = tiny.model.max_tokens() - prompt.len();
    let error = refused(asked(Sampling { max_completion_tokens: room + 1, ..sampling() }));
    let (tokens, fit) = (prompt.len(), prompt.len() - 1);
    assert_eq!(error, format!("sample `one`: a prompt of {tokens} tokens (6 of them media) where {fit} fit"));
    let error = refused(asked(Sampling { max_completion_tokens: 10_000, ..sampling() }));
    assert!(error.ends_with("where 0 fit"), "{error}");

    let strange = Arc::new(prompt.extend(&[5000], "").unwrap());
    let error = refused(Request::new(strange, 1, sampling(), key(0)));
    assert!(error.contains("the id 5000 in `one`"), "{error}");
    engine.submit(asked(Sampling { max_completion_tokens: room, ..sampling() })).unwrap();
}

/// Weights that some other engine knows.
struct Foreign;

impl Weights for Foreign {
    fn version(&self) -> Version {
        Version(9)
    }

    fn write(&self, _: &Path) -> Result<()> {
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

fn versions(groups: &[Group]) -> Vec<Version> {
    let mut versions: Vec<Version> =
        groups.iter().flat_map(Group::sequences).map(|sequence| sequence.sampled().unwrap().version).collect();
    versions.dedup();
    versions
}

#[test]
fn foreign_weights_are_refused_and_those_it_has_are_kept() {
    let tiny = tiny();
    let mut engine = tiny.engine();
    let requests = || tiny.requests(2, &sampling());
    let before = engine.generate(requests()).unwrap();
    engine.submit(requests().remove(0)).unwrap();
    let error = engine.load(&Foreign).unwrap_err();
    assert!(matches!(error, Error::Engine(_)) && error.to_string().contains("another process"), "{error}");
    assert_eq!(engine.poll().unwrap().len(), 1, "what is under way goes on");
    let after = engine.generate(requests()).unwrap();
    assert_eq!(ids(&before), ids(&after));
    assert_eq!(versions(&after), [Version(0)]);
}

/// Another model of the same kind, with rows that nothing spells.
fn another(rows: i64) -> Rc<Model> {
    let mut config = model().config().clone();
    config.text.vocab_size = rows;
    Rc::new(Model::random(config, 4, Device::Cpu, Kind::Float).unwrap())
}

#[test]
fn what_is_loaded_is_sampled_from_and_named() {
    let tiny = tiny();
    let mut engine = tiny.engine();
    for (rows, version) in [(374, Version(3)), (1024, Version(4)), (374, Version(5))] {
        let model = another(rows);
        let hot = Sampling { temperature: 1e4, max_completion_tokens: 40, ..sampling() };
        let snapshot = Snapshot { model: model.clone(), version };
        assert_eq!(engine.load(&snapshot).unwrap(), version);
        let groups = engine.generate(tiny.requests(2, &hot)).unwrap();
        assert_eq!(versions(&groups), [version]);
        let media = tiny.processor.tokenizer().media_ids();
        assert!(ids(&groups).concat().iter().all(|id| *id < 374 && !media.contains(id)), "{rows} rows");
        groups.iter().flat_map(Group::sequences).for_each(|sequence| assert_recorded(model.as_ref(), sequence));
    }
}

#[test]
fn what_waits_while_weights_are_loaded_is_completed_with_those_it_names() {
    let tiny = tiny();
    let mut engine = tiny.engine();
    engine.submit(tiny.requests(2, &sampling()).remove(1)).unwrap();
    let model = another(374);
    engine.load(&Snapshot { model: model.clone(), version: Version(1) }).unwrap();
    let (_, group) = engine.poll().unwrap().remove(0);
    assert_eq!(versions(std::slice::from_ref(&group)), [Version(1)]);
    group.sequences().iter().for_each(|sequence| assert_recorded(model.as_ref(), sequence));
}

fn adapted() -> Rc<Model> {
    let config = LoraConfig {
        rank: 2,
        alpha: 8.0,
        target_modules: Modules::default(),
        exclude_modules: None,
        dropout: 0.3,
        rslora: false,
    };
    let model = model().with_adapter(Adapter::random(config, 2).unwrap()).unwrap();
    train(&model, 1);
    Rc::new(model)
}

/// Moves what is trained of an adapted model, in place.
fn train(model: &Model, seed: i64) {
    tch::manual_seed(seed);
    for (_, tensor) in model.parameters().iter().filter(|(name, _)| name.ends_with("lora_B.weight")) {
        tch::no_grad(|| tensor.shallow_clone().copy_(&(tensor.randn_like() * 0.1)));
    }
}

#[test]
fn an_adapted_model_is_sampled_from_merged_as_it_was_when_it_was_loaded() {
    let tiny = tiny();
    let model = adapted();
    // Trained, it would drop inputs wherever gradients are collected.
    assert!(model.train(&[]).unwrap().iter().all(|(name, _)| name.contains(".lora_")));
    let mut engine = LocalEngine::new(model.clone(), tiny.processor.tokenizer().clone()).unwrap();
    let requests = || tiny.requests(3, &sampling());
    let groups = engine.generate(requests()).unwrap();
    assert_ne!(ids(&groups), ids(&tiny.generate(requests())), "the adapter is at work");
    let as_recorded = |groups: &[Group]| {
        tch::no_grad(|| groups.iter().flat_map(Group::sequences).for_each(|s| assert_recorded(model.as_ref(), s)));
    };
    as_recorded(&groups);

    train(&model, 2);
    assert_eq!(ids(&engine.generate(requests()).unwrap()), ids(&groups), "until it is told");
    engine.load(&Snapshot { model: model.clone(), version: Version(1) }).unwrap();
    let after = engine.generate(requests()).unwrap();
    assert_ne!(ids(&after), ids(&groups));
    assert_eq!(versions(&after), [Version(1)]);
    as_recorded(&after);
}

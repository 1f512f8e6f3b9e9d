//! Rollouts that are larger than memory, and what does not depend on it.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use tch::{Device, Kind, Tensor};
use vr1_decode::LocalEngine;
use vr1_rollout::{Engine, Group, Request, Sampling, Search, Version};
use vr1_torch::{allocated, limited};
use vr1_vlm::{Backbone, Model, Snapshot};

use crate::tiny::watched::{Log, Watched};
use crate::tiny::{self, Tiny, key};

fn load(device: Device, kind: Kind) -> Rc<Model> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vr1-vlm/tests/fixtures/model");
    Rc::new(Model::load(&dir, device, kind).unwrap())
}

/// A model in f64: no two of its tokens are within rounding of each other.
fn model() -> Rc<Watched> {
    Rc::new(Watched { inner: load(Device::Cpu, Kind::Double), log: RefCell::default() })
}

/// Half of the vocabulary seldom ends a completion: rows end at all times.
fn tiny() -> Tiny {
    Tiny::ending_at(&(20..40).collect::<Vec<i64>>())
}

fn sampling() -> Sampling {
    Sampling { max_completion_tokens: 40, seed: 3, temperature: 1.5, ..Sampling::default() }
}

/// Three prompts again and again, with 1 to 7 completions.
fn requests(tiny: &Tiny, count: usize, sampling: &Sampling) -> Vec<Request> {
    let prompts = tiny.prompts();
    let request = |i: usize| {
        let sampling = Sampling { seed: sampling.seed + i as u64 % 2, ..sampling.clone() };
        Request::new(prompts[i % 3].clone(), 1 + (i * 5) % 7, sampling, key(i as u64))
    };
    (0..count).map(request).collect()
}

type Facts = Vec<(Vec<i64>, bool)>;

fn facts(group: &Group) -> Facts {
    group.sequences().iter().map(|sequence| (sequence.ids().to_vec(), sequence.finished())).collect()
}

fn engine(tiny: &Tiny, model: &Rc<Watched>, bytes: u64) -> LocalEngine {
    LocalEngine::new(model.clone(), tiny.processor.tokenizer().clone()).unwrap().with_memory(bytes)
}

fn generate(tiny: &Tiny, requests: &[Request], bytes: u64) -> (Vec<Facts>, Log) {
    let model = model();
    let groups = engine(tiny, &model, bytes).generate(requests.to_vec()).unwrap();
    (groups.iter().map(facts).collect(), model.log.take())
}

/// What a token's keys and values take in the tiny model, and a row's distribution at least.
fn bytes(model: &dyn Backbone) -> (u64, u64) {
    (model.key_value_bytes() as u64, 4 * model.lm_head().size()[0] as u64)
}

#[test]
fn a_rollout_larger_than_memory_is_the_same_token_for_token() {
    let tiny = tiny();
    let asked = requests(&tiny, 12, &sampling());
    let (expected, whole) = generate(&tiny, &asked, 1 << 40);
    let lengths: Vec<usize> = expected.iter().flatten().map(|(ids, _)| ids.len()).collect();
    let (least, most) = (lengths.iter().min().unwrap(), lengths.iter().max().unwrap());
    assert!(*least < 10 && *most == 40, "rows leave at different times: {lengths:?}");
    assert_eq!(whole.prefilled, 12);
    let all: u64 = asked.iter().map(|request| request.completions as u64).sum();
    assert!(whole.steps[0].rows >= all - 2 && whole.steps.last().unwrap().rows < all / 2, "those that ended have left");

    let (token, logits) = bytes(&*model());
    for rows in [1, 3, 8] {
        // Room for so many rows and a prompt or two.
        let budget = rows * (64 * token + 40 * logits) + 100 * token;
        let (found, log) = generate(&tiny, &asked, budget);
        assert_eq!(found, expected, "a budget of {budget}");
        assert_eq!(log.prefilled, 12, "a prompt is run over once, however its rows are cut");
        for held in &log.steps {
            let taken = held.prompt_tokens * token + held.rows * (held.room * token + logits);
            assert!(taken <= budget || held.rows == 1, "{held:?}: {taken} of {budget}");
        }
        assert!(log.steps.len() > whole.steps.len() && log.steps.iter().any(|held| held.rows > 1 || rows == 1));
    }
    // One row at a time, whatever it takes.
    let (found, log) = generate(&tiny, &asked[..4], 1);
    assert_eq!(found, expected[..4]);
    assert!(log.steps.iter().all(|held| held.rows == 1));
}

/// Where the budget is more than there is, decoding goes on with half of it, and with half of that.
#[test]
fn a_rollout_that_finds_no_memory_begins_anew_with_less() {
    let tiny = tiny();
    let asked = requests(&tiny, 6, &sampling());
    let (expected, whole) = generate(&tiny, &asked, 1 << 40);
    let mut ample = engine(&tiny, &model(), 1 << 40);
    let (_, bytes) = allocated(|| ample.generate(asked.clone()).unwrap()).unwrap();
    let in_room = |room: i64, asked: &[Request]| {
        let model = model();
        let mut engine = engine(&tiny, &model, 1 << 30);
        let made = limited(room as u64, || engine.generate(asked.to_vec())).unwrap();
        (made.map(|groups| groups.iter().map(facts).collect::<Vec<_>>()), model.log.take(), engine)
    };
    let mut anew = 0;
    for part in [4, 5, 6, 7, 8, 9] {
        let (made, log, mut engine) = in_room(bytes.peak * part / 10, &asked);
        match made {
            Ok(found) => {
                assert_eq!(found, expected, "{part} tenths");
                anew += usize::from(log.prefilled > whole.prefilled);
            }
            Err(error) => {
                let text = error.to_string();
                assert!(text.contains("out of memory") && text.contains("rollout.memory_gb"), "{text}");
            }
        }
        // Whatever became of it, the engine goes on.
        assert_eq!(engine.generate(asked.clone()).unwrap().iter().map(facts).collect::<Vec<_>>(), expected);
    }
    assert!(anew > 0, "some of them began anew and came to an end");
    // And where there is no room for one row.
    let error = in_room(1000, &asked).0.unwrap_err().to_string();
    assert!(error.contains("the machine is out of memory"), "{error}");
}

/// A model in f64 may sample long texts: beams grow out of their first room, and what they see then is what they saw.
#[test]
fn beams_take_the_memory_that_their_length_needs_and_no_more_than_may_be_taken() {
    let tiny = Tiny::ending_at(&[0]);
    let prompt = tiny.prompt("long", &[(56, 84)], "What is it?");
    let ask = |beams: usize, tokens: usize, bytes: u64| {
        let model = model();
        let request = Request::new(prompt.clone(), 1, Sampling::greedy(tokens), key(0));
        let request = Request { search: Search::Beam { beams, length_penalty: 1.0 }, ..request };
        let made = engine(&tiny, &model, bytes).generate(vec![request]).map(|groups| groups[0].clone());
        (made, model.log.take(), model)
    };
    let (made, log, model) = ask(3, 150, 1 << 40);
    let sequence = made.unwrap().sequences()[0].clone();
    assert_eq!(sequence.ids().len(), 150);
    tiny::assert_recorded(&*model, &sequence);
    let rooms: Vec<u64> = log.steps.iter().map(|held| held.room).collect();
    assert!(rooms[0] < 80 && rooms.is_sorted() && *rooms.last().unwrap() > 140, "{rooms:?}");
    let (token, logits) = bytes(&*model);
    // A token more is looked at than is asked for.
    let taken = |room: u64| prompt.len() as u64 * token + 3 * (room * token + 8 * logits);
    assert!(ask(3, 60, taken(61)).0.is_ok());
    for (beams, tokens, room) in [(3, 150, taken(64)), (3, 60, taken(61) - 1), (4, 60, taken(61))] {
        let (made, log, _) = ask(beams, tokens, room);
        let text = made.unwrap_err().to_string();
        assert!(text.contains("`long`: a search of") && text.contains("rollout.memory_gb"), "{text}");
        assert!(log.steps.len() < 80, "it ends before it takes too much");
    }
}

#[test]
fn a_completion_is_the_same_in_any_order_and_with_limits_and_penalties() {
    let tiny = tiny();
    let limits = Sampling { top_k: 60, top_p: 0.95, repetition_penalty: 1.3, ..sampling() };
    for sampling in [limits, Sampling { max_completion_tokens: 17, ..Sampling::greedy(1) }] {
        let asked = requests(&tiny, 7, &sampling);
        let (expected, _) = generate(&tiny, &asked, 1 << 40);
        let turned: Vec<Request> = asked.iter().rev().cloned().collect();
        let (token, logits) = bytes(&*model());
        for budget in [1 << 40, 5 * (64 * token + 40 * logits)] {
            let (mut found, _) = generate(&tiny, &turned, budget);
            found.reverse();
            assert_eq!(found, expected);
        }
        for (request, expected) in asked.iter().zip(&expected) {
            assert_eq!(&generate(&tiny, std::slice::from_ref(request), 1 << 40).0[0], expected);
        }
    }
}

#[test]
fn a_group_is_given_out_while_others_are_under_way() {
    let tiny = tiny();
    let model = model();
    let mut engine = engine(&tiny, &model, 1 << 40);
    let asked = requests(&tiny, 9, &sampling());
    let tickets: Vec<_> = asked.iter().map(|request| engine.submit(request.clone()).unwrap()).collect();
    let (mut found, mut steps) = (Vec::new(), Vec::new());
    loop {
        let more = engine.poll().unwrap();
        if more.is_empty() {
            break;
        }
        steps.push(model.log.borrow().steps.len());
        found.extend(more);
    }
    assert!(steps.len() > 3 && steps[0] < *steps.last().unwrap(), "{steps:?}");
    assert_ne!(found.iter().map(|(ticket, _)| *ticket).collect::<Vec<_>>(), tickets, "in the order in which they end");
    found.sort_by_key(|(ticket, _)| *ticket);
    let (expected, _) = generate(&tiny, &asked, 1 << 40);
    assert_eq!(found.iter().map(|(_, group)| facts(group)).collect::<Vec<_>>(), expected);
}

#[test]
fn what_comes_while_others_are_under_way_joins_them() {
    let tiny = tiny();
    let model = model();
    let mut engine = engine(&tiny, &model, 1 << 40);
    let asked = requests(&tiny, 8, &sampling());
    let (expected, _) = generate(&tiny, &asked, 1 << 40);
    let submit = |engine: &mut LocalEngine, asked: &[Request]| {
        for request in asked {
            engine.submit(request.clone()).unwrap();
        }
    };
    submit(&mut engine, &asked[..6]);
    let mut found = engine.poll().unwrap();
    submit(&mut engine, &asked[6..]);
    while found.len() < 8 {
        found.extend(engine.poll().unwrap());
    }
    assert!(engine.poll().unwrap().is_empty());
    found.sort_by_key(|(ticket, _)| *ticket);
    assert_eq!(found.iter().map(|(_, group)| facts(group)).collect::<Vec<_>>(), expected);
}

#[test]
fn what_is_under_way_while_weights_are_loaded_is_completed_with_those_it_names() {
    let tiny = tiny();
    let old = model();
    let mut engine = engine(&tiny, &old, 1 << 40);
    let asked = requests(&tiny, 6, &sampling());
    for request in &asked {
        engine.submit(request.clone()).unwrap();
    }
    let mut found = engine.poll().unwrap();
    let begun = found.len();
    assert!(begun < 6);
    let new = model();
    let head = new.inner.lm_head();
    tch::no_grad(|| head.shallow_clone().copy_(&head.flip([0])));
    engine.load(&Snapshot { model: new.clone(), version: Version(4) }).unwrap();
    while found.len() < 6 {
        found.extend(engine.poll().unwrap());
    }
    let expected = LocalEngine::new(new, tiny.processor.tokenizer().clone()).unwrap().generate(asked).unwrap();
    for (ticket, group) in &found[begun..] {
        assert_eq!(facts(group), facts(&expected[ticket.0 as usize]));
        assert!(group.sequences().iter().all(|sequence| sequence.sampled().unwrap().version == Version(4)));
    }
    for (_, group) in &found[..begun] {
        assert!(group.sequences().iter().all(|sequence| sequence.sampled().unwrap().version == Version(0)));
    }
}

/// A step is recorded, and recorded anew as rows leave and enter. Where there is no GPU, this says so and passes.
#[test]
fn a_gpu_gives_the_same_tokens_in_any_memory() {
    let device = match vr1_torch::device("cuda") {
        Ok(device) => device,
        Err(error) => return println!("skipped: {error}"),
    };
    let tiny = tiny();
    let there = load(device, Kind::Double);
    let (token, logits) = bytes(&*there);
    let limits = Sampling { top_k: 60, top_p: 0.95, repetition_penalty: 1.3, ..sampling() };
    for sampling in [sampling(), limits, Sampling::greedy(40)] {
        let asked = requests(&tiny, 12, &sampling);
        let (expected, _) = generate(&tiny, &asked, 1 << 40);
        for budget in [1 << 40, 6 * (64 * token + 40 * logits)] {
            let engine = LocalEngine::new(there.clone(), tiny.processor.tokenizer().clone()).unwrap();
            let groups = engine.with_memory(budget).generate(asked.clone()).unwrap();
            assert_eq!(groups.iter().map(facts).collect::<Vec<_>>(), expected, "a budget of {budget}");
        }
        let mut beams = asked[..2].to_vec();
        for request in &mut beams {
            (request.completions, request.search) = (1, Search::Beam { beams: 3, length_penalty: 1.0 });
        }
        let (expected, _) = generate(&tiny, &beams, 1 << 40);
        let mut engine = LocalEngine::new(there.clone(), tiny.processor.tokenizer().clone()).unwrap();
        let found: Vec<Facts> = engine.generate(beams).unwrap().iter().map(facts).collect();
        assert_eq!(found, expected);
    }
}

/// In bf16 the kernels are at work. What is recorded is off a whole pass's log-probabilities by no more than the two are off f64's.
#[test]
fn a_gpu_in_bf16_records_what_a_whole_pass_says() {
    let device = match vr1_torch::device("cuda") {
        Ok(device) => device,
        Err(error) => return println!("skipped: {error}"),
    };
    let tiny = tiny();
    let (narrow, truth) = (load(device, Kind::BFloat16), load(Device::Cpu, Kind::Double));
    let mut engine = LocalEngine::new(narrow.clone(), tiny.processor.tokenizer().clone()).unwrap();
    let groups = engine.generate(requests(&tiny, 12, &sampling())).unwrap();
    let (mut apart, mut off) = (0.0, 0.0);
    for sequence in groups.iter().flat_map(Group::sequences) {
        let said = sequence.sampled().unwrap();
        let ids = Tensor::from_slice(sequence.ids()).unsqueeze(1);
        let of = |model: &dyn Backbone| {
            let logits = tiny::uncached(model, sequence.prompt(), sequence.ids()).to_device(Device::Cpu);
            Vec::<f64>::try_from(logits.log_softmax(-1, Kind::Double).gather(1, &ids, false).squeeze_dim(1)).unwrap()
        };
        let (whole, right) = (of(&*narrow), of(&*truth));
        for ((found, whole), right) in said.logprobs.iter().zip(whole).zip(right) {
            apart += (f64::from(*found) - whole).powi(2);
            off += (whole - right).powi(2);
        }
    }
    assert!(off > 0.0 && apart < 4.0 * off, "{} apart, {} off", apart.sqrt(), off.sqrt());
}

/// An engine that waits for the next step holds neither prompts nor rows of the last, while it is learnt from them.
#[test]
fn what_a_rollout_held_is_given_back_with_its_last_group() {
    let tiny = tiny();
    let mut engine = engine(&tiny, &model(), 1 << 40);
    let (groups, bytes) = allocated(|| engine.generate(requests(&tiny, 6, &sampling())).unwrap()).unwrap();
    let token = self::bytes(&*model()).0 as i64;
    assert_eq!(groups.len(), 6);
    assert!(bytes.peak > 100 * token && bytes.left < token, "{bytes:?}, a token's keys and values are {token}");
}

//! Beam search over a random Qwen2-VL.

use std::sync::Arc;

use tch::{Device, Kind, Tensor};
use vr1_nn::GrowingCache;
use vr1_processor::Prompt;
use vr1_rollout::{Request, SampleKey, Sampling, Search, Sequence};
use vr1_vlm::Backbone;

use crate::tiny::{Tiny, key};

fn ask(tiny: &Tiny, prompt: &Arc<Prompt>, search: Search, sampling: Sampling, key: SampleKey) -> Sequence {
    let request = Request { search, ..Request::new(prompt.clone(), 1, sampling, key) };
    tiny.generate(vec![request]).remove(0).into_sequences().remove(0)
}

fn search(tiny: &Tiny, prompt: &Arc<Prompt>, beams: usize, length_penalty: f64, tokens: usize) -> Sequence {
    ask(tiny, prompt, Search::Beam { beams, length_penalty }, Sampling::greedy(tokens), key(0))
}

fn greedy(tiny: &Tiny, prompt: &Arc<Prompt>, tokens: usize) -> Sequence {
    ask(tiny, prompt, Search::Draw, Sampling::greedy(tokens), key(0))
}

fn total(sequence: &Sequence) -> f64 {
    sequence.sampled().unwrap().logprobs.iter().map(|&x| f64::from(x)).sum()
}

/// Vocabularies of which nothing, some and much ends a completion.
fn models() -> [Tiny; 3] {
    [vec![0], (20..50).collect(), (100..300).collect()].map(|eos: Vec<i64>| Tiny::ending_at(&eos))
}

#[test]
fn one_beam_is_greedy() {
    let mut finished = 0;
    for tiny in models() {
        for prompt in tiny.prompts() {
            for length_penalty in [0.0, 1.0] {
                let found = search(&tiny, &prompt, 1, length_penalty, 10);
                let greedy = greedy(&tiny, &prompt, 10);
                assert_eq!(found.ids(), greedy.ids(), "{}", prompt.sample());
                assert_eq!((found.finished(), found.text()), (greedy.finished(), greedy.text()));
                finished += usize::from(found.finished());
            }
        }
    }
    assert!(finished > 0, "some of them end by themselves");
}

#[test]
fn more_beams_never_score_below_greedy() {
    let mut better = 0;
    for tiny in models() {
        for prompt in tiny.prompts() {
            let greedy = total(&greedy(&tiny, &prompt, 8));
            for beams in [2, 4, 8] {
                let found = total(&search(&tiny, &prompt, beams, 0.0, 8));
                assert!(found >= greedy - 1e-4, "{}, {beams} beams: {found}, greedy {greedy}", prompt.sample());
                better += usize::from(found > greedy + 1e-2);
            }
        }
    }
    assert!(better > 0, "somewhere they find better than greedy");
}

/// The highest sum of log-probabilities of two tokens, or of one that ends: all of them are tried.
fn best_of_two(tiny: &Tiny, prompt: &Prompt) -> f64 {
    let model = &tiny.model;
    let vocabulary = model.lm_head().size()[0];
    let (hidden, prefix) = model.prefill(&[prompt]).unwrap();
    let reachable = |hidden: &Tensor| {
        model.logits(hidden).log_softmax(-1, Kind::Float).index_fill(-1, &tiny.media(), f64::NEG_INFINITY)
    };
    let every = Tensor::arange(vocabulary, (Kind::Int64, Device::Cpu));
    let mut cache = GrowingCache::new(&prefix, vocabulary, 1);
    let second = reachable(&model.step(&prefix, &mut cache, &every)).amax([-1i64].as_slice(), false);
    let eos = Tensor::from_slice(tiny.processor.tokenizer().eos());
    (reachable(&hidden).get(0) + second.index_fill(-1, &eos, 0.0)).max().double_value(&[])
}

#[test]
fn as_many_beams_as_tokens_find_the_best_there_is() {
    for tiny in models() {
        let vocabulary = tiny.processor.tokenizer().vocab_size();
        let prompt = tiny.prompt("one", &[(56, 84)], "What colour is it?");
        let found = total(&search(&tiny, &prompt, vocabulary, 0.0, 2));
        let best = best_of_two(&tiny, &prompt);
        assert!((found - best).abs() < 1e-4, "{found}, best {best}");
    }
}

#[test]
fn recorded_logprobs_follow_a_beam_through_every_reordering() {
    for tiny in models() {
        for prompt in tiny.prompts() {
            for length_penalty in [0.0, 1.0, 2.0] {
                let found = search(&tiny, &prompt, 4, length_penalty, 10);
                tiny.assert_recorded(&found);
                assert_eq!(found.sampled().unwrap().drawn, vec![0.0; found.ids().len()], "it is not drawn");
                let media = tiny.processor.tokenizer().media_ids();
                assert!(found.ids().iter().all(|id| !media.contains(id)));
            }
        }
    }
}

#[test]
fn a_search_is_the_same_among_others() {
    let tiny = &models()[1];
    let beam = Search::Beam { beams: 3, length_penalty: 1.0 };
    let requests = tiny.requests(1, &Sampling::greedy(8));
    let requests: Vec<Request> = requests.into_iter().map(|request| Request { search: beam, ..request }).collect();
    for (group, request) in tiny.generate(requests.clone()).iter().zip(&requests) {
        assert_eq!(group.sequences()[0].ids(), search(tiny, &request.prompt, 3, 1.0, 8).ids());
    }
}

#[test]
fn a_beam_drawn_at_random_depends_on_seed_and_key_alone() {
    let tiny = Tiny::ending_at(&[0]);
    let prompt = tiny.prompt("one", &[(56, 84)], "What colour is it?");
    let drawn = |seed, key| {
        let sampling = Sampling { temperature: 2.0, seed, ..Sampling::greedy(6) };
        ask(&tiny, &prompt, Search::Beam { beams: 2, length_penalty: 1.0 }, sampling, key)
    };
    let seeds: Vec<Vec<i64>> = (0..4).map(|seed| drawn(seed, key(0)).ids().to_vec()).collect();
    assert_eq!(seeds[1], drawn(1, key(0)).ids());
    assert!(seeds.iter().any(|ids| *ids != seeds[0]), "{seeds:?}");
    let keys: Vec<Vec<i64>> = (0..4).map(|index| drawn(0, key(index)).ids().to_vec()).collect();
    assert!(keys.iter().any(|ids| *ids != keys[0]), "{keys:?}");
    tiny.assert_recorded(&drawn(2, key(0)));
}

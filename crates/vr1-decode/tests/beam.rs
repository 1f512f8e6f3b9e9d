//! Beam search over a random Qwen2-VL.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "each test takes what it needs of it")]
mod tiny;

use tch::Tensor;
use tiny::Tiny;
use vr1_processor::Prompt;
use vr1_rollout::{Beam, Completion, RolloutEngine, Sampling, beam_search};

fn beam(beams: usize, length_penalty: f64, tokens: usize) -> Beam {
    Beam { beams, length_penalty, sampling: Sampling::greedy(tokens) }
}

fn greedy(tiny: &Tiny, prompt: &Prompt, tokens: usize) -> Completion {
    let groups = tiny.engine().generate(vec![prompt.clone()], 1, &Sampling::greedy(tokens)).unwrap();
    groups.into_iter().next().unwrap().completions.remove(0)
}

fn total(completion: &Completion) -> f64 {
    completion.logprobs.iter().map(|&x| f64::from(x)).sum()
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
                let found = beam_search(&tiny.engine(), &prompt, &beam(1, length_penalty, 10)).unwrap();
                let greedy = greedy(&tiny, &prompt, 10);
                assert_eq!(found.ids, greedy.ids, "{}", prompt.sample());
                assert_eq!((found.finished, &found.text), (greedy.finished, &greedy.text));
                finished += usize::from(found.finished);
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
                let found = total(&beam_search(&tiny.engine(), &prompt, &beam(beams, 0.0, 8)).unwrap());
                assert!(found >= greedy - 1e-4, "{}, {beams} beams: {found}, greedy {greedy}", prompt.sample());
                better += usize::from(found > greedy + 1e-2);
            }
        }
    }
    assert!(better > 0, "somewhere they find better than greedy");
}

/// The highest sum of log-probabilities of two tokens, or of one that ends: all of them are tried.
fn best_of_two(tiny: &Tiny, prompt: &Prompt) -> f64 {
    let (tokenizer, model) = (tiny.processor.tokenizer(), &tiny.model);
    let vocabulary = model.lm_head().size()[0];
    let media = Tensor::from_slice(&tokenizer.media_ids());
    let batch = model.embed(&[prompt]).unwrap();
    let (_, prefix) = model.prefill(&batch);
    let every = Tensor::arange(vocabulary, (tch::Kind::Int64, tch::Device::Cpu)).unsqueeze(1);
    let hidden = model.complete(&batch, &prefix, &every).squeeze_dim(1);
    let second = model.logits(&hidden).log_softmax(-1, tch::Kind::Float).index_fill(-1, &media, f64::NEG_INFINITY);
    let second = second.amax([-1i64].as_slice(), false);
    let first = tiny.uncached(prompt, &[0]).get(0).index_fill(-1, &media, f64::NEG_INFINITY);
    let eos = Tensor::from_slice(tokenizer.eos());
    (first + second.index_fill(-1, &eos, 0.0)).max().double_value(&[])
}

#[test]
fn as_many_beams_as_tokens_find_the_best_there_is() {
    for tiny in models() {
        let vocabulary = tiny.processor.tokenizer().vocab_size();
        let prompt = tiny.prompt("one", &[(56, 84)], "What colour is it?");
        let found = total(&beam_search(&tiny.engine(), &prompt, &beam(vocabulary, 0.0, 2)).unwrap());
        let best = best_of_two(&tiny, &prompt);
        assert!((found - best).abs() < 1e-4, "{found}, best {best}");
    }
}

#[test]
fn recorded_logprobs_follow_a_beam_through_every_reordering() {
    for tiny in models() {
        for prompt in tiny.prompts() {
            for length_penalty in [0.0, 1.0, 2.0] {
                let found = beam_search(&tiny.engine(), &prompt, &beam(4, length_penalty, 10)).unwrap();
                tiny.assert_recorded(&prompt, &found.ids, &found.logprobs);
                let media = tiny.processor.tokenizer().media_ids();
                assert!(found.ids.iter().all(|id| !media.contains(id)));
            }
        }
    }
}

#[test]
fn a_beam_drawn_at_random_depends_on_its_seed_alone() {
    let tiny = Tiny::ending_at(&[0]);
    let prompt = tiny.prompt("one", &[(56, 84)], "What colour is it?");
    let drawn = |seed| {
        let sampling = Sampling { temperature: 2.0, seed, ..Sampling::greedy(6) };
        beam_search(&tiny.engine(), &prompt, &Beam { beams: 2, length_penalty: 1.0, sampling }).unwrap()
    };
    let seeds: Vec<Vec<i64>> = (0..4).map(|seed| drawn(seed).ids).collect();
    assert_eq!(seeds[1], drawn(1).ids);
    assert!(seeds.iter().any(|ids| *ids != seeds[0]), "{seeds:?}");
    tiny.assert_recorded(&prompt, &seeds[2], &drawn(2).logprobs);
}

#[test]
fn a_setting_out_of_range_names_itself() {
    let tiny = Tiny::ending_at(&[0]);
    let prompt = tiny.prompt("text", &[], "Two?");
    for (field, beam) in [
        ("beams", beam(0, 1.0, 4)),
        ("length_penalty", beam(2, f64::NAN, 4)),
        ("max_completion_tokens", beam(2, 1.0, 0)),
    ] {
        let error = beam_search(&tiny.engine(), &prompt, &beam).unwrap_err().to_string();
        assert!(error.starts_with(&format!("sampling: {field} is ")), "{error}");
    }
}

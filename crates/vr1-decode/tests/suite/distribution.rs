//! What tokens are drawn by, against transformers (fixtures/generate.py), and what a penalty does to completions.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tch::{Kind, Tensor};
use vr1_decode::probabilities;
use vr1_processor::Prompt;
use vr1_rollout::{Request, Sampling, Search};

use crate::tiny::{Tiny, key};

fn matrix(rows: &Value) -> Tensor {
    let rows: Vec<Vec<f32>> = serde_json::from_value(rows.clone()).unwrap();
    Tensor::from_slice(&rows.concat()).view([rows.len() as i64, -1])
}

#[test]
fn probabilities_are_those_of_transformers() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/distributions.json");
    let cases: Vec<Value> = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(cases.len(), 15);
    for case in cases {
        let sampling: Sampling = serde_json::from_value(case["settings"].clone()).unwrap();
        let logits = matrix(&case["logits"]);
        let ids = matrix(&case["ids"]).to_kind(Kind::Int64);
        let seen = Tensor::zeros_like(&logits).to_kind(Kind::Bool).scatter_value(1, &ids, 1);
        let found = probabilities(&sampling, &logits, Some(&seen)).unwrap();
        let expected = matrix(&case["probabilities"]);
        let kept = |probabilities: &Tensor| probabilities.gt(0.0).sum(Kind::Int64).int64_value(&[]);
        assert_eq!(kept(&found), kept(&expected), "{}", case["settings"]);
        let off = (found - expected).abs().max().double_value(&[]);
        assert!(off < 1e-6, "{}: off by {off}", case["settings"]);
    }
}

#[test]
fn at_temperature_zero_the_likeliest_token_is_certain() {
    let logits = Tensor::from_slice(&[1.0f32, 3.0, 2.0]).view([1, 3]);
    let seen = Tensor::from_slice(&[false, true, false]).view([1, 3]);
    let greedy = Sampling { repetition_penalty: 2.0, ..Sampling::greedy(1) };
    let certain = |seen| Vec::<f32>::try_from(probabilities(&greedy, &logits, seen).unwrap().view(3)).unwrap();
    assert_eq!(certain(None), [0.0, 1.0, 0.0]);
    assert_eq!(certain(Some(&seen)), [0.0, 0.0, 1.0], "3 / 2 is below 2");
    assert!(probabilities(&Sampling { top_p: 0.0, ..greedy.clone() }, &logits, None).is_err());
}

/// Greedy decoding with a penalty, one pass over everything for each token.
fn uncached(tiny: &Tiny, prompt: &Prompt, penalty: f64, tokens: usize) -> Vec<i64> {
    let mut ids: Vec<i64> = Vec::new();
    for _ in 0..tokens {
        let whole = prompt.extend(&ids, "").unwrap();
        let logits = tiny.uncached(&whole, &[0]).index_fill(1, &tiny.media(), -1e9);
        let mut logits = Vec::<f32>::try_from(logits.view(-1)).unwrap();
        let mut seen = whole.input_ids().to_vec();
        seen.sort_unstable();
        seen.dedup();
        for id in seen {
            let logit = &mut logits[id as usize];
            *logit = if *logit < 0.0 { *logit * penalty as f32 } else { *logit / penalty as f32 };
        }
        ids.push(Tensor::from_slice(&logits).argmax(0, false).int64_value(&[]));
    }
    ids
}

#[test]
fn a_penalty_falls_on_the_prompt_and_on_what_was_sampled() {
    let tiny = Tiny::ending_at(&[0]);
    for penalty in [0.8, 1.0, 1.5, 4.0] {
        let greedy = Sampling { repetition_penalty: penalty, ..Sampling::greedy(8) };
        for group in tiny.generate(tiny.requests(2, &greedy)) {
            let expected = uncached(&tiny, group.prompt(), penalty, 8);
            for sequence in group.sequences() {
                assert_eq!(sequence.ids(), expected, "{}, penalty {penalty}", group.prompt().sample());
                tiny.assert_recorded(sequence);
            }
        }
    }
    let prompt = || tiny.prompts().remove(0);
    assert_ne!(uncached(&tiny, &prompt(), 0.8, 8), uncached(&tiny, &prompt(), 4.0, 8));
}

#[test]
fn beams_are_penalised_each_for_its_own_tokens() {
    let tiny = Tiny::ending_at(&[0]);
    for prompt in tiny.prompts() {
        let search = |penalty| {
            let sampling = Sampling { repetition_penalty: penalty, ..Sampling::greedy(8) };
            let search = Search::Beam { beams: 4, length_penalty: 1.0 };
            let request = Request { search, ..Request::new(prompt.clone(), 1, sampling, key(0)) };
            tiny.generate(vec![request]).remove(0).into_sequences().remove(0)
        };
        let found = search(1e6);
        tiny.assert_recorded(&found);
        let mut ids = found.ids().to_vec();
        assert!(ids.iter().all(|id| !prompt.input_ids().contains(id)), "{ids:?}");
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 8, "nothing is said twice under so high a penalty");
        assert_ne!(search(1.0).ids(), found.ids());
    }
}

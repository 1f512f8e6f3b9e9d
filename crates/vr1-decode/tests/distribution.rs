//! What tokens are drawn by, against transformers (fixtures/generate.py), and what a penalty does to completions.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "each test takes what it needs of it")]
mod tiny;

use std::fs;
use std::path::Path;

use serde_json::Value;
use tch::{Device, Kind, Tensor};
use tiny::Tiny;
use vr1_processor::Prompt;
use vr1_rollout::{Beam, GenerationConfig, RolloutEngine, Sampling, beam_search};

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
        let said: Sampling = serde_json::from_value(case["settings"].clone()).unwrap();
        let top_k = case["settings"]["top_k"].as_i64().unwrap_or(0);
        let logits = matrix(&case["logits"]);
        let ids = matrix(&case["ids"]).to_kind(Kind::Int64);
        let seen = Tensor::zeros_like(&logits).to_kind(Kind::Bool).scatter_value(1, &ids, 1);
        let found = Sampling { top_k, ..said }.probabilities(&logits, Some(&seen)).unwrap();
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
    let certain = |seen| Vec::<f32>::try_from(greedy.probabilities(&logits, seen).unwrap().view(3)).unwrap();
    assert_eq!(certain(None), [0.0, 1.0, 0.0]);
    assert_eq!(certain(Some(&seen)), [0.0, 0.0, 1.0], "3 / 2 is below 2");
    assert!(Sampling { top_p: 0.0, ..greedy }.probabilities(&logits, None).is_err());
}

/// Greedy decoding with a penalty, one pass over everything for each token.
fn uncached(tiny: &Tiny, prompt: &Prompt, penalty: f64, tokens: usize) -> Vec<i64> {
    let media = Tensor::from_slice(&tiny.processor.tokenizer().media_ids());
    let mut ids: Vec<i64> = Vec::new();
    for _ in 0..tokens {
        let whole = prompt.extend(&ids, "").unwrap();
        let (hidden, _) = tiny.model.prefill(&tiny.model.embed(&[&whole]).unwrap());
        let logits =
            Vec::<f32>::try_from(tiny.model.logits(&hidden.select(1, -1)).index_fill(1, &media, -1e9).view(-1));
        let mut logits = logits.unwrap();
        let mut seen = whole.input_ids().to_vec();
        seen.sort_unstable();
        seen.dedup();
        for id in seen {
            let logit = &mut logits[id as usize];
            *logit = if *logit < 0.0 { *logit * penalty as f32 } else { *logit / penalty as f32 };
        }
        let best = Tensor::from_slice(&logits).to_device(Device::Cpu).argmax(0, false).int64_value(&[]);
        ids.push(best);
    }
    ids
}

#[test]
fn a_penalty_falls_on_the_prompt_and_on_what_was_sampled() {
    let tiny = Tiny::ending_at(&[0]);
    for penalty in [0.8, 1.0, 1.5, 4.0] {
        let greedy = Sampling { repetition_penalty: penalty, ..Sampling::greedy(8) };
        for group in tiny.engine().generate(tiny.prompts(), 2, &greedy).unwrap() {
            let expected = uncached(&tiny, &group.prompt, penalty, 8);
            for completion in &group.completions {
                assert_eq!(completion.ids, expected, "{}, penalty {penalty}", group.prompt.sample());
                tiny.assert_recorded(&group.prompt, &completion.ids, &completion.logprobs);
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
            beam_search(&tiny.engine(), &prompt, &Beam { beams: 4, length_penalty: 1.0, sampling }).unwrap()
        };
        let mut ids = search(1e6).ids;
        tiny.assert_recorded(&prompt, &ids, &search(1e6).logprobs);
        assert!(ids.iter().all(|id| !prompt.input_ids().contains(id)), "{ids:?}");
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 8, "nothing is said twice under so high a penalty");
        assert_eq!(
            search(1.0).ids,
            beam_search(
                &tiny.engine(),
                &prompt,
                &Beam { beams: 4, length_penalty: 1.0, sampling: Sampling::greedy(8) }
            )
            .unwrap()
            .ids
        );
    }
}

#[test]
fn a_generation_config_says_what_it_says_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let write = |text: &str| fs::write(dir.path().join("generation_config.json"), text).unwrap();
    assert_eq!(GenerationConfig::from_dir(dir.path()).unwrap(), GenerationConfig::default());
    write(
        r#"{"do_sample": true, "temperature": 0.01, "top_k": 1, "top_p": null, "repetition_penalty": 1.05, "eos_token_id": [1, 2]}"#,
    );
    let sampling = GenerationConfig::from_dir(dir.path()).unwrap().over(Sampling { top_p: 0.5, ..Sampling::default() });
    assert_eq!(sampling, Sampling { top_k: 1, top_p: 0.5, repetition_penalty: 1.05, ..Sampling::default() });
    for (text, named) in [(r#"{"top_p": 2}"#, "top_p is 2"), (r#"{"top_k": "x"}"#, "invalid type"), ("{", "EOF")] {
        write(text);
        let error = GenerationConfig::from_dir(dir.path()).unwrap_err().to_string();
        assert!(error.contains("generation_config.json: ") && error.contains(named), "{error}");
    }
}

//! The model against transformers, on a random checkpoint that it saved: fixtures/generate_model.py.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::RgbImage;
use serde::Deserialize;
use tch::{Device, Kind, Tensor};
use vr1_data::Picture;
use vr1_nn::GrowingCache;
use vr1_vlm::{Layout, Message, Model, Processor, Prompt, PromptRequest};

#[derive(Deserialize)]
struct Case {
    name: String,
    sizes: Vec<[u32; 2]>,
    words: String,
    prompt: usize,
    completion: Vec<i64>,
    input_ids: Vec<i64>,
    logprobs: Vec<f32>,
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn model() -> Model {
    Model::load(&fixtures().join("model"), Device::Cpu, Kind::Float).unwrap()
}

fn cases() -> Vec<(Case, Prompt)> {
    let processor = Processor::from_dir(&fixtures().join("checkpoint")).unwrap();
    let text = std::fs::read_to_string(fixtures().join("model_expected.json")).unwrap();
    let cases: Vec<Case> = serde_json::from_str(&text).unwrap();
    let prompt = |case: Case| {
        let pictures = case.sizes.iter().map(|&[h, w]| Picture::Pixels(Arc::new(slope(h, w))));
        let messages = [Message::user(pictures, &case.words)];
        let request = PromptRequest { sample: &case.name, messages: &messages, layout: Layout::Chat, prefill: "" };
        let prompt = processor.prompt(&request).unwrap();
        (case, prompt)
    };
    cases.into_iter().map(prompt).collect()
}

fn slope(height: u32, width: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        image::Rgb([0, 1, 2].map(|c| ((x * 255 / (width - 1) + y * 255 / (height - 1) + c * 85) / 3) as u8))
    })
}

/// Log-probabilities of `next` under the logits of `hidden`, each `[T]` and `[T, D]`.
fn logprobs(model: &Model, hidden: &Tensor, next: &[i64]) -> Vec<f32> {
    let next = Tensor::from_slice(next).unsqueeze(1);
    let picked = model.logits(hidden).log_softmax(-1, Kind::Float).gather(1, &next, false);
    Vec::try_from(&picked.squeeze_dim(1)).unwrap()
}

fn assert_close(found: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let worst = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst < tolerance, "{what}: {worst}");
}

#[test]
fn logprobs_of_a_whole_sequence_are_those_of_transformers() {
    let model = model();
    for (case, prompt) in cases() {
        assert_eq!(prompt.input_ids(), &case.input_ids[..case.prompt], "{}", case.name);
        let whole = prompt.extend(&case.completion, "").unwrap();
        let (hidden, _) = model.prefill(&model.embed(&[&whole]).unwrap());
        let hidden = hidden.squeeze_dim(0);
        let found = logprobs(&model, &hidden.narrow(0, 0, hidden.size()[0] - 1), &case.input_ids[1..]);
        assert_close(&found, &case.logprobs, 2e-4, &case.name);
    }
}

#[test]
fn padding_and_sharing_a_prompt_change_no_logprob() {
    let model = model();
    let cases = cases();
    let prompts: Vec<&Prompt> = cases.iter().map(|(_, prompt)| prompt).collect();
    let batch = model.embed(&prompts).unwrap();
    let (hidden, prefix) = model.prefill(&batch);
    // Two completions of each prompt: the case's own, and the same turned round.
    let tokens = cases[0].0.completion.len();
    let ids: Vec<i64> = cases
        .iter()
        .flat_map(|(case, _)| case.completion.iter().copied().chain(case.completion.iter().rev().copied()))
        .collect();
    let ids = Tensor::from_slice(&ids).view([-1, tokens as i64]);
    let rest = model.complete(&batch, &prefix, &ids.narrow(1, 0, tokens as i64 - 1));
    for (row, (case, _)) in cases.iter().enumerate() {
        let first = hidden.get(row as i64).narrow(0, -1, 1);
        let states = Tensor::cat(&[first, rest.get(2 * row as i64)], 0);
        let found = logprobs(&model, &states, &case.completion);
        assert_close(&found, &case.logprobs[case.prompt - 1..], 2e-4, &case.name);
    }
}

#[test]
fn decoding_with_a_cache_gives_the_same_logprobs() {
    let model = model();
    let cases = cases();
    let prompts: Vec<&Prompt> = cases.iter().map(|(_, prompt)| prompt).collect();
    let batch = model.embed(&prompts).unwrap();
    let (hidden, prefix) = model.prefill(&batch);
    let mut cache = GrowingCache::new(&prefix, 2, 8);
    let mut last = hidden.select(1, -1).repeat_interleave_self_int(2, 0, None);
    for position in 0..cases[0].0.completion.len() {
        // Both completions of a group are the same here.
        let next: Vec<i64> = cases.iter().flat_map(|(case, _)| [case.completion[position]; 2]).collect();
        let found = logprobs(&model, &last, &next);
        let expected: Vec<f32> =
            cases.iter().flat_map(|(case, _)| [case.logprobs[case.prompt - 1 + position]; 2]).collect();
        assert_close(&found, &expected, 2e-4, &format!("token {position}"));
        last = model.step(&batch, &prefix, &mut cache, &Tensor::from_slice(&next));
    }
}

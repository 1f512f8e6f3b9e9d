//! The model after text, images and videos against transformers, on a random checkpoint that it saved:
//! fixtures/generate_model.py.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use image::RgbImage;
use serde::Deserialize;
use serde_json::Value;
use tch::{Device, Kind, Tensor};
use vr1_data::{Picture, Video};
use vr1_nn::GrowingCache;
use vr1_processor::{Layout, Message, Part, Processor, Prompt, PromptRequest};
use vr1_vlm::Model;

#[derive(Deserialize)]
struct Case {
    name: String,
    words: String,
    /// Kind, height, width, and of a video how many frames.
    media: Vec<Vec<Value>>,
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

fn slope(height: u32, width: u32, time: u32) -> Picture {
    let side = |length: u32| (length - 1).max(1);
    let level = |x: u32, y: u32, c: u32| (x * 255 / side(width) + y * 255 / side(height) + c * 85) / 3 + 20 * time;
    RgbImage::from_fn(width, height, |x, y| image::Rgb([0, 1, 2].map(|c| level(x, y, c) as u8))).into()
}

fn cases() -> Vec<(Case, Prompt)> {
    let processor = Processor::from_dir(&fixtures().join("../../../vr1-processor/tests/fixtures/checkpoint")).unwrap();
    let text = std::fs::read_to_string(fixtures().join("model_expected.json")).unwrap();
    let cases: Vec<Case> = serde_json::from_str(&text).unwrap();
    assert_eq!(cases.len(), 6);
    let prompt = |case: Case| {
        let media = case.media.iter().map(|media| {
            let sizes: Vec<u32> = media[1..].iter().map(|size| size.as_u64().unwrap() as u32).collect();
            match sizes[..] {
                [height, width, count] => {
                    let frames = (0..count).map(|time| slope(height, width, time)).collect();
                    Part::from(Video::Frames { frames, fps: None })
                }
                _ => Part::from(slope(sizes[0], sizes[1], 0)),
            }
        });
        let messages = [Message::user(media, &case.words)];
        let request = PromptRequest { sample: &case.name, messages: &messages, layout: Layout::Chat, prefill: "" };
        let prompt = processor.prompt(&request).unwrap();
        assert_eq!(prompt.input_ids(), &case.input_ids[..case.prompt], "{}", case.name);
        (case, prompt)
    };
    cases.into_iter().map(prompt).collect()
}

/// Log-probabilities of `next` under the logits of `hidden`, each `[T]` and `[T, D]`.
fn logprobs(model: &Model, hidden: &Tensor, next: &[i64]) -> Vec<f32> {
    let next = Tensor::from_slice(next).unsqueeze(1);
    let picked = model.logits(hidden).log_softmax(-1, Kind::Float).gather(1, &next, false);
    Vec::try_from(&picked.squeeze_dim(1)).unwrap()
}

fn assert_close(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let worst = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst < 3e-4, "{what}: {worst}");
}

#[test]
fn logprobs_of_a_whole_sequence_are_those_of_transformers() {
    let model = model();
    for (case, prompt) in cases() {
        let whole = prompt.extend(&case.completion, "").unwrap();
        let (hidden, _) = model.prefill(&model.embed(&[&whole]).unwrap());
        let hidden = hidden.squeeze_dim(0);
        let found = logprobs(&model, &hidden.narrow(0, 0, hidden.size()[0] - 1), &case.input_ids[1..]);
        assert_close(&found, &case.logprobs, &case.name);
    }
}

/// The log-probabilities of each case's completion, all in one batch that pads prompts to the longest, where each prompt
/// is shared by two completions: the case's own, and before it the same turned round.
fn together(model: &Model, cases: &[&(Case, Prompt)]) -> Vec<Vec<f32>> {
    let prompts: Vec<&Prompt> = cases.iter().map(|(_, prompt)| prompt).collect();
    let batch = model.embed(&prompts).unwrap();
    let (hidden, prefix) = model.prefill(&batch);
    let tokens = cases[0].0.completion.len() as i64;
    let both = |(case, _): &&(Case, Prompt)| [case.completion.iter().rev().copied().collect(), case.completion.clone()];
    let ids: Vec<i64> = cases.iter().flat_map(both).flatten().collect();
    let ids = Tensor::from_slice(&ids).view([-1, tokens]);
    let rest = model.complete(&batch, &prefix, &ids.narrow(1, 0, tokens - 1));
    let judge = |(row, (case, _)): (usize, &&(Case, Prompt))| {
        let first = hidden.get(row as i64).narrow(0, -1, 1);
        logprobs(model, &Tensor::cat(&[first, rest.get(2 * row as i64 + 1)], 0), &case.completion)
    };
    cases.iter().enumerate().map(judge).collect()
}

#[test]
fn a_batch_of_all_kinds_and_lengths_with_shared_prompts_is_each_of_them_alone() {
    let model = model();
    let cases = cases();
    let all: Vec<&(Case, Prompt)> = cases.iter().collect();
    let turned: Vec<&(Case, Prompt)> = cases.iter().rev().collect();
    // With everything, the other way round, without any media, and without any text-only prompt.
    for batch in [&all[..], &turned, &all[..1], &all[1..], &[all[3], all[0], all[3]]] {
        for ((case, _), found) in batch.iter().zip(together(&model, batch)) {
            assert_close(&found, &case.logprobs[case.prompt - 1..], &case.name);
        }
    }
    let lengths: Vec<usize> = cases.iter().map(|(_, prompt)| prompt.len()).collect();
    assert!(lengths.iter().max() > lengths.iter().min(), "{lengths:?}");
}

/// The gradient of every parameter under `loss`, by name; it is taken away from them.
fn gradients(trained: &[(String, Tensor)], loss: &Tensor) -> Vec<Tensor> {
    loss.backward();
    let take = |(_, parameter): &(String, Tensor)| {
        let gradient = parameter.grad().copy();
        parameter.shallow_clone().zero_grad();
        gradient
    };
    trained.iter().map(take).collect()
}

#[test]
fn a_shared_prompt_gets_the_gradients_of_all_its_completions() {
    let model = model();
    let trained = model.parameters().train(|_| true);
    let cases = cases();
    let (_, prompt) = &cases[2];
    let completions = [[17, 60, 3, 99], [45, 99, 3, 60]];
    let picked = |hidden: &Tensor, ids: &[i64]| {
        let logprobs = model.logits(hidden).log_softmax(-1, Kind::Float);
        logprobs.gather(1, &Tensor::from_slice(ids).unsqueeze(1), false).sum(Kind::Float)
    };

    let batch = model.embed(&[prompt]).unwrap();
    let (hidden, prefix) = model.prefill(&batch);
    let rest = model.complete(&batch, &prefix, &Tensor::from_slice2(&completions).narrow(1, 0, 3));
    let first = hidden.get(0).narrow(0, -1, 1);
    let shared = |row: usize| picked(&Tensor::cat(&[&first, &rest.get(row as i64)], 0), &completions[row]);
    let shared = gradients(&trained, &(shared(0) + shared(1)));

    let alone = |ids: &[i64; 4]| {
        let (hidden, _) = model.prefill(&model.embed(&[&prompt.extend(&ids[..3], "").unwrap()]).unwrap());
        picked(&hidden.get(0).narrow(0, -4, 4), ids)
    };
    let alone = gradients(&trained, &(alone(&completions[0]) + alone(&completions[1])));

    for ((name, _), (found, expected)) in trained.iter().zip(shared.iter().zip(&alone)) {
        let scale = expected.abs().max().double_value(&[]);
        let error = (found - expected).abs().max().double_value(&[]);
        assert!(scale > 0.0 && error < 1e-3 * scale, "{name}: {error} of {scale}");
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
        assert_close(&found, &expected, &format!("token {position}"));
        last = model.step(&batch, &prefix, &mut cache, &Tensor::from_slice(&next));
    }
}

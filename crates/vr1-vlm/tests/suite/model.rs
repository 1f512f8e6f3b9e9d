//! The model after text, images and videos against transformers, on a random checkpoint that it saved:
//! fixtures/generate_model.py.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::RgbImage;
use serde::Deserialize;
use serde_json::Value;
use tch::{Device, Kind, Tensor};
use vr1_data::{Picture, Video};
use vr1_nn::GrowingCache;
use vr1_processor::{Layout, Message, Part, Processor, Prompt, PromptRequest};
use vr1_rollout::Group;
use vr1_vlm::{Backbone, Model};

use crate::checkpoints::{group, logprobs, of_prompt, scored, worst};

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

fn cases() -> Vec<(Case, Arc<Prompt>)> {
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
        (case, Arc::new(prompt))
    };
    cases.into_iter().map(prompt).collect()
}

fn assert_close(found: &[f32], expected: &[f32], what: &str) {
    let error = worst(found, expected);
    assert!(error < 3e-4, "{what}: {error}");
}

#[test]
fn logprobs_of_a_whole_sequence_are_those_of_transformers() {
    let model = model();
    for (case, prompt) in cases() {
        let whole = prompt.extend(&case.completion, "").unwrap();
        assert_eq!(whole.input_ids(), case.input_ids);
        assert_close(&of_prompt(&model, &whole), &case.logprobs, &case.name);
    }
}

/// The log-probabilities of each case's completion, all in one batch in which each prompt is shared by two completions:
/// the case's own, and before it the same turned round.
fn together(model: &Model, cases: &[&(Case, Arc<Prompt>)]) -> Vec<Vec<f32>> {
    let both = |(case, prompt): &&(Case, Arc<Prompt>)| {
        let turned: Vec<i64> = case.completion.iter().rev().copied().collect();
        group(prompt, &[&turned, &case.completion])
    };
    let groups: Vec<Group> = cases.iter().map(both).collect();
    scored(model, &groups).into_iter().skip(1).step_by(2).collect()
}

#[test]
fn a_batch_of_all_kinds_and_lengths_with_shared_prompts_is_each_of_them_alone() {
    let model = model();
    let cases = cases();
    let all: Vec<&(Case, Arc<Prompt>)> = cases.iter().collect();
    let turned: Vec<&(Case, Arc<Prompt>)> = cases.iter().rev().collect();
    // With everything, the other way round, without any media, and without any text-only prompt.
    for batch in [&all[..], &turned, &all[..1], &all[1..], &[all[3], all[0], all[3]]] {
        for ((case, _), found) in batch.iter().zip(together(&model, batch)) {
            assert_close(&found, &case.logprobs[case.prompt - 1..], &case.name);
        }
    }
    let lengths: Vec<usize> = cases.iter().map(|(_, prompt)| prompt.len()).collect();
    assert!(lengths.iter().max() > lengths.iter().min(), "{lengths:?}");
}

#[test]
fn decoding_with_a_cache_gives_the_same_logprobs() {
    let model = model();
    let cases = cases();
    let prompts: Vec<&Prompt> = cases.iter().map(|(_, prompt)| prompt.as_ref()).collect();
    let (hidden, prefix) = model.prefill(&prompts).unwrap();
    let mut cache = GrowingCache::new(&prefix, 2, 8);
    let mut last = hidden.repeat_interleave_self_int(2, 0, None);
    for position in 0..cases[0].0.completion.len() {
        // Both completions of a group are the same here.
        let next: Vec<i64> = cases.iter().flat_map(|(case, _)| [case.completion[position]; 2]).collect();
        let found = logprobs(&model, &last, &next);
        let expected: Vec<f32> =
            cases.iter().flat_map(|(case, _)| [case.logprobs[case.prompt - 1 + position]; 2]).collect();
        assert_close(&found, &expected, &format!("token {position}"));
        last = model.step(&prefix, &mut cache, &Tensor::from_slice(&next));
    }
}

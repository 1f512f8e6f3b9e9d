//! The random checkpoints of fixtures/families, their prompts, and what transformers makes of them.
#![allow(dead_code, reason = "not every test needs all of it")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::RgbImage;
use serde::Deserialize;
use tch::{Device, Kind, Tensor};
use vr1_data::Picture;
use vr1_processor::ImageProcessor;
use vr1_processor::{ChatTemplate, Layout, Message, Processor, Prompt, PromptRequest, Tokenizer};
use vr1_vlm::Model;

const MAX_PIXELS: u64 = 28 * 28 * 40;

#[derive(Deserialize)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) sizes: Vec<[u32; 2]>,
    pub(crate) words: String,
    pub(crate) prompt: usize,
    pub(crate) completion: Vec<i64>,
    pub(crate) input_ids: Vec<i64>,
    pub(crate) logprobs: Vec<f32>,
    /// The most that transformers' own bf16 log-probabilities differ from its f32 ones.
    pub(crate) bf16_error: f32,
    pub(crate) greedy: Vec<i64>,
}

pub(crate) struct Checkpoint {
    pub(crate) name: String,
    pub(crate) dir: PathBuf,
    pub(crate) cases: Vec<(Case, Prompt)>,
}

impl Checkpoint {
    pub(crate) fn model(&self, kind: Kind) -> Model {
        Model::load(&self.dir, Device::Cpu, kind).unwrap()
    }

    pub(crate) fn prompts(&self) -> Vec<&Prompt> {
        self.cases.iter().map(|(_, prompt)| prompt).collect()
    }
}

pub(crate) fn processor() -> Processor {
    processor_with(|images| ImageProcessor { max_pixels: MAX_PIXELS, ..images })
}

/// With other settings for images than the directory's.
pub(crate) fn processor_with(settings: impl FnOnce(ImageProcessor) -> ImageProcessor) -> Processor {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vr1-processor/tests/fixtures/checkpoint");
    let images = settings(ImageProcessor::from_dir(&dir).unwrap());
    let template = ChatTemplate::from_dir(&dir).unwrap();
    Processor::new(Tokenizer::from_dir(&dir).unwrap(), template, Some(images), &dir).unwrap()
}

pub(crate) fn checkpoints() -> Vec<Checkpoint> {
    let processor = processor();
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/families");
    let mut dirs: Vec<PathBuf> = std::fs::read_dir(all).unwrap().map(|entry| entry.unwrap().path()).collect();
    dirs.retain(|dir| dir.join("config.json").is_file());
    dirs.sort();
    assert_eq!(dirs.len(), 11);
    let checkpoint = |dir: PathBuf| {
        let text = std::fs::read_to_string(dir.join("expected.json")).unwrap();
        let cases: Vec<Case> = serde_json::from_str(&text).unwrap();
        let cases = cases.into_iter().map(|case| {
            let prompt = prompt(&case, &processor);
            (case, prompt)
        });
        let name = dir.file_name().unwrap().to_str().unwrap().to_owned();
        Checkpoint { cases: cases.collect(), name, dir }
    };
    dirs.into_iter().map(checkpoint).collect()
}

pub(crate) fn prompt(case: &Case, processor: &Processor) -> Prompt {
    let pictures = case.sizes.iter().map(|&[h, w]| Picture::Pixels(Arc::new(slope(h, w))));
    let messages = [Message::user(pictures, &case.words)];
    let request = PromptRequest { sample: &case.name, messages: &messages, layout: Layout::Chat, prefill: "" };
    let prompt = processor.prompt(&request).unwrap();
    assert_eq!(prompt.input_ids(), &case.input_ids[..case.prompt], "{}", case.name);
    prompt
}

pub(crate) fn slope(height: u32, width: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        image::Rgb([0, 1, 2].map(|c| ((x * 255 / (width - 1) + y * 255 / (height - 1) + c * 85) / 3) as u8))
    })
}

/// Log-probabilities of `next` under the logits of `hidden`, `[T]` and `[T, D]`.
pub(crate) fn logprobs(model: &Model, hidden: &Tensor, next: &[i64]) -> Vec<f32> {
    let next = Tensor::from_slice(next).unsqueeze(1);
    let logits = model.logits(hidden).to_kind(Kind::Float);
    Vec::try_from(&logits.log_softmax(-1, Kind::Float).gather(1, &next, false).squeeze_dim(1)).unwrap()
}

/// Of every token of prompt and completion but the first.
pub(crate) fn whole(model: &Model, case: &Case, prompt: &Prompt) -> Vec<f32> {
    let whole = prompt.extend(&case.completion, "").unwrap();
    let (hidden, _) = model.prefill(&model.embed(&[&whole]).unwrap());
    let hidden = hidden.squeeze_dim(0);
    logprobs(model, &hidden.narrow(0, 0, hidden.size()[0] - 1), &case.input_ids[1..])
}

pub(crate) fn worst(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

//! The random checkpoints of fixtures/families, their prompts, and what transformers makes of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::RgbImage;
use serde::Deserialize;
use tch::{Device, Kind, Tensor};
use vr1_data::Picture;
use vr1_processor::{ChatTemplate, ImageProcessor, Layout, Message, Processor, Prompt, PromptRequest, Tokenizer};
use vr1_rollout::{Group, SampleKey, Sequence};
use vr1_vlm::{Backbone, Batch, Model, Piece};

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
    pub(crate) greedy: Vec<i64>,
    /// Of each parameter by today's name: the gradient's length, and its product with cosines.
    pub(crate) gradients: BTreeMap<String, [f64; 2]>,
}

pub(crate) struct Checkpoint {
    pub(crate) name: String,
    pub(crate) dir: PathBuf,
    pub(crate) processor: Processor,
    pub(crate) cases: Vec<(Case, Prompt)>,
}

impl Checkpoint {
    pub(crate) fn model(&self, kind: Kind) -> Model {
        Model::load(&self.dir, Device::Cpu, kind).unwrap()
    }

    /// Whether the family takes pictures.
    pub(crate) fn sees(&self) -> bool {
        self.processor.images().is_some() || self.cases.iter().any(|(_, prompt)| !prompt.media().is_empty())
    }

    pub(crate) fn prompts(&self) -> Vec<&Prompt> {
        self.cases.iter().map(|(_, prompt)| prompt).collect()
    }
}

/// Qwen2-VL's, with room for larger pictures.
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
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/families");
    let mut dirs: Vec<PathBuf> = std::fs::read_dir(all).unwrap().map(|entry| entry.unwrap().path()).collect();
    dirs.retain(|dir| dir.join("config.json").is_file());
    dirs.sort();
    let checkpoint = |dir: PathBuf| {
        let text = std::fs::read_to_string(dir.join("expected.json")).unwrap();
        let cases: Vec<Case> = serde_json::from_str(&text).unwrap();
        let processor = Processor::from_dir(&dir).unwrap();
        let with_prompt = |case: Case| {
            let prompt = prompt(&case, &processor);
            (case, prompt)
        };
        let cases = cases.into_iter().map(with_prompt).collect();
        let name = dir.file_name().unwrap().to_str().unwrap().to_owned();
        Checkpoint { cases, processor, name, dir }
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

/// A group of `prompt` and these ids after it, every one of them trained on.
pub(crate) fn group(prompt: &Arc<Prompt>, completions: &[&[i64]]) -> Group {
    let sequence = |ids: &&[i64]| {
        let tail = prompt.tail(ids, "").unwrap();
        Sequence::new(prompt.clone(), tail, vec![true; ids.len()], String::new()).unwrap()
    };
    Group::new(SampleKey::default(), completions.iter().map(sequence).collect()).unwrap()
}

/// Hidden states of the trained tokens of a batch, whose media are encoded for it.
pub(crate) fn hidden(model: &dyn Backbone, batch: &Batch) -> Tensor {
    let media: Vec<_> = batch.media.iter().map(|media| media.patches.clone()).collect();
    let features = model.encode(&media, vr1_nn::Recompute::None).unwrap();
    model.score(batch, &features.iter().collect::<Vec<_>>()).unwrap()
}

/// Log-probabilities of the trained tokens of a batch, `[M]`.
pub(crate) fn picked(model: &dyn Backbone, batch: &Batch) -> Tensor {
    token_logprobs(model, &hidden(model, batch), &batch.targets)
}

/// Log-probabilities of the trained tokens of each sequence, all groups in one batch.
pub(crate) fn scored(model: &dyn Backbone, groups: &[Group]) -> Vec<Vec<f32>> {
    let batch = Batch::new(&groups.iter().map(Piece::whole).collect::<Vec<_>>()).unwrap();
    let all = Vec::<f32>::try_from(picked(model, &batch)).unwrap();
    let mut rest = all.as_slice();
    let own = |&length: &usize| rest.split_off(..length).unwrap().to_vec();
    let found: Vec<Vec<f32>> = batch.lengths.iter().map(own).collect();
    assert!(rest.is_empty());
    found
}

/// Hidden states of all tokens of a prompt, `[L, D]`, in one pass over it and nothing else.
pub(crate) fn states(model: &dyn Backbone, prompt: &Prompt) -> Tensor {
    let group = group(&Arc::new(prompt.clone()), &[&[]]);
    let mut batch = Batch::new(&[Piece::whole(&group)]).unwrap();
    batch.places = (0..prompt.len() as i64).collect();
    hidden(model, &batch)
}

fn token_logprobs(model: &dyn Backbone, hidden: &Tensor, next: &[i64]) -> Tensor {
    let logits = model.logits(hidden).to_kind(Kind::Float);
    // Of an id that is read and never said, the last that is said stands in its place.
    let next = Tensor::from_slice(next).clamp_max(logits.size()[1] - 1);
    logits.log_softmax(-1, Kind::Float).gather(1, &next.unsqueeze(1), false).squeeze_dim(1)
}

/// Log-probabilities of `next` under the logits of `hidden`, `[T]` and `[T, D]`.
pub(crate) fn logprobs(model: &dyn Backbone, hidden: &Tensor, next: &[i64]) -> Vec<f32> {
    Vec::try_from(token_logprobs(model, hidden, next)).unwrap()
}

/// Of every token of a prompt but the first.
pub(crate) fn of_prompt(model: &dyn Backbone, prompt: &Prompt) -> Vec<f32> {
    let states = states(model, prompt);
    logprobs(model, &states.narrow(0, 0, states.size()[0] - 1), &prompt.input_ids()[1..])
}

/// Of every token of prompt and completion but the first.
pub(crate) fn whole(model: &dyn Backbone, case: &Case, prompt: &Prompt) -> Vec<f32> {
    let whole = prompt.extend(&case.completion, "").unwrap();
    assert_eq!(whole.input_ids(), case.input_ids);
    of_prompt(model, &whole)
}

pub(crate) fn worst(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

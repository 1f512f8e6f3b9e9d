//! Random models that transformers wrote for vr1-vlm's tests, groups of sequences for them, and learners of both.
#![allow(dead_code, unused_imports, reason = "not every test needs all of it")]

mod bits;
mod counting;
mod groups;
mod losses;
mod ranks;

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use image::RgbImage;
use tch::{Device, Kind};
use vr1_data::Picture;
use vr1_learn::{Learner, LearnerConfig, OptimizerConfig, Schedule, Step};
use vr1_processor::{ChatTemplate, ImageProcessor, Layout, Message, Processor, Prompt, PromptRequest, Tokenizer};
use vr1_vlm::{Backbone, Model};

pub(crate) use bits::{Named, bits, changed, difference, gradients, largest, parameters, state};
pub(crate) use counting::{Tally, counted};
pub(crate) use groups::{answers, document, group, key, mixed, sampled, signals};
pub(crate) use losses::{Failing, Linear, Spied, Spy};
pub(crate) use ranks::{ranks, saved};

/// A folder of the repository.
pub(crate) fn folder(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

pub(crate) const FAMILIES: &str = "crates/vr1-vlm/tests/fixtures/families";

/// A model of fixtures/families.
pub(crate) fn model(name: &str, kind: Kind) -> Model {
    Model::load(&folder(FAMILIES).join(name), Device::Cpu, kind).unwrap()
}

/// The families that see pictures, a checkpoint each.
pub(crate) const SEEING: [&str; 2] = ["qwen2_vl_1", "qwen2_5_vl_1"];

/// The processor of all these models.
pub(crate) fn processor() -> &'static Processor {
    static PROCESSOR: OnceLock<Processor> = OnceLock::new();
    PROCESSOR.get_or_init(read)
}

fn read() -> Processor {
    let dir = folder("crates/vr1-processor/tests/fixtures/checkpoint");
    let images = ImageProcessor { max_pixels: 28 * 28 * 40, ..ImageProcessor::from_dir(&dir).unwrap() };
    let template = ChatTemplate::from_dir(&dir).unwrap();
    Processor::new(Tokenizer::from_dir(&dir).unwrap(), template, Some(images), &dir).unwrap()
}

/// A question after pictures.
pub(crate) fn prompt(sample: &str, pictures: &[Picture], words: &str) -> Arc<Prompt> {
    let messages = [Message::user(pictures.iter().cloned(), words)];
    let request = PromptRequest { sample, messages: &messages, layout: Layout::Chat, prefill: "" };
    processor().prompt(&request).unwrap().into()
}

/// A picture of this height and width; another `shade` is another picture.
pub(crate) fn picture(height: u32, width: u32, shade: u32) -> Picture {
    let level = |x: u32, y: u32, c: u32| (x * 255 / (width - 1) + y * 255 / (height - 1) + c * 85) / 3 + 40 * shade;
    RgbImage::from_fn(width, height, |x, y| image::Rgb([0, 1, 2].map(|c| level(x, y, c) as u8))).into()
}

/// An optimizer that always takes steps of this size.
pub(crate) fn steady(learning_rate: f64) -> OptimizerConfig {
    OptimizerConfig { learning_rate, schedule: Schedule::Constant, ..OptimizerConfig::default() }
}

/// A learner of `model`; every id can be sampled.
pub(crate) fn learner(model: Model, config: LearnerConfig) -> Learner {
    Learner::new(Rc::new(model), config, &[]).unwrap()
}

/// A learner that trains everything of `model`.
pub(crate) fn plain(model: Model, learning_rate: f64) -> Learner {
    learner(model, LearnerConfig { optimizer: steady(learning_rate), ..LearnerConfig::default() })
}

/// The first step of a hundred.
pub(crate) const FIRST: Step = Step { done: 0, of: 100 };

pub(crate) fn step(done: u64) -> Step {
    Step { done, ..FIRST }
}

/// The model of a learner, for what reads one.
pub(crate) fn of(learner: &Learner) -> &dyn Backbone {
    learner.model().as_ref()
}

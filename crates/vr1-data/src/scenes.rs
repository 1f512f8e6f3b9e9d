mod attributes;
mod caption;
mod chance;
mod chart;
mod close_up;
mod counting;
mod detection;
mod draw;
mod figure;
mod film;
mod geometry;
mod motion;
mod object;
mod posed;
mod referring;
mod scene;
mod sheet;
mod spatial;
mod staged;
mod sums;

use serde::{Deserialize, Serialize};

use crate::dataset::check_index;
use crate::{Dataset, Error, Result, Sample};
use scene::{Canvas, Style};

/// What a synthetic scene is asked about, each after a dataset that a reproduced system trains on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Where one object is compared to another, as multiple choice (SAT, VisualThinker-R1-Zero).
    Spatial,
    /// How many objects there are (CLEVR and SuperCLEVR, R1-V).
    Counting,
    /// The box of the object that a sentence describes (RefCOCO, VLM-R1).
    Referring,
    /// A question answered in four turns: summary, caption, reasoning, conclusion (LLaVA-CoT, LlamaV-o1).
    Staged,
    /// Colour, shape or presence of an object in a simple image (easy-VQA).
    Attributes,
    /// Every object of the image, in reading order.
    Caption,
    /// The whole names of few objects, at their size in a scene of 112 pixels however small the image is: from 48 x 48.
    CloseUp,
    /// Which way a thing moves, or which of two comes first: a video of 16 frames (Open-R1-Video).
    Motion,
    /// A length or an area of a figure on squared paper (GeoQA).
    Geometry,
    /// The boxes of everything that goes by one of several names (open-vocabulary detection, VLM-R1).
    Detection,
    /// A bar chart to be read.
    Chart,
    /// The sum or difference of two small numbers, without a picture.
    Sums,
}

/// Which scenes: the streams of random numbers of two splits never meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// All shapes, all colours: what a base model is made from, so that it has seen every word.
    Pretrain,
    /// The in-domain shapes, colours, counts and phrasings.
    Train,
    /// Held out, drawn as [`Train`](Self::Train) is.
    InDomain,
    /// Held out: other shapes and colours, other counts, more clutter, other phrasings.
    OutOfDomain,
}

/// Synthetic scenes with exact ground truth, made when asked for.
///
/// Sample `i` is a pure function of `(task, split, seed, size, i)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenes {
    /// What is asked.
    pub task: Task,
    /// Which scenes.
    pub split: Split,
    /// Another seed gives other scenes.
    pub seed: u64,
    /// Width and height of the images and frames in pixels.
    #[serde(default = "default_size")]
    pub size: u32,
    /// The number of samples.
    pub len: usize,
}

fn default_size() -> u32 {
    112
}

/// The sizes that [`Scenes`] can draw: below, small shapes are no longer what they are called.
const SIZES: std::ops::RangeInclusive<u32> = 48..=2048;

impl Task {
    /// The task's name, as in a recipe.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Spatial => "spatial",
            Self::Counting => "counting",
            Self::Referring => "referring",
            Self::Staged => "staged",
            Self::Attributes => "attributes",
            Self::Caption => "caption",
            Self::CloseUp => "close_up",
            Self::Motion => "motion",
            Self::Geometry => "geometry",
            Self::Detection => "detection",
            Self::Chart => "chart",
            Self::Sums => "sums",
        }
    }
}

impl Split {
    /// The split's name, as in a recipe.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pretrain => "pretrain",
            Self::Train => "train",
            Self::InDomain => "in_domain",
            Self::OutOfDomain => "out_of_domain",
        }
    }
}

impl Scenes {
    /// `len` scenes of 112 x 112 pixels.
    #[must_use]
    pub fn new(task: Task, split: Split, seed: u64, len: usize) -> Self {
        Self { task, split, seed, size: default_size(), len }
    }
}

impl Dataset for Scenes {
    fn name(&self) -> &str {
        self.task.name()
    }

    fn len(&self) -> usize {
        self.len
    }

    fn get(&self, index: usize) -> Result<Sample> {
        check_index(self, index)?;
        if !SIZES.contains(&self.size) {
            let (low, high) = SIZES.into_inner();
            let reason = format!("{} pixels, should be from {low} to {high}", self.size);
            return Err(Error::setting("scenes: size", reason));
        }
        let mut rng = chance::stream(self, index);
        let canvas = Canvas { size: self.size, split: self.split, style: Style::Rich };
        let posed = match self.task {
            Task::Spatial => spatial::pose(&mut rng, canvas),
            Task::Counting => counting::pose(&mut rng, canvas),
            Task::Referring => referring::pose(&mut rng, canvas),
            Task::Staged => staged::pose(&mut rng, canvas),
            Task::Attributes => attributes::pose(&mut rng, canvas),
            Task::Caption => caption::pose(&mut rng, canvas),
            Task::CloseUp => close_up::pose(&mut rng, canvas),
            Task::Motion => motion::pose(&mut rng, canvas),
            Task::Geometry => geometry::pose(&mut rng, canvas),
            Task::Detection => detection::pose(&mut rng, canvas),
            Task::Chart => chart::pose(&mut rng, canvas),
            Task::Sums => sums::pose(&mut rng, self.split),
        };
        Ok(Sample {
            id: format!("{}-{}-{}-{index}", self.task.name(), self.split.name(), self.seed),
            question: posed.question.clone(),
            solution: posed.solution.clone(),
            fields: posed.fields(),
            turns: posed.turns,
            media: posed.shown.media(&mut rng),
            ..Sample::default()
        })
    }
}

use serde::{Deserialize, Serialize};

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
    /// Width and height of the images in pixels.
    #[serde(default = "default_size")]
    pub size: u32,
    /// The number of samples.
    pub len: usize,
}

fn default_size() -> u32 {
    112
}

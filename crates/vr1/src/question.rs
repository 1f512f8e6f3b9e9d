use std::path::PathBuf;
use std::rc::Rc;

use anyhow::{Result, ensure};
use clap::Args;
use tch::Device;
use vr1_data::{Picture, Video};
use vr1_nn::Adapter;
use vr1_processor::{FrameSampling, Layout, Message, Part, Processor, Prompt, PromptRequest};
use vr1_vlm::{Backbone, Model, ModelConfig};

use crate::check_weights;

/// A model and what it is asked.
#[derive(Args)]
pub(crate) struct Question {
    /// A model directory or a Hub id.
    #[arg(long, value_name = "DIR|HUB_ID")]
    model: String,
    /// A LoRA adapter in PEFT's layout.
    #[arg(long, value_name = "DIR")]
    adapter: Option<PathBuf>,
    /// Refuse weights that are not finite; else they are told.
    #[arg(long)]
    check_weights: bool,
    /// The user's words.
    #[arg(long, value_name = "TEXT")]
    prompt: String,
    /// An image shown before the words; may be given several times.
    #[arg(long = "image", value_name = "FILE")]
    images: Vec<PathBuf>,
    /// A video shown after the images and before the words, a folder of frames or a file that `ffmpeg` decodes; may be
    /// given several times.
    #[arg(long = "video", value_name = "FOLDER|FILE")]
    videos: Vec<PathBuf>,
    /// Take this many frames of a video a second, and not what the checkpoint's settings say.
    #[arg(long, value_name = "F", conflicts_with = "num_frames")]
    fps: Option<f64>,
    /// Take this many frames of a video in all.
    #[arg(long, value_name = "N")]
    num_frames: Option<usize>,
    /// How many frames a second a folder of frames was recorded at.
    #[arg(long, value_name = "F")]
    frame_rate: Option<f64>,
    /// Take the words as they are, without the chat template.
    #[arg(long)]
    raw: bool,
    /// `cpu`, `cuda` or `cuda:N`.
    #[arg(long, default_value = "cpu")]
    device: String,
    /// The kind of number that parameters are: `f32`, `bf16` or `f16`.
    #[arg(long, default_value = "f32")]
    dtype: String,
}

/// A question made ready: the model, its processor and the prompt.
pub(crate) struct Asked {
    pub(crate) dir: PathBuf,
    pub(crate) model: Rc<dyn Backbone>,
    pub(crate) processor: Processor,
    pub(crate) prompt: Prompt,
}

impl Question {
    /// Reads everything that is named; the cheap parts first, so that a fault shows before weights are read. `room` is
    /// how many tokens have to fit behind the prompt.
    pub(crate) fn ask(&self, room: impl FnOnce(&Processor) -> Result<usize>) -> Result<Asked> {
        let device: Device = vr1_torch::device(&self.device)?;
        let kind = vr1::kind(&self.dtype)?;
        let dir = vr1_vlm::resolve(&self.model)?;
        let mut processor = Processor::from_dir(&dir)?;
        if let Some(sampling) = self.frame_sampling()? {
            processor = processor.with_frame_sampling(sampling);
        }
        let messages = [Message::user(self.media()?, self.prompt.as_str())];
        let layout = if self.raw { Layout::Raw } else { Layout::Chat };
        let prompt =
            processor.prompt(&PromptRequest { sample: "--prompt", messages: &messages, layout, prefill: "" })?;
        ensure!(!prompt.is_empty(), "--prompt: there is not one token in it");
        let positions = ModelConfig::from_dir(&dir)?.text.max_position_embeddings as usize;
        prompt.check_fits(positions.saturating_sub(room(&processor)?))?;
        let mut model = Model::load(&dir, device, kind)?;
        model.fits(&processor)?;
        if let Some(adapter) = &self.adapter {
            model = model.with_adapter(Adapter::open(adapter)?)?;
        }
        check_weights(&model, self.check_weights)?;
        Ok(Asked { dir, model: Rc::new(model), processor, prompt })
    }

    fn media(&self) -> Result<Vec<Part>> {
        ensure!(
            self.frame_rate.is_none_or(positive),
            "--frame-rate is {:?}, and must be above 0",
            self.frame_rate.unwrap_or_default()
        );
        let mut media: Vec<Part> = self.images.iter().cloned().map(Picture::File).map(Part::from).collect();
        for path in &self.videos {
            let mut video = Video::open(path)?;
            if let Video::Frames { fps, .. } = &mut video {
                *fps = self.frame_rate;
            }
            media.push(video.into());
        }
        Ok(media)
    }

    fn frame_sampling(&self) -> Result<Option<FrameSampling>> {
        ensure!(self.fps.is_none_or(positive), "--fps is {:?}, and must be above 0", self.fps.unwrap_or_default());
        Ok(self.fps.map(FrameSampling::PerSecond).or(self.num_frames.map(FrameSampling::Count)))
    }
}

fn positive(number: f64) -> bool {
    number > 0.0 && number.is_finite()
}

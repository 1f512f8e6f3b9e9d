use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Args;
use tch::Device;
use vr1_data::Picture;
use vr1_nn::Adapter;
use vr1_vlm::{Layout, Message, Model, Processor, Prompt, PromptRequest};

/// A model and what it is asked.
#[derive(Args)]
pub(crate) struct Question {
    /// A model directory or a Hub id.
    #[arg(long, value_name = "DIR|HUB_ID")]
    model: String,
    /// A LoRA adapter in PEFT's layout.
    #[arg(long, value_name = "DIR")]
    adapter: Option<PathBuf>,
    /// Refuse weights that are not finite.
    #[arg(long)]
    check_weights: bool,
    /// The user's words.
    #[arg(long, value_name = "TEXT")]
    prompt: String,
    /// An image shown before the words; may be given several times.
    #[arg(long = "image", value_name = "FILE")]
    images: Vec<PathBuf>,
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
    pub(crate) model: Model,
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
        let processor = Processor::from_dir(&dir)?;
        let messages = [Message::user(self.images.iter().cloned().map(Picture::File), self.prompt.as_str())];
        let layout = if self.raw { Layout::Raw } else { Layout::Chat };
        let prompt =
            processor.prompt(&PromptRequest { sample: "--prompt", messages: &messages, layout, prefill: "" })?;
        ensure!(!prompt.is_empty(), "--prompt: there is not one token in it");
        let room = room(&processor)?;
        let mut model = Model::load(&dir, device, kind)?;
        model.check(&processor)?;
        if let Some(adapter) = &self.adapter {
            model = model.with_adapter(Adapter::open(adapter)?)?;
        }
        if self.check_weights {
            model.parameters().check_finite()?;
        }
        let positions = model.config().text.max_position_embeddings as usize;
        prompt.check_fits(positions.saturating_sub(room))?;
        Ok(Asked { model, processor, prompt })
    }
}

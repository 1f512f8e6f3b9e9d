//! `P` prompts, `L` the longest prompt, `G` completions of each, `T` completion tokens, `D` hidden, `V` vocabulary.

use std::path::Path;

use tch::{Device, Kind, Tensor};
use vr1_llm::Decoder;
use vr1_nn::{Adapter, Checkpoint, Context, GrowingCache, Loader, Names, Parameters, Prefix};
use vr1_vision::VisionTower;

use vr1_processor::Prompt;

use crate::{ModelConfig, Result};

/// A language model, the vision tower that shows it images where it has one, and their parameters by name.
#[derive(Debug)]
pub struct Model {
    config: ModelConfig,
    visual: Option<Box<dyn VisionTower>>,
    language: Decoder,
    parameters: Parameters,
    device: Device,
    kind: Kind,
}

/// Prompts made into one batch, padded on the left: images encoded once and put among the embedded words.
#[derive(Debug)]
pub struct Embedded {
    /// `[P, L, D]`.
    pub embeds: Tensor,
    /// `[3, P, L]`.
    pub position_ids: Tensor,
    /// How many tokens each prompt has.
    pub lengths: Vec<i64>,
    /// The position of each prompt's next token.
    pub next_positions: Vec<i64>,
}

impl Model {
    /// Loads the checkpoint directory `dir` onto `device`, as `kind`.
    ///
    /// # Errors
    /// If the config is unknown or impossible, or the weights do not fit it; every misfit is named.
    pub fn load(dir: &Path, device: Device, kind: Kind) -> Result<Self> {
        let config = ModelConfig::from_dir(dir)?;
        Self::build(config, Loader::from_checkpoint(Checkpoint::open(dir)?, device, kind), kind)
    }

    /// A model of random weights, the same for the same seed.
    ///
    /// # Errors
    /// If the config is impossible.
    pub fn random(config: ModelConfig, seed: u64, device: Device, kind: Kind) -> Result<Self> {
        Self::build(config, Loader::random(seed, device, kind), kind)
    }

    /// A model of the same weights that training does not move: a reference. Only those are shared that an adapter keeps
    /// from being trained.
    ///
    /// # Errors
    /// If libtorch has no room for it.
    pub fn copy(&self) -> Result<Self> {
        let loader = Loader::from_parameters(&self.parameters, self.device, self.kind)?;
        Self::build(self.config.clone(), loader, self.kind)
    }

    /// This model with a LoRA adapter; only the adapter is trained from here on, and [`Model::save`] merges it.
    ///
    /// # Errors
    /// If the model has one already, or the adapter does not fit it; every misfit is named.
    pub fn with_adapter(self, adapter: Adapter) -> Result<Self> {
        let loader = Loader::adapting(self.parameters, adapter, self.device, self.kind)?;
        Self::build(self.config, loader, self.kind)
    }

    fn build(config: ModelConfig, loader: Loader, kind: Kind) -> Result<Self> {
        let device = loader.device();
        let visual = config.vision.as_ref().map(|vision| vision.build(&loader.root().sub("visual")));
        let language = Decoder::new(&loader.root(), &config.text, device)?;
        let parameters = loader.finish()?;
        Ok(Self { config, visual, language, parameters, device, kind })
    }

    /// The config.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The parameters; they are the model's own.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The device the parameters are on.
    pub fn device(&self) -> Device {
        self.device
    }

    /// The kind of number the parameters are.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The language model's output matrix, `[V, D]`.
    pub fn lm_head(&self) -> &Tensor {
        self.language.lm_head()
    }

    /// Writes `config.json` and `model.safetensors` into `dir`, the weights as `kind`, an adapter merged into them.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn save(&self, dir: &Path, kind: Kind) -> Result<()> {
        self.config.save(dir, kind)?;
        Ok(self.parameters.save(&dir.join("model.safetensors"), kind)?)
    }

    /// Writes the adapter in PEFT's layout into `dir`; `base` is the directory or Hub id of the model that it adapts.
    ///
    /// # Errors
    /// If the model has no adapter, or a file cannot be written.
    pub fn save_adapter(&self, dir: &Path, base: Option<&str>) -> Result<()> {
        let names = if self.visual.is_some() { Names::Nested } else { Names::Language };
        Ok(self.parameters.save_adapter(dir, names, base)?)
    }

    /// Encodes the images of `prompts`, all in one batch, and puts their features in their places among the words.
    ///
    /// # Errors
    /// If a prompt is of another model's processor: an id beyond the vocabulary, or images that the vision tower cannot
    /// take.
    pub fn embed(&self, prompts: &[&Prompt]) -> Result<Embedded> {
        for prompt in prompts {
            self.check_prompt(prompt)?;
        }
        let lengths: Vec<i64> = prompts.iter().map(|p| p.input_ids().len() as i64).collect();
        let (count, width) = (prompts.len(), lengths.iter().copied().max().unwrap_or(0) as usize);
        let (mut ids, mut media) = (vec![0i64; count * width], Vec::new());
        let mut positions = vec![0i64; 3 * count * width];
        for (row, prompt) in prompts.iter().enumerate() {
            let start = row * width + width - prompt.input_ids().len();
            for (i, &id) in prompt.input_ids().iter().enumerate() {
                ids[start + i] = id;
                for (axis, list) in prompt.position_ids().iter().enumerate() {
                    positions[axis * count * width + start + i] = list[i];
                }
            }
            media.extend(prompt.media().iter().flat_map(|span| span.range.clone()).map(|i| (start + i) as i64));
        }
        let shape = [count as i64, width as i64];
        let mut embeds = self.language.embed(&Tensor::from_slice(&ids).view(shape).to_device(self.device));
        if let (Some(visual), false) = (&self.visual, media.is_empty()) {
            let features = self.encode_media(visual.as_ref(), prompts);
            let places = Tensor::from_slice(&media).to_device(self.device);
            let flat = embeds.view([-1, embeds.size()[2]]);
            embeds = flat.index_copy(0, &places, &features).view_as(&embeds);
        }
        Ok(Embedded {
            embeds,
            position_ids: Tensor::from_slice(&positions).view([3, shape[0], shape[1]]).to_device(self.device),
            lengths,
            next_positions: prompts.iter().map(|p| p.next_position()).collect(),
        })
    }

    fn encode_media(&self, visual: &dyn VisionTower, prompts: &[&Prompt]) -> Tensor {
        let (mut pixels, mut grids) = (Vec::new(), Vec::new());
        for patches in prompts.iter().flat_map(|p| p.patches()) {
            let values = patches.pixel_values.as_standard_layout();
            let rows = values.nrows() as i64;
            // A freshly laid out array is one slice.
            pixels.push(Tensor::from_slice(values.as_slice().unwrap_or_default()).view([rows, -1]));
            grids.push(patches.grid_thw.map(|n| n as i64));
        }
        let pixel_values = Tensor::cat(&pixels, 0).to_device(self.device).to_kind(self.kind);
        visual.forward(&pixel_values, &grids)
    }

    /// Runs the language model over prompts: hidden states `[P, L, D]`, and the keys and values that completions share.
    ///
    /// With padding on the left, the last column is every prompt's last token.
    pub fn prefill(&self, batch: &Embedded) -> (Tensor, Prefix) {
        let width = batch.embeds.size()[1];
        let mut context = Context::prompts(&batch.lengths, width, (self.kind, self.device));
        let hidden = self.language.forward(&batch.embeds, &batch.position_ids, &mut context);
        let prefix = context.into_prefix().unwrap_or_else(|| unreachable!("a context of prompts keeps their prefix"));
        (hidden, prefix)
    }

    /// Runs the language model over completions `[P·G, T]` of prefilled prompts: hidden states `[P·G, T, D]`.
    pub fn complete(&self, batch: &Embedded, prefix: &Prefix, input_ids: &Tensor) -> Tensor {
        let (rows, tokens) = (input_ids.size()[0], input_ids.size()[1]);
        let position_ids = self.completion_positions(batch, rows, 0, tokens);
        let mut context = Context::completions(prefix, rows / batch.lengths.len() as i64, tokens);
        self.language.forward(&self.language.embed(input_ids), &position_ids, &mut context)
    }

    /// Runs the language model over one more token of each completion, `[P·G]`: hidden states `[P·G, D]`.
    pub fn step(&self, batch: &Embedded, prefix: &Prefix, cache: &mut GrowingCache, ids: &Tensor) -> Tensor {
        let position_ids = self.completion_positions(batch, ids.size()[0], cache.length(), 1);
        let embeds = self.language.embed(&ids.unsqueeze(1));
        self.language.forward(&embeds, &position_ids, &mut Context::sampling(prefix, cache)).squeeze_dim(1)
    }

    fn completion_positions(&self, batch: &Embedded, rows: i64, start: i64, tokens: i64) -> Tensor {
        let group = rows / batch.next_positions.len() as i64;
        let first =
            Tensor::from_slice(&batch.next_positions).to_device(self.device).repeat_interleave_self_int(group, 0, None);
        let places = Tensor::arange_start(start, start + tokens, (Kind::Int64, self.device));
        (first.unsqueeze(1) + places).unsqueeze(0).expand([3, rows, tokens], false)
    }

    /// Hidden states `[…, D]` to logits `[…, V]`.
    pub fn logits(&self, hidden: &Tensor) -> Tensor {
        self.language.logits(hidden)
    }
}

//! `P` prompts, `L` the longest prompt, `N` tokens that lie ragged, `D` hidden.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use tch::{Device, Kind, Tensor};
use vr1_llm::Decoder;
use vr1_nn::{Adapter, Checkpoint, Context, Derived, GrowingCache, Loader, Names, Parameters, Prefix, Recompute};
use vr1_processor::{Patches, Prompt};
use vr1_vision::VisionTower;

use crate::{Backbone, Batch, Error, Features, ModelConfig, Result};

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

/// Prompts made into one batch.
struct Embedded {
    /// `[P, L, D]`.
    embeds: Tensor,
    /// `[3, P, L]`.
    position_ids: Tensor,
    /// How many tokens each prompt has.
    lengths: Vec<i64>,
}

impl Model {
    /// Loads the checkpoint directory `dir` onto `device`, as `kind`.
    ///
    /// # Errors
    /// If the config is unknown or impossible, or the weights do not fit it; every misfit is named, or how the weights are
    /// quantised where the config says that they are; if there is no room for them.
    pub fn load(dir: &Path, device: Device, kind: Kind) -> Result<Self> {
        let config = ModelConfig::from_dir(dir)?;
        let quantization = config.quantization();
        let loader = Loader::from_checkpoint(Checkpoint::open(dir)?, device, kind);
        let built = vr1_torch::guarded(|| Self::build(config, loader, kind)).map_err(Error::from).flatten();
        built.map_err(|error| match (error, quantization) {
            (Error::Weights(vr1_nn::Error::Weights { .. }), Some((key, method))) => {
                Error::Quantized { path: dir.join("config.json"), key, method }
            }
            (error, _) => error,
        })
    }

    /// A model of random weights, the same for the same seed.
    ///
    /// # Errors
    /// If the config is impossible.
    pub fn random(config: ModelConfig, seed: u64, device: Device, kind: Kind) -> Result<Self> {
        Self::build(config, Loader::random(seed, device, kind), kind)
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

    /// Prompts as one batch, padded on the left: pictures encoded and put among the embedded words.
    fn embed(&self, prompts: &[&Prompt]) -> Result<Embedded> {
        if prompts.is_empty() {
            return Err(Error::Empty { what: "prompts" });
        }
        for prompt in prompts {
            self.check_prompt(prompt)?;
        }
        let lengths: Vec<i64> = prompts.iter().map(|p| p.len() as i64).collect();
        let (count, width) = (prompts.len(), lengths.iter().copied().max().unwrap_or(0) as usize);
        let mut ids = vec![0i64; count * width];
        let mut positions = vec![0i64; 3 * count * width];
        let (mut media, mut starts) = (Vec::new(), Vec::new());
        for (row, prompt) in prompts.iter().enumerate() {
            let start = row * width + width - prompt.len();
            ids[start..start + prompt.len()].copy_from_slice(prompt.input_ids());
            for (axis, list) in prompt.position_ids().iter().enumerate() {
                positions[axis * count * width + start..][..list.len()].copy_from_slice(list);
            }
            media.extend(prompt.patches().iter().cloned());
            starts.extend(prompt.media().iter().map(|span| start + span.range.start));
        }
        let features = self.encode(&media, Recompute::None)?;
        let embeds = self.among(&ids, &starts, &features.iter().collect::<Vec<_>>());
        let (count, width) = (count as i64, width as i64);
        Ok(Embedded {
            embeds: embeds.view([count, width, -1]),
            position_ids: self.tensor(&positions).view([3, count, width]),
            lengths,
        })
    }

    /// Embedded words with the media's features in their places: `[1, N, D]`.
    fn among(&self, ids: &[i64], starts: &[usize], features: &[&Features]) -> Tensor {
        let words = self.language.embed(&self.tensor(ids).unsqueeze(0));
        if features.is_empty() {
            return words;
        }
        let spans = starts.iter().zip(features).map(|(&start, shown)| (start as i64, shown.tokens.size()[0]));
        let places: Vec<i64> = spans.flat_map(|(start, count)| start..start + count).collect();
        let tokens: Vec<&Tensor> = features.iter().map(|shown| &shown.tokens).collect();
        words.index_copy(1, &self.tensor(&places), &Tensor::cat(&tokens, 0).unsqueeze(0))
    }

    fn tensor(&self, numbers: &[i64]) -> Tensor {
        Tensor::from_slice(numbers).to_device(self.device)
    }
}

impl Backbone for Model {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn train(&self, freeze: &[String]) -> Result<Vec<(String, Tensor)>> {
        self.trained(freeze)
    }

    fn lm_head(&self) -> &Tensor {
        self.language.lm_head()
    }

    fn device(&self) -> Device {
        self.device
    }

    fn kind(&self) -> Kind {
        self.kind
    }

    fn max_tokens(&self) -> usize {
        usize::try_from(self.config.text.max_position_embeddings).unwrap_or(0)
    }

    fn check(&self, prompt: &Prompt) -> Result<()> {
        self.check_prompt(prompt)
    }

    fn encode(&self, media: &[Arc<Patches>], recompute: Recompute) -> Result<Vec<Features>> {
        let Some(visual) = self.visual.as_ref().filter(|_| !media.is_empty()) else {
            return match media.len() {
                0 => Ok(Vec::new()),
                count => Err(Error::Misfit {
                    processor: format!("{count} picture(s) or video(s)"),
                    model: "no vision tower".to_owned(),
                }),
            };
        };
        let merge = self.config.vision.as_ref().map_or(1, |vision| vision.cut().merge);
        let (mut pixels, mut grids, mut counts) = (Vec::new(), Vec::new(), Vec::new());
        for patches in media {
            let values = patches.pixel_values.as_standard_layout();
            let rows = values.nrows() as i64;
            // A freshly laid out array is one slice.
            pixels.push(Tensor::from_slice(values.as_slice().unwrap_or_default()).view([rows, -1]));
            grids.push(patches.grid_thw.map(|n| n as i64));
            counts.push(rows / (merge * merge));
        }
        let pixel_values = Tensor::cat(&pixels, 0).to_device(self.device).to_kind(self.kind);
        let features = visual.forward(&pixel_values, &grids, recompute).split_with_sizes(&counts, 0);
        Ok(features.into_iter().map(|tokens| Features { tokens, side: Vec::new() }).collect())
    }

    fn score(&self, batch: &Batch, features: &[&Features]) -> Result<Tensor> {
        if features.len() != batch.media.len() {
            return Err(Error::Misfit {
                processor: format!("{} picture(s) or video(s) in the batch", batch.media.len()),
                model: format!("features of {}", features.len()),
            });
        }
        let starts: Vec<usize> = batch.media.iter().map(|media| media.start).collect();
        let embeds = self.among(&batch.input_ids, &starts, features);
        let rows: Vec<Tensor> = batch.position_ids.iter().map(|row| self.tensor(row).unsqueeze(0)).collect();
        let mut context = Context::groups(&batch.groups, batch.recompute);
        let hidden = self.language.forward(&embeds, &Tensor::stack(&rows, 0), &mut context);
        Ok(hidden.squeeze_dim(0).index_select(0, &self.tensor(&batch.places)))
    }

    fn prefill(&self, prompts: &[&Prompt]) -> Result<(Tensor, Prefix)> {
        let batch = self.embed(prompts)?;
        let width = batch.embeds.size()[1];
        let mut context = Context::prompts(&batch.lengths, width, (self.kind, self.device));
        let hidden = self.language.forward(&batch.embeds, &batch.position_ids, &mut context);
        let prefix = context.into_prefix(prompts.iter().map(|prompt| prompt.next_position()).collect());
        // With padding on the left, the last column is every prompt's last token.
        Ok((hidden.select(1, -1), prefix.unwrap_or_else(|| unreachable!("a context of prompts keeps their prefix"))))
    }

    fn step(&self, prefix: &Prefix, cache: &mut GrowingCache, ids: &Tensor) -> Tensor {
        let position_ids = cache.next_positions().unsqueeze(0).unsqueeze(-1).expand([3, ids.size()[0], 1], false);
        let embeds = self.language.embed(&ids.unsqueeze(1));
        self.language.forward(&embeds, &position_ids, &mut Context::sampling(prefix, cache)).squeeze_dim(1)
    }

    fn derive(&self, derived: Derived) -> Result<Rc<dyn Backbone>> {
        let loader = Loader::deriving(&self.parameters, derived, self.device, self.kind)?;
        Ok(Rc::new(Self::build(self.config.clone(), loader, self.kind)?))
    }

    fn save(&self, dir: &Path, kind: Kind) -> Result<()> {
        self.config.save(dir, kind)?;
        Ok(self.parameters.save(&dir.join("model.safetensors"), kind)?)
    }

    fn save_adapter(&self, dir: &Path, base: Option<&str>) -> Result<()> {
        let names = if self.visual.is_some() { Names::Nested } else { Names::Language };
        Ok(self.parameters.save_adapter(dir, names, base)?)
    }
}

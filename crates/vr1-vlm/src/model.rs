//! `P` prompts, `L` the longest prompt, `N` tokens that lie ragged, `D` hidden.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use tch::{Device, Kind, Tensor};
use vr1_llm::{Decoder, Deep};
use vr1_nn::{Adapter, Checkpoint, Context, Derived, GrowingCache, Loader, Parameters, Prefix, Recompute};
use vr1_processor::{Patches, Prompt};
use vr1_vision::VisionTower;

use super::sights::{Stretch, sights};
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

/// How many tokens of prompts a model runs over at a time.
const PREFILL_TOKENS: usize = 4096;

impl Model {
    /// Loads the checkpoint directory `dir` onto `device`, as `kind`.
    ///
    /// # Errors
    /// If the config is unknown or impossible, or the weights do not fit it; every misfit is named, or how the weights are
    /// quantised where the config says that they are; if there is no room for them.
    pub fn load(dir: &Path, device: Device, kind: Kind) -> Result<Self> {
        Self::load_by(dir, device, kind, |loader| loader)
    }

    /// The same, of which `rank` of so many `ranks` keeps its [share](vr1_nn::LayerShares) of the layers, as soon as each is loaded, and
    /// all that is outside of them. It cannot run before its layers are brought together.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_share(dir: &Path, device: Device, kind: Kind, (rank, ranks): (usize, usize)) -> Result<Self> {
        Self::load_by(dir, device, kind, |loader| loader.of_rank(rank, ranks))
    }

    fn load_by(dir: &Path, device: Device, kind: Kind, how: impl FnOnce(Loader) -> Loader) -> Result<Self> {
        let config = ModelConfig::from_dir(dir)?;
        let quantization = config.quantization();
        let loader = how(Loader::from_checkpoint(Checkpoint::open(dir, config.names())?, device, kind));
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
        let names = config.names();
        Self::build(config, Loader::random(seed, names, device, kind), kind)
    }

    /// Names and shapes of the parameters that a model has; they take no room, however many numbers they are.
    ///
    /// # Errors
    /// If the config is impossible.
    pub fn shapes(config: ModelConfig) -> Result<Parameters> {
        Ok(Self::shaped(config)?.parameters)
    }

    /// A model of such parameters, of which nothing can be asked but how it is made.
    ///
    /// # Errors
    /// If the config is impossible.
    pub fn shaped(config: ModelConfig) -> Result<Self> {
        let names = config.names();
        Self::build(config, Loader::shapes(names), Kind::Float)
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
        let visual = config.vision.as_ref().map(|vision| vision.build(&loader.root()));
        let language = Decoder::new(&loader.root(), &config.text, device)?;
        let parameters = loader.finish()?;
        Ok(Self { config, visual, language, parameters, device, kind })
    }

    /// The config.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Runs over prompts as [`prefill`](Backbone::prefill) does, `chunk` tokens at a time: a layer's hidden states are held for these alone, and
    /// what comes out is the same but for rounding. A chunk attends to the keys before it and causally to itself.
    ///
    /// # Errors
    /// As [`prefill`](Backbone::prefill).
    pub fn prefill_in_chunks(&self, prompts: &[&Prompt], chunk: usize) -> Result<(Tensor, Prefix)> {
        if prompts.is_empty() {
            return Err(Error::Empty { what: "prompts" });
        }
        let (mut ids, mut positions, mut media, mut starts) =
            (Vec::new(), [const { Vec::new() }; 3], Vec::new(), Vec::new());
        let mut ends = Vec::with_capacity(prompts.len());
        for prompt in prompts {
            self.check_prompt(prompt)?;
            media.extend(prompt.patches().iter().cloned());
            starts.extend(prompt.media().iter().map(|span| ids.len() + span.range.start));
            ids.extend_from_slice(prompt.input_ids());
            positions.iter_mut().zip(prompt.position_ids()).for_each(|(axis, own)| axis.extend_from_slice(own));
            ends.push(ids.len() as i64 - 1);
        }
        let features = self.encode(&media, Recompute::None)?;
        let features: Vec<&Features> = features.iter().collect();
        let (embeds, deep) = (self.among(&ids, &starts, &features), deep(&starts, &features));
        let mut rest = features.iter().copied();
        let stretch = |prompt: &&Prompt| Stretch {
            tokens: prompt.len(),
            media: prompt.media().iter().map(|span| span.range.clone()).zip(rest.by_ref()).collect(),
        };
        let across = sights(&prompts.iter().map(stretch).collect::<Vec<_>>())?;
        let rows = positions.map(|axis| self.tensor(&axis).unsqueeze(0));
        let position_ids = Tensor::stack(&rows, 0); // [3, 1, N]
        let lengths = prompts.iter().map(|prompt| prompt.len() as i64).collect();
        let mut prefix = Prefix::empty(lengths, prompts.iter().map(|prompt| prompt.next_position()).collect());
        let (tokens, chunk) = (ids.len() as i64, chunk.max(1) as i64);
        let mut last = Vec::new();
        for start in (0..tokens).step_by(chunk as usize) {
            let range = start..tokens.min(start + chunk);
            let part = |x: &Tensor, dim| x.narrow(dim, range.start, range.end - range.start);
            let mut context = Context::prompts(&mut prefix, range.clone()).beside(across.as_ref());
            let (embeds, deep) = (part(&embeds, 1), deep.within(&range));
            let hidden = self.language.forward(&embeds, &part(&position_ids, 2), &deep, &mut context);
            let here: Vec<i64> = ends.iter().filter(|end| range.contains(*end)).map(|end| end - start).collect();
            last.push(hidden.squeeze_dim(0).index_select(0, &self.tensor(&here)));
        }
        Ok((Tensor::cat(&last, 0), prefix))
    }

    /// Embedded words with the media's features in their places: `[1, N, D]`.
    fn among(&self, ids: &[i64], starts: &[usize], features: &[&Features]) -> Tensor {
        let words = self.language.embed(&self.tensor(ids).unsqueeze(0));
        let (places, tokens) = placed(starts, features, |shown| shown.tokens.as_ref());
        match tokens {
            Some(tokens) => words.index_copy(1, &self.tensor(&places), &tokens.unsqueeze(0)),
            None => words,
        }
    }

    fn tensor(&self, numbers: &[i64]) -> Tensor {
        Tensor::from_slice(numbers).to_device(self.device)
    }
}

/// The groups of a batch, each with its media and their features.
fn stretches<'a>(batch: &Batch, features: &[&'a Features]) -> Vec<Stretch<'a>> {
    let mut end = 0;
    let group = |(prompt, tails): (i64, &[i64])| {
        let (start, tokens) = (end, (prompt + tails.iter().sum::<i64>()) as usize);
        end += tokens;
        let own = batch.media.iter().zip(features).filter(|(media, _)| (start..end).contains(&media.start));
        let at = |start: usize, tokens| start..start + tokens;
        let media = own.map(|(media, features)| (at(media.start - start, media.tokens), *features)).collect();
        Stretch { tokens, media }
    };
    batch.groups.iter().map(group).collect()
}

/// Where the features of media lie, which begin at `starts`, and one kind of them, `[m, D]`, of those that have it.
fn placed<'a>(
    starts: &[usize],
    features: &[&'a Features],
    of: impl Fn(&'a Features) -> Option<&'a Tensor>,
) -> (Vec<i64>, Option<Tensor>) {
    let shown = starts.iter().zip(features).filter_map(|(&start, shown)| Some((start as i64, of(shown)?)));
    let (places, tensors): (Vec<_>, Vec<_>) = shown.map(|(at, x)| (at..at + x.size()[0], x)).unzip();
    (places.into_iter().flatten().collect(), (!tensors.is_empty()).then(|| Tensor::cat(&tensors, 0)))
}

/// What is added to the media's tokens behind the first layers.
fn deep(starts: &[usize], features: &[&Features]) -> Deep {
    let depth = features.iter().map(|shown| shown.deep.len()).max().unwrap_or(0);
    let layers = (0..depth).map(|layer| placed(starts, features, |shown| shown.deep.get(layer)));
    let (mut places, added): (Vec<_>, Vec<_>) = layers.unzip();
    Deep { places: places.pop().unwrap_or_default(), added: added.into_iter().flatten().collect() }
}

impl Backbone for Model {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn train(&self, freeze: &[String]) -> Result<Vec<(String, Tensor)>> {
        self.trained(freeze)
    }

    fn part(&self, name: &str) -> Option<&'static str> {
        self.part_of(name)
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

    fn key_value_bytes(&self) -> usize {
        let text = &self.config.text;
        let numbers = 2 * text.text_layers() * text.heads.key_value * text.heads.dim;
        usize::try_from(numbers).unwrap_or(0) * self.kind.elt_size_in_bytes()
    }

    fn prompt_bytes(&self, prompt: &Prompt) -> usize {
        let text = &self.config.text;
        let looked = prompt.patches().iter().filter_map(|patches| self.config.vision.as_ref()?.looked_at(patches));
        let numbers = 2 * text.cross_attention_layers.len() as i64 * text.heads.key_value * text.heads.dim;
        let beside = looked.sum::<usize>() * usize::try_from(numbers).unwrap_or(0) * self.kind.elt_size_in_bytes();
        self.key_value_bytes().saturating_mul(prompt.len()).saturating_add(beside)
    }

    fn experts_of_a_token(&self) -> i64 {
        self.config.text.mixture.as_ref().map_or(0, |mixed| mixed.of.chosen)
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
        Ok(visual.forward(media, recompute))
    }

    fn score(&self, batch: &Batch, features: &[&Features]) -> Result<Tensor> {
        if features.len() != batch.media.len() {
            return Err(Error::Misfit {
                processor: format!("{} picture(s) or video(s) in the batch", batch.media.len()),
                model: format!("features of {}", features.len()),
            });
        }
        let apart = if self.config.text.cross_attention_layers.is_empty() { None } else { batch.apart()? };
        let (batch, features) = match &apart {
            Some((batch, order)) => (batch, &order.iter().map(|&i| features[i]).collect::<Vec<_>>()[..]),
            None => (batch, features),
        };
        let starts: Vec<usize> = batch.media.iter().map(|media| media.start).collect();
        let (embeds, deep) = (self.among(&batch.input_ids, &starts, features), deep(&starts, features));
        let across = sights(&stretches(batch, features))?;
        let rows: Vec<Tensor> = batch.position_ids.iter().map(|row| self.tensor(row).unsqueeze(0)).collect();
        let mut context = Context::groups(&batch.groups, batch.recompute).beside(across.as_ref());
        context = context.taking_down(batch.routing.as_ref());
        let hidden = self.language.forward(&embeds, &Tensor::stack(&rows, 0), &deep, &mut context);
        Ok(hidden.squeeze_dim(0).index_select(0, &self.tensor(&batch.places)))
    }

    fn prefill(&self, prompts: &[&Prompt]) -> Result<(Tensor, Prefix)> {
        self.prefill_in_chunks(prompts, PREFILL_TOKENS)
    }

    fn step(&self, prefix: &Prefix, cache: &mut GrowingCache, ids: &Tensor) -> Tensor {
        let position_ids = cache.next_positions().unsqueeze(0).unsqueeze(-1).expand([3, ids.size()[0], 1], false);
        let embeds = self.language.embed(&ids.unsqueeze(1));
        let mut context = Context::sampling(prefix, cache);
        self.language.forward(&embeds, &position_ids, &Deep::default(), &mut context).squeeze_dim(1)
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
        Ok(self.parameters.save_adapter(dir, base)?)
    }
}

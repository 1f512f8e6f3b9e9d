//! What a model is made of, by its `config.json` and the names and shapes of its parameters; no weight is read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use vr1_learn::{Moments, owners};
use vr1_nn::Adapter;
use vr1_vlm::{Backbone, Model, ModelConfig};

use crate::{LoraRecipe, Result};

/// Sizes of a model, in numbers (of weights, or of what is held a token).
#[derive(Debug, Clone, PartialEq)]
pub struct ModelShape {
    /// Parameters, without an adapter.
    pub parameters: u64,
    /// Parameters that are trained.
    pub trained: u64,
    /// Of these, those of the language model's layers.
    pub trained_layers: u64,
    /// Of these, those of the tower and of what brings its features to the language model.
    pub trained_beside: u64,
    /// Of these, those in parameters of fewer than 4,096 numbers, whose moments are never narrow.
    pub trained_small: u64,
    /// The numbers of each parameter that is trained.
    pub sizes: Vec<usize>,
    /// What adapters add.
    pub adapter: u64,
    /// The numbers of the matrices that have one, which are held again, merged, for sampling.
    pub adapted: u64,
    /// What adapters keep of a token in a layer.
    pub adapts: Adapts,
    /// Width of the residual stream, D.
    pub hidden: u64,
    /// Width inside the MLP of a layer, F; of experts those that a token goes through.
    pub inner: u64,
    /// Queries of all heads, Q.
    pub query: u64,
    /// Keys and values of all heads, K.
    pub key_value: u64,
    /// Heads of queries.
    pub heads: u64,
    /// Layers that attend to the text.
    pub layers: u64,
    /// Rows of the output matrix, V.
    pub vocabulary: u64,
    /// The longest sequence.
    pub positions: u64,
    /// Whether the output matrix is the embedding.
    pub tied: bool,
    /// Whether the embedding is trained.
    pub embedding_trained: bool,
    /// Whether the output matrix is trained.
    pub head_trained: bool,
    /// Whether the norms of layers are.
    pub norms_trained: bool,
    /// Whether anything of the language model's layers is trained, so that their layers keep what they made.
    pub language_trained: bool,
    /// The vision tower.
    pub tower: Option<TowerShape>,
    /// The layers that `sharding: zero3` brings one by one: blocks of the tower, layers of the language model.
    pub each_layer: Vec<LayerShape>,
    /// The numbers of each parameter that is trained outside of these.
    pub outside: Vec<usize>,
}

/// A layer's parameters, without its adapters'.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LayerShape {
    /// The numbers of each parameter that is trained.
    pub trained: Vec<usize>,
    /// The numbers of each that is not.
    pub frozen: Vec<usize>,
}

/// The adapters of a decoder's layer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Adapts {
    /// Whether one of queries, keys and values has one.
    pub attention_in: bool,
    /// Whether what leads into the MLP has one.
    pub mlp_in: bool,
    /// Whether what leads out of it has one.
    pub mlp_out: bool,
    /// Ranks of all of them together.
    pub ranks: u64,
    /// Numbers that go into them, each for itself.
    pub inputs: u64,
}

/// Sizes of a vision tower.
#[derive(Debug, Clone, PartialEq)]
pub struct TowerShape {
    /// Width of a patch, E.
    pub width: u64,
    /// Width inside an MLP.
    pub inner: u64,
    /// Matrices that lead there: 2 where one gates the other.
    pub gates: u64,
    /// Blocks.
    pub blocks: u64,
    /// Numbers of a patch's pixels.
    pub pixels: u64,
    /// Whether anything of its blocks is trained, or of what stands before them.
    pub trained: bool,
    /// Whether anything behind them is, or before.
    pub merger_trained: bool,
}

impl ModelShape {
    /// The model in a directory, as a stage trains it.
    ///
    /// # Errors
    /// If the config cannot be read, or what is to be frozen or adapted is not there.
    pub fn from_dir(dir: &Path, freeze: &[String], lora: Option<&LoraRecipe>) -> Result<Self> {
        Self::of(ModelConfig::from_dir(dir)?, freeze, lora)
    }

    /// The same of a config.
    ///
    /// # Errors
    /// As [`from_dir`](Self::from_dir).
    pub fn of(config: ModelConfig, freeze: &[String], lora: Option<&LoraRecipe>) -> Result<Self> {
        let text = config.text.clone();
        let beside = config.places_beside_language();
        let model = Model::shaped(config.clone())?;
        let parameters = model.parameters().count() as u64;
        let model = match lora {
            Some(lora) => model.with_adapter(Adapter::random(lora.config(&beside), 0)?)?,
            None => model,
        };
        let trained = model.train(freeze)?;
        let numbers = |of: &dyn Fn(&str, u64) -> bool| -> u64 {
            let sizes = trained.iter().map(|(name, tensor)| (name.as_str(), tensor.numel() as u64));
            sizes.filter(|(name, size)| of(name, *size)).map(|(_, size)| size).sum()
        };
        let (mut adapter, mut adapted, mut adapts) = (0, 0, Adapts::default());
        for (name, tensor) in model.parameters().iter() {
            let Some(place) = name.strip_suffix("lora_A.weight") else { continue };
            let size = tensor.size();
            let (rank, inputs) = (size[0] as u64, size[1] as u64);
            let outputs = model.parameters().get(&format!("{place}lora_B.weight")).map_or(0, |b| b.size()[0] as u64);
            adapter += rank * (inputs + outputs);
            adapted += inputs * outputs;
            if name.starts_with("model.layers.0.") {
                let is = |names: &[&str]| names.iter().any(|name| place.ends_with(&format!("{name}.")));
                adapts.attention_in |= is(&["q_proj", "k_proj", "v_proj"]);
                adapts.mlp_in |= is(&["gate_proj", "up_proj"]);
                adapts.mlp_out |= is(&["down_proj"]);
                adapts.ranks += rank;
                adapts.inputs += inputs;
            }
        }
        let names: BTreeSet<&str> = trained.iter().map(|(name, _)| name.as_str()).collect();
        let each_layer = model.parameters().layers().iter().map(|(place, _)| {
            let mut layer = LayerShape::default();
            for (name, tensor) in model.parameters().of_layer(place) {
                let of = if names.contains(name) { &mut layer.trained } else { &mut layer.frozen };
                of.push(tensor.numel());
            }
            layer
        });
        let each_layer = each_layer.collect();
        let inside: BTreeSet<&str> = model
            .parameters()
            .layers()
            .iter()
            .flat_map(|(place, _)| model.parameters().of_layer(place).map(|(name, _)| name))
            .collect();
        let outside = trained.iter().filter(|(name, _)| !inside.contains(name.as_str()));
        let outside = outside.map(|(_, tensor)| tensor.numel()).collect();
        let below = |name: &str| beside.iter().any(|place| name.starts_with(&format!("{place}.")));
        let (heads, dim) = (text.heads, text.heads.dim as u64);
        let inner = match &text.mixture {
            Some(mixed) => (mixed.of.inner * mixed.of.chosen) as u64,
            None => text.intermediate_size as u64,
        };
        let head = if text.tie_word_embeddings { "model.embed_tokens.weight" } else { "lm_head.weight" };
        Ok(Self {
            parameters,
            trained: numbers(&|_, _| true),
            trained_layers: numbers(&|name, _| name.starts_with("model.layers.")),
            trained_beside: numbers(&|name, _| below(name)),
            trained_small: numbers(&|_, size| size < 4096),
            sizes: trained.iter().map(|(_, tensor)| tensor.numel()).collect(),
            adapter,
            adapted,
            adapts,
            hidden: text.hidden_size as u64,
            inner,
            query: heads.count as u64 * dim,
            key_value: 2 * heads.key_value as u64 * dim,
            heads: heads.count as u64,
            layers: text.text_layers() as u64,
            vocabulary: text.vocab_size as u64,
            positions: text.max_position_embeddings as u64,
            tied: text.tie_word_embeddings,
            embedding_trained: names.contains("model.embed_tokens.weight"),
            head_trained: names.contains(head),
            norms_trained: names.iter().any(|name| !below(name) && name.ends_with("layernorm.weight")),
            language_trained: names.iter().any(|name| !below(name)),
            tower: config.vision.is_some().then(|| TowerShape::of(&model, &below, &names)).flatten(),
            each_layer,
            outside,
        })
    }

    /// Bytes of the moments of what is trained.
    #[must_use]
    pub fn moments(&self, moments: Moments) -> u64 {
        Share { trained: self.trained, small: self.trained_small }.moments(moments)
    }

    /// What one of so many ranks updates, the one with the most.
    pub(super) fn share(&self, ranks: usize) -> Share {
        let mut shares = vec![Share::default(); ranks.max(1)];
        for (owner, &size) in owners(&self.sizes, ranks).into_iter().zip(&self.sizes) {
            shares[owner].add(size);
        }
        shares.into_iter().max_by_key(|share| share.trained).unwrap_or_default()
    }
}

/// Numbers that a rank updates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) trained: u64,
    /// Of these, those in parameters of fewer than 4,096.
    small: u64,
}

impl Share {
    /// Takes up a parameter.
    pub(super) fn add(&mut self, size: usize) {
        self.trained += size as u64;
        self.small += if size < 4096 { size as u64 } else { 0 };
    }

    /// Bytes of their moments.
    pub(super) fn moments(self, moments: Moments) -> u64 {
        match moments {
            Moments::F32 => 8 * self.trained,
            // A byte each, and a scale for 256 of them.
            Moments::Blockwise8bit => {
                let large = self.trained - self.small;
                8 * self.small + 2 * large + 2 * large / 64
            }
        }
    }
}

impl TowerShape {
    /// By the parameters below the tower's places: the stack of blocks with the most numbers.
    fn of(model: &Model, below: &dyn Fn(&str) -> bool, trained: &BTreeSet<&str>) -> Option<Self> {
        let parameters: Vec<(&str, Vec<i64>)> =
            model.parameters().iter().filter(|(name, _)| below(name)).map(|(name, t)| (name, t.size())).collect();
        // `visual.blocks.3.mlp.fc1.weight`: the place of the stack and the block's number.
        let split = |name: &str| {
            let parts: Vec<&str> = name.split('.').collect();
            let at = parts.iter().position(|part| part.parse::<u64>().is_ok())?;
            Some((parts[..at].join("."), parts[at].parse::<u64>().ok()?))
        };
        // The number of blocks of each stack, and that of its numbers.
        let mut stacks: BTreeMap<String, (u64, i64)> = BTreeMap::new();
        for (name, size) in &parameters {
            if let Some((stack, number)) = split(name) {
                let (blocks, numbers) = stacks.entry(stack).or_default();
                *blocks = (*blocks).max(number + 1);
                *numbers += size.iter().product::<i64>();
            }
        }
        let (stack, (blocks, _)) = stacks.into_iter().max_by_key(|(_, (_, numbers))| *numbers)?;
        let first = format!("{stack}.0.");
        let matrices: Vec<&Vec<i64>> = parameters
            .iter()
            .filter(|(name, size)| name.starts_with(&first) && size.len() == 2 && !name.contains("lora_"))
            .map(|(_, size)| size)
            .collect();
        let width = *matrices.iter().flat_map(|size| size.iter()).min()? as u64;
        // What leads out of the MLP has more numbers going in than coming out.
        let inner = matrices.iter().filter(|size| size[1] as u64 > width).map(|size| size[1] as u64).max()?;
        let gates = matrices.iter().filter(|size| size[0] as u64 == inner).count().max(1) as u64;
        let embeds = parameters.iter().find(|(name, size)| name.contains("patch_embed") && size.len() > 1);
        let pixels = embeds.map_or(0, |(_, size)| size[1..].iter().product::<i64>() as u64);
        let before = |name: &str| {
            name.contains("patch_embed") || name.contains("position_embedding") || name.contains("pos_embed")
        };
        let of_stack =
            trained.iter().any(|name| below(name) && (name.starts_with(&format!("{stack}.")) || before(name)));
        let any = trained.iter().any(|name| below(name));
        Some(Self { width, inner, gates, blocks, pixels, trained: of_stack, merger_trained: any })
    }
}

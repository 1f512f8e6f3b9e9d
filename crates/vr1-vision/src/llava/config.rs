use serde::Deserialize;
use serde_json::{Map, Value, json};
use vr1_nn::{Activation, Bias, Error, Path, Result, read_config, with_defaults};
use vr1_processor::{Patches, Tiles};

use super::LlavaVision;
use crate::tower::{Cut, Sections, VisionConfig, VisionTower};
use crate::vit::{Form, Reads, VitConfig};

/// The keys of the whole file that say what is made of a tower's states.
#[derive(Debug, Deserialize)]
struct Keys {
    projector_hidden_act: Activation,
    multimodal_projector_bias: bool,
    vision_feature_layer: Layers,
    vision_feature_select_strategy: Strategy,
}

/// One of the tower's states, or several side by side.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Layers {
    One(i64),
    Some(Vec<i64>),
}

/// Which tokens of a tile are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Strategy {
    /// All but the first.
    Default,
    /// All.
    Full,
}

/// How pictures are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// In one tile.
    Whole,
    /// In one tile, and in others on a canvas.
    Overview,
}

/// Tower and projector.
#[derive(Debug, Clone)]
pub(super) struct LlavaVisionConfig {
    pub(super) tower: VitConfig,
    /// Behind how many blocks its states are read.
    pub(super) blocks: Vec<i64>,
    /// How many tokens of a tile are passed over before those that are read.
    pub(super) dropped: i64,
    pub(super) hidden_act: Activation,
    pub(super) bias: Bias,
    /// The language model's width.
    pub(super) hidden_size: i64,
    layout: Layout,
}

/// What transformers' classes have for keys that are left out.
fn defaults() -> Value {
    json!({
        "projector_hidden_act": "gelu", "multimodal_projector_bias": true, "vision_feature_layer": -2,
        "vision_feature_select_strategy": "default",
    })
}

/// The same where there is no `vision_config` at all.
fn no_section() -> Value {
    json!({
        "intermediate_size": 4096, "hidden_size": 1024, "patch_size": 14, "image_size": 336, "num_hidden_layers": 24,
        "num_attention_heads": 16,
    })
}

/// The tower of LLaVA, CLIP or SigLIP by the `model_type` of its section. A key that is left out has the default of transformers'
/// class.
///
/// # Errors
/// If a key is of the wrong type or impossible, or the tower is another.
pub fn llava(sections: &Sections<'_>) -> Result<Box<dyn VisionConfig>> {
    Ok(Box::new(LlavaVisionConfig::read(sections, Layout::Whole)?))
}

/// The same of LLaVA-NeXT.
///
/// # Errors
/// As [`llava`], and if a tile has other tokens than its patches.
pub fn llava_next(sections: &Sections<'_>) -> Result<Box<dyn VisionConfig>> {
    let config = LlavaVisionConfig::read(sections, Layout::Overview)?;
    let (tokens, patches) = (config.tokens_of_a_tile(), config.tower.side() * config.tower.side());
    if tokens != patches {
        let reason = format!("a tile of {patches} patches has {tokens} tokens, which do not lie in lines");
        return Err(Error::Config(format!("`vision_feature_select_strategy`: {reason}")));
    }
    Ok(Box::new(config))
}

impl LlavaVisionConfig {
    fn read(sections: &Sections<'_>, layout: Layout) -> Result<Self> {
        let keys: Keys = read_config(&with_defaults(sections.outer, defaults()))?;
        let form = match sections.vision.get("model_type").map(|kind| (kind, kind.as_str())) {
            None | Some((_, Some("clip_vision_model"))) => Form::Clip,
            Some((_, Some("siglip_vision_model"))) => Form::Siglip,
            Some((other, _)) => {
                let known = "`clip_vision_model`, `siglip_vision_model`";
                return Err(Error::Config(format!("`model_type`: {other} is not one of {known}")));
            }
        };
        let absent = sections.outer.get("vision_config").is_none_or(Value::is_null);
        let given = if absent { with_defaults(&Map::new(), no_section()) } else { sections.vision.clone() };
        let tower = VitConfig::read(&given, form)?;
        let layers = match keys.vision_feature_layer {
            Layers::One(layer) => vec![layer],
            Layers::Some(layers) => layers,
        };
        let depth = tower.num_hidden_layers;
        let behind = |&layer: &i64| match layer {
            0.. if layer <= depth => Ok(layer),
            ..0 if layer + depth >= -1 => Ok(layer + depth + 1),
            _ => {
                let reason = format!("{layer} is none of the states of {depth} blocks");
                Err(Error::Config(format!("`vision_feature_layer`: {reason}")))
            }
        };
        let blocks: Vec<i64> = layers.iter().map(behind).collect::<Result<_>>()?;
        if blocks.is_empty() {
            return Err(Error::Config("`vision_feature_layer`: none is named".to_owned()));
        }
        let config = Self {
            blocks,
            dropped: i64::from(keys.vision_feature_select_strategy == Strategy::Default),
            hidden_act: keys.projector_hidden_act,
            bias: if keys.multimodal_projector_bias { Bias::With } else { Bias::Without },
            hidden_size: sections.hidden_size,
            tower,
            layout,
        };
        match config.tokens_of_a_tile() {
            1.. => Ok(config),
            _ => Err(Error::Config("`vision_feature_select_strategy`: nothing is left of a tile".to_owned())),
        }
    }

    /// How many tokens a tile becomes.
    fn tokens_of_a_tile(&self) -> i64 {
        self.tower.side() * self.tower.side() + self.tower.before() - self.dropped
    }

    pub(super) fn reads(&self) -> Reads {
        Reads::Behind(self.blocks.clone())
    }

    /// Whether lines of a canvas end in a token of their own.
    pub(super) fn newline(&self) -> bool {
        self.layout == Layout::Overview
    }
}

impl VisionConfig for LlavaVisionConfig {
    fn cut(&self) -> Option<Cut> {
        None
    }

    fn tokens(&self, patches: &Patches) -> Option<usize> {
        if !self.tower.takes(patches) {
            return None;
        }
        let (tiles, side) = (patches.grid_thw[0], self.tower.side() as usize);
        let tile = self.tokens_of_a_tile() as usize;
        match (self.layout, &patches.tiles) {
            (Layout::Whole, Tiles::Whole) if tiles == 1 => Some(tile),
            (Layout::Overview, Tiles::Overview { rows, columns, kept: [high, wide] }) => {
                let canvas = *high <= rows * side && *wide <= columns * side && tiles == rows * columns + 1;
                canvas.then(|| tile + high * (wide + 1))
            }
            _ => None,
        }
    }

    fn wants(&self) -> String {
        let layout = match self.layout {
            Layout::Whole => "one tile",
            Layout::Overview => "one tile and those of a canvas",
        };
        format!("{layout}, {}", self.tower.wants())
    }

    fn output(&self) -> i64 {
        self.hidden_size
    }

    fn build(&self, root: &Path<'_>) -> Box<dyn VisionTower> {
        Box::new(LlavaVision::new(root, self))
    }
}

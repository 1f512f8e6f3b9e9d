use serde::{Deserialize, Serialize};
use vr1_nn::{LoraConfig, Modules};

/// Low-rank adapters that are trained instead of the model's own parameters: [`LoraConfig`], with a word for the usual
/// choice of layers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraRecipe {
    /// The rank of what is added to a layer.
    pub rank: i64,
    /// What is added is scaled by this over the rank.
    pub alpha: f64,
    /// The linear layers by name, as in PEFT: names or their ends in a list, a regular expression, or `all-linear`.
    #[serde(default)]
    pub target_modules: Modules,
    /// Where such layers are adapted.
    #[serde(default)]
    pub parts: LoraParts,
    /// The share of a layer's inputs that an adapter does not see.
    #[serde(default)]
    pub dropout: f64,
    /// Scales by alpha over the root of the rank.
    #[serde(default)]
    pub rslora: bool,
}

/// Which parts of a model are adapted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoraParts {
    /// The language model alone.
    #[default]
    Language,
    /// The vision tower and its merger too.
    All,
}

impl LoraRecipe {
    /// The settings as layers and PEFT have them, for a model that has these `places` beside its language model.
    pub fn config(&self, places: &[&str]) -> LoraConfig {
        let exclude_modules = match self.parts {
            // Under whatever names a generation of transformers puts before them.
            LoraParts::Language if !places.is_empty() => {
                Some(Modules::Pattern(format!(r"(.*\.)?({})\..*", places.join("|"))))
            }
            LoraParts::Language | LoraParts::All => None,
        };
        LoraConfig {
            rank: self.rank,
            alpha: self.alpha,
            target_modules: self.target_modules.clone(),
            exclude_modules,
            dropout: self.dropout,
            rslora: self.rslora,
        }
    }
}

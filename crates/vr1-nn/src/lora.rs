//! `r` rank.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tch::{Kind, Tensor};
use vr1_torch::gradients_collected;

use crate::{Error, Result, read_config};

/// Low-rank adaptation (Hu et al., [arXiv:2106.09685](https://arxiv.org/abs/2106.09685)): a linear layer `W` becomes
/// `W + s · B A` with `A` `[r, inputs]` and `B` `[outputs, r]`, which alone are trained, and `s = alpha / r`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraConfig {
    /// The rank of what is added, `r`.
    pub rank: i64,
    /// What is added is scaled by this over the rank.
    pub alpha: f64,
    /// The linear layers that are adapted.
    #[serde(default)]
    pub target_modules: Modules,
    /// Those of them that are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclude_modules: Option<Modules>,
    /// The share of a layer's inputs that `A` does not see, drawn anew wherever gradients are collected.
    #[serde(default)]
    pub dropout: f64,
    /// Scales by `alpha / √r` (rsLoRA, [arXiv:2312.03732](https://arxiv.org/abs/2312.03732)).
    #[serde(default)]
    pub rslora: bool,
}

/// Linear layers by name, as PEFT has them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Modules {
    /// Layers whose name is one of these or ends in it after a dot.
    Names(Vec<String>),
    /// Layers whose whole name matches this regular expression; `all-linear` is all of them.
    Pattern(String),
}

impl Default for Modules {
    fn default() -> Self {
        Self::Pattern(ALL_LINEAR.to_owned())
    }
}

/// More than any layer is wide.
const MOST_RANK: i64 = 65_536;

const ALL_LINEAR: &str = "all-linear";

/// Settings of PEFT's that change what an adapter computes, and that are not known here. Absent, null, false and empty
/// are what they do nothing with.
const UNKNOWN: [&str; 17] = [
    "alpha_pattern",
    "alora_invocation_tokens",
    "arrow_config",
    "fan_in_fan_out",
    "kasa_config",
    "layer_replication",
    "layers_to_transform",
    "lora_bias",
    "modules_to_save",
    "monteclora_config",
    "rank_pattern",
    "target_parameters",
    "trainable_token_indices",
    "use_bdlora",
    "use_dora",
    "use_qalora",
    "velora_config",
];

/// The keys of `adapter_config.json` that are known.
#[derive(Debug, Deserialize)]
struct Keys {
    peft_type: String,
    r: i64,
    lora_alpha: f64,
    #[serde(default)]
    lora_dropout: f64,
    target_modules: Modules,
    exclude_modules: Option<Modules>,
    #[serde(default)]
    use_rslora: bool,
    bias: Option<String>,
    init_lora_weights: Option<Value>,
}

/// Whether an adapter that began so stands on the base as it is; others (PiSSA, OLoRA, CorDA, LoftQ, LoRA-GA) took their
/// beginning out of it.
fn leaves_the_base(init: &Value) -> bool {
    match init {
        Value::Null | Value::Bool(_) => true,
        Value::String(name) => {
            ["gaussian", "mica"].contains(&name.to_lowercase().as_str())
                || ["eva", "orthogonal"].contains(&name.as_str())
        }
        _ => false,
    }
}

impl LoraConfig {
    /// The settings in PEFT's `adapter_config.json`, the file `path`.
    ///
    /// # Errors
    /// If it cannot be read, is no LoRA's, or has settings that are not known here; the error names them.
    pub fn from_peft(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
        let at = |reason: String| Error::Config(format!("{}: {reason}", path.display()));
        let json: Map<String, Value> = serde_json::from_str(&text).map_err(|e| at(e.to_string()))?;
        let keys: Keys = read_config(&json).map_err(|e| at(e.to_string()))?;
        if keys.peft_type != "LORA" {
            return Err(at(format!("`peft_type`: {:?} is not \"LORA\"", keys.peft_type)));
        }
        if let Some(bias) = keys.bias.filter(|bias| bias != "none") {
            return Err(at(format!("`bias`: {bias:?} is not \"none\"")));
        }
        if let Some(init) = keys.init_lora_weights.filter(|init| !leaves_the_base(init)) {
            return Err(at(format!(
                "`init_lora_weights`: {init} changed the weights that the adapter stands on; save it with PEFT's \
                 `path_initial_model_for_weight_conversion`, or merge it there"
            )));
        }
        let off = |value: &Value| match value {
            Value::Null => true,
            Value::Bool(on) => !on,
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.is_empty(),
            Value::Number(_) | Value::String(_) => false,
        };
        if let Some((key, value)) = json.iter().find(|(key, value)| UNKNOWN.contains(&key.as_str()) && !off(value)) {
            return Err(at(format!("`{key}`: {value} is not known here")));
        }
        let config = Self {
            rank: keys.r,
            alpha: keys.lora_alpha,
            target_modules: keys.target_modules,
            exclude_modules: keys.exclude_modules,
            dropout: keys.lora_dropout,
            rslora: keys.use_rslora,
        };
        config.validate().map_err(|e| at(e.to_string()))?;
        Ok(config)
    }

    /// What PEFT's `adapter_config.json` says of these settings; `base` is the adapted model's directory or Hub id.
    pub fn to_peft(&self, base: Option<&str>) -> Value {
        // PEFT itself writes a whole alpha as an integer.
        let alpha = if self.alpha.fract() == 0.0 { json!(self.alpha as i64) } else { json!(self.alpha) };
        json!({
            "base_model_name_or_path": base,
            "bias": "none",
            "exclude_modules": self.exclude_modules,
            "fan_in_fan_out": false,
            "inference_mode": true,
            "init_lora_weights": true,
            "lora_alpha": alpha,
            "lora_dropout": self.dropout,
            "modules_to_save": null,
            "peft_type": "LORA",
            "r": self.rank,
            "target_modules": self.target_modules,
            "task_type": "CAUSAL_LM",
            "use_dora": false,
            "use_rslora": self.rslora,
        })
    }

    /// Checks every setting's range.
    ///
    /// # Errors
    /// If one is out of it, or a pattern is no regular expression; the error names it.
    pub fn validate(&self) -> Result<()> {
        let wrong = |reason: String| Err(Error::Config(reason));
        if !(1..=MOST_RANK).contains(&self.rank) {
            return wrong(format!("`rank`: {} is not between 1 and {MOST_RANK}", self.rank));
        }
        if !self.alpha.is_finite() {
            return wrong(format!("`alpha`: {} is not finite", self.alpha));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return wrong(format!("`dropout`: {} is not in [0, 1)", self.dropout));
        }
        Picker::new(self).map(drop)
    }

    /// What `B A` is scaled by.
    pub fn scale(&self) -> f64 {
        let rank = self.rank as f64;
        self.alpha / if self.rslora { rank.sqrt() } else { rank }
    }
}

/// Picks the layers that are adapted.
#[derive(Debug)]
pub(crate) struct Picker {
    target: Matcher,
    exclude: Option<Matcher>,
}

#[derive(Debug)]
enum Matcher {
    All,
    Names(Vec<String>),
    Pattern(onig::Regex),
}

impl Matcher {
    fn new(key: &str, modules: &Modules) -> Result<Self> {
        Ok(match modules {
            Modules::Pattern(pattern) if pattern == ALL_LINEAR => Self::All,
            Modules::Pattern(pattern) => {
                // PEFT asks for a match of the whole name, by Python's expressions: with a look ahead and behind.
                let whole = onig::Regex::new(&format!(r"\A(?:{pattern})\z"));
                Self::Pattern(whole.map_err(|e| Error::Config(format!("`{key}`: {}", e.description())))?)
            }
            Modules::Names(names) => Self::Names(names.clone()),
        })
    }

    /// Whether a layer is meant; it has one name a generation of transformers.
    fn matches(&self, names: &[String; 2]) -> bool {
        match self {
            Self::All => true,
            Self::Names(list) => list.iter().any(|end| ends_in(names, end)),
            Self::Pattern(regex) => names.iter().any(|name| regex.is_match(name)),
        }
    }
}

fn ends_in(names: &[String; 2], end: &str) -> bool {
    names.iter().any(|name| name.strip_suffix(end).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
}

impl Picker {
    pub(crate) fn new(config: &LoraConfig) -> Result<Self> {
        let exclude = config.exclude_modules.as_ref().map(|modules| Matcher::new("exclude_modules", modules));
        Ok(Self { target: Matcher::new("target_modules", &config.target_modules)?, exclude: exclude.transpose()? })
    }

    pub(crate) fn picks(&self, names: &[String; 2]) -> bool {
        self.target.matches(names) && !self.exclude.as_ref().is_some_and(|exclude| exclude.matches(names))
    }

    /// Checks that the targets are among the model's linear layers `modules`.
    pub(crate) fn check(&self, modules: &[[String; 2]]) -> Result<()> {
        let mut ends: Vec<&str> = modules.iter().filter_map(|[name, _]| name.rsplit('.').next()).collect();
        ends.sort_unstable();
        ends.dedup();
        let nothing = |what: &str| {
            Err(Error::Config(format!(
                "`target_modules`: {what} is no linear layer of the model; there are {}",
                ends.join(", ")
            )))
        };
        match &self.target {
            Matcher::Names(list) => match list.iter().find(|end| !modules.iter().any(|names| ends_in(names, end))) {
                Some(end) => nothing(end),
                None => Ok(()),
            },
            Matcher::All | Matcher::Pattern(_) if modules.iter().any(|names| self.picks(names)) => Ok(()),
            Matcher::All | Matcher::Pattern(_) => nothing("what it matches"),
        }
    }
}

/// The adaptation of one linear layer.
#[derive(Debug)]
pub(crate) struct Lora {
    pub(crate) a: Tensor,
    pub(crate) b: Tensor,
    pub(crate) scale: f64,
    pub(crate) dropout: f64,
}

impl Lora {
    /// `s · B A x`, in f32.
    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        let x = x.to_kind(Kind::Float);
        let training = self.dropout > 0.0 && self.a.requires_grad() && gradients_collected();
        let x = if training { x.dropout(self.dropout, true) } else { x };
        x.linear(&self.a, None::<&Tensor>).linear(&self.b, None::<&Tensor>) * self.scale
    }
}

/// `W + s · B A`, in the kind of `W`.
pub(crate) fn merge(weight: &Tensor, a: &Tensor, b: &Tensor, scale: f64) -> Tensor {
    (weight.to_kind(Kind::Float) + b.matmul(a) * scale).to_kind(weight.kind())
}

use serde::{Deserialize, Serialize};
use vr1_nn::{Activation, Error, Heads, Result};

/// The keys of a checkpoint's `config.json` that describe the decoder; Hugging Face's names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Qwen2Config {
    /// Rows of the embedding.
    pub vocab_size: i64,
    /// Width of the residual stream.
    pub hidden_size: i64,
    /// Width inside the gated MLP.
    pub intermediate_size: i64,
    /// Layers.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: i64,
    /// Key-value heads.
    pub num_key_value_heads: i64,
    /// The MLP's activation.
    #[serde(default = "silu")]
    pub hidden_act: Activation,
    /// The longest sequence, in tokens.
    pub max_position_embeddings: i64,
    /// The norms' epsilon.
    pub rms_norm_eps: f64,
    /// Whether the output matrix is the embedding.
    #[serde(default)]
    pub tie_word_embeddings: bool,
    /// Base of the rotary frequencies, where older checkpoints have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rope_theta: Option<f64>,
    /// Rotary settings as published Qwen2-VL checkpoints have them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rope_scaling: Option<RopeParameters>,
    /// Rotary settings as today's transformers writes them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rope_parameters: Option<RopeParameters>,
}

/// Rotary settings.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RopeParameters {
    /// `mrope` or `default`.
    #[serde(default, alias = "type", skip_serializing_if = "Option::is_none")]
    pub rope_type: Option<String>,
    /// How many frequencies follow the temporal, the height and the width position.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mrope_section: Option<Vec<i64>>,
    /// Base of the frequencies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rope_theta: Option<f64>,
}

fn silu() -> Activation {
    Activation::Silu
}

impl Qwen2Config {
    /// The attention heads.
    ///
    /// # Errors
    /// If the head counts do not divide the hidden size or each other.
    pub fn heads(&self) -> Result<Heads> {
        let (count, hidden) = (self.num_attention_heads, self.hidden_size);
        if count < 1 || hidden % count != 0 {
            return Err(Error::Config(format!(
                "hidden_size {hidden} is not a multiple of num_attention_heads {count}"
            )));
        }
        Heads::new(count, self.num_key_value_heads, hidden / count)
    }

    /// Base of the rotary frequencies; transformers' default where no key gives it.
    pub fn theta(&self) -> f64 {
        let nested = self.rope_parameters.as_ref().and_then(|rope| rope.rope_theta);
        nested.or(self.rope_theta).unwrap_or(1_000_000.0)
    }

    /// The sections of the multimodal rotary embedding; one section, the plain rotary embedding, where none are given.
    ///
    /// # Errors
    /// If the head counts are impossible, or the rotary settings are of a type this model does not know.
    pub fn sections(&self) -> Result<Vec<i64>> {
        let rope = self.rope_parameters.as_ref().or(self.rope_scaling.as_ref());
        let kind = rope.and_then(|rope| rope.rope_type.as_deref()).unwrap_or("default");
        if !matches!(kind, "mrope" | "default") {
            return Err(Error::Config(format!("rope type {kind:?} is not one of `default`, `mrope`")));
        }
        match rope.and_then(|rope| rope.mrope_section.clone()) {
            Some(sections) => Ok(sections),
            None => Ok(vec![self.heads()?.dim / 2]),
        }
    }
}

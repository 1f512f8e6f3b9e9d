//! Mistral ([arXiv:2310.06825](https://arxiv.org/abs/2310.06825)) from its second version on, which attends to everything.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use vr1_nn::{Error, Result, Rope, RopeScaling, read_config, with_defaults};

use crate::DecoderConfig;
use crate::decoder::Keys;

#[derive(Debug, Deserialize)]
struct Window {
    sliding_window: Option<i64>,
}

/// What transformers' class has for keys that are left out.
fn defaults() -> Value {
    json!({
        "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 8, "hidden_act": "silu", "max_position_embeddings": 131_072,
        "rms_norm_eps": 1e-6, "tie_word_embeddings": false, "sliding_window": 4096,
    })
}

/// The decoder that the keys of a `config.json` describe; it has no biases. A key that is left out has the default of
/// transformers' `MistralConfig`.
///
/// # Errors
/// If a key is of the wrong type or impossible, or `sliding_window` is shorter than the longest sequence.
pub fn mistral(json: &Map<String, Value>) -> Result<DecoderConfig> {
    let json = &with_defaults(json, defaults());
    let Window { sliding_window } = read_config(json)?;
    let rope = Rope { theta: 1e4, sections: None, scaling: RopeScaling::None };
    let config = Keys::read(json)?.decoder(Rope::read(json, &rope)?)?;
    match sliding_window {
        Some(window) if window < config.max_position_embeddings => {
            let longest = config.max_position_embeddings;
            let reason = format!("{window} tokens of at most {longest}: only full attention is known (null)");
            Err(Error::Config(format!("`sliding_window`: {reason}")))
        }
        _ => Ok(config),
    }
}

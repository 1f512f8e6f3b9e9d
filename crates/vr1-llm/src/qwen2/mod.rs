//! Qwen2 and Qwen2.5 ([arXiv:2407.10671](https://arxiv.org/abs/2407.10671)), and the language models of Qwen2-VL and
//! Qwen2.5-VL, whose rotary embedding has sections.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use vr1_nn::{Bias, Error, Result, Rope, RopeScaling, Sections, read_config, with_defaults};

use crate::DecoderConfig;
use crate::decoder::Keys;

#[derive(Debug, Deserialize)]
struct Window {
    use_sliding_window: Option<bool>,
    #[serde(default)]
    layer_types: Option<Vec<String>>,
}

/// What transformers' class has for keys that are left out.
fn defaults() -> Value {
    json!({
        "vocab_size": 151936, "hidden_size": 4096, "intermediate_size": 22016, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 32, "hidden_act": "silu", "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-6, "tie_word_embeddings": false,
    })
}

/// The same of the language models of Qwen2-VL and Qwen2.5-VL.
fn multimodal_defaults() -> Value {
    json!({
        "vocab_size": 152064, "hidden_size": 8192, "intermediate_size": 29568, "num_hidden_layers": 80,
        "num_attention_heads": 64, "num_key_value_heads": 8, "hidden_act": "silu", "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-5, "tie_word_embeddings": false,
    })
}

/// The decoder that the keys of a `config.json` describe. Queries, keys and values have biases; nothing else has. A key
/// that is left out has the default of transformers' `Qwen2Config`.
///
/// # Errors
/// If a key is of the wrong type or impossible, or asks for attention in a sliding window.
pub fn qwen2(json: &Map<String, Value>) -> Result<DecoderConfig> {
    decoder(&with_defaults(json, defaults()), &Rope { theta: 1e4, sections: None, scaling: RopeScaling::None })
}

/// The same for Qwen2-VL and Qwen2.5-VL, with the defaults of their classes: positions of media have three axes, with 16,
/// 24 and 24 frequencies where `mrope_section` does not say.
///
/// # Errors
/// As [`qwen2`].
pub fn qwen2_multimodal(json: &Map<String, Value>) -> Result<DecoderConfig> {
    let rope = Rope { theta: 1e6, sections: Some(Sections::Adjoining(vec![16, 24, 24])), scaling: RopeScaling::None };
    decoder(&with_defaults(json, multimodal_defaults()), &rope)
}

fn decoder(json: &Map<String, Value>, rope: &Rope) -> Result<DecoderConfig> {
    let window: Window = read_config(json)?;
    if window.use_sliding_window == Some(true) {
        return Err(Error::Config("`use_sliding_window`: only full attention is known".to_owned()));
    }
    if let Some(other) = window.layer_types.iter().flatten().find(|kind| *kind != "full_attention") {
        return Err(Error::Config(format!("`layer_types`: {other:?} is not `full_attention`")));
    }
    Ok(DecoderConfig { qkv_bias: Bias::With, ..Keys::read(json)?.decoder(Rope::read(json, rope)?)? })
}

//! Qwen2 and Qwen2.5 ([arXiv:2407.10671](https://arxiv.org/abs/2407.10671)), and the language models of Qwen2-VL and
//! Qwen2.5-VL, whose rotary embedding has sections.

use serde::Deserialize;
use serde_json::{Map, Value};
use vr1_nn::{Bias, Error, Result, Rope, read_config};

use crate::DecoderConfig;
use crate::decoder::Keys;

#[derive(Debug, Deserialize)]
struct Window {
    #[serde(default)]
    use_sliding_window: bool,
    #[serde(default)]
    layer_types: Option<Vec<String>>,
}

/// The decoder that the keys of a `config.json` describe; `theta` is the base of the rotary frequencies where no key
/// gives it. Queries, keys and values have biases; nothing else has.
///
/// # Errors
/// If a key is missing, of the wrong type or impossible, or asks for attention in a sliding window.
pub fn qwen2(json: &Map<String, Value>, theta: f64) -> Result<DecoderConfig> {
    let window: Window = read_config(json)?;
    if window.use_sliding_window {
        return Err(Error::Config("`use_sliding_window`: only full attention is known".to_owned()));
    }
    if let Some(other) = window.layer_types.iter().flatten().find(|kind| *kind != "full_attention") {
        return Err(Error::Config(format!("`layer_types`: {other:?} is not `full_attention`")));
    }
    Ok(DecoderConfig { qkv_bias: Bias::With, ..Keys::read(json)?.decoder(Rope::read(json, theta)?)? })
}

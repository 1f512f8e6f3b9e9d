//! Llama 2 and 3 ([arXiv:2407.21783](https://arxiv.org/abs/2407.21783)) and those built like it: SmolLM2, TinyLlama.

use serde::Deserialize;
use serde_json::{Map, Value};
use vr1_nn::{Bias, Error, Result, Rope, read_config};

use crate::DecoderConfig;
use crate::decoder::Keys;

#[derive(Debug, Deserialize)]
struct Own {
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    #[serde(default)]
    rope_interleaved: bool,
}

/// The decoder that the keys of a `config.json` describe; `theta` is the base of the rotary frequencies where no key
/// gives it. `attention_bias` and `mlp_bias` say what has biases.
///
/// # Errors
/// If a key is missing, of the wrong type or impossible.
pub fn llama(json: &Map<String, Value>, theta: f64) -> Result<DecoderConfig> {
    let own: Own = read_config(json)?;
    if own.rope_interleaved {
        return Err(Error::Config("`rope_interleaved`: only false is known".to_owned()));
    }
    let bias = |with: bool| if with { Bias::With } else { Bias::Without };
    Ok(DecoderConfig {
        qkv_bias: bias(own.attention_bias),
        output_bias: bias(own.attention_bias),
        mlp_bias: bias(own.mlp_bias),
        ..Keys::read(json)?.decoder(Rope::read(json, theta)?)?
    })
}

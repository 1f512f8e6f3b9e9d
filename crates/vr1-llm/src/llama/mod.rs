//! Llama 2 and 3 ([arXiv:2407.21783](https://arxiv.org/abs/2407.21783)) and those built like it: SmolLM2, TinyLlama.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use vr1_nn::{Bias, Error, Result, Rope, RopeScaling, read_config, with_defaults};

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

/// What transformers' class has for keys that are left out.
fn defaults() -> Value {
    json!({
        "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
        "num_attention_heads": 32, "hidden_act": "silu", "max_position_embeddings": 2048, "rms_norm_eps": 1e-6,
        "tie_word_embeddings": false,
    })
}

/// The decoder that the keys of a `config.json` describe; `attention_bias` and `mlp_bias` say what has biases. A key that
/// is left out has the default of transformers' `LlamaConfig`.
///
/// # Errors
/// If a key is of the wrong type or impossible.
pub fn llama(json: &Map<String, Value>) -> Result<DecoderConfig> {
    let json = &with_defaults(json, defaults());
    let rope = Rope { theta: 1e4, sections: None, scaling: RopeScaling::None };
    let own: Own = read_config(json)?;
    if own.rope_interleaved {
        return Err(Error::Config("`rope_interleaved`: only false is known".to_owned()));
    }
    let bias = |with: bool| if with { Bias::With } else { Bias::Without };
    Ok(DecoderConfig {
        qkv_bias: bias(own.attention_bias),
        output_bias: bias(own.attention_bias),
        mlp_bias: bias(own.mlp_bias),
        ..Keys::read(json)?.decoder(Rope::read(json, &rope)?)?
    })
}

//! Qwen3 ([arXiv:2505.09388](https://arxiv.org/abs/2505.09388)), dense and of experts, and the language models of Qwen3-VL
//! ([arXiv:2511.21631](https://arxiv.org/abs/2511.21631)).

mod experts;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use vr1_nn::{Bias, Error, Result, Rope, RopeScaling, Sections, Weighing, read_config, with_defaults};

use crate::decoder::Keys;
use crate::{DecoderConfig, HeadNorms};
use experts::{FUSED_TURNED, PER_EXPERT};

type Json = Map<String, Value>;

#[derive(Debug, Deserialize)]
struct Own {
    #[serde(default)]
    attention_bias: bool,
    use_sliding_window: Option<bool>,
    layer_types: Option<Vec<String>>,
}

/// What transformers' class has for keys that are left out.
fn defaults() -> Value {
    json!({
        "vocab_size": 151936, "hidden_size": 4096, "intermediate_size": 22016, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 32, "head_dim": 128, "hidden_act": "silu",
        "max_position_embeddings": 32768, "rms_norm_eps": 1e-6, "tie_word_embeddings": false,
    })
}

/// The same of Qwen3-VL's language model.
fn multimodal_defaults() -> Value {
    json!({
        "vocab_size": 151936, "hidden_size": 4096, "intermediate_size": 22016, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 32, "head_dim": 128, "hidden_act": "silu",
        "max_position_embeddings": 128000, "rms_norm_eps": 1e-6, "tie_word_embeddings": false,
    })
}

/// The same of Qwen3 with experts.
fn moe_defaults() -> Value {
    json!({
        "vocab_size": 151936, "hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 24,
        "num_attention_heads": 32, "num_key_value_heads": 4, "hidden_act": "silu", "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-6, "tie_word_embeddings": false, "decoder_sparse_step": 1, "moe_intermediate_size": 768,
        "num_experts_per_tok": 8, "num_experts": 128, "norm_topk_prob": false,
    })
}

/// The same of Qwen3-VL's language model with experts.
fn multimodal_moe_defaults() -> Value {
    json!({
        "vocab_size": 151936, "hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 24,
        "num_attention_heads": 16, "num_key_value_heads": 16, "hidden_act": "silu", "max_position_embeddings": 128000,
        "rms_norm_eps": 1e-6, "tie_word_embeddings": false, "decoder_sparse_step": 1, "moe_intermediate_size": 1408,
        "num_experts_per_tok": 4, "num_experts": 60,
    })
}

/// The decoder that the keys of a `config.json` describe: queries and keys are normed, `attention_bias` says whether the
/// projections around attention have biases. A key that is left out has the default of transformers' `Qwen3Config`.
///
/// # Errors
/// If a key is of the wrong type or impossible, or asks for attention in a sliding window.
pub fn qwen3(json: &Json) -> Result<DecoderConfig> {
    decoder(&with_defaults(json, defaults()), &plain())
}

/// The same for Qwen3-VL, with the defaults of its class: positions of media have three axes, by turns.
///
/// # Errors
/// As [`qwen3`].
pub fn qwen3_multimodal(json: &Json) -> Result<DecoderConfig> {
    decoder(&with_defaults(json, multimodal_defaults()), &interleaved())
}

/// The same for Qwen3 with experts: a token goes through `num_experts_per_tok` of `num_experts` in every layer but those of
/// `mlp_only_layers` and those between every `decoder_sparse_step`th; `norm_topk_prob` says whether their weights are made to sum
/// to one.
///
/// # Errors
/// As [`qwen3`].
pub fn qwen3_moe(json: &Json) -> Result<DecoderConfig> {
    let json = &with_defaults(json, moe_defaults());
    let normed = json.get("norm_topk_prob").and_then(Value::as_bool);
    let weighing = match normed {
        Some(true) => Weighing::Renormalised,
        Some(false) => Weighing::Probabilities,
        None => return Err(Error::Config("`norm_topk_prob`: it is neither true nor false".to_owned())),
    };
    experts::mixed(decoder(json, &plain())?, json, weighing, PER_EXPERT)
}

/// The same for Qwen3-VL with experts, whose weights always sum to one.
///
/// # Errors
/// As [`qwen3`].
pub fn qwen3_moe_multimodal(json: &Json) -> Result<DecoderConfig> {
    let json = &with_defaults(json, multimodal_moe_defaults());
    experts::mixed(decoder(json, &interleaved())?, json, Weighing::Renormalised, FUSED_TURNED)
}

fn plain() -> Rope {
    Rope { theta: 1e4, sections: None, scaling: RopeScaling::None }
}

fn interleaved() -> Rope {
    Rope { theta: 5e5, sections: Some(Sections::Interleaved([24, 20, 20])), scaling: RopeScaling::None }
}

fn decoder(json: &Json, rope: &Rope) -> Result<DecoderConfig> {
    let own: Own = read_config(json)?;
    if own.use_sliding_window == Some(true) {
        return Err(Error::Config("`use_sliding_window`: only full attention is known".to_owned()));
    }
    if let Some(other) = own.layer_types.iter().flatten().find(|kind| *kind != "full_attention") {
        return Err(Error::Config(format!("`layer_types`: {other:?} is not `full_attention`")));
    }
    let bias = if own.attention_bias { Bias::With } else { Bias::Without };
    Ok(DecoderConfig {
        qkv_bias: bias,
        output_bias: bias,
        head_norms: HeadNorms::With,
        ..Keys::read(json)?.decoder(Rope::read(json, rope)?)?
    })
}

//! The language model of Aria ([arXiv:2410.05993](https://arxiv.org/abs/2410.05993)): Llama's attention, and in every layer experts
//! beside an MLP for all tokens.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use vr1_nn::{
    Activation, Bias, Error, Lying, MixtureConfig, Result, Rope, RopeScaling, Shared, Stored, Weighing, check_sizes,
    read_config, with_defaults,
};

use crate::decoder::Keys;
use crate::{DecoderConfig, Mixed};

#[derive(Debug, Deserialize)]
struct Own {
    attention_bias: bool,
    mlp_bias: bool,
    moe_num_experts: i64,
    moe_topk: i64,
    moe_num_shared_experts: i64,
    /// Width inside an expert as published files have it; `intermediate_size` where they do not.
    moe_intermediate_size: Option<i64>,
}

/// What transformers' class has for keys that are left out.
fn defaults() -> Value {
    json!({
        "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 4096, "num_hidden_layers": 32,
        "num_attention_heads": 32, "hidden_act": "silu", "max_position_embeddings": 2048, "rms_norm_eps": 1e-6,
        "tie_word_embeddings": false, "attention_bias": false, "mlp_bias": false, "moe_num_experts": 8,
        "moe_topk": 2, "moe_num_shared_experts": 2,
    })
}

/// The decoder that the keys of a `text_config` describe: a token goes through `moe_topk` of `moe_num_experts` in every layer, and
/// through `moe_num_shared_experts` that are one MLP. A key that is left out has the default of transformers' `AriaTextConfig`.
///
/// # Errors
/// If a key is of the wrong type or impossible.
pub fn aria(json: &Map<String, Value>) -> Result<DecoderConfig> {
    let json = &with_defaults(json, defaults());
    let own: Own = read_config(json)?;
    let rope = Rope { theta: 1e4, sections: None, scaling: RopeScaling::None };
    let decoder = Keys::read(json)?.decoder(Rope::read(json, &rope)?)?;
    let bias = |with: bool| if with { Bias::With } else { Bias::Without };
    let inner = own.moe_intermediate_size.unwrap_or(decoder.intermediate_size);
    check_sizes(&[("moe_num_shared_experts", own.moe_num_shared_experts)])?;
    let Some(of_shared) = inner.checked_mul(own.moe_num_shared_experts) else {
        return Err(Error::Config(format!("`moe_num_shared_experts`: {} are too many", own.moe_num_shared_experts)));
    };
    let of = MixtureConfig {
        count: own.moe_num_experts,
        chosen: own.moe_topk,
        inner,
        weighing: Weighing::OfChosen,
        // Whatever `hidden_act` says, which is that of the MLP.
        activation: Activation::Silu,
        router: "router",
        lying: Lying::InputsFirst,
        stored: [Stored::Called("fc1.weight"), Stored::Called("fc2.weight")],
        shared: Some(Shared { inner: of_shared, bias: bias(own.mlp_bias), activation: decoder.hidden_act }),
    };
    of.check(["moe_num_experts", "moe_topk", "intermediate_size"])?;
    Ok(DecoderConfig {
        qkv_bias: bias(own.attention_bias),
        output_bias: bias(own.attention_bias),
        mixture: Some(Mixed { of, dense: Vec::new() }),
        ..decoder
    })
}

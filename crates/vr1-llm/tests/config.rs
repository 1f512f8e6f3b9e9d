//! What a `config.json` says, in every form, and what is refused.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::{Map, Value, json};
use vr1_llm::{DecoderConfig, llama, qwen2};
use vr1_nn::{Activation, Bias, Heads, Rope, RopeScaling};

fn keys(more: Value) -> Map<String, Value> {
    let mut keys = json!({
        "vocab_size": 100, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 6,
        "num_key_value_heads": 2, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
    });
    keys.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    keys.as_object().unwrap().clone()
}

const PLAIN: Rope = Rope { theta: 1e4, sections: None, scaling: RopeScaling::None };

#[test]
fn llama_has_biases_where_its_keys_say() {
    let plain = DecoderConfig {
        vocab_size: 100,
        hidden_size: 24,
        intermediate_size: 40,
        num_hidden_layers: 2,
        heads: Heads::new(6, 2, 4).unwrap(),
        hidden_act: Activation::Silu,
        max_position_embeddings: 64,
        rms_norm_eps: 1e-5,
        tie_word_embeddings: false,
        rope: PLAIN,
        qkv_bias: Bias::Without,
        output_bias: Bias::Without,
        mlp_bias: Bias::Without,
    };
    assert_eq!(llama(&keys(json!({})), 1e4).unwrap(), plain);
    let attention = DecoderConfig { qkv_bias: Bias::With, output_bias: Bias::With, ..plain.clone() };
    assert_eq!(llama(&keys(json!({ "attention_bias": true })), 1e4).unwrap(), attention);
    let mlp = DecoderConfig { mlp_bias: Bias::With, ..plain.clone() };
    assert_eq!(llama(&keys(json!({ "mlp_bias": true, "rope_scaling": null })), 1e4).unwrap(), mlp);
    let qwen2_own = DecoderConfig { qkv_bias: Bias::With, ..plain };
    assert_eq!(qwen2(&keys(json!({ "sliding_window": 32, "max_window_layers": 1 })), 1e4).unwrap(), qwen2_own);
}

#[test]
fn heads_may_be_of_their_own_size_and_share_nothing() {
    let heads = |more| llama(&keys(more), 1e4).unwrap().heads;
    assert_eq!(heads(json!({ "head_dim": 16 })), Heads::new(6, 2, 16).unwrap());
    assert_eq!(heads(json!({ "head_dim": null, "num_key_value_heads": null })), Heads::new(6, 6, 4).unwrap());
}

#[test]
fn rotary_settings_of_both_generations_are_the_same() {
    let rope = |more| qwen2(&keys(more), 1e6).unwrap().rope;
    let sections = Rope { theta: 500.0, sections: Some(vec![1, 1]), scaling: RopeScaling::None };
    assert_eq!(
        rope(json!({ "rope_theta": 500.0, "rope_scaling": { "type": "mrope", "mrope_section": [1, 1] } })),
        sections
    );
    assert_eq!(
        rope(json!({ "rope_parameters": { "rope_type": "default", "mrope_section": [1, 1], "rope_theta": 500.0 } })),
        sections
    );
    // As files of the time between have it, and with the flat base left over.
    assert_eq!(
        rope(json!({
            "rope_theta": 500.0,
            "rope_scaling": { "type": "default", "rope_type": "default", "mrope_section": [1, 1] },
        })),
        sections
    );
    assert_eq!(rope(json!({})), Rope { theta: 1e6, sections: None, scaling: RopeScaling::None });
    let llama3 = RopeScaling::Llama3 {
        factor: 8.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_position_embeddings: 8192.0,
    };
    let stretched = json!({
        "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192,
        "rope_type": "llama3",
    });
    let published = llama(&keys(json!({ "rope_theta": 500000.0, "rope_scaling": stretched })), 1e4).unwrap().rope;
    assert_eq!(published, Rope { theta: 5e5, sections: None, scaling: llama3 });
    let linear = llama(&keys(json!({ "rope_scaling": { "type": "linear", "factor": 2.0 } })), 1e4).unwrap().rope;
    assert_eq!(linear, Rope { scaling: RopeScaling::Linear { factor: 2.0 }, ..PLAIN });
}

#[test]
fn what_is_impossible_or_unknown_is_named() {
    type Read = fn(&Map<String, Value>, f64) -> vr1_nn::Result<DecoderConfig>;
    let cases: [(Read, Value, &str); 14] = [
        (
            llama,
            json!({ "num_attention_heads": 5, "num_key_value_heads": 5 }),
            "`num_attention_heads`: 5 does not divide `hidden_size` 24",
        ),
        (
            qwen2,
            json!({ "num_key_value_heads": 4 }),
            "`num_key_value_heads`: 4 does not divide `num_attention_heads` 6",
        ),
        (qwen2, json!({ "num_key_value_heads": 0 }), "`num_key_value_heads`: 0 is not between 1 and"),
        (llama, json!({ "hidden_size": -8 }), "`hidden_size`: -8 is not between 1 and"),
        (llama, json!({ "num_hidden_layers": 1_i64 << 40 }), "`num_hidden_layers`: 1099511627776 is not between 1 and"),
        (llama, json!({ "vocab_size": "many" }), "`vocab_size`: invalid type: string \"many\""),
        (llama, json!({ "hidden_act": "swish" }), "`hidden_act`: unknown variant `swish`"),
        (llama, json!({ "rope_interleaved": true }), "`rope_interleaved`: only false is known"),
        (qwen2, json!({ "use_sliding_window": true }), "`use_sliding_window`: only full attention is known"),
        (
            qwen2,
            json!({ "layer_types": ["full_attention", "sliding_attention"] }),
            "`layer_types`: \"sliding_attention\"",
        ),
        (
            llama,
            json!({ "rope_scaling": { "rope_type": "yarn", "factor": 4.0 } }),
            "`rope_scaling.rope_type`: \"yarn\" is not one of",
        ),
        (llama, json!({ "rope_scaling": { "rope_type": "linear" } }), "`rope_scaling.factor` is missing"),
        (llama, json!({ "rope_parameters": { "rope_theta": 0.0 } }), "`rope_parameters.rope_theta`: 0 is not above 0"),
        (llama, json!({ "rope_parameters": { "rope_theta": "far" } }), "`rope_parameters`: `rope_theta`: invalid type"),
    ];
    for (read, more, expected) in cases {
        let error = read(&keys(more), 1e4).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

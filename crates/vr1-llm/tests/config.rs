//! What a `config.json` says, in every form, and what is refused.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::{Map, Value, json};
use vr1_llm::{DecoderConfig, llama, qwen2, qwen2_multimodal};
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
        cross_attention_layers: Vec::new(),
        unsaid_rows: 0,
    };
    assert_eq!(llama(&keys(json!({}))).unwrap(), plain);
    let attention = DecoderConfig { qkv_bias: Bias::With, output_bias: Bias::With, ..plain.clone() };
    assert_eq!(llama(&keys(json!({ "attention_bias": true }))).unwrap(), attention);
    let mlp = DecoderConfig { mlp_bias: Bias::With, ..plain.clone() };
    assert_eq!(llama(&keys(json!({ "mlp_bias": true, "rope_scaling": null }))).unwrap(), mlp);
    let qwen2_own = DecoderConfig { qkv_bias: Bias::With, ..plain };
    assert_eq!(qwen2(&keys(json!({ "sliding_window": 32, "max_window_layers": 1 }))).unwrap(), qwen2_own);
}

#[test]
fn heads_may_be_of_their_own_size_and_share_nothing() {
    let heads = |more| llama(&keys(more)).unwrap().heads;
    assert_eq!(heads(json!({ "head_dim": 16 })), Heads::new(6, 2, 16).unwrap());
    assert_eq!(heads(json!({ "head_dim": null, "num_key_value_heads": null })), Heads::new(6, 6, 4).unwrap());
}

#[test]
fn rotary_settings_of_both_generations_are_the_same() {
    let rope = |more| qwen2_multimodal(&keys(more)).unwrap().rope;
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
    assert_eq!(
        rope(json!({})),
        Rope { theta: 1e6, sections: Some(vec![16, 24, 24]), scaling: RopeScaling::None },
        "images never have one position for all three axes"
    );
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
    let published = llama(&keys(json!({ "rope_theta": 500000.0, "rope_scaling": stretched }))).unwrap().rope;
    assert_eq!(published, Rope { theta: 5e5, sections: None, scaling: llama3 });
    let linear = llama(&keys(json!({ "rope_scaling": { "type": "linear", "factor": 2.0 } }))).unwrap().rope;
    assert_eq!(linear, Rope { scaling: RopeScaling::Linear { factor: 2.0 }, ..PLAIN });
}

#[test]
fn what_is_impossible_or_unknown_is_named() {
    type Read = fn(&Map<String, Value>) -> vr1_nn::Result<DecoderConfig>;
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
        let error = read(&keys(more)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_key_that_is_left_out_has_its_classs_default() {
    let config =
        |(heads, key_value, dim): (i64, i64, i64), sizes: [i64; 5], rms_norm_eps, rope: Rope, qkv_bias| DecoderConfig {
            vocab_size: sizes[0],
            hidden_size: sizes[1],
            intermediate_size: sizes[2],
            num_hidden_layers: sizes[3],
            heads: Heads::new(heads, key_value, dim).unwrap(),
            hidden_act: Activation::Silu,
            max_position_embeddings: sizes[4],
            rms_norm_eps,
            tie_word_embeddings: false,
            rope,
            qkv_bias,
            output_bias: Bias::Without,
            mlp_bias: Bias::Without,
            cross_attention_layers: Vec::new(),
            unsaid_rows: 0,
        };
    let none = Map::new();
    let plain = [32000, 4096, 11008, 32, 2048];
    assert_eq!(llama(&none).unwrap(), config((32, 32, 128), plain, 1e-6, PLAIN, Bias::Without));
    let second = [151_936, 4096, 22016, 32, 32768];
    assert_eq!(qwen2(&none).unwrap(), config((32, 32, 128), second, 1e-6, PLAIN, Bias::With));
    let seeing = [152_064, 8192, 29568, 80, 32768];
    let rope = Rope { theta: 1e6, sections: Some(vec![16, 24, 24]), ..PLAIN };
    assert_eq!(qwen2_multimodal(&none).unwrap(), config((64, 8, 128), seeing, 1e-5, rope, Bias::With));
    // What is said to be none is not left out.
    let null = json!({ "num_key_value_heads": null, "use_sliding_window": null, "rope_scaling": null });
    assert_eq!(qwen2_multimodal(null.as_object().unwrap()).unwrap().heads, Heads::new(64, 64, 128).unwrap());
    // Llama 3.1's frequencies are stretched from the longest sequence where no key says from what.
    let stretched = json!({
        "rope_scaling": { "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "rope_type": "llama3" }
    });
    let RopeScaling::Llama3 { original_max_position_embeddings, .. } =
        llama(stretched.as_object().unwrap()).unwrap().rope.scaling
    else {
        panic!("another scaling")
    };
    assert_eq!(original_max_position_embeddings, 2048.0);
}

//! What a `config.json` says, in every form, and what is refused.

use serde_json::{Map, Value, json};
use vr1_llm::{
    DecoderConfig, HeadNorms, aria, llama, mistral, qwen2, qwen2_multimodal, qwen3, qwen3_moe, qwen3_moe_multimodal,
    qwen3_multimodal,
};
use vr1_nn::{Activation, Bias, Heads, Rope, RopeScaling, Sections, Weighing};

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
        head_norms: HeadNorms::Without,
        mixture: None,
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
fn mistral_is_a_llama_where_its_window_is_as_long_as_any_text() {
    let plain = llama(&keys(json!({}))).unwrap();
    for window in [json!(null), json!(64)] {
        assert_eq!(mistral(&keys(json!({ "sliding_window": window }))).unwrap(), plain);
    }
    for short in [json!({ "sliding_window": 63 }), json!({ "max_position_embeddings": 32768 })] {
        let error = mistral(&keys(short)).unwrap_err().to_string();
        assert!(error.contains("`sliding_window`: ") && error.contains("only full attention is known"), "{error}");
    }
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
    let sections = Rope { theta: 500.0, sections: Some(Sections::Adjoining(vec![1, 1])), scaling: RopeScaling::None };
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
        Rope { theta: 1e6, sections: Some(Sections::Adjoining(vec![16, 24, 24])), scaling: RopeScaling::None },
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
            head_norms: HeadNorms::Without,
            mixture: None,
        };
    let none = Map::new();
    let plain = [32000, 4096, 11008, 32, 2048];
    assert_eq!(llama(&none).unwrap(), config((32, 32, 128), plain, 1e-6, PLAIN, Bias::Without));
    let second = [151_936, 4096, 22016, 32, 32768];
    assert_eq!(qwen2(&none).unwrap(), config((32, 32, 128), second, 1e-6, PLAIN, Bias::With));
    let seeing = [152_064, 8192, 29568, 80, 32768];
    let rope = Rope { theta: 1e6, sections: Some(Sections::Adjoining(vec![16, 24, 24])), ..PLAIN };
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

#[test]
fn qwen3_norms_heads_of_their_own_size() {
    let config = qwen3(&keys(json!({ "attention_bias": true }))).unwrap();
    // The class's, whatever the width is.
    assert_eq!(config.heads, Heads::new(6, 2, 128).unwrap());
    assert_eq!((config.head_norms, config.qkv_bias, config.output_bias), (HeadNorms::With, Bias::With, Bias::With));
    assert_eq!(config.rope, PLAIN);
    let rope = qwen3_multimodal(&keys(json!({ "rope_theta": 5e6, "rope_scaling": {
        "rope_type": "default", "mrope_interleaved": true, "mrope_section": [3, 2, 1],
    } })));
    let sections = Some(Sections::Interleaved([3, 2, 1]));
    assert_eq!(rope.unwrap().rope, Rope { theta: 5e6, sections, scaling: RopeScaling::None });
    let left_out = qwen3_multimodal(&keys(json!({}))).unwrap().rope;
    assert_eq!((left_out.theta, left_out.sections), (5e5, Some(Sections::Interleaved([24, 20, 20]))));
}

#[test]
fn layers_have_experts_where_the_keys_say() {
    let more = json!({ "num_hidden_layers": 6, "decoder_sparse_step": 2, "mlp_only_layers": [3], "num_experts": 4, "num_experts_per_tok": 2 });
    let mixed = |more: Value| qwen3_moe(&keys(more)).unwrap().mixture.unwrap();
    assert_eq!(mixed(more.clone()).dense, [0, 2, 3, 4]);
    assert_eq!(mixed(more).of.weighing, Weighing::Probabilities);
    let of = mixed(json!({ "norm_topk_prob": true, "num_experts": null, "num_local_experts": 8 })).of;
    assert_eq!((of.count, of.chosen, of.inner, of.weighing), (8, 8, 768, Weighing::Renormalised));
    let of = qwen3_moe_multimodal(&keys(json!({}))).unwrap().mixture.unwrap().of;
    assert_eq!((of.count, of.chosen, of.inner, of.weighing), (60, 4, 1408, Weighing::Renormalised));
    let of = aria(&keys(json!({ "moe_intermediate_size": 10 }))).unwrap().mixture.unwrap().of;
    assert_eq!((of.count, of.chosen, of.inner, of.weighing), (8, 2, 10, Weighing::OfChosen));
    assert_eq!(of.shared.unwrap().inner, 20);
}

#[test]
fn experts_that_cannot_be_are_refused_by_their_key() {
    type Reads = fn(&Map<String, Value>) -> vr1_nn::Result<DecoderConfig>;
    let cases: [(Reads, Value, &str); 8] = [
        (qwen3_moe, json!({ "num_experts_per_tok": 200 }), "`num_experts_per_tok`: 200 of 128 experts"),
        (qwen3_moe, json!({ "num_experts": 0 }), "`num_experts`: 0 is not between"),
        (qwen3_moe, json!({ "decoder_sparse_step": 0 }), "`decoder_sparse_step`: 0 is below 1"),
        (qwen3_moe, json!({ "norm_topk_prob": "yes" }), "`norm_topk_prob`"),
        (qwen3_moe, json!({ "mlp_only_layers": "all" }), "`mlp_only_layers`: invalid type"),
        (aria, json!({ "moe_topk": 9 }), "`moe_topk`: 9 of 8 experts (`moe_num_experts`)"),
        (aria, json!({ "moe_num_shared_experts": 0 }), "`moe_num_shared_experts`: 0 is not between"),
        (
            qwen3_multimodal,
            json!({ "rope_scaling": { "mrope_section": [1, 2] } }),
            "`mrope_section`: [1, 2] are not three",
        ),
    ];
    for (read, more, expected) in cases {
        let error = read(&keys(more)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

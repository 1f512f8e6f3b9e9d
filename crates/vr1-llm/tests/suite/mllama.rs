//! The keys of Llama 3.2 Vision's language model.

use serde_json::{Map, Value, json};
use vr1_llm::{DecoderConfig, mllama};
use vr1_nn::{Heads, RopeScaling};

fn read(keys: Value) -> vr1_nn::Result<DecoderConfig> {
    mllama(keys.as_object().unwrap())
}

/// The defaults are those of `MllamaTextConfig` in transformers 5.24.
#[test]
fn a_key_that_is_left_out_has_its_classs_default() {
    let config = mllama(&Map::new()).unwrap();
    let sizes = [config.vocab_size, config.hidden_size, config.intermediate_size, config.num_hidden_layers];
    assert_eq!(sizes, [128_256, 4096, 14336, 40]);
    assert_eq!(config.heads, Heads::new(32, 8, 128).unwrap());
    assert_eq!((config.max_position_embeddings, config.rms_norm_eps), (131_072, 1e-5));
    assert_eq!((config.rope.theta, config.rope.scaling), (5e5, RopeScaling::None));
    assert_eq!(config.cross_attention_layers, [3, 8, 13, 18, 23, 28, 33, 38]);
    // Eight ids are read and never said; the others are those of both tables, which are never one.
    assert_eq!((config.ids(), config.text_layers(), config.tie_word_embeddings), (128_264, 32, false));
    let tied = read(json!({ "tie_word_embeddings": true })).unwrap();
    assert_eq!(tied, config);
    // The usual layers, of those that there are; null says no more than nothing.
    for keys in [json!({ "num_hidden_layers": 9 }), json!({ "num_hidden_layers": 9, "cross_attention_layers": null })] {
        assert_eq!(read(keys).unwrap().cross_attention_layers, [3, 8]);
    }
    let said = read(json!({ "num_hidden_layers": 9, "cross_attention_layers": [5, 1, 5] })).unwrap();
    assert_eq!((said.cross_attention_layers.as_slice(), said.text_layers()), (&[1, 5][..], 7));
}

#[test]
fn what_is_impossible_or_unknown_is_named() {
    for (keys, expected) in [
        (json!({ "cross_attention_layers": [3, 40] }), "`cross_attention_layers`: 40 is none of 40 layers"),
        (json!({ "cross_attention_layers": [-1] }), "`cross_attention_layers`: -1 is none of 40 layers"),
        (
            json!({ "num_hidden_layers": 2, "cross_attention_layers": [0, 1] }),
            "`cross_attention_layers`: no layer is left that attends to the text",
        ),
        (json!({ "cross_attention_layers": "all" }), "`cross_attention_layers`: invalid type"),
        (json!({ "dropout": 0.1 }), "`dropout`: 0.1 is not 0"),
        (json!({ "num_key_value_heads": 5 }), "`num_key_value_heads`: 5 does not divide `num_attention_heads` 32"),
    ] {
        let error = read(keys).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

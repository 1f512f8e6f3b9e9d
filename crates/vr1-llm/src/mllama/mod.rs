//! The language model of Llama 3.2 Vision ([arXiv:2407.21783](https://arxiv.org/abs/2407.21783), section 7): Llama 3.1, with layers between
//! its own that attend to a picture.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use vr1_nn::{Error, Result, Rope, RopeScaling, read_config, with_defaults};

use crate::DecoderConfig;
use crate::decoder::Keys;

/// Rows of the embedding that the output matrix lacks, the picture's token the first of them.
const UNSAID: i64 = 8;

#[derive(Debug, Deserialize)]
struct Own {
    cross_attention_layers: Option<Vec<i64>>,
    dropout: f64,
}

/// What transformers' class has for keys that are left out.
fn defaults() -> Value {
    json!({
        "vocab_size": 128256, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 40,
        "num_attention_heads": 32, "num_key_value_heads": 8, "hidden_act": "silu", "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-5, "tie_word_embeddings": false, "dropout": 0.0,
    })
}

/// Those of its layers that attend across, where the file does not say which.
const CROSS: [i64; 8] = [3, 8, 13, 18, 23, 28, 33, 38];

/// The decoder that the keys of a `text_config` describe. A key that is left out has the default of transformers'
/// `MllamaTextConfig`; the embedding, which has rows that the output matrix lacks, is never tied to it.
///
/// # Errors
/// If a key is of the wrong type or impossible.
pub fn mllama(json: &Map<String, Value>) -> Result<DecoderConfig> {
    let keys = with_defaults(json, defaults());
    let own: Own = read_config(&keys)?;
    if own.dropout != 0.0 {
        return Err(Error::Config(format!("`dropout`: {} is not 0, the only one that is known", own.dropout)));
    }
    let rope = Rope { theta: 5e5, sections: None, scaling: RopeScaling::None };
    let decoder = Keys::read(&keys)?.decoder(Rope::read(&keys, &rope)?)?;
    let count = decoder.num_hidden_layers;
    let usual = || CROSS.into_iter().filter(|layer| *layer < count).collect();
    let mut layers = own.cross_attention_layers.unwrap_or_else(usual);
    layers.sort_unstable();
    layers.dedup();
    if let Some(layer) = layers.iter().find(|layer| !(0..count).contains(*layer)) {
        return Err(Error::Config(format!("`cross_attention_layers`: {layer} is none of {count} layers")));
    }
    if layers.len() as i64 == count {
        return Err(Error::Config("`cross_attention_layers`: no layer is left that attends to the text".to_owned()));
    }
    Ok(DecoderConfig { cross_attention_layers: layers, unsaid_rows: UNSAID, tie_word_embeddings: false, ..decoder })
}

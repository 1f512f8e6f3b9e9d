use serde::Deserialize;
use serde_json::{Map, Value};
use vr1_nn::{Activation, Bias, Error, Heads, MixtureConfig, Result, Rope, check_sizes, read_config};

/// What a decoder is made of; the fields that a checkpoint's `config.json` has carry its names.
#[derive(Debug, Clone, PartialEq)]
pub struct DecoderConfig {
    /// Rows of the output matrix: the ids that it says.
    pub vocab_size: i64,
    /// Width of the residual stream.
    pub hidden_size: i64,
    /// Width inside the gated MLP.
    pub intermediate_size: i64,
    /// Layers.
    pub num_hidden_layers: i64,
    /// The attention heads.
    pub heads: Heads,
    /// The MLP's activation.
    pub hidden_act: Activation,
    /// The longest sequence, in tokens.
    pub max_position_embeddings: i64,
    /// The norms' epsilon.
    pub rms_norm_eps: f64,
    /// Whether the output matrix is the embedding.
    pub tie_word_embeddings: bool,
    /// The rotary embedding.
    pub rope: Rope,
    /// Whether the projections to queries, keys and values have biases.
    pub qkv_bias: Bias,
    /// Whether the projection out of attention has one.
    pub output_bias: Bias,
    /// Whether the MLP's projections have biases.
    pub mlp_bias: Bias,
    /// The layers that attend across, to what is shown beside the text, in place of the text.
    pub cross_attention_layers: Vec<i64>,
    /// Rows of the embedding beyond those of the output matrix: ids that are read and never said.
    pub unsaid_rows: i64,
    /// Whether queries and keys are normed, each head for itself, before they are rotated.
    pub head_norms: HeadNorms,
    /// What layers have in place of an MLP, where some have.
    pub mixture: Option<Mixed>,
}

impl DecoderConfig {
    /// Rows of the embedding: the ids that it reads.
    pub fn ids(&self) -> i64 {
        self.vocab_size + self.unsaid_rows
    }

    /// How many of its layers attend to the text.
    pub fn text_layers(&self) -> i64 {
        self.num_hidden_layers - self.cross_attention_layers.len() as i64
    }
}

/// Whether queries and keys are normed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadNorms {
    /// By `q_norm` and `k_norm`, RMSNorms of a head's size.
    With,
    /// They are not.
    Without,
}

/// A mixture of experts, and the layers that have none.
#[derive(Debug, Clone, PartialEq)]
pub struct Mixed {
    /// What it is made of.
    pub of: MixtureConfig,
    /// The numbers of the layers that have an MLP all the same.
    pub dense: Vec<i64>,
}

/// The keys that all families have; what is left out has its class's default by then.
#[derive(Debug, Deserialize)]
pub(crate) struct Keys {
    vocab_size: i64,
    hidden_size: i64,
    intermediate_size: i64,
    num_hidden_layers: i64,
    num_attention_heads: i64,
    num_key_value_heads: Option<i64>,
    head_dim: Option<i64>,
    hidden_act: Activation,
    max_position_embeddings: i64,
    rms_norm_eps: f64,
    tie_word_embeddings: bool,
}

impl Keys {
    pub(crate) fn read(json: &Map<String, Value>) -> Result<Self> {
        let keys: Self = read_config(json)?;
        check_sizes(&[
            ("vocab_size", keys.vocab_size),
            ("hidden_size", keys.hidden_size),
            ("intermediate_size", keys.intermediate_size),
            ("num_hidden_layers", keys.num_hidden_layers),
            ("num_attention_heads", keys.num_attention_heads),
            ("num_key_value_heads", keys.num_key_value_heads.unwrap_or(1)),
            ("head_dim", keys.head_dim.unwrap_or(1)),
            ("max_position_embeddings", keys.max_position_embeddings),
        ])?;
        Ok(keys)
    }

    /// A decoder with these keys, this rotary embedding and no biases.
    pub(crate) fn decoder(self, rope: Rope) -> Result<DecoderConfig> {
        Ok(DecoderConfig {
            heads: self.heads()?,
            vocab_size: self.vocab_size,
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            num_hidden_layers: self.num_hidden_layers,
            hidden_act: self.hidden_act,
            max_position_embeddings: self.max_position_embeddings,
            rms_norm_eps: self.rms_norm_eps,
            tie_word_embeddings: self.tie_word_embeddings,
            rope,
            qkv_bias: Bias::Without,
            output_bias: Bias::Without,
            mlp_bias: Bias::Without,
            cross_attention_layers: Vec::new(),
            unsaid_rows: 0,
            head_norms: HeadNorms::Without,
            mixture: None,
        })
    }

    fn heads(&self) -> Result<Heads> {
        let (hidden, count) = (self.hidden_size, self.num_attention_heads);
        let key_value = self.num_key_value_heads.unwrap_or(count);
        if count % key_value != 0 {
            let reason = format!("`num_key_value_heads`: {key_value} does not divide `num_attention_heads` {count}");
            return Err(Error::Config(reason));
        }
        let dim = match self.head_dim {
            Some(dim) => dim,
            None if hidden % count == 0 => hidden / count,
            None => {
                let reason = format!("`num_attention_heads`: {count} does not divide `hidden_size` {hidden}");
                return Err(Error::Config(reason));
            }
        };
        Heads::new(count, key_value, dim)
    }
}

use std::sync::Arc;

use serde_json::{Map, Value};
use vr1_processor::Tokenizer;

/// What ids spell, and which are never sampled.
pub(crate) struct Vocabulary {
    pub(crate) tokenizer: Arc<Tokenizer>,
    /// The logit bias that keeps a server from ids that stand for media or spell nothing, as the engine in this process is kept.
    pub(crate) never: Value,
}

impl Vocabulary {
    /// Of a model whose matrix has so many rows.
    pub(crate) fn new(tokenizer: Arc<Tokenizer>, rows: i64) -> Self {
        // As far as servers let a bias go; nothing is left of a probability.
        let never = tokenizer.unreachable_ids(rows).into_iter().map(|id| (id.to_string(), Value::from(-100.0)));
        Self { never: never.collect::<Map<_, _>>().into(), tokenizer }
    }

    /// Whether every id may be sampled.
    pub(crate) fn is_whole(&self) -> bool {
        self.never.as_object().is_none_or(Map::is_empty)
    }
}

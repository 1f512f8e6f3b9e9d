use serde::{Deserialize, Serialize};

/// Ends a run whose held-out score gets no better. Counted are the evaluations of the last stage, `evaluation.every_steps` apart; the
/// checkpoint of the best is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StopConfig {
    /// The score, such as `in_domain/accuracy`.
    pub metric: String,
    /// After how many evaluations in a row that were no better than the best before them.
    pub patience: u64,
    /// By how much more than this a score must be better to be so.
    #[serde(default)]
    pub min_delta: f64,
    /// Which way is better.
    #[serde(default)]
    pub mode: Better,
}

/// Which way a score gets better.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// Up.
    #[default]
    Max,
    /// Down.
    Min,
}

impl Better {
    /// Whether `score` is better than `other` by more than `delta`.
    pub(crate) fn beats(self, score: f64, other: f64, delta: f64) -> bool {
        match self {
            Self::Max => score - other > delta,
            Self::Min => other - score > delta,
        }
    }
}

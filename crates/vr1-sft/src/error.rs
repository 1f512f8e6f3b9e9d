/// What can be wrong with tensors, spans or settings.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting is outside its range.
    #[error("`{field}` must be {expected}, but it is {got}")]
    Setting {
        /// The field's name.
        field: &'static str,
        /// The range that is allowed.
        expected: &'static str,
        /// The value given.
        got: f64,
    },
    /// A tensor that the settings call for was not handed in.
    #[error("`{name}` is needed because {reason}")]
    Missing {
        /// The argument's name.
        name: &'static str,
        /// The setting that needs it.
        reason: &'static str,
    },
    /// No label is left to learn from.
    #[error("every label is ignored (-100) or has weight 0: there is nothing to learn from")]
    NoLabels,
    /// Logits or log-probabilities hold NaN or ±∞ at positions that count.
    #[error("the loss is not finite: `{name}` holds NaN or infinite values at positions that count")]
    NonFinite {
        /// The argument's name.
        name: &'static str,
    },
    /// A span does not lie inside its sequence.
    #[error("span {index} is {start}..{end}, outside a sequence of {tokens} token(s)")]
    Span {
        /// Its place in the list.
        index: usize,
        /// Its first token.
        start: usize,
        /// The token after its last.
        end: usize,
        /// The length of the sequence.
        tokens: usize,
    },
    /// A sequence is longer than a row of the packing.
    #[error("sequence {sequence} has {tokens} tokens, more than a row's {capacity}")]
    TooLong {
        /// Its place.
        sequence: usize,
        /// Its length.
        tokens: usize,
        /// The length of a row.
        capacity: usize,
    },
    /// Shapes, kinds or devices that do not go together.
    #[error(transparent)]
    Tensor(#[from] vr1_ops::Error),
    /// libtorch refused an operation.
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What can be wrong with tensors or settings.
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
    /// A setting has been changed that the chosen loss has no place for.
    #[error("`{field}` is set, but the loss {loss:?} does not use it")]
    Unused {
        /// The field's name.
        field: &'static str,
        /// The chosen loss.
        loss: crate::DpoLoss,
    },
    /// A group without a completion.
    #[error("group {group} has size 0: leave it out")]
    EmptyGroup {
        /// Its place.
        group: usize,
    },
    /// The sizes of groups do not add up to the number of scores.
    #[error("the sizes of {groups} group(s) add up to {total}, but there are {scores} score(s)")]
    GroupSizes {
        /// How many scores there are.
        scores: usize,
        /// How many groups.
        groups: usize,
        /// What their sizes add up to.
        total: usize,
    },
    /// A tensor that the settings call for was not handed in.
    #[error("`{name}` is needed because {reason}")]
    Missing {
        /// The argument's name.
        name: &'static str,
        /// The setting that needs it.
        reason: &'static str,
    },
    /// A tensor holds NaN or ±∞.
    #[error("`{name}` holds {count} value(s) that are NaN or infinite")]
    NonFinite {
        /// The argument's name.
        name: &'static str,
        /// How many values.
        count: i64,
    },
    /// There is not a single pair.
    #[error("the batch is empty: a mean over no pair does not exist")]
    EmptyBatch,
    /// The inputs are finite but the loss is not.
    #[error("the loss overflows: the largest log-ratio is {log_ratio:.1}, the policies are too far apart")]
    Overflow {
        /// The largest absolute difference between policy and reference.
        log_ratio: f64,
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

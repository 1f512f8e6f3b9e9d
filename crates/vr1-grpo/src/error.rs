/// What can be wrong with rewards, tensors or settings.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The rewards do not divide into groups of the size given.
    #[error("{rewards} reward(s) do not divide into groups of group_size = {group_size}")]
    GroupSize {
        /// How many rewards there are.
        rewards: usize,
        /// The group size given.
        group_size: usize,
    },
    /// Groups of one completion have neither a spread nor another completion to be compared with.
    #[error("group_size = 1, but {needs}: sample at least 2 completions per prompt")]
    GroupOfOne {
        /// What needs the second completion.
        needs: &'static str,
    },
    /// A group without a completion.
    #[error("group {group} has size 0: leave it out")]
    EmptyGroup {
        /// Its place.
        group: usize,
    },
    /// The sizes of groups do not add up to the number of rewards.
    #[error("the sizes of {groups} group(s) add up to {total}, but there are {rewards} reward(s)")]
    GroupSizes {
        /// How many rewards there are.
        rewards: usize,
        /// How many groups.
        groups: usize,
        /// What their sizes add up to.
        total: usize,
    },
    /// One of several groups has neither a spread nor another completion to be compared with.
    #[error("group {group} has one completion, but {needs}: sample at least 2 completions per prompt, or leave it out")]
    LoneCompletion {
        /// Its place.
        group: usize,
        /// What needs the second completion.
        needs: &'static str,
    },
    /// A slice is not as long as another one that it goes with.
    #[error("`{name}` has {got} value(s), but `{with}` calls for {expected}")]
    Length {
        /// The argument's name.
        name: &'static str,
        /// The argument that fixes the expected length.
        with: &'static str,
        /// The expected length.
        expected: usize,
        /// The length it has.
        got: usize,
    },
    /// A sequence's slice is not as long as another one that it goes with.
    #[error("`{name}` of sequence {sequence} has {got} value(s), but `{with}` of it has {expected}")]
    SequenceLength {
        /// The argument's name.
        name: &'static str,
        /// The argument that fixes the expected length.
        with: &'static str,
        /// The sequence's place.
        sequence: usize,
        /// The expected length.
        expected: usize,
        /// The length it has.
        got: usize,
    },
    /// A reward is infinite. (NaN is not an error: it says that no reward applies.)
    #[error("reward {index} is {value}: a reward must be finite, or NaN where none applies")]
    InfiniteReward {
        /// Its place.
        index: usize,
        /// The value.
        value: f32,
    },
    /// Finite rewards whose advantage or return is beyond the largest f32.
    #[error("the {name} of reward {index}, which is {reward:e}, does not fit an f32: scale the rewards down")]
    TooLarge {
        /// What does not fit.
        name: &'static str,
        /// The reward's place.
        index: usize,
        /// The reward.
        reward: f32,
    },
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
    /// A tensor or a slice holds NaN or ±∞ where it counts.
    #[error("`{name}` holds {count} value(s) that are NaN or infinite at positions that count")]
    NonFinite {
        /// The argument's name.
        name: &'static str,
        /// How many values.
        count: i64,
    },
    /// The mask is 0 everywhere.
    #[error("`completion_mask` is 0 everywhere: the batch has no token to learn from")]
    EmptyMask,
    /// The inputs are finite but an exponential of their differences, or the loss, is not.
    #[error(
        "`{name}` overflows: the largest log-ratio is {log_ratio:.1}; the policies are too far apart \
         (`log_ratio_bound` and `kl_log_ratio_bound` bound it) or the advantages too large"
    )]
    Overflow {
        /// What overflowed.
        name: &'static str,
        /// The largest absolute difference of log-probabilities in it.
        log_ratio: f64,
    },
    /// Shapes, kinds or devices that do not go together.
    #[cfg(feature = "tch")]
    #[error(transparent)]
    Tensor(#[from] vr1_ops::Error),
    /// libtorch refused an operation.
    #[cfg(feature = "tch")]
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

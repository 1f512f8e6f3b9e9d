/// What can go wrong in an update. The parameters, their moments and their gradients are then as they were before it, but for [`Error::Torn`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting out of its range.
    #[error("{field} is {value}, and must be {allowed}")]
    Setting {
        /// The setting's place.
        field: &'static str,
        /// Its value.
        value: String,
        /// What is allowed.
        allowed: &'static str,
    },
    /// A group of the optimizer that has no parameter.
    #[error("{field}: {pattern:?} fits no parameter that is trained{left}")]
    NothingMatches {
        /// The place of the pattern in the recipe.
        field: String,
        /// The pattern.
        pattern: String,
        /// Where others have what it fits, that.
        left: &'static str,
    },
    /// Every parameter is frozen.
    #[error("there is nothing to train: every parameter is frozen")]
    NothingToTrain,
    /// f16 parameters: their gradients overflow without a loss scale, and there is none here.
    #[error("f16 weights are not trained: their gradients overflow; train in bf16 or f32")]
    Half,
    /// Signals that do not go with the groups.
    #[error("{what}: {found} for {wanted} sequences")]
    Count {
        /// Which list.
        what: &'static str,
        /// How many sequences there are.
        wanted: usize,
        /// How many it has.
        found: usize,
    },
    /// A sequence that a loss cannot take.
    #[error("sample `{sample}`: {reason}")]
    Sequence {
        /// The sample.
        sample: String,
        /// What is wrong.
        reason: String,
    },
    /// There is nothing to learn from.
    #[error("step {step}: not one token to learn from")]
    Nothing {
        /// The step, from 1.
        step: u64,
    },
    /// A number that is NaN or infinite.
    #[error("step {step}: {what} is not finite; nothing was changed")]
    NotFinite {
        /// What is not finite: a log-probability of a sample, the loss, or a parameter or its gradient.
        what: String,
        /// The step, from 1.
        step: u64,
    },
    /// There was no room for a step.
    #[error(
        "step {step}: {device} is out of memory: {wanted} more were asked for; nothing was changed. A step takes less with a \
         smaller `tokens_per_micro_batch`, with `recompute: layers`, with moments of 8 bits or kept on the host \
         (`optimizer.moments`, `optimizer.offload`)"
    )]
    OutOfMemory {
        /// The step, from 1.
        step: u64,
        /// Whose memory; of a GPU also how much it has, and how much of it is free.
        device: String,
        /// How much was asked for.
        wanted: String,
    },
    /// The update broke off half way: parameters and moments are not of one step, and are not saved.
    #[error(
        "step {step}: the update broke off half way, and the weights are of no step; go on from the last checkpoint: {reason}"
    )]
    Torn {
        /// The step, from 1.
        step: u64,
        /// What broke it off.
        reason: String,
    },
    /// The processes of a run were not launched as they must be.
    #[error("the processes of this run: {reason}")]
    Launch {
        /// What is missing or wrong.
        reason: String,
    },
    /// Two ranks did not begin with the same.
    #[error("ranks 0 and {rank} did not begin with the same: {name} is {first} on rank 0, and {second} on rank {rank}")]
    Unlike {
        /// The rank that differs from rank 0.
        rank: usize,
        /// In what.
        name: String,
        /// What rank 0 has.
        first: String,
        /// What the other has.
        second: String,
    },
    /// Another rank failed in what all do together.
    #[error("rank {rank} failed: {reason}")]
    Rank {
        /// Which.
        rank: usize,
        /// Why.
        reason: String,
    },
    /// The ranks no longer speak to each other.
    #[error("the processes of this run are no longer together: {reason}")]
    Lost {
        /// The rank that says so.
        rank: usize,
        /// Why.
        reason: String,
    },
    /// A loss asks for a reference, and none is kept.
    #[error("the loss compares with a reference, and the learner keeps none")]
    NoReference,
    /// A file of a checkpoint does not hold what a resumed run needs.
    #[error("{}: {reason}", path.display())]
    State {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// From the model.
    #[error(transparent)]
    Vlm(#[from] vr1_vlm::Error),
    /// From sequences.
    #[error(transparent)]
    Rollout(#[from] vr1_rollout::Error),
    /// From the supervised loss.
    #[error(transparent)]
    Sft(#[from] vr1_sft::Error),
    /// From a preference loss.
    #[error(transparent)]
    Dpo(#[from] vr1_dpo::Error),
    /// From a policy loss.
    #[error(transparent)]
    Grpo(#[from] vr1_grpo::Error),
    /// From shared tensor arithmetic.
    #[error(transparent)]
    Ops(#[from] vr1_ops::Error),
    /// From the border to libtorch.
    #[error(transparent)]
    Torch(#[from] vr1_torch::Error),
    /// From libtorch.
    #[error("libtorch: {0}")]
    Tch(#[from] tch::TchError),
    /// From a loss of the user's own.
    #[error("{0}")]
    Own(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// The same error; if it came of a lack of memory, one that says what helps.
    pub(crate) fn at(self, step: u64) -> Self {
        let torch = match self {
            Self::Torch(error) | Self::Vlm(vr1_vlm::Error::Torch(error)) => error,
            Self::Tch(error)
            | Self::Ops(vr1_ops::Error::Torch(error))
            | Self::Grpo(vr1_grpo::Error::Torch(error))
            | Self::Dpo(vr1_dpo::Error::Torch(error))
            | Self::Sft(vr1_sft::Error::Torch(error)) => error.into(),
            other => return other,
        };
        match torch {
            vr1_torch::Error::OutOfMemory { device, wanted } => Self::OutOfMemory { step, device, wanted },
            other => Self::Torch(other),
        }
    }
}

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong in a training run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting out of its range.
    #[error("{field} is {value}, and must be {allowed}")]
    Setting {
        /// The setting's place in the recipe.
        field: &'static str,
        /// Its value.
        value: String,
        /// What is allowed.
        allowed: &'static str,
    },
    /// A text of the recipe is no template.
    #[error("the text {text:?} is no template: {reason}")]
    Template {
        /// The text.
        text: String,
        /// Where and why.
        reason: String,
    },
    /// A template asks for something a sample does not have.
    #[error("sample `{sample}`: {reason}")]
    Field {
        /// The sample.
        sample: String,
        /// What is missing.
        reason: String,
    },
    /// A recipe cannot be used in the way that was asked.
    #[error("{0}")]
    Recipe(String),
    /// A file of a checkpoint does not hold what a resumed run needs.
    #[error("{}: {reason}", path.display())]
    State {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A server's log-probabilities after a push are not those of the weights that it was given.
    #[error(
        "{server}: after the weights of version {version} were handed over, the log-probabilities of a test prompt are {gap:.6} nats a token off the \
         trainer's own, where {tolerance} is allowed (`canary_tolerance`): it has other weights, another precision, or sees another prompt"
    )]
    Canary {
        /// The server.
        server: String,
        /// The weights that it was given.
        version: u64,
        /// The mean difference.
        gap: f64,
        /// What is allowed.
        tolerance: f64,
    },
    /// A server answers after a push as it did before, and the trainer does not.
    #[error(
        "{server}: the weights of version {version} did not get there: a test prompt's tokens and log-probabilities are the very same as before, \
         and the trainer's own moved by {moved:.6} nats a token"
    )]
    NotLanded {
        /// The server.
        server: String,
        /// The weights that it was given.
        version: u64,
        /// How far the trainer's own moved on the same tokens, on average.
        moved: f64,
    },
    /// Nothing was learnt for as long as the recipe allows.
    #[error("step {step}: {reason}; `stop_after_idle_steps` ends the run")]
    Idle {
        /// The last step that was taken.
        step: u64,
        /// What taught nothing, and how often.
        reason: String,
    },
    /// What a run was begun with is another now.
    #[error(
        "{}: the run was begun with something else, and would not be the same: {}; `--accept-changes` goes on with what there is now, and \
         writes it down",
        path.display(),
        changed.join("; ")
    )]
    Changed {
        /// The run's folder.
        path: std::path::PathBuf,
        /// What is another, by name.
        changed: Vec<String>,
    },
    /// One of several processes that train together failed.
    #[error("rank {rank}: {source}")]
    OfRank {
        /// Which.
        rank: usize,
        /// Why.
        source: Box<Self>,
    },
    /// From a recipe's text.
    #[error(transparent)]
    Yaml(#[from] vr1_run::YamlError),
    /// From the run's folder.
    #[error(transparent)]
    Run(#[from] vr1_run::RunError),
    /// From servers.
    #[error(transparent)]
    Remote(#[from] vr1_remote::Error),
    /// From models at work on rows.
    #[error(transparent)]
    Agent(#[from] vr1_agent::Error),
    /// From scoring.
    #[error(transparent)]
    Eval(#[from] vr1_eval::Error),
    /// From the curriculum.
    #[error(transparent)]
    Curriculum(#[from] vr1_curriculum::Error),
    /// From samples and their files.
    #[error(transparent)]
    Data(#[from] vr1_data::Error),
    /// From samples made into prompts.
    #[error(transparent)]
    Processor(#[from] vr1_processor::Error),
    /// From the model.
    #[error(transparent)]
    Vlm(Box<vr1_vlm::Error>),
    /// From layers and their weights.
    #[error(transparent)]
    Weights(#[from] vr1_nn::Error),
    /// From sampling.
    #[error(transparent)]
    Rollout(#[from] vr1_rollout::Error),
    /// From rewards.
    #[error(transparent)]
    Reward(#[from] vr1_reward::Error),
    /// From the learner.
    #[error(transparent)]
    Learn(Box<vr1_learn::Error>),
    /// From preference pairs.
    #[error(transparent)]
    Dpo(#[from] vr1_dpo::Error),
    /// From the GRPO loss or its advantages.
    #[error(transparent)]
    Grpo(#[from] vr1_grpo::Error),
    /// From libtorch.
    #[error("libtorch: {0}")]
    Tch(#[from] tch::TchError),
}

// The largest of them, which every result would have to make room for.
impl From<vr1_vlm::Error> for Error {
    fn from(error: vr1_vlm::Error) -> Self {
        Self::Vlm(Box::new(error))
    }
}

impl From<vr1_learn::Error> for Error {
    fn from(error: vr1_learn::Error) -> Self {
        Self::Learn(Box::new(error))
    }
}

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

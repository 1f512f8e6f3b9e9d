/// Why a server's model gave no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting out of its range.
    #[error("{field} is {value}, and must be {allowed}")]
    Setting {
        /// The setting.
        field: &'static str,
        /// Its value.
        value: String,
        /// What is allowed.
        allowed: &'static str,
    },
    /// The environment has no key of that name.
    #[error("{endpoint}: its key should be in the environment variable `{variable}`, which is not set")]
    Key {
        /// What is asked.
        endpoint: String,
        /// The variable.
        variable: String,
    },
    /// The server was not reached, closed the connection, or took too long, each time it was asked.
    #[error("{endpoint}: model `{model}`: {source}{}", times(*tries))]
    Lost {
        /// What was asked.
        endpoint: String,
        /// The model.
        model: String,
        /// How often.
        tries: usize,
        /// What happened the last time.
        source: Box<ureq::Error>,
    },
    /// The server refused.
    #[error("{endpoint}: model `{model}`: status {status}{}: {said}", times(*tries))]
    Status {
        /// What was asked.
        endpoint: String,
        /// The model.
        model: String,
        /// How often.
        tries: usize,
        /// Its status.
        status: u16,
        /// The server's words.
        said: String,
    },
    /// What came back is no JSON.
    #[error("{endpoint}: model `{model}`: the server's answer is no JSON: {source}; it said {said:?}")]
    Json {
        /// What was asked.
        endpoint: String,
        /// The model.
        model: String,
        /// Where and why.
        source: serde_json::Error,
        /// The server's words.
        said: String,
    },
    /// What came back holds no words of the model.
    #[error("{endpoint}: model `{model}` should answer in words, and said {said}")]
    Silent {
        /// What was asked.
        endpoint: String,
        /// The model.
        model: String,
        /// The server's answer.
        said: String,
    },
    /// A conversation holds what servers are not shown.
    #[error("a server is shown words, pictures and frames, and not {what}")]
    Unshowable {
        /// What it holds.
        what: &'static str,
    },
    /// A prompt that servers cannot be asked.
    #[error("sample `{sample}`: it cannot be put to a server: {reason}")]
    Prompt {
        /// The sample.
        sample: String,
        /// Why.
        reason: String,
    },
    /// A server made another prompt of a conversation than we did: it has another tokenizer, template or picture settings.
    #[error(
        "{server}: sample `{sample}`: its prompt is another than ours from token {place} on ({} tokens where we have {}): it has …{theirs:?}… and we \
         have …{ours:?}…; do tokenizer, chat template and picture settings of the two agree?",
        lengths[1], lengths[0]
    )]
    PromptIds {
        /// The server.
        server: String,
        /// The sample.
        sample: String,
        /// The first token that differs.
        place: usize,
        /// How long ours and the server's are.
        lengths: [usize; 2],
        /// Ours, from two before that place on.
        ours: Vec<i64>,
        /// The server's, from the same place.
        theirs: Vec<i64>,
    },
    /// An answer that is none.
    #[error("{server}: sample `{sample}`: {reason}; it said {said}")]
    Answer {
        /// The server.
        server: String,
        /// The sample.
        sample: String,
        /// What is wrong with it.
        reason: String,
        /// The server's answer.
        said: String,
    },
    /// An answer that was broken off each time it was asked for.
    #[error("{server}: the answer was broken off (`finish_reason: \"abort\"`){}", times(*tries))]
    BrokenOff {
        /// The server.
        server: String,
        /// How often it was asked.
        tries: usize,
    },
    /// All servers were left.
    #[error("there is no server left to ask")]
    NoServer,
    /// A server that holds another model.
    #[error("{server}: it holds no model `{wanted}`, but {names}")]
    OtherModel {
        /// The server.
        server: String,
        /// The model that was wanted.
        wanted: String,
        /// Those that it has.
        names: String,
    },
    /// Completions whose distribution is not known cannot be learnt from.
    #[error(
        "{servers}: with this temperature or these limits it is not known by which probabilities tokens are drawn: start vLLM with `--logprobs-mode \
         processed_logprobs` and VLLM_SERVER_DEV_MODE=1, or sample at temperature 1 without top_k, top_p and min_p"
    )]
    Mode {
        /// The servers.
        servers: String,
    },
    /// A server that takes no ids beside pictures.
    #[error(
        "{endpoint}: it has no such address: prompts in whose later turns pictures are shown go by token ids, for which vLLM is started with `--enable-scale-out`"
    )]
    NoTokens {
        /// What was asked.
        endpoint: String,
    },
    /// Servers are asked to search.
    #[error("servers draw tokens, and do not search with beams: that is for the engine in this process")]
    Beams,
    /// Weights for a server that takes none.
    #[error(
        "a server of kind `openai` takes no weights, and says no token's log-probability: it can be evaluated and make rows, and nothing is learnt with it"
    )]
    TakesNone,
    /// A server did not take weights.
    #[error("{endpoint}: it did not take the weights of version {version}: {reason}")]
    NotTaken {
        /// What was asked.
        endpoint: String,
        /// Which weights.
        version: u64,
        /// Why.
        reason: String,
    },
    /// Weights could not be given to servers, and none of them says why.
    #[error("{servers}: the weights of version {version} cannot be broadcast to them: {reason}")]
    NotGiven {
        /// The servers.
        servers: String,
        /// Which weights.
        version: u64,
        /// Why.
        reason: String,
    },
    /// Weights that are older than those servers have.
    #[error("weights of version {given} for servers that have version {has}: a version never goes backwards")]
    Backwards {
        /// The version that they have.
        has: u64,
        /// The version that was to replace it.
        given: u64,
    },
    /// Weights could not be written for servers.
    #[error("{}: the weights cannot be written for the servers: {source}", place.display())]
    Written {
        /// Where.
        place: std::path::PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A thread cannot be had.
    #[error("there are no threads to ask servers with: {0}")]
    Thread(std::io::Error),
    /// A picture cannot be shown.
    #[error(transparent)]
    Picture(#[from] vr1_data::Error),
}

impl Error {
    /// Whether the server refused this very request, and others may well be answered: its status is 400, 413 or 422.
    #[must_use]
    pub fn is_about_the_request(&self) -> bool {
        matches!(self, Self::Status { status: 400 | 413 | 422, .. } | Self::Picture(_))
    }
}

fn times(tries: usize) -> String {
    if tries > 1 { format!(" (asked {tries} times)") } else { String::new() }
}

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

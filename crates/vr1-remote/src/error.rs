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

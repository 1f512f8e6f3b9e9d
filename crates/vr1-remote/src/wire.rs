use std::time::Duration;

use serde_json::Value;

use crate::{Error, Result};

/// The most bytes that an answer may have, and that are told of one that is no answer.
const LONGEST_ANSWER: u64 = 256 << 20;
const TOLD: usize = 2000;

/// How servers are reached. Clones share the connections.
#[derive(Clone)]
pub(crate) struct Wire {
    agent: ureq::Agent,
    key: Option<String>,
}

/// Why a server did not answer once.
pub(crate) enum Failed {
    /// It was not reached, closed, or took too long.
    Lost(ureq::Error),
    /// It said no, and when it may be asked again.
    Status(u16, String, Option<Duration>),
    /// It said something else than JSON.
    Json(serde_json::Error, String),
}

/// The server's key from the environment, where it wants one.
pub(crate) fn key_of(variable: Option<&String>, endpoint: &str) -> Result<Option<String>> {
    let key = |name: &String| {
        let missing = || Error::Key { endpoint: endpoint.to_owned(), variable: name.clone() };
        std::env::var(name).ok().filter(|key| !key.is_empty()).ok_or_else(missing)
    };
    variable.map(key).transpose()
}

impl Wire {
    /// Connections that are kept open where `at_once` threads ask.
    pub(crate) fn new(key: Option<String>, at_once: usize) -> Self {
        let config = ureq::Agent::config_builder().http_status_as_error(false);
        let agent = config.max_idle_connections(2 * at_once.max(8)).max_idle_connections_per_host(at_once.max(8));
        Self { agent: agent.build().into(), key }
    }

    pub(crate) fn with_key(self, key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..self }
    }

    /// What a server answers to a body of JSON, within so long.
    pub(crate) fn post(&self, url: &str, body: &[u8], left: Duration) -> Result<Vec<u8>, Failed> {
        let mut request = self.agent.post(url).content_type("application/json");
        if let Some(key) = &self.key {
            request = request.header("Authorization", format!("Bearer {key}"));
        }
        said(request.config().timeout_global(Some(left)).build().send(body))
    }

    /// What a server has at `url`, within so long.
    pub(crate) fn get(&self, url: &str, left: Duration) -> Result<Vec<u8>, Failed> {
        let mut request = self.agent.get(url);
        if let Some(key) = &self.key {
            request = request.header("Authorization", format!("Bearer {key}"));
        }
        said(request.config().timeout_global(Some(left)).build().call())
    }
}

fn said(response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Vec<u8>, Failed> {
    let mut response = response.map_err(Failed::Lost)?;
    let status = response.status();
    let after = response.headers().get("retry-after").and_then(|after| wait(after.to_str().ok()?));
    let said = response.body_mut().with_config().limit(LONGEST_ANSWER).read_to_vec();
    if !status.is_success() {
        // Why it refuses is worth having, and no more than that.
        return Err(Failed::Status(status.as_u16(), told(&said.unwrap_or_default()), after));
    }
    said.map_err(Failed::Lost)
}

/// An answer that is to be JSON.
pub(crate) fn json_of(said: &[u8]) -> Result<Value, Failed> {
    serde_json::from_slice(said).map_err(|error| Failed::Json(error, told(said)))
}

impl Failed {
    /// Whether the server may answer when it is asked again, and when it says so itself. What it answered stays what it is.
    pub(crate) fn passes(&self) -> (bool, Option<Duration>) {
        match self {
            Self::Lost(ureq::Error::BadUri(_) | ureq::Error::Http(_) | ureq::Error::BodyExceedsLimit(_)) => {
                (false, None)
            }
            Self::Lost(_) => (true, None),
            Self::Status(status, _, after) => (matches!(status, 408 | 425 | 429 | 500..), *after),
            Self::Json(..) => (false, None),
        }
    }
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Lost(error) => write!(f, "{error}"),
            Self::Status(status, said, _) => write!(f, "status {status}: {said}"),
            Self::Json(error, said) => write!(f, "the server's answer is no JSON: {error}; it said {said:?}"),
        }
    }
}

/// How long a `Retry-After` says to wait: seconds, or a date.
fn wait(after: &str) -> Option<Duration> {
    if let Ok(seconds) = after.trim().parse::<f64>() {
        return Duration::try_from_secs_f64(seconds.clamp(0.0, 1e9)).ok();
    }
    let date = chrono::DateTime::parse_from_rfc2822(after.trim()).ok()?;
    Some((date.to_utc() - chrono::Utc::now()).to_std().unwrap_or_default())
}

/// The beginning of what a server said, on one line.
pub(crate) fn told(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(TOLD) {
        Some((end, _)) => format!("{} …", &line[..end]),
        None if line.is_empty() => "nothing".to_owned(),
        None => line,
    }
}

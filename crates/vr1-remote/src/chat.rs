use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::gate::{Gate, sleep_until};
use crate::{ChatAnswer, ChatRequest, Error, Prefill, Result, ServerConfig};

/// How long the first pause is before a server is asked again; each later one is twice as long, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The most bytes that an answer may have, and that are told of one that is no answer.
const LONGEST_ANSWER: u64 = 256 << 20;
const TOLD: usize = 2000;

/// A model at `URL/chat/completions`. Clones share the connections and the limits.
#[derive(Clone)]
pub struct Chat {
    endpoint: String,
    model: String,
    key: Option<String>,
    prefill: Prefill,
    deadline: Duration,
    timeout: Option<Duration>,
    agent: ureq::Agent,
    gate: Arc<Gate>,
}

impl fmt::Debug for Chat {
    // Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { endpoint, model, deadline, .. } = self;
        f.debug_struct("Chat")
            .field("endpoint", endpoint)
            .field("model", model)
            .field("deadline", deadline)
            .finish_non_exhaustive()
    }
}

/// Why a server did not answer once.
enum Failed {
    /// It was not reached, closed, or took too long.
    Lost(ureq::Error),
    /// It said no, and when it may be asked again.
    Status(u16, String, Option<Duration>),
    /// It said something else than JSON.
    Json(serde_json::Error, String),
}

impl Chat {
    /// The model of a server, with its key from the environment.
    ///
    /// # Errors
    /// If a setting is out of its range, or the key's variable is not set.
    pub fn open(server: &ServerConfig) -> Result<Self> {
        server.validate()?;
        let chat = Self::unlimited(&server.url, &server.name).with_deadline(server.deadline());
        let key = |name: &String| {
            let missing = || Error::Key { endpoint: chat.endpoint.clone(), variable: name.clone() };
            std::env::var(name).ok().filter(|key| !key.is_empty()).ok_or_else(missing)
        };
        let key = server.key_env.as_ref().map(key).transpose()?;
        let gate = Arc::new(Gate::new(server.at_once, server.requests_per_minute));
        Ok(Self { key, prefill: server.prefill, timeout: server.timeout(), gate, ..chat })
    }

    /// The model `model` of the server at `url`, with neither key nor limits; an answer may take ten minutes.
    #[must_use]
    pub fn unlimited(url: &str, model: &str) -> Self {
        let server = ServerConfig::new(url, model);
        Self {
            endpoint: server.endpoint(),
            key: None,
            prefill: server.prefill,
            deadline: server.deadline(),
            timeout: None,
            agent: ureq::Agent::config_builder().http_status_as_error(false).build().into(),
            gate: Arc::new(Gate::new(0, 0.0)),
            model: server.name,
        }
    }

    /// The same with the server's key.
    #[must_use]
    pub fn with_key(self, key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..self }
    }

    /// The same, where an answer may take so long, with all that is tried for it.
    #[must_use]
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// What is asked.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The model, as the server calls it.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.model
    }

    /// How the server is told to go on with the beginning of an answer.
    #[must_use]
    pub fn prefill(&self) -> Prefill {
        self.prefill
    }

    /// What the model answers. Where others are asking already it waits for its place first, which the deadline does not count.
    ///
    /// # Errors
    /// If a picture cannot be read, the server refuses, or is not reached before the deadline, or says something else than an answer.
    pub fn ask(&self, request: &ChatRequest) -> Result<ChatAnswer> {
        let body = serde_json::to_vec(&request.body(&self.model)?).unwrap_or_default(); // JSON always is
        let _place = self.gate.enter();
        if let Some(turn) = self.gate.turn(None) {
            sleep_until(turn);
        }
        let (end, mut pause) = (Instant::now() + self.deadline, FIRST_PAUSE);
        for tries in 1.. {
            let failed = match self.attempt(&body, end.saturating_duration_since(Instant::now())) {
                Ok(said) => return ChatAnswer::read(&said).ok_or_else(|| self.silent(&said)),
                Err(failed) => failed,
            };
            let (passes, after) = failed.passes();
            let again = Instant::now() + after.unwrap_or(pause);
            if !passes || again >= end {
                return Err(self.failure(failed, tries));
            }
            if after.is_some() {
                self.gate.pause(again);
            }
            sleep_until(again);
            match self.gate.turn(Some(end)) {
                Some(turn) => sleep_until(turn),
                None => return Err(self.failure(failed, tries)),
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        unreachable!("there is no end to counting")
    }

    /// Asks once.
    fn attempt(&self, body: &[u8], left: Duration) -> Result<Value, Failed> {
        let left = self.timeout.map_or(left, |timeout| timeout.min(left));
        let mut request = self.agent.post(&self.endpoint).content_type("application/json");
        if let Some(key) = &self.key {
            request = request.header("Authorization", format!("Bearer {key}"));
        }
        let request = request.config().timeout_global(Some(left)).build();
        let mut response = request.send(body).map_err(Failed::Lost)?;
        let status = response.status();
        let after = response.headers().get("retry-after").and_then(|after| wait(after.to_str().ok()?));
        let said = response.body_mut().with_config().limit(LONGEST_ANSWER).read_to_vec();
        if !status.is_success() {
            // Why it refuses is worth having, and no more than that.
            let said = told(&said.unwrap_or_default());
            return Err(Failed::Status(status.as_u16(), said, after));
        }
        let said = said.map_err(Failed::Lost)?;
        serde_json::from_slice(&said).map_err(|error| Failed::Json(error, told(&said)))
    }

    fn failure(&self, failed: Failed, tries: usize) -> Error {
        let (endpoint, model) = (self.endpoint.clone(), self.model.clone());
        match failed {
            Failed::Lost(source) => Error::Lost { endpoint, model, tries, source: Box::new(source) },
            Failed::Status(status, said, _) => Error::Status { endpoint, model, tries, status, said },
            Failed::Json(source, said) => Error::Json { endpoint, model, source, said },
        }
    }

    fn silent(&self, said: &Value) -> Error {
        let said = told(said.to_string().as_bytes());
        Error::Silent { endpoint: self.endpoint.clone(), model: self.model.clone(), said }
    }
}

impl Failed {
    /// Whether the server may answer when it is asked again, and when it says so itself. What it answered stays what it is.
    fn passes(&self) -> (bool, Option<Duration>) {
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

/// How long a `Retry-After` says to wait: seconds, or a date.
fn wait(after: &str) -> Option<Duration> {
    if let Ok(seconds) = after.trim().parse::<f64>() {
        return Duration::try_from_secs_f64(seconds.clamp(0.0, 1e9)).ok();
    }
    let date = chrono::DateTime::parse_from_rfc2822(after.trim()).ok()?;
    Some((date.to_utc() - chrono::Utc::now()).to_std().unwrap_or_default())
}

/// The beginning of what a server said, on one line.
fn told(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(TOLD) {
        Some((end, _)) => format!("{} …", &line[..end]),
        None if line.is_empty() => "nothing".to_owned(),
        None => line,
    }
}

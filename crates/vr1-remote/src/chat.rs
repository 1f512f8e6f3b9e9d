use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::gate::{Gate, sleep_until};
use crate::wire::{Failed, Wire, json_of, key_of, told};
use crate::{ChatAnswer, ChatRequest, Error, Prefill, Result, ServerConfig};

/// How long the first pause is before a server is asked again; each later one is twice as long, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A model at `URL/chat/completions`. Clones share the connections and the limits.
#[derive(Clone)]
pub struct Chat {
    endpoint: String,
    model: String,
    prefill: Prefill,
    deadline: Duration,
    timeout: Option<Duration>,
    wire: Wire,
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

impl Chat {
    /// The model of a server, with its key from the environment.
    ///
    /// # Errors
    /// If a setting is out of its range, or the key's variable is not set.
    pub fn open(server: &ServerConfig) -> Result<Self> {
        server.validate()?;
        let chat = Self::unlimited(&server.url, &server.name).with_deadline(server.deadline());
        let wire = Wire::new(key_of(server.key_env.as_ref(), &chat.endpoint)?, server.at_once);
        let gate = Arc::new(Gate::new(server.at_once, server.requests_per_minute));
        Ok(Self { wire, prefill: server.prefill, timeout: server.timeout(), gate, ..chat })
    }

    /// The model `model` of the server at `url`, with neither key nor limits; an answer may take ten minutes.
    #[must_use]
    pub fn unlimited(url: &str, model: &str) -> Self {
        let server = ServerConfig::new(url, model);
        Self {
            endpoint: server.endpoint(),
            prefill: server.prefill,
            deadline: server.deadline(),
            timeout: None,
            wire: Wire::new(None, server.at_once),
            gate: Arc::new(Gate::new(0, 0.0)),
            model: server.name,
        }
    }

    /// The same with the server's key.
    #[must_use]
    pub fn with_key(self, key: &str) -> Self {
        Self { wire: self.wire.with_key(key), ..self }
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
        json_of(&self.wire.post(&self.endpoint, body, left)?)
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

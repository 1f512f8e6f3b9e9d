use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Error, Prefill, Result};

/// A model behind a server, and how much may be asked of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    /// What stands before `/chat/completions`, such as `http://localhost:8000/v1`.
    pub url: String,
    /// The model, as the server calls it.
    pub name: String,
    /// The environment variable that holds the server's key, where it wants one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_env: Option<String>,
    /// The most requests that are under way at a time; 0 is no limit.
    #[serde(default = "eight")]
    pub at_once: usize,
    /// The most requests that go out a minute; 0 is no limit.
    #[serde(default)]
    pub requests_per_minute: f64,
    /// Seconds that an answer may take, with all that is tried for it.
    #[serde(default = "six_hundred")]
    pub deadline_seconds: f64,
    /// Seconds after which one try is given up and the server is asked again; 0 waits until the deadline.
    #[serde(default)]
    pub timeout_seconds: f64,
    /// How the server is told to go on with a beginning of the answer.
    #[serde(default)]
    pub prefill: Prefill,
}

fn eight() -> usize {
    8
}

fn six_hundred() -> f64 {
    600.0
}

/// The longest time that may be set, some thirty years.
const LONGEST: f64 = 1e9;

impl ServerConfig {
    /// The model `name` of the server at `url`.
    #[must_use]
    pub fn new(url: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            name: name.into(),
            key_env: None,
            at_once: eight(),
            requests_per_minute: 0.0,
            deadline_seconds: six_hundred(),
            timeout_seconds: 0.0,
            prefill: Prefill::default(),
        }
    }

    /// Checks every setting's range.
    ///
    /// # Errors
    /// [`Error::Setting`] with the one that is out of it.
    pub fn validate(&self) -> Result<()> {
        let check = |field, value: f64, allowed, ok: bool| match ok && value.is_finite() && value <= LONGEST {
            true => Ok(()),
            false => Err(Error::Setting { field, value: value.to_string(), allowed }),
        };
        if !["http://", "https://"].iter().any(|scheme| self.url.starts_with(scheme)) {
            let allowed = "one that begins with http:// or https://";
            return Err(Error::Setting { field: "url", value: format!("{:?}", self.url), allowed });
        }
        if self.name.is_empty() {
            return Err(Error::Setting { field: "name", value: "empty".to_owned(), allowed: "the model's" });
        }
        let rate = self.requests_per_minute;
        check("requests_per_minute", rate, "0, which is no limit, or at least 0.001", rate == 0.0 || rate >= 1e-3)?;
        check("deadline_seconds", self.deadline_seconds, "above 0, and at most 1e9", self.deadline_seconds > 0.0)?;
        check("timeout_seconds", self.timeout_seconds, "0 or more, and at most 1e9", self.timeout_seconds >= 0.0)
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("{}/chat/completions", self.url.trim_end_matches('/'))
    }

    pub(crate) fn deadline(&self) -> Duration {
        Duration::from_secs_f64(self.deadline_seconds.clamp(0.0, LONGEST))
    }

    pub(crate) fn timeout(&self) -> Option<Duration> {
        (self.timeout_seconds > 0.0).then(|| Duration::from_secs_f64(self.timeout_seconds.min(LONGEST)))
    }
}

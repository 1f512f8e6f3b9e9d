use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use vr1_rollout::Carrier;

use crate::{Error, Result};

/// Servers that hold copies of a model, and how they are asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngineConfig {
    /// What the servers are.
    pub kind: ServerKind,
    /// Where they are, such as `http://node-1:8000`; a `/v1` at the end may be there or not. A request goes to the one with the least to do.
    pub urls: Vec<String>,
    /// The model, as the servers call it.
    pub model: String,
    /// The environment variable that holds the servers' key, where they want one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_env: Option<String>,
    /// The most requests that are under way at a time, over all servers; one asks for all completions of a prompt.
    #[serde(default = "sixty_four")]
    pub in_flight: usize,
    /// Seconds that an answer may take, with all that is tried for it.
    #[serde(default = "six_hundred")]
    pub deadline_seconds: f64,
    /// Seconds after which one try is given up and asked again; 0 waits until the deadline.
    #[serde(default)]
    pub timeout_seconds: f64,
    /// How often a request is tried again where a server was busy, failed, or broke off.
    #[serde(default = "five")]
    pub retries: usize,
    /// How new weights go there.
    #[serde(default)]
    pub push: Push,
    /// Where weights are written for the servers, which must see it under the same path; by default a temporary folder of this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights_dir: Option<PathBuf>,
    /// The address at which servers reach this process where weights are [broadcast](Push::Broadcast); by default the loopback, where all of them
    /// are on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broadcast_address: Option<String>,
    /// What carries weights that are broadcast; by default NCCL where the model lies on a card, and else Gloo. Servers that share the card with
    /// the model are reached by Gloo alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broadcast_backend: Option<Carrier>,
    /// The most that a server's log-probabilities may be off the trainer's after a push, on average, in nats a token. Numbers in bf16 differ
    /// by some hundredths, in f32 by less than a thousandth.
    #[serde(default = "tenth")]
    pub canary_tolerance: f64,
}

/// What a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerKind {
    /// vLLM: tokens in and out, log-probabilities, adapters and whole checkpoints from a folder.
    Vllm,
    /// SGLang: the same by its own endpoints.
    Sglang,
    /// Anything that answers `URL/chat/completions`: words in and out, no log-probabilities, and it takes no weights. To be evaluated.
    Openai,
}

/// How weights go to servers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Push {
    /// The adapter alone where the model has one, as a folder under a new name each time; otherwise the whole model.
    #[default]
    Adapter,
    /// The whole model, an adapter merged into it, as a folder.
    Full,
    /// The whole model, an adapter merged into it, tensor by tensor to a process group of this process and the servers' workers: no folder.
    Broadcast,
}

fn sixty_four() -> usize {
    64
}

fn six_hundred() -> f64 {
    600.0
}

fn five() -> usize {
    5
}

fn tenth() -> f64 {
    0.1
}

/// The longest time that may be set, some thirty years.
const LONGEST: f64 = 1e9;

impl EngineConfig {
    /// The model `model` of servers at `urls`.
    #[must_use]
    pub fn new(kind: ServerKind, urls: Vec<String>, model: impl Into<String>) -> Self {
        Self {
            kind,
            urls,
            model: model.into(),
            key_env: None,
            in_flight: sixty_four(),
            deadline_seconds: six_hundred(),
            timeout_seconds: 0.0,
            retries: five(),
            push: Push::default(),
            weights_dir: None,
            broadcast_address: None,
            broadcast_backend: None,
            canary_tolerance: tenth(),
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
        check("urls", self.urls.len() as f64, "one or more", !self.urls.is_empty())?;
        for (place, url) in self.urls.iter().enumerate() {
            let (field, value) = ("urls", format!("{url:?}"));
            if !["http://", "https://"].iter().any(|scheme| url.starts_with(scheme)) {
                return Err(Error::Setting { field, value, allowed: "ones that begin with http:// or https://" });
            }
            if self.urls[..place].iter().any(|other| root(other) == root(url)) {
                return Err(Error::Setting { field, value, allowed: "there once" });
            }
        }
        if self.model.is_empty() {
            return Err(Error::Setting { field: "model", value: "empty".to_owned(), allowed: "the model's name" });
        }
        check("in_flight", self.in_flight as f64, "1 to 4096", (1..=4096).contains(&self.in_flight))?;
        check("deadline_seconds", self.deadline_seconds, "above 0, and at most 1e9", self.deadline_seconds > 0.0)?;
        check("timeout_seconds", self.timeout_seconds, "0 or more, and at most 1e9", self.timeout_seconds >= 0.0)?;
        check("retries", self.retries as f64, "at most 1000", self.retries <= 1000)?;
        let tolerance = self.canary_tolerance;
        check("canary_tolerance", tolerance, "above 0, and at most 1e9", tolerance > 0.0)?;
        if self.push == Push::Broadcast && self.address().is_none() {
            let allowed = "set where weights are broadcast to other machines: the address at which they reach this one";
            return Err(Error::Setting { field: "broadcast_address", value: "not set".to_owned(), allowed });
        }
        Ok(())
    }

    /// The address at which servers reach this process, as far as that is known.
    pub(crate) fn address(&self) -> Option<&str> {
        let near = || self.urls.iter().all(|url| is_near(url)).then_some("127.0.0.1");
        self.broadcast_address.as_deref().filter(|address| !address.is_empty()).or_else(near)
    }

    pub(crate) fn deadline(&self) -> Duration {
        Duration::from_secs_f64(self.deadline_seconds.clamp(0.0, LONGEST))
    }

    pub(crate) fn timeout(&self) -> Option<Duration> {
        (self.timeout_seconds > 0.0).then(|| Duration::from_secs_f64(self.timeout_seconds.min(LONGEST)))
    }
}

/// A server's address without what its OpenAI-compatible part adds.
pub(crate) fn root(url: &str) -> &str {
    let url = url.trim_end_matches('/');
    url.strip_suffix("/v1").unwrap_or(url).trim_end_matches('/')
}

/// Whether a server's address is this machine's own.
fn is_near(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let place = rest.split('/').next().unwrap_or_default();
    let host = match place.strip_prefix('[') {
        Some(six) => six.split(']').next().unwrap_or_default(),
        None => place.rsplit_once(':').map_or(place, |(host, _)| host),
    };
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

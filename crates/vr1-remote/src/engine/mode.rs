//! What a server is found to be before anything is asked of it.

use std::time::Duration;

use serde_json::Value;
use vr1_rollout::Sampling;

use super::ServerKind;
use super::fleet::{Fleet, failure};
use super::server::Server;
use crate::wire::Failed;
use crate::{Error, Result};

/// Which distribution the log-probabilities of a server are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Of that drawn from: after penalties, temperature and limits.
    Processed,
    /// After penalties and temperature, before limits.
    Tempered,
    /// The model's own, whatever was drawn from.
    Raw,
    /// The server does not say.
    Unknown,
}

/// What servers are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    pub(crate) mode: Mode,
    /// Tokens that a prompt and its completion may have together, where the servers say so.
    pub(crate) room: Option<usize>,
}

impl Mode {
    /// Whether the log-probabilities are those of the distribution that `sampling` draws from.
    pub(crate) fn is_drawn(self, sampling: &Sampling) -> bool {
        match self {
            Self::Processed => true,
            Self::Tempered => !is_limited(sampling),
            Self::Raw | Self::Unknown => is_own(sampling),
        }
    }
}

fn is_limited(sampling: &Sampling) -> bool {
    sampling.top_k != 0 || sampling.top_p != 1.0 || sampling.min_p != 0.0
}

/// Whether what is drawn from is the model's own distribution.
pub(crate) fn is_own(sampling: &Sampling) -> bool {
    sampling.temperature == 1.0 && sampling.repetition_penalty == 1.0 && !is_limited(sampling)
}

/// Looks at every server: it is there, holds the model, and says what its log-probabilities are.
pub(crate) fn look(fleet: &Fleet) -> Result<Found> {
    let mut found = Found { mode: Mode::Processed, room: None };
    if fleet.kind() == ServerKind::Openai {
        return Ok(Found { mode: Mode::Unknown, ..found });
    }
    let left = fleet.config.deadline().min(Duration::from_secs(60));
    for server in fleet.all() {
        let models = server.get("/v1/models", left);
        let models = models.map_err(|failed| failure(server, "/v1/models", &fleet.config.model, failed, 1))?;
        let models = models["data"].as_array().map(Vec::as_slice).unwrap_or_default();
        let Some(model) = models.iter().find(|model| model["id"] == *fleet.config.model) else {
            let names = models.iter().filter_map(|model| model["id"].as_str()).collect::<Vec<_>>().join(", ");
            return Err(Error::OtherModel { server: server.name.clone(), wanted: fleet.config.model.clone(), names });
        };
        if let Some(most) = model["max_model_len"].as_u64() {
            let most = usize::try_from(most).unwrap_or(usize::MAX);
            found.room = Some(found.room.map_or(most, |room| room.min(most)));
        }
        let mode = mode(fleet, server, left)?;
        if mode != Mode::Processed {
            found.mode = mode;
        }
    }
    Ok(found)
}

fn mode(fleet: &Fleet, server: &Server, left: Duration) -> Result<Mode> {
    if fleet.kind() == ServerKind::Sglang {
        return Ok(Mode::Tempered);
    }
    let path = "/server_info?config_format=json";
    match server.get(path, left) {
        Ok(info) => Ok(match said(&info, "logprobs_mode") {
            Some("processed_logprobs") => Mode::Processed,
            Some("raw_logprobs") => Mode::Raw,
            _ => Mode::Unknown,
        }),
        // It was not started to be asked this.
        Err(Failed::Status(404 | 405, ..)) => Ok(Mode::Unknown),
        Err(failed) => Err(failure(server, path, &fleet.config.model, failed, 1)),
    }
}

/// A text of the server's settings, where it says which.
fn said<'a>(info: &'a Value, key: &str) -> Option<&'a str> {
    info["vllm_config"]["model_config"][key].as_str()
}

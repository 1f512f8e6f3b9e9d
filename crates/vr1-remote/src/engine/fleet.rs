use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::asked::TOKENS;
use super::server::{Server, Visit};
use super::{EngineConfig, ServerKind};
use crate::gate::sleep_until;
use crate::wire::{Failed, Wire, key_of};
use crate::{Error, Result};

/// How long the first pause is before a request is tried again; each later one is twice as long, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The servers: who is asked, who is left, and what is tried.
pub(crate) struct Fleet {
    pub(crate) config: EngineConfig,
    servers: Vec<Server>,
    warnings: Mutex<Vec<String>>,
}

/// What a server said, and whether that is an answer.
pub(crate) enum Heard<T> {
    Answer(T),
    /// It broke off: asked again.
    BrokenOff,
}

impl Fleet {
    pub(crate) fn new(config: EngineConfig) -> Result<Self> {
        config.validate()?;
        let wire = Wire::new(key_of(config.key_env.as_ref(), &config.urls.join(", "))?, config.in_flight);
        let servers = config.urls.iter().map(|url| Server::new(url, wire.clone())).collect();
        Ok(Self { config, servers, warnings: Mutex::default() })
    }

    /// Those that are still asked.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Server> {
        self.servers.iter().filter(|server| server.is_in())
    }

    /// Asks one server no more, where others are left; otherwise the error.
    pub(crate) fn lose(&self, server: &Server, error: Error) -> Result<()> {
        if self.all().any(|other| !std::ptr::eq(other, server)) {
            if server.leave() {
                let told = format!("{error}; it is asked no more, and its requests go to the others");
                self.warnings.lock().unwrap_or_else(PoisonError::into_inner).push(told);
            }
            return Ok(());
        }
        Err(error)
    }

    /// Asks none but these, where any of them is left.
    pub(crate) fn keep(&self, names: &[String]) -> Result<()> {
        if !self.all().any(|server| names.contains(&server.name)) {
            return Err(Error::NoServer);
        }
        for server in self.all().filter(|server| !names.contains(&server.name)) {
            if server.leave() {
                let told =
                    format!("{}: it did not take the weights that others took, and is asked no more", server.name);
                self.warnings.lock().unwrap_or_else(PoisonError::into_inner).push(told);
            }
        }
        Ok(())
    }

    pub(crate) fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut self.warnings.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The server with the least to do.
    fn least(&self) -> Option<Visit<'_>> {
        let servers: Vec<&Server> = self.all().collect();
        least_busy(servers.iter().map(|server| server.under_way())).map(|place| servers[place].visit())
    }

    /// Asks until a server answers: another where one is gone, later where it was busy, failed or broke off. Tokens follow from the request's
    /// seed, so that what is asked again is answered the same; one answer is taken.
    pub(crate) fn ask<T>(
        &self,
        path: &str,
        body: &Value,
        hear: impl Fn(&Server, Value) -> Result<Heard<T>>,
    ) -> Result<T> {
        let config = &self.config;
        let (end, mut pause, mut tries) = (Instant::now() + config.deadline(), FIRST_PAUSE, 0);
        loop {
            let Some(visit) = self.least() else { return Err(Error::NoServer) };
            let server = visit.0;
            let left = end.saturating_duration_since(Instant::now());
            let left = config.timeout().map_or(left, |timeout| timeout.min(left));
            tries += 1;
            let (error, after, may_be_gone) = match server.ask(path, body, left) {
                Ok(said) => match hear(server, said)? {
                    Heard::Answer(answer) => return Ok(answer),
                    Heard::BrokenOff => (Error::BrokenOff { server: server.name.clone(), tries }, None, false),
                },
                Err(failed) => {
                    let (passes, after) = failed.passes();
                    let gone = is_final(&failed) || matches!(failed, Failed::Lost(_)) && passes && !server.is_well();
                    let busy = matches!(failed, Failed::Status(408 | 425 | 429, ..));
                    let error = failure(server, path, &config.model, failed, tries);
                    if gone {
                        self.lose(server, error)?;
                        continue;
                    }
                    if !passes {
                        return Err(error);
                    }
                    (error, after, !busy)
                }
            };
            let again = Instant::now() + after.unwrap_or(pause);
            if tries > config.retries || again >= end {
                if may_be_gone && again < end {
                    self.lose(server, error)?;
                    (tries, pause) = (0, FIRST_PAUSE);
                    continue;
                }
                return Err(error);
            }
            drop(visit);
            sleep_until(again);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Where completions are asked for.
    pub(crate) fn kind(&self) -> ServerKind {
        self.config.kind
    }
}

/// Which has the least to do, the first where several have.
pub(crate) fn least_busy(under_way: impl Iterator<Item = usize>) -> Option<usize> {
    under_way.enumerate().min_by_key(|(_, requests)| *requests).map(|(place, _)| place)
}

/// vLLM's engine does not come back after this.
fn is_final(failed: &Failed) -> bool {
    matches!(failed, Failed::Status(500, said, _) if said.contains("EngineCore encountered an issue"))
}

/// Why a server did not answer, as an error.
pub(crate) fn failure(server: &Server, path: &str, model: &str, failed: Failed, tries: usize) -> Error {
    let (endpoint, model) = (format!("{}{path}", server.name), model.to_owned());
    match failed {
        // The address itself is unknown to it, and not the model.
        Failed::Status(404 | 405, said, _) if path == TOKENS && said.contains("detail") => Error::NoTokens { endpoint },
        Failed::Lost(source) => Error::Lost { endpoint, model, tries, source: Box::new(source) },
        Failed::Status(status, said, _) => Error::Status { endpoint, model, tries, status, said },
        Failed::Json(source, said) => Error::Json { endpoint, model, source, said },
    }
}

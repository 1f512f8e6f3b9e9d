//! What is answered at which address. An address is one of five; no part of it becomes a path, but for the name of a
//! thumbnail, which is 64 hexadecimal digits.

use std::{
    path::{Path, PathBuf},
    sync::Mutex,
    time::UNIX_EPOCH,
};

use serde::Serialize;
use serde_json::json;

use crate::{
    dashboard::{reply::Reply, request::Request, tail::Tail},
    metrics::read_summary,
    report::{Overview, Settings, ends, is_thumbnail, jpeg, media, overview, page, pairs, step, title},
    rollouts::rollout_steps,
    run::{BEGUN, CONFIG, METRICS, SUMMARY},
    run_error::RunError,
};

/// A run, as its files have it when it is asked for.
#[derive(Debug)]
pub(crate) struct Views {
    dir: PathBuf,
    tail: Mutex<Tail>,
}

/// A run and how far its recordings are.
#[derive(Serialize)]
struct Now {
    version: String,
    run: Overview,
    /// The steps whose rollouts there are.
    recorded: Vec<u64>,
    /// The steps after which the first and the last answers to held-out samples were given.
    answered: Option<[u64; 2]>,
}

impl Views {
    pub(crate) fn new(run_dir: &Path) -> Self {
        Self { dir: run_dir.to_owned(), tail: Mutex::new(Tail::new(run_dir.join(METRICS))) }
    }

    pub(crate) fn reply(&self, request: &Request) -> Reply {
        let made = match request.path.as_str() {
            "/" => page(&title(&self.dir), &json!({ "kind": "live" })).map(Reply::page),
            "/api/run" => self.run(request.value("version").unwrap_or_default()),
            "/api/rollouts" => self.rollouts(request.value("step")),
            "/api/pairs" => Settings::read(&self.dir)
                .and_then(|settings| pairs(&self.dir, &settings.judge(), None))
                .map(|pairs| Reply::json(&pairs)),
            path => Ok(self.picture(path)),
        };
        made.unwrap_or_else(|error| Reply::refusal(500, &error.to_string()))
    }

    /// Everything but rollouts; where `known` is how things stand, that alone.
    fn run(&self, known: &str) -> Result<Reply, RunError> {
        let recorded = rollout_steps(&self.dir)?;
        let answered = ends(&self.dir)?.map(|[first, last]| [first.0, last.0]);
        let mut hash = blake3::Hasher::new();
        for name in [CONFIG, BEGUN, METRICS, SUMMARY] {
            hash.update(&stamp(&self.dir.join(name)));
        }
        hash.update(format!("{} {:?} {answered:?}", recorded.len(), recorded.last()).as_bytes());
        let version = hash.finalize().to_hex()[..16].to_owned();
        if version == known {
            return Ok(Reply::json(&json!({ "version": version })));
        }
        let settings = Settings::read(&self.dir)?;
        let summary = read_summary(&self.dir.join(SUMMARY))?;
        // One who panicked while reading left rows that are whole.
        let mut tail = self.tail.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let run = overview(&self.dir, &settings, tail.rows()?, summary.as_ref())?;
        let recorded = recorded.into_iter().map(|(step, _)| step).collect();
        Ok(Reply::json(&Now { version, run, recorded, answered }))
    }

    fn rollouts(&self, asked: Option<&str>) -> Result<Reply, RunError> {
        let Some(number) = asked.and_then(|step| step.parse::<u64>().ok()) else {
            return Ok(Reply::refusal(400, "expected ?step=N"));
        };
        let recorded = rollout_steps(&self.dir)?;
        let Some((_, path)) = recorded.into_iter().find(|(step, _)| *step == number) else {
            return Ok(Reply::refusal(404, "no rollouts of this step were recorded"));
        };
        Ok(Reply::json(&step(number, &path, &Settings::read(&self.dir)?.judge())?))
    }

    fn picture(&self, path: &str) -> Reply {
        let found = path.strip_prefix("/media/").filter(|name| is_thumbnail(name)).and_then(|name| {
            let folder = media(&self.dir);
            // A folder that is a link may lead out of the run.
            let within = folder.canonicalize().ok()?.starts_with(self.dir.canonicalize().ok()?);
            within.then(|| jpeg(&folder.join(name))).flatten()
        });
        found.map_or_else(|| Reply::refusal(404, "there is nothing here"), Reply::jpeg)
    }
}

/// A file's length and time, which change when it does.
fn stamp(path: &Path) -> Vec<u8> {
    let Ok(found) = path.metadata() else { return vec![0] };
    let time = found.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    format!("{} {:?};", found.len(), time).into_bytes()
}

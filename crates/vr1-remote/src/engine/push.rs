//! New weights to servers.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tempfile::TempDir;
use vr1_rollout::{Version, Weights};

use super::fleet::{Fleet, failure};
use super::job::Target;
use super::server::Server;
use super::{Push, ServerKind};
use crate::wire::{Failed, told};
use crate::{Error, Result};

/// Weights that were written for servers, and those they still have.
#[derive(Debug)]
pub(crate) struct Pushing {
    /// Of this process: servers may have others' adapters.
    mark: String,
    given: Option<PathBuf>,
    own: Option<TempDir>,
    count: u64,
}

/// Weights in a folder, or without one.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) target: Target,
    pub(crate) dir: Option<PathBuf>,
}

impl Pushing {
    pub(crate) fn new(given: Option<PathBuf>) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        Self { mark: format!("{:x}-{now:x}", std::process::id()), given, own: None, count: 0 }
    }

    /// Writes weights into a folder of their own, under a name that was never there: an adapter, where there is one and it is wanted.
    pub(crate) fn write(&mut self, weights: &dyn Weights, push: Push, model: &str) -> Result<Written> {
        let name = self.name(weights.version());
        let parent = match &self.given {
            // Servers have another working folder.
            Some(dir) => std::path::absolute(dir).unwrap_or_else(|_| dir.clone()),
            None => self.own()?,
        };
        let (dir, aside) = (parent.join(&name), parent.join(format!("{name}.part")));
        let failed = |dir: &Path| {
            let place = dir.to_owned();
            move |source: std::io::Error| Error::Written { place, source: source.into() }
        };
        std::fs::create_dir_all(&aside).map_err(failed(&aside))?;
        let written = |error: vr1_rollout::Error| Error::Written { place: aside.clone(), source: error.into() };
        let adapter = push == Push::Adapter && weights.write_adapter(&aside).map_err(written)?;
        if !adapter {
            weights.write(&aside).map_err(written)?;
        }
        std::fs::rename(&aside, &dir).map_err(failed(&dir))?;
        let name = if adapter { name } else { model.to_owned() };
        Ok(Written { target: Target { version: weights.version(), name: name.into(), adapter }, dir: Some(dir) })
    }

    /// A name that was never there.
    pub(crate) fn name(&mut self, Version(version): Version) -> String {
        self.count += 1;
        format!("vr1-{}-{}-v{version}", self.mark, self.count)
    }

    fn own(&mut self) -> Result<PathBuf> {
        if let Some(own) = &self.own {
            return Ok(own.path().to_owned());
        }
        let made = tempfile::Builder::new().prefix("vr1-weights-").tempdir();
        let made = made.map_err(|source| Error::Written { place: std::env::temp_dir(), source: source.into() })?;
        Ok(self.own.insert(made).path().to_owned())
    }
}

impl Written {
    /// The whole model `model`, of which nothing is written.
    pub(crate) fn nowhere(version: Version, model: &str) -> Self {
        Self { target: Target { version, name: model.into(), adapter: false }, dir: None }
    }

    /// What servers call weights that are no adapter.
    pub(crate) fn mark(&self) -> String {
        format!("vr1-v{}", self.target.version.0)
    }
}

/// Hands weights to all servers at once; one that fails is left, where others take them.
pub(crate) fn push(fleet: &Fleet, written: &Written) -> Result<()> {
    let results: Vec<(&Server, Result<()>)> = std::thread::scope(|scope| {
        let hand = |server| (server, scope.spawn(move || hand(fleet, server, written)));
        let handed: Vec<_> = fleet.all().map(hand).collect();
        let joined = handed.into_iter().map(|(server, handed)| (server, handed.join()));
        joined
            .map(|(server, result)| (server, result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))))
            .collect()
    });
    let taken = results.iter().filter(|(_, result)| result.is_ok()).count();
    for (server, result) in results {
        match result {
            Err(error) if taken == 0 => return Err(error),
            Err(error) => fleet.lose(server, error)?,
            Ok(()) => {}
        }
    }
    Ok(())
}

fn hand(fleet: &Fleet, server: &Server, written: &Written) -> Result<()> {
    let left = fleet.config.deadline();
    let wrong = |path: &str, reason: String| Error::NotTaken {
        endpoint: format!("{}{path}", server.name),
        version: written.target.version.0,
        reason,
    };
    let failed = |path: &str, failed: Failed| match failed {
        Failed::Status(status, said, _) => wrong(path, format!("status {status}: {said}{}", advice(path, status))),
        failed => failure(server, path, &fleet.config.model, failed, 1),
    };
    let post = |path: &str, body: &Value| server.post(path, body, left).map_err(|error| failed(path, error));
    let get = |path: &str| server.get(path, left).map_err(|error| failed(path, error));
    let dir = written.dir.as_ref().map(|dir| dir.display().to_string()).unwrap_or_default();
    let name = &*written.target.name;
    match (fleet.kind(), written.target.adapter) {
        (ServerKind::Openai, _) => Err(Error::TakesNone),
        (ServerKind::Vllm, true) => {
            let body = json!({"lora_name": name, "lora_path": dir, "load_inplace": false});
            post("/v1/load_lora_adapter", &body)?;
            let models = get("/v1/models")?;
            let there = models["data"].as_array().is_some_and(|all| all.iter().any(|model| model["id"] == *name));
            if there {
                Ok(())
            } else {
                Err(wrong("/v1/models", format!("there is no model `{name}` after it was loaded")))
            }
        }
        (ServerKind::Sglang, true) => {
            let path = "/load_lora_adapter";
            let said = post(path, &json!({"lora_name": name, "lora_path": dir}))?;
            succeeded(&said).map_err(|reason| wrong(path, reason))
        }
        (ServerKind::Vllm, false) => {
            let mark = written.mark();
            let reload = || post("/collective_rpc", &json!({"method": "vr1_reload", "args": [dir]})).map(drop);
            renewed(reload, &mark, &post)?;
            let info = get("/weight_info")?;
            has(&info, &mark).map_err(|reason| wrong("/weight_info", reason))
        }
        (ServerKind::Sglang, false) => {
            let path = "/update_weights_from_disk";
            let body = json!({"model_path": dir, "weight_version": written.mark(), "flush_cache": true});
            succeeded(&post(path, &body)?).map_err(|reason| wrong(path, reason))
        }
    }
}

/// What a server answers to a body at a path.
pub(crate) type Post<'a, E> = dyn Fn(&str, &Value) -> Result<Vec<u8>, E> + 'a;

/// A vLLM whose workers take weights meanwhile: what others asked of it waits, and what was computed with the old weights goes. Without the last of
/// the caches an image that was seen before would end the server. Whatever happens, it goes on afterwards.
pub(crate) fn renewed<E>(take: impl FnOnce() -> Result<(), E>, mark: &str, post: &Post<'_, E>) -> Result<(), E> {
    post("/pause?mode=keep", &json!({}))?;
    let taken = take().and_then(|()| {
        for path in ["/reset_prefix_cache", "/reset_mm_cache", "/reset_encoder_cache"] {
            post(path, &json!({}))?;
        }
        post("/update_weight_version", &json!({"new_version": mark})).map(drop)
    });
    let resumed = post("/resume", &json!({}));
    taken.and(resumed.map(drop))
}

/// Whether vLLM says that it has these weights.
pub(crate) fn has(info: &Value, mark: &str) -> Result<(), String> {
    match info["weight_version"] == mark {
        true => Ok(()),
        false => Err(format!("it has weights {}, and was given `{mark}`", info["weight_version"])),
    }
}

/// SGLang says whether it did what it was told.
pub(crate) fn succeeded(said: &[u8]) -> Result<(), String> {
    let value: Value = serde_json::from_slice(said).unwrap_or_default();
    match value["success"] == true {
        true => Ok(()),
        false => Err(format!("it said {}", told(said))),
    }
}

/// What a status is most likely of.
pub(crate) fn advice(path: &str, status: u16) -> &'static str {
    match (path, status) {
        ("/v1/load_lora_adapter", 404 | 405) => {
            " (vLLM takes adapters where it was started with VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 and --enable-lora, and sees the folder)"
        }
        ("/pause?mode=keep" | "/collective_rpc" | "/get_world_size", 404 | 405) => {
            " (vLLM takes whole models where it was started with VLLM_SERVER_DEV_MODE=1)"
        }
        ("/collective_rpc", 500) => {
            " (vLLM reloads with --worker-extension-cls vr1_extension.Reload, and sees the folder)"
        }
        _ => "",
    }
}

/// An adapter that nobody asks any more goes. That it cannot is no loss.
pub(crate) fn drop_adapter(fleet: &Fleet, name: &str) {
    let path = match fleet.kind() {
        ServerKind::Vllm => "/v1/unload_lora_adapter",
        ServerKind::Sglang => "/unload_lora_adapter",
        ServerKind::Openai => return,
    };
    for server in fleet.all() {
        let _ = server.post(path, &json!({"lora_name": name}), Duration::from_secs(10));
    }
}

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::config::root;
use crate::wire::{Failed, Wire, json_of};

/// How long a server that is well takes at most to say so.
const SOON: Duration = Duration::from_secs(5);

/// One server of several.
pub(crate) struct Server {
    /// Its address, which names it.
    pub(crate) name: String,
    wire: Wire,
    under_way: AtomicUsize,
    left: AtomicBool,
}

/// A request that is under way at a server; it is none any more when it is dropped.
pub(crate) struct Visit<'a>(pub(crate) &'a Server);

impl Server {
    pub(crate) fn new(url: &str, wire: Wire) -> Self {
        Self { name: root(url).to_owned(), wire, under_way: AtomicUsize::new(0), left: AtomicBool::new(false) }
    }

    /// What it answers at `path` to a body of JSON.
    pub(crate) fn post(&self, path: &str, body: &Value, left: Duration) -> Result<Vec<u8>, Failed> {
        let body = serde_json::to_vec(body).unwrap_or_default(); // JSON always is
        self.wire.post(&format!("{}{path}", self.name), &body, left)
    }

    /// The same, where that is JSON.
    pub(crate) fn ask(&self, path: &str, body: &Value, left: Duration) -> Result<Value, Failed> {
        json_of(&self.post(path, body, left)?)
    }

    /// The JSON that it has at `path`.
    pub(crate) fn get(&self, path: &str, left: Duration) -> Result<Value, Failed> {
        json_of(&self.wire.get(&format!("{}{path}", self.name), left)?)
    }

    /// Whether it says that it is well.
    pub(crate) fn is_well(&self) -> bool {
        self.wire.get(&format!("{}/health", self.name), SOON).is_ok()
    }

    /// Whether it is still asked.
    pub(crate) fn is_in(&self) -> bool {
        !self.left.load(Ordering::SeqCst)
    }

    /// It is asked no more; whether it was until now.
    pub(crate) fn leave(&self) -> bool {
        !self.left.swap(true, Ordering::SeqCst)
    }

    pub(crate) fn under_way(&self) -> usize {
        self.under_way.load(Ordering::SeqCst)
    }

    pub(crate) fn visit(&self) -> Visit<'_> {
        self.under_way.fetch_add(1, Ordering::SeqCst);
        Visit(self)
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}

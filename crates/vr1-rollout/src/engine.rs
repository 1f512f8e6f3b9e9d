use std::any::Any;
use std::collections::HashMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{Broadcast, Error, Group, Meeting, Request, Result, Sequence, Version};

/// Names a request that was handed to an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// Weights on their way into an engine.
pub trait Weights {
    /// Which they are.
    fn version(&self) -> Version;

    /// Writes them as a directory in Hugging Face layout, adapters merged: what an engine elsewhere loads.
    ///
    /// # Errors
    /// If a file cannot be written.
    fn write(&self, dir: &Path) -> Result<()>;

    /// Writes the adapter alone into `dir` in PEFT's layout; whether there is one. Without it an engine elsewhere takes [all](Self::write).
    ///
    /// # Errors
    /// If a file cannot be written.
    fn write_adapter(&self, dir: &Path) -> Result<bool> {
        let _ = dir;
        Ok(false)
    }

    /// Begins to give what [`write`](Self::write) writes to processes elsewhere, tensor by tensor and by no file: opens the store by which they
    /// meet.
    ///
    /// # Errors
    /// If it cannot be opened, or these weights cannot go so.
    fn broadcast<'a>(&'a self, meeting: &Meeting) -> Result<Box<dyn Broadcast + 'a>> {
        Err(Error::engine(format!("these weights cannot be broadcast to `{}`", meeting.group)))
    }

    /// The weights themselves, for an engine in this process that knows their kind.
    fn as_any(&self) -> &dyn Any;
}

/// Weights that copies of the model elsewhere have taken, as the engine that handed them over tells engines of other processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Landed {
    /// Which they are.
    pub version: Version,
    /// What the copies call them.
    pub name: String,
    /// Whether that is an adapter beside the weights that they had.
    pub adapter: bool,
    /// The copies that have them.
    pub copies: Vec<String>,
}

/// Something that completes prompts: the model in this process, a server that holds a copy of it, or a script.
///
/// Requests go in by [`submit`](Self::submit) and come out of [`poll`](Self::poll) as groups, in any order. What a request
/// gives depends on the request and the weights alone, not on what else is under way.
pub trait Engine {
    /// Takes a request.
    ///
    /// # Errors
    /// If a setting is out of its range, or the prompt cannot be taken.
    fn submit(&mut self, request: Request) -> Result<Ticket>;

    /// Waits until something is done and gives it; nothing only where nothing is under way.
    ///
    /// # Errors
    /// If the engine fails; what was under way is forgotten.
    fn poll(&mut self) -> Result<Vec<(Ticket, Group)>>;

    /// Takes new weights; requests submitted from here on are completed with these.
    ///
    /// # Errors
    /// If the engine cannot take them; it keeps those it has.
    fn load(&mut self, weights: &dyn Weights) -> Result<Version>;

    /// Seconds that parts of its work took since this was last asked, by name: a step's metrics have them as `seconds_NAME`. Nothing, where
    /// an engine does not know.
    fn take_seconds(&mut self) -> Vec<(&'static str, f64)> {
        Vec::new()
    }

    /// How far the log-probabilities of copies of the model that the engine holds elsewhere may be off the trainer's own, on average, in nats a
    /// token. Nothing, where it samples from the very tensors that training changes: there is nothing to check then.
    fn tolerance(&self) -> Option<f64> {
        None
    }

    /// The weights that copies elsewhere took last from this engine; nothing, where it holds none.
    fn landed(&self) -> Option<Landed> {
        None
    }

    /// Asks copies elsewhere for what weights an engine of another process has handed them; those that have not got them are asked no more.
    ///
    /// # Errors
    /// If none has them, or the engine holds no copies elsewhere.
    fn follow(&mut self, landed: &Landed) -> Result<Version> {
        Err(Error::engine(format!("it asks no copies elsewhere, and cannot follow `{}`", landed.name)))
    }

    /// What every copy that the engine holds elsewhere, each by its name, answers to a request, apart from what is under way: by this the trainer
    /// sees whether weights that it handed over are there.
    ///
    /// # Errors
    /// If a copy does not answer.
    fn probe(&mut self, request: &Request) -> Result<Vec<(String, Sequence)>> {
        let _ = request;
        Ok(Vec::new())
    }

    /// What happened since this was last asked that the person who waits should know.
    fn take_warnings(&mut self) -> Vec<String> {
        Vec::new()
    }

    /// Completes requests, in their order. A group of an earlier request that comes out meanwhile is dropped: who has
    /// submitted polls for it first.
    ///
    /// # Errors
    /// As [`submit`](Self::submit) and [`poll`](Self::poll), and if the engine comes to an end before all are done.
    fn generate(&mut self, requests: Vec<Request>) -> Result<Vec<Group>> {
        let tickets: Vec<Ticket> = requests.into_iter().map(|request| self.submit(request)).collect::<Result<_>>()?;
        let mut done: HashMap<Ticket, Group> = HashMap::with_capacity(tickets.len());
        while done.len() < tickets.len() {
            let more = self.poll()?;
            if more.is_empty() {
                return Err(Error::Lost { done: done.len(), wanted: tickets.len() });
            }
            done.extend(more.into_iter().filter(|(ticket, _)| tickets.contains(ticket)));
        }
        let lost = Error::Lost { done: done.len(), wanted: tickets.len() };
        tickets.iter().map(|ticket| done.remove(ticket)).collect::<Option<_>>().ok_or(lost)
    }
}

use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Result;

/// What carries numbers from one process to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Carrier {
    /// Gloo, from host to host.
    Gloo,
    /// NCCL, from card to card: each process has a card of its own.
    Nccl,
}

/// Where processes that hold copies of a model meet the one that gives them its weights, which is the first of them.
#[derive(Debug, Clone)]
pub struct Meeting {
    /// The address at which they reach it.
    pub host: String,
    /// The name of their group.
    pub group: String,
    /// How many there are, with the first.
    pub ranks: usize,
    /// What carries the weights; by default NCCL from a model on a card, else Gloo.
    pub carrier: Option<Carrier>,
    /// How long others are waited for, each time.
    pub deadline: Duration,
    /// Set where nobody is to be waited for any more.
    pub stopped: Arc<AtomicBool>,
}

/// One of the tensors that are given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its name in a checkpoint.
    pub name: String,
    /// The kind of number, as PyTorch calls it: `bfloat16`.
    pub dtype: &'static str,
    /// Its shape.
    pub shape: Vec<i64>,
    /// How many bytes its numbers take.
    pub bytes: u64,
}

/// Weights of which the tensors go to others one by one, all of them as [`write`](crate::Weights::write) writes them. It is over when this is
/// dropped.
pub trait Broadcast: Debug {
    /// The port at which others find the store by which they meet.
    fn port(&self) -> u16;

    /// What carries the weights.
    fn carrier(&self) -> Carrier;

    /// The tensors, in the order in which they are given.
    fn parts(&self) -> &[Part];

    /// Waits until the others are there.
    ///
    /// # Errors
    /// If they do not come in time, or nobody is to be waited for any more.
    fn meet(&mut self) -> Result<()>;

    /// Gives them these of the tensors.
    ///
    /// # Errors
    /// If one is gone or does not take them in time, or nobody is to be waited for any more; nothing more can be given then.
    fn give(&mut self, parts: Range<usize>) -> Result<()>;
}

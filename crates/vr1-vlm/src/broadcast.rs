//! Weights on their way to processes elsewhere, tensor by tensor.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use tch::{Device, Kind, Tensor};
use vr1_nn::Published;
use vr1_rollout::{Carrier, Error, Meeting, Part, Result};
use vr1_torch::{Broadcast, Holder, Member, Stop, Store, guarded};

use crate::Backbone;

/// How often it is looked whether somebody gave up.
const LOOK: Duration = Duration::from_millis(20);

/// A model that is given to others. A thread of its own speaks to them, so that this one never waits longer than it should, whatever they do;
/// it ends by itself.
#[derive(Debug)]
pub(crate) struct Giving<'a> {
    published: Vec<Published<'a>>,
    parts: Vec<Part>,
    port: u16,
    carrier: Carrier,
    place: Device,
    deadline: Duration,
    stopped: Arc<AtomicBool>,
    stop: Arc<Stop>,
    tensors: mpsc::Sender<Tensor>,
    taken: mpsc::Receiver<vr1_torch::Result<()>>,
}

impl<'a> Giving<'a> {
    /// Opens the store, at any port, and waits there for the others.
    pub(crate) fn begin(model: &'a dyn Backbone, meeting: &Meeting) -> Result<Self> {
        let on_card = model.device().is_cuda();
        let carrier = meeting.carrier.unwrap_or(if on_card { Carrier::Nccl } else { Carrier::Gloo });
        let (place, over) = match carrier {
            Carrier::Gloo => (Device::Cpu, vr1_torch::Carrier::Gloo),
            Carrier::Nccl if on_card => (model.device(), vr1_torch::Carrier::Nccl),
            Carrier::Nccl => {
                return Err(Error::engine("the model lies on no card, and NCCL carries from card to card"));
            }
        };
        let published = model.parameters().published(model.kind()).map_err(Error::engine)?;
        let parts = published.iter().map(part).collect();
        // This process is its own neighbour, whatever the others call it.
        let store = Store::open("127.0.0.1", 0, Holder::Here, "", meeting.deadline).map_err(Error::engine)?;
        let (port, stop) = (store.port(), Arc::new(Stop::new()));
        let ((tensors, next), (took, taken)) = (mpsc::channel::<Tensor>(), mpsc::channel());
        let (meeting, watched) = (meeting.clone(), stop.clone());
        let Meeting { deadline, stopped, .. } = meeting.clone();
        let speak = move || {
            let Meeting { host, group, ranks, deadline, .. } = &meeting;
            let member = Member { name: group, carrier: over, own: host, rank: 0, size: *ranks, timeout: *deadline };
            let joined = Broadcast::join(&store, &member, &watched);
            let group = match joined {
                Ok(group) => group,
                Err(error) => return drop(took.send(Err(error))),
            };
            if took.send(Ok(())).is_err() {
                return;
            }
            for tensor in next {
                let given = group.from_first(&tensor);
                if given.is_err() | took.send(given).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new().name("vr1-broadcast".to_owned()).spawn(speak).map_err(Error::engine)?;
        Ok(Self { published, parts, port, carrier, place, deadline, stopped, stop, tensors, taken })
    }

    /// Waits until the thread has done what it was asked.
    fn done(&self, what: &str) -> Result<()> {
        let end = Instant::now() + self.deadline;
        let failed = |reason: &str| Error::engine(format!("{what}: {reason}"));
        loop {
            match self.taken.recv_timeout(LOOK) {
                Ok(done) => return done.map_err(|error| failed(&error.to_string())),
                Err(RecvTimeoutError::Disconnected) => return Err(failed("nobody is given anything any more")),
                Err(RecvTimeoutError::Timeout) if self.stopped.load(Ordering::SeqCst) => {
                    return Err(failed("it was given up"));
                }
                // A moment longer than those who wait there, who say why.
                Err(RecvTimeoutError::Timeout) if Instant::now() > end + 10 * LOOK => {
                    return Err(failed(&format!("not all others were there within {} s", self.deadline.as_secs_f64())));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }
}

impl vr1_rollout::Broadcast for Giving<'_> {
    fn port(&self) -> u16 {
        self.port
    }

    fn carrier(&self) -> Carrier {
        self.carrier
    }

    fn parts(&self) -> &[Part] {
        &self.parts
    }

    fn meet(&mut self) -> Result<()> {
        self.done("the others were to join")
    }

    /// While one is on its way the next is made, and no more than that.
    fn give(&mut self, parts: Range<usize>) -> Result<()> {
        let mut under_way: Option<&str> = None;
        for published in &self.published[parts] {
            // Whoever gives up leaves the other thread with a tensor of its own.
            let made = guarded(|| tch::no_grad(|| published.numbers(self.place).copy()));
            if let Some(before) = under_way.take() {
                self.done(before)?;
            }
            let _ = self.tensors.send(made.map_err(Error::engine)?); // where nobody takes it, that is said below
            under_way = Some(published.name());
        }
        under_way.map_or(Ok(()), |last| self.done(last))
    }
}

impl Drop for Giving<'_> {
    /// The thread waits for nobody any more, nor anybody for it.
    fn drop(&mut self) {
        self.stop.set();
    }
}

fn part(published: &Published<'_>) -> Part {
    let shape = published.size();
    let (dtype, width) = match published.kind() {
        Kind::BFloat16 => ("bfloat16", 2),
        Kind::Half => ("float16", 2),
        _ => ("float32", 4),
    };
    let bytes = shape.iter().product::<i64>().unsigned_abs() * width;
    Part { name: published.name().to_owned(), dtype, shape, bytes }
}

mod asked;
mod broadcast;
mod check;
mod config;
mod fleet;
mod job;
mod mode;
mod push;
mod server;
mod sglang;
mod vocabulary;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;

pub use config::{EngineConfig, Push, ServerKind};
use vr1_processor::{Specials, Tokenizer};
use vr1_rollout::{Engine, Group, Landed, Request, Sampled, Search, Sequence, Ticket, Version, Weights};

use self::broadcast::broadcast;
use self::check::Checking;
pub(crate) use self::fleet::least_busy;
use self::fleet::{Fleet, Heard, failure};
use self::job::{Completion, Job, Target};
use self::mode::{Found, Mode, is_own, look};
use self::push::{Pushing, Written, drop_adapter, push};
use self::vocabulary::Vocabulary;
use crate::{Error, Result};

/// What completions are wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To be learnt from: by what distribution each token was drawn must be known, and servers take new weights.
    Training,
    /// To be read: what a server does not say is left out (NaN).
    Reading,
}

/// Samples from copies of a model that servers hold.
///
/// What is asked of a server is checked when it comes back: the prompt's ids are ours, there are as many completions, tokens and
/// log-probabilities as there should be, each ends as it says, none was broken off. Requests run side by side on threads, at whichever
/// server has the least to do; [`poll`](Engine::poll) waits for the next, and they go on while nobody polls.
pub struct ServerEngine {
    fleet: Arc<Fleet>,
    vocabulary: Arc<Vocabulary>,
    purpose: Purpose,
    found: Found,
    /// Gone when this is, which ends the threads.
    jobs: mpsc::Sender<Job>,
    done: mpsc::Receiver<(Job, Result<Vec<Completion>>)>,
    /// How often what was under way was forgotten.
    era: Arc<AtomicU64>,
    under_way: HashMap<Ticket, Target>,
    ready: Vec<(Ticket, Group)>,
    submitted: u64,
    target: Target,
    /// Whether weights were pushed.
    pushed: Option<Written>,
    pushing: Pushing,
    /// Adapters of earlier weights that servers still have.
    old: Vec<Written>,
}

impl fmt::Debug for ServerEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = &self.fleet.config;
        f.debug_struct("ServerEngine").field("urls", &config.urls).field("target", &self.target).finish_non_exhaustive()
    }
}

impl ServerEngine {
    /// An engine over servers, whose ids `tokenizer` spells; the model's matrix has `vocabulary` rows. The servers are looked at first.
    ///
    /// # Errors
    /// If a setting is out of its range, a server is not there or holds another model, or none of that kind can be learnt with.
    pub fn open(
        config: EngineConfig,
        tokenizer: impl Into<Arc<Tokenizer>>,
        vocabulary: i64,
        purpose: Purpose,
    ) -> Result<Self> {
        let fleet = Arc::new(Fleet::new(config)?);
        if fleet.kind() == ServerKind::Openai && purpose == Purpose::Training {
            return Err(Error::TakesNone);
        }
        let found = look(&fleet)?;
        let vocabulary = Arc::new(Vocabulary::new(tokenizer.into(), vocabulary));
        let ((jobs, waiting), (finished, done)) = (mpsc::channel(), mpsc::channel());
        let (waiting, era) = (Arc::new(Mutex::new(waiting)), Arc::new(AtomicU64::new(0)));
        for _ in 0..fleet.config.in_flight {
            let (fleet, vocabulary, era) = (fleet.clone(), vocabulary.clone(), era.clone());
            let (waiting, finished) = (waiting.clone(), finished.clone());
            let work = move || work(&fleet, &vocabulary, &era, &waiting, &finished);
            thread::Builder::new().name("vr1-servers".to_owned()).spawn(work).map_err(Error::Thread)?;
        }
        let target = Target { version: Version::default(), name: fleet.config.model.as_str().into(), adapter: false };
        let pushing = Pushing::new(fleet.config.weights_dir.clone());
        Ok(Self {
            fleet,
            vocabulary,
            purpose,
            found,
            jobs,
            done,
            era,
            under_way: HashMap::new(),
            ready: Vec::new(),
            submitted: 0,
            target,
            pushed: None,
            pushing,
            old: Vec::new(),
        })
    }

    /// Checks what can be known before a server is asked.
    fn check(&self, request: &Request) -> Result<()> {
        let sampling = &request.sampling;
        if request.search != Search::Draw {
            return Err(Error::Beams);
        }
        let drawn = self.found.mode.is_drawn(sampling) || sampling.temperature == 0.0;
        if self.purpose == Purpose::Training && !drawn {
            return Err(Error::Mode { servers: self.fleet.config.urls.join(", ") });
        }
        let (prompt, most) = (&request.prompt, self.found.room.unwrap_or(usize::MAX));
        if prompt.len().saturating_add(sampling.max_completion_tokens) > most {
            let (tokens, completion) = (prompt.len(), sampling.max_completion_tokens);
            let reason = format!("{tokens} tokens and a completion of {completion} do not fit the servers' {most}");
            return Err(Error::Prompt { sample: prompt.sample().to_owned(), reason });
        }
        asked::check(self.fleet.kind(), &self.job(Ticket(0), request.clone()))
    }

    fn job(&self, ticket: Ticket, request: Request) -> Job {
        Job { ticket, request, target: self.target.clone(), era: self.era.load(Ordering::SeqCst) }
    }

    /// Takes what came back, where it is still wanted.
    fn take(&mut self, (job, made): (Job, Result<Vec<Completion>>)) -> vr1_rollout::Result<()> {
        if job.era != self.era.load(Ordering::SeqCst) {
            return Ok(());
        }
        self.under_way.remove(&job.ticket);
        let made = made.map_err(vr1_rollout::Error::engine).and_then(|made| self.group(&job, made));
        match made {
            Ok(group) => {
                self.ready.push((job.ticket, group));
                self.drop_old();
                Ok(())
            }
            Err(error) => {
                self.era.fetch_add(1, Ordering::SeqCst);
                self.under_way.clear();
                self.ready.clear();
                Err(error)
            }
        }
    }

    fn group(&self, job: &Job, made: Vec<Completion>) -> vr1_rollout::Result<Group> {
        let sequences = made.into_iter().map(|completion| self.sequence(job, completion)).collect::<Result<_, _>>()?;
        Group::new(job.request.key, sequences)
    }

    fn sequence(&self, job: &Job, Completion { ids, logprobs, finish }: Completion) -> vr1_rollout::Result<Sequence> {
        let sampling = &job.request.sampling;
        let unknown = || vec![f32::NAN; ids.len()];
        let mode = self.found.mode;
        let drawn = match sampling.temperature {
            0.0 => vec![0.0; ids.len()],
            _ if mode.is_drawn(sampling) => logprobs.clone(),
            _ => unknown(),
        };
        // Where the likeliest was taken servers give its log-probability at temperature 1; over the whole vocabulary only as far as
        // they look before what is never sampled is left out.
        let whole = mode == Mode::Raw || self.vocabulary.is_whole();
        let own = if whole && (sampling.temperature == 0.0 || is_own(sampling)) { logprobs } else { unknown() };
        let text = self.vocabulary.tokenizer.decode(&ids, Specials::Skip)?;
        let sampled = Sampled { logprobs: own, drawn, entropies: Vec::new(), version: job.target.version, finish };
        Sequence::completion(job.request.prompt.clone(), &ids, text, sampled)
    }

    /// Waits until something that is under way comes back.
    fn receive(&mut self) -> vr1_rollout::Result<()> {
        let gone = |_| vr1_rollout::Error::engine("the threads that ask servers have ended");
        let first = self.done.recv().map_err(gone)?;
        self.take(first)?;
        while let Ok(more) = self.done.try_recv() {
            self.take(more)?;
        }
        Ok(())
    }

    /// Adapters go that nobody asks any more.
    fn drop_old(&mut self) {
        let asked = |old: &Written| self.under_way.values().any(|target| *target == old.target);
        let (kept, gone): (Vec<Written>, Vec<Written>) = self.old.drain(..).partition(asked);
        self.old = kept;
        for old in gone {
            if old.target.adapter {
                drop_adapter(&self.fleet, &old.target.name);
            }
            let _ = old.dir.map(std::fs::remove_dir_all); // what is left lies there and does no harm
        }
    }

    fn hand_over(&mut self, weights: &dyn Weights) -> Result<Version> {
        let version = weights.version();
        if self.fleet.kind() == ServerKind::Openai {
            return Err(Error::TakesNone);
        }
        if self.pushed.is_some() && version < self.target.version {
            return Err(Error::Backwards { has: self.target.version.0, given: version.0 });
        }
        let (way, model) = (self.fleet.config.push, &self.fleet.config.model);
        let written = if way == Push::Broadcast {
            let (written, group) = (Written::nowhere(version, model), self.pushing.name(version));
            broadcast(&self.fleet, weights, &written, &group)?;
            written
        } else {
            let written = self.pushing.write(weights, way, model)?;
            push(&self.fleet, &written)?;
            written
        };
        self.target = written.target.clone();
        self.old.extend(self.pushed.replace(written));
        self.drop_old();
        Ok(version)
    }
}

/// Asks what waits, until nobody waits any more.
fn work(
    fleet: &Fleet,
    vocabulary: &Vocabulary,
    era: &AtomicU64,
    waiting: &Mutex<mpsc::Receiver<Job>>,
    finished: &mpsc::Sender<(Job, Result<Vec<Completion>>)>,
) {
    loop {
        // One waits for a job, the others for their turn to.
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
        if job.era != era.load(Ordering::SeqCst) {
            continue;
        }
        let made = ask(fleet, vocabulary, &job);
        if finished.send((job, made)).is_err() {
            return;
        }
    }
}

fn ask(fleet: &Fleet, vocabulary: &Vocabulary, job: &Job) -> Result<Vec<Completion>> {
    let (path, body) = asked::question(fleet.kind(), job, vocabulary)?;
    fleet.ask(path, &body, |server, said| {
        asked::hear(fleet.kind(), &Checking { server, job, tokenizer: &vocabulary.tokenizer, said: &said })
    })
}

impl Engine for ServerEngine {
    fn submit(&mut self, request: Request) -> vr1_rollout::Result<Ticket> {
        request.validate()?;
        self.check(&request).map_err(vr1_rollout::Error::engine)?;
        let ticket = Ticket(self.submitted);
        let job = self.job(ticket, request);
        self.under_way.insert(ticket, job.target.clone());
        let gone = |_| vr1_rollout::Error::engine("the threads that ask servers have ended");
        self.jobs.send(job).map_err(gone)?;
        self.submitted += 1;
        Ok(ticket)
    }

    fn poll(&mut self) -> vr1_rollout::Result<Vec<(Ticket, Group)>> {
        while self.ready.is_empty() && !self.under_way.is_empty() {
            self.receive()?;
        }
        Ok(std::mem::take(&mut self.ready))
    }

    /// An adapter goes under a name of its own, and what is under way is finished with the old one. For a whole model what is under way is
    /// waited for first.
    fn load(&mut self, weights: &dyn Weights) -> vr1_rollout::Result<Version> {
        if !self.target.adapter {
            while !self.under_way.is_empty() {
                self.receive()?;
            }
        }
        self.hand_over(weights).map_err(vr1_rollout::Error::engine)
    }

    fn landed(&self) -> Option<Landed> {
        let Target { version, name, adapter } = &self.target;
        let copies = self.fleet.all().map(|server| server.name.clone()).collect();
        self.pushed.as_ref().map(|_| Landed { version: *version, name: name.to_string(), adapter: *adapter, copies })
    }

    fn follow(&mut self, landed: &Landed) -> vr1_rollout::Result<Version> {
        let Landed { version, name, adapter, copies } = landed;
        self.fleet.keep(copies).map_err(vr1_rollout::Error::engine)?;
        self.target = Target { version: *version, name: name.as_str().into(), adapter: *adapter };
        Ok(*version)
    }

    fn tolerance(&self) -> Option<f64> {
        Some(self.fleet.config.canary_tolerance)
    }

    fn probe(&mut self, request: &Request) -> vr1_rollout::Result<Vec<(String, Sequence)>> {
        let job = self.job(Ticket(u64::MAX), request.clone());
        let (fleet, mut answers) = (self.fleet.clone(), Vec::new());
        let (path, body) = asked::question(fleet.kind(), &job, &self.vocabulary).map_err(vr1_rollout::Error::engine)?;
        for server in fleet.all() {
            let said = server.ask(path, &body, fleet.config.deadline());
            let said = said.map_err(|failed| failure(server, path, &job.target.name, failed, 1));
            let heard = said.and_then(|said| {
                let tokenizer = &self.vocabulary.tokenizer;
                asked::hear(fleet.kind(), &Checking { server, job: &job, tokenizer, said: &said })
            });
            let made = match heard {
                Ok(Heard::Answer(made)) => made,
                Ok(Heard::BrokenOff) => {
                    let error = Error::BrokenOff { server: server.name.clone(), tries: 1 };
                    return Err(vr1_rollout::Error::engine(error));
                }
                Err(error @ (Error::Lost { .. } | Error::Status { status: 500.., .. })) => {
                    fleet.lose(server, error).map_err(vr1_rollout::Error::engine)?;
                    continue;
                }
                Err(error) => return Err(vr1_rollout::Error::engine(error)),
            };
            for completion in made {
                answers.push((server.name.clone(), self.sequence(&job, completion)?));
            }
        }
        Ok(answers)
    }

    fn take_warnings(&mut self) -> Vec<String> {
        self.fleet.take_warnings()
    }
}

impl Drop for ServerEngine {
    fn drop(&mut self) {
        // What waits is not asked any more, and servers keep no adapter of ours.
        self.era.fetch_add(1, Ordering::SeqCst);
        self.under_way.clear();
        self.old.extend(self.pushed.take());
        self.drop_old();
    }
}

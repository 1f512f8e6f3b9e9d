//! A clock that is only counted: what servers and a trainer that wait for each other come to.

mod server;

use std::collections::VecDeque;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, LogNormal};
use serde::{Deserialize, Serialize};

use self::server::{Ask, Server};
use crate::engine::least_busy;
use crate::{Error, Result};

/// Servers that complete prompts and a trainer that learns from them, as times that were measured or wanted.
///
/// A server decodes its rows side by side, as vLLM and SGLang do: a token of all of them takes
/// `token_seconds + row_seconds × rows`. A prompt is read once for its group, and nothing is decoded meanwhile. Requests go to the server with
/// the least to do, by the rule that [`ServerEngine`](crate::ServerEngine) goes by. While weights are pushed servers stand still.
///
/// The order is the trainer's. Without staleness a step is asked for, learnt from and its weights are pushed, one after the other. With one step
/// of it, once all groups of a step are there the weights of the update before are pushed, the next step is asked for by them, and this one is
/// learnt from meanwhile.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Simulation {
    /// How many servers there are.
    pub servers: usize,
    /// The most completions that one decodes at a time.
    pub rows: usize,
    /// The most requests under way at a time, over all servers.
    pub in_flight: usize,
    /// Prompts of a step.
    pub prompts_per_step: usize,
    /// Completions of a prompt.
    pub group_size: usize,
    /// Tokens of a completion on average, before the longest are cut.
    pub mean_tokens: f64,
    /// The standard deviation of the logarithm of their number: 0 where all are alike.
    pub spread: f64,
    /// Tokens after which a completion is cut.
    pub most_tokens: u64,
    /// Seconds to read a prompt.
    pub prefill_seconds: f64,
    /// Seconds of a token, with however few rows: the time to read the weights.
    pub token_seconds: f64,
    /// Seconds that each row adds to a token.
    pub row_seconds: f64,
    /// Seconds of an update.
    pub update_seconds: f64,
    /// Seconds to bring its weights to the servers.
    pub push_seconds: f64,
    /// Updates that a rollout's weights may be behind: 0 or 1.
    pub max_staleness_steps: u64,
    /// Steps in all; the second half of them is measured.
    pub steps: u64,
    /// What the lengths are drawn from.
    pub seed: u64,
}

impl Default for Simulation {
    /// Eight prompts with eight completions of some 256 tokens, on one server.
    fn default() -> Self {
        Self {
            servers: 1,
            rows: 64,
            in_flight: 64,
            prompts_per_step: 8,
            group_size: 8,
            mean_tokens: 256.0,
            spread: 0.5,
            most_tokens: 1024,
            prefill_seconds: 0.05,
            token_seconds: 0.005,
            row_seconds: 1e-5,
            update_seconds: 1.0,
            push_seconds: 0.5,
            max_staleness_steps: 0,
            steps: 40,
            seed: 0,
        }
    }
}

/// What it came to, over the second half of the steps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Simulated {
    /// From one update's end to the next.
    pub seconds_per_step: f64,
    /// Tokens drawn a second, over all servers.
    pub tokens_per_second: f64,
    /// The share of their time that servers read or decode.
    pub servers_busy: f64,
    /// The share of its time that the trainer learns.
    pub trainer_busy: f64,
    /// Completions being decoded, on average.
    pub rows_busy: f64,
    /// Tokens of completions that are not done, on average.
    pub tokens_in_flight: f64,
    /// Updates made between a rollout's weights and its update.
    pub staleness_steps: f64,
}

/// What the trainer is at.
#[derive(Clone, Copy, PartialEq)]
enum Phase {
    Waits,
    Learns(f64),
    Pushes(f64),
}

/// A run while it is simulated.
struct Clock<'a> {
    of: &'a Simulation,
    servers: Vec<Server>,
    /// Asked for, and not at a server yet.
    waiting: VecDeque<Ask>,
    /// Groups that are still to come, of each step that was asked for.
    missing: Vec<usize>,
    /// Weights that each was asked with.
    drawn_by: Vec<u64>,
    phase: Phase,
    /// Updates made, and pushed.
    learnt: u64,
    pushed: u64,
    now: f64,
    measured: Measured,
}

/// Sums over the measured time.
#[derive(Default)]
struct Measured {
    since: f64,
    tokens: f64,
    serving: f64,
    learning: f64,
    rows: f64,
    held: f64,
    stale: f64,
}

impl Simulation {
    /// Lets the clock run.
    ///
    /// # Errors
    /// If a setting is out of its range.
    pub fn run(&self) -> Result<Simulated> {
        self.validate()?;
        // The mean of exp(N(μ, σ²)) is exp(μ + σ²/2).
        let lengths = LogNormal::new(self.mean_tokens.ln() - self.spread * self.spread / 2.0, self.spread);
        let setting = |_| Error::Setting { field: "spread", value: self.spread.to_string(), allowed: "0 or more" };
        let (lengths, mut stream) = (lengths.map_err(setting)?, ChaCha8Rng::seed_from_u64(self.seed));
        let mut length = || lengths.sample(&mut stream).round().clamp(1.0, self.most_tokens as f64);
        let mut clock = Clock {
            of: self,
            servers: (0..self.servers).map(|_| Server::default()).collect(),
            waiting: VecDeque::new(),
            missing: Vec::new(),
            drawn_by: Vec::new(),
            phase: Phase::Waits,
            learnt: 0,
            pushed: 0,
            now: 0.0,
            measured: Measured::default(),
        };
        while clock.learnt < self.steps {
            clock.ask(&mut length);
            clock.pass();
        }
        Ok(clock.told())
    }

    fn validate(&self) -> Result<()> {
        let check = |field, value: f64, allowed, ok: bool| match ok && value.is_finite() {
            true => Ok(()),
            false => Err(Error::Setting { field, value: value.to_string(), allowed }),
        };
        let counts = [
            ("servers", self.servers),
            ("rows", self.rows),
            ("in_flight", self.in_flight),
            ("prompts_per_step", self.prompts_per_step),
            ("group_size", self.group_size),
        ];
        for (field, value) in counts {
            check(field, value as f64, "1 to 65536", (1..=65_536).contains(&value))?;
        }
        check("steps", self.steps as f64, "2 to 100000", (2..=100_000).contains(&self.steps))?;
        check("max_staleness_steps", self.max_staleness_steps as f64, "0 or 1", self.max_staleness_steps <= 1)?;
        check("most_tokens", self.most_tokens as f64, "1 or more", self.most_tokens > 0)?;
        check("mean_tokens", self.mean_tokens, "1 or more", self.mean_tokens >= 1.0)?;
        check("token_seconds", self.token_seconds, "above 0", self.token_seconds > 0.0)?;
        let others = [
            ("spread", self.spread),
            ("prefill_seconds", self.prefill_seconds),
            ("row_seconds", self.row_seconds),
            ("update_seconds", self.update_seconds),
            ("push_seconds", self.push_seconds),
        ];
        others.into_iter().try_for_each(|(field, value)| check(field, value, "0 or more", value >= 0.0))
    }
}

impl Clock<'_> {
    /// Asks for the steps that may be asked for, and hands what waits to servers.
    fn ask(&mut self, length: &mut impl FnMut() -> f64) {
        let step = self.missing.len();
        let landed = self.missing.last().is_none_or(|missing| *missing == 0);
        if landed && (step as u64) < self.of.steps && step as u64 <= self.pushed + self.of.max_staleness_steps {
            for _ in 0..self.of.prompts_per_step {
                self.waiting.push_back(Ask { step, tokens: (0..self.of.group_size).map(|_| length()).collect() });
            }
            self.missing.push(self.of.prompts_per_step);
            self.drawn_by.push(self.pushed);
        }
        let mut under_way: usize = self.servers.iter().map(Server::requests).sum();
        while under_way < self.of.in_flight
            && let Some(ask) = self.waiting.pop_front()
        {
            let least = least_busy(self.servers.iter().map(Server::requests));
            if let Some(server) = least.and_then(|least| self.servers.get_mut(least)) {
                server.take(ask, self.of.prefill_seconds);
            }
            under_way += 1;
        }
        for server in &mut self.servers {
            server.fill(self.of.rows);
        }
        if self.phase != Phase::Waits || self.missing.get(self.learnt as usize) != Some(&0) {
            return;
        }
        // The step is there. The one after it is drawn by the weights of the update before, which servers may not have yet.
        if self.pushed < self.learnt {
            self.phase = Phase::Pushes(self.of.push_seconds);
        } else {
            self.phase = Phase::Learns(self.of.update_seconds);
            if self.learnt >= self.of.steps / 2 {
                self.measured.stale += (self.learnt - self.drawn_by[self.learnt as usize]) as f64;
            }
        }
    }

    /// The time until something happens, and what it is.
    fn pass(&mut self) {
        let pause = matches!(self.phase, Phase::Pushes(_));
        let serving = self.servers.iter().map(|server| if pause { f64::INFINITY } else { server.next(self.of) });
        let next = serving.fold(f64::INFINITY, f64::min);
        let span = match self.phase {
            Phase::Waits => next,
            Phase::Learns(left) | Phase::Pushes(left) => left.min(next),
        };
        // Something is under way while steps are left: a trainer that waits for a step waits for a server.
        let span = if span.is_finite() { span } else { 0.0 };
        self.now += span;
        let measured = self.learnt >= self.of.steps / 2;
        for server in self.servers.iter_mut().filter(|_| !pause) {
            let busy = server.is_busy();
            let passed = server.advance(span, self.of, |step| self.missing[step] -= 1);
            if measured {
                self.measured.tokens += passed.tokens;
                self.measured.serving += if busy { span } else { 0.0 };
                self.measured.rows += passed.rows as f64 * span;
                self.measured.held += passed.held * span;
            }
        }
        if measured && matches!(self.phase, Phase::Learns(_)) {
            self.measured.learning += span;
        }
        self.phase = match self.phase {
            Phase::Learns(left) if left <= span => {
                self.learnt += 1;
                if self.learnt == self.of.steps / 2 {
                    self.measured = Measured { since: self.now, ..Measured::default() };
                }
                match self.of.max_staleness_steps {
                    0 => Phase::Pushes(self.of.push_seconds),
                    _ => Phase::Waits,
                }
            }
            Phase::Pushes(left) if left <= span => {
                self.pushed = self.learnt;
                Phase::Waits
            }
            Phase::Learns(left) => Phase::Learns(left - span),
            Phase::Pushes(left) => Phase::Pushes(left - span),
            Phase::Waits => Phase::Waits,
        };
    }

    fn told(&self) -> Simulated {
        let (seconds, steps) = (self.now - self.measured.since, (self.of.steps - self.of.steps / 2) as f64);
        let share = |of: f64| if seconds > 0.0 { of / seconds } else { 0.0 };
        Simulated {
            seconds_per_step: seconds / steps,
            tokens_per_second: share(self.measured.tokens),
            servers_busy: share(self.measured.serving) / self.of.servers as f64,
            trainer_busy: share(self.measured.learning),
            rows_busy: share(self.measured.rows),
            tokens_in_flight: share(self.measured.held),
            staleness_steps: self.measured.stale / steps,
        }
    }
}

use std::collections::BTreeMap;
use std::rc::Rc;

use tch::{Kind, Tensor};
use vr1_nn::{Recompute, Routing};
use vr1_rollout::{Group, Version};
use vr1_torch::{GradientSums, guarded};
use vr1_vlm::{Backbone, Snapshot};

use super::compared::Compared;
use super::features::Encoded;
use super::layers::{Layers, Stage};
use super::optimizer::sizes;
use super::part::{Part, any_sampled, count, parts, sampler_gap};
use super::pass::{WholeStep, Worked};
use super::score::{check, lists, score};
use super::sharding::Shards;
use super::times::Times;
use crate::{
    Error, Loss, Needs, Optimizer, OptimizerConfig, ReferenceConfig, Result, Scored, SequenceLogprobs, Sharding,
    Signals, Stats, World,
};

/// How a learner learns.
#[derive(Debug, Clone, PartialEq)]
pub struct LearnerConfig {
    /// What is not trained: parts of the model, or places in the tree of names.
    pub freeze: Vec<String>,
    /// How gradients become updates.
    pub optimizer: OptimizerConfig,
    /// Tokens whose gradients are computed at once; the gradient does not depend on it, but for routers' balance loss. 0: all of a step.
    pub tokens_per_micro_batch: usize,
    /// What the backward pass computes again instead of keeping it; the gradient does not depend on it.
    pub recompute: Recompute,
    /// Updates made from one set of sequences, μ.
    pub iterations: u64,
    /// What losses compare with.
    pub reference: ReferenceConfig,
    /// What the ranks of a world hold each a share of.
    pub sharding: Sharding,
}

impl Default for LearnerConfig {
    fn default() -> Self {
        let (freeze, optimizer, reference) = (Vec::new(), OptimizerConfig::default(), ReferenceConfig::default());
        let (recompute, sharding) = (Recompute::None, Sharding::None);
        Self { freeze, optimizer, tokens_per_micro_batch: 0, recompute, iterations: 1, reference, sharding }
    }
}

/// Which step of how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Steps taken before this one.
    pub done: u64,
    /// Steps in all, which the learning rate's schedule goes by.
    pub of: u64,
}

/// What an update did.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    /// What was measured, by name.
    pub metrics: BTreeMap<String, f64>,
    /// The seconds that its parts took, by the names that metrics have for them: `seconds_reference`, `seconds_forward`, `seconds_backward`,
    /// `seconds_optimizer`. What the reference said since the update before is among them.
    pub seconds: BTreeMap<String, f64>,
    /// What the model said of the trained tokens of each sequence before its first step, by which the loss compares.
    pub logprobs: Vec<SequenceLogprobs>,
    /// The weights that it made.
    pub version: Version,
}

/// Turns sequences into weights.
pub struct Learner {
    pub(crate) model: Rc<dyn Backbone>,
    pub(crate) config: LearnerConfig,
    pub(crate) optimizer: Optimizer,
    pub(crate) compared: Compared,
    /// The ranks that learn together.
    pub(crate) world: World,
    /// The layers whose parameters the ranks hold each a share of.
    pub(crate) layers: Layers,
    /// Ids that are never sampled.
    pub(crate) unreachable: Tensor,
    pub(crate) version: Version,
    /// Where the time since the last update went.
    pub(crate) times: Times,
    /// The step that broke off half way.
    torn: Option<u64>,
}

impl std::fmt::Debug for Learner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Learner").field("config", &self.config).field("version", &self.version).finish_non_exhaustive()
    }
}

impl Learner {
    /// A learner of `model`; `unreachable` are the ids that are never sampled
    /// ([`Tokenizer::unreachable_ids`](vr1_processor::Tokenizer::unreachable_ids)).
    ///
    /// # Errors
    /// If a setting is out of range, everything is frozen, or the model is f16, whose gradients overflow.
    pub fn new(model: Rc<dyn Backbone>, config: LearnerConfig, unreachable: &[i64]) -> Result<Self> {
        Self::in_world(model, config, unreachable, World::default())
    }

    /// The same, which learns together with the other ranks of `world`: every rank is given the same groups, learns from its share of them,
    /// and makes the same weights of the sum of all gradients.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn in_world(model: Rc<dyn Backbone>, config: LearnerConfig, unreachable: &[i64], world: World) -> Result<Self> {
        if model.kind() == Kind::Half {
            return Err(Error::Half);
        }
        config.reference.validate()?;
        if config.iterations == 0 {
            return Err(Error::Setting { field: "iterations", value: "0".into(), allowed: "1 or more" });
        }
        let coefficient = config.optimizer.router_aux_loss_coef;
        if coefficient > 0.0 && model.experts_of_a_token() == 0 {
            let (field, allowed) = ("optimizer.router_aux_loss_coef", "0 for a model without experts");
            return Err(Error::Setting { field, value: coefficient.to_string(), allowed });
        }
        let trained = model.train(&config.freeze)?;
        if trained.iter().any(|(_, tensor)| tensor.kind() == Kind::Half) {
            return Err(Error::Half);
        }
        let (layers, shards) = match config.sharding {
            Sharding::Zero3 => {
                config.check_apart()?;
                match world.is_alone() {
                    true => (Layers::default(), Shards::new(config.sharding, &sizes(&trained), &world)),
                    false => Layers::of(model.as_ref(), &trained, &world)?,
                }
            }
            sharding => (Layers::default(), Shards::new(sharding, &sizes(&trained), &world)),
        };
        let part = |name: &str| model.part(name);
        let optimizer = Optimizer::sharded(trained, config.optimizer.clone(), part, shards)?;
        let unreachable = Tensor::from_slice(unreachable).to_device(model.device());
        let (mut compared, version, times) = (Compared::default(), Version::default(), Times::new(model.device()));
        compared.share(!world.is_alone());
        layers.begin()?;
        Ok(Self { model, config, optimizer, compared, world, layers, unreachable, version, times, torn: None })
    }

    /// The ranks that learn together.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// The model.
    pub fn model(&self) -> &Rc<dyn Backbone> {
        &self.model
    }

    /// What makes updates of gradients.
    pub fn optimizer(&self) -> &Optimizer {
        &self.optimizer
    }

    /// The weights as they are now, for an engine.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { model: self.model.clone(), version: self.version }
    }

    /// The most bytes that were taken at a time where the model is: of a GPU by its tensors, of the CPU by the process. Nothing where nobody
    /// says so.
    pub fn peak_memory(&self) -> Option<u64> {
        vr1_torch::device_memory(self.model.device()).map(|memory| memory.peak)
    }

    /// Counts versions on from `version`: what a learner of an earlier stage had made.
    pub fn continue_from(&mut self, version: Version) {
        self.version = version;
    }

    /// The learning rate of a step.
    pub fn learning_rate(&self, at: Step) -> f64 {
        self.optimizer.learning_rate(at.done, at.of)
    }

    /// Learns from `groups`, whose sequences are as good as `signals` say: all of it or nothing.
    ///
    /// Micro-batches are scored and their gradients summed in f32; the optimizer steps once an iteration. Sampled
    /// sequences are compared with what they were drawn by: `sampler_kl` is the mean of `exp(d) − 1 − d` with
    /// `d = log π − log drawn` over their tokens before the first step.
    ///
    /// # Errors
    /// If a sequence does not fit the model or the loss, there is nothing to learn from, a loss or gradient is not finite,
    /// or there is no room. Parameters, moments and gradients are then as they were; where that cannot be, the error is
    /// [`Error::Torn`], and so is every later one.
    pub fn update(&mut self, groups: &[Group], signals: &Signals, loss: &dyn Loss, at: Step) -> Result<Update> {
        self.whole()?;
        self.layers.free()?;
        // So is what was brought before.
        let _ = self.layers.take_told();
        // What lies on parameters from elsewhere is no part of this step.
        self.optimizer.drop_gradients();
        let mut undo = None;
        let done = guarded(|| self.steps(groups, signals, loss, at, &mut undo)).map_err(Error::from).flatten();
        self.optimizer.drop_gradients();
        let (metrics, logprobs) = match done {
            Ok(told) => told,
            Err(error) => {
                if let Some(before) = undo {
                    self.optimizer.put_back(&before);
                }
                return Err(self.broken_off(error, at));
            }
        };
        let (compared, model) = (&mut self.compared, self.model.as_ref());
        if let Err(error) = guarded(|| compared.follow(self.config.reference, model, at.done + 1)) {
            self.torn = Some(at.done + 1);
            return Err(self.broken_off(error.into(), at));
        }
        self.version.0 += 1;
        Ok(Update { metrics, seconds: self.times.take(), logprobs, version: self.version })
    }

    /// Why a step failed, and whether it left something torn.
    fn broken_off(&mut self, error: Error, at: Step) -> Error {
        let step = at.done + 1;
        self.times.take();
        if !self.optimizer.is_whole() {
            self.torn = Some(step);
        }
        match self.torn {
            None => error.at(step),
            Some(step) => Error::Torn { step, reason: error.to_string() },
        }
    }

    /// Nothing goes on from what a step left that broke off half way.
    pub(crate) fn whole(&self) -> Result<()> {
        match self.torn {
            None => Ok(()),
            Some(step) => Err(Error::Torn { step, reason: "nothing can be learnt or saved after it".to_owned() }),
        }
    }

    pub(crate) fn nothing_encoded(&self) -> Encoded {
        Encoded::new(self.model.as_ref(), self.compared.reference().map(Rc::as_ref), self.config.recompute)
    }

    fn steps(
        &mut self,
        groups: &[Group],
        signals: &Signals,
        loss: &dyn Loss,
        at: Step,
        undo: &mut Option<Vec<Tensor>>,
    ) -> Result<(BTreeMap<String, f64>, Vec<SequenceLogprobs>)> {
        let step = at.done + 1;
        signals.check(groups)?;
        check(self.model.as_ref(), groups)?;
        let needs = loss.needs();
        let counts = count(groups, signals);
        if counts.tokens == 0.0 {
            return Err(Error::Nothing { step });
        }
        let mut encoded = self.nothing_encoded();
        let mut times = std::mem::take(&mut self.times);
        let mismatched_kl = match needs.mismatched {
            true => Some(times.of("reference", || self.mismatched_kl(groups, &mut encoded, &needs))),
            false => None,
        };
        self.times = times;
        let mismatched_kl = mismatched_kl.transpose()?;
        let share = self.share(groups, needs.coupling);
        let before: usize = groups[..share.start].iter().map(Group::size).sum();
        let own = &groups[share];
        let signals = signals.of(before..before + own.iter().map(Group::size).sum::<usize>());
        let (budget, sampled) = (self.config.tokens_per_micro_batch, any_sampled(groups));
        let parts = guarded(|| parts(own, &signals, (&needs, sampled), budget, self.model.device()));
        let mut parts = parts.map_err(Error::from).flatten();
        if let Ok(parts) = &mut parts {
            parts.iter_mut().for_each(|part| part.batch.recompute = self.config.recompute);
        }
        let (mut parts, tokens, micro_batches) = self.counted(parts)?;
        let (mut worked, mut norm, mut logprobs) = (Worked::default(), 0.0, Vec::new());
        let (mut reduced, mut gathered) = (0, 0);
        let mut sampler = Stats::default();
        let layers = self.layers.clone();
        for iteration in 0..self.config.iterations {
            let known = WholeStep { needs, counts, tokens, mismatched_kl, step, iteration };
            let own = layers.together(|| {
                guarded(|| self.worked(&mut parts, &mut encoded, loss, &known)).map_err(Error::from).flatten()
            });
            let (gradients, all) = self.joined(own, step, &mut reduced)?;
            worked = all;
            if iteration == 0 {
                sampler = std::mem::take(&mut worked.sampler);
                logprobs = std::mem::take(&mut worked.logprobs);
            }
            let optimizer = &mut self.optimizer;
            if iteration == 0 && (self.config.iterations > 1 || optimizer.may_overflow(at.done, at.of)) {
                let copied = guarded(|| optimizer.copy_of_state()).map_err(Error::from);
                *undo = Some(optimizer.shards().agreed(copied)?);
            }
            norm = self.times.of("optimizer", || optimizer.apply(gradients, at.done, at.of))?;
            gathered += match optimizer.shards().is_whole() {
                true => optimizer.gather()?,
                false => self.times.of("gather", || optimizer.gather())?,
            };
        }
        let told = layers.take_told();
        (reduced, gathered) = (reduced + told.reduced, gathered + told.gathered);
        for (part, time) in [("gather", told.gathering), ("reduce", told.reducing), ("waiting", told.waiting)] {
            self.times.add(part, time);
        }
        worked.stats.fold(&sampler);
        let mut metrics = worked.stats.into_values();
        metrics.extend(worked.routed.metrics());
        metrics.insert("grad_norm".to_owned(), norm);
        metrics.extend(self.optimizer.norms().iter().map(|(part, norm)| (format!("grad_norm/{part}"), *norm)));
        metrics.insert("learning_rate".to_owned(), self.learning_rate(at));
        metrics.insert("micro_batches".to_owned(), micro_batches as f64);
        if !self.world.is_alone() {
            metrics.insert("reduced_bytes".to_owned(), reduced as f64);
        }
        if !self.optimizer.shards().is_whole() {
            metrics.insert("gathered_bytes".to_owned(), gathered as f64);
        }
        Ok((metrics, logprobs))
    }

    /// One pass over this rank's micro-batches: their gradients, and what was measured.
    fn worked(
        &mut self,
        parts: &mut [Part<'_>],
        encoded: &mut Encoded,
        loss: &dyn Loss,
        whole: &WholeStep,
    ) -> Result<(Vec<Option<Tensor>>, Worked)> {
        let WholeStep { needs, counts, tokens, mismatched_kl, step, iteration } = whole;
        let (parameters, shards) = (self.optimizer.parameters(), self.optimizer.shards());
        // Gradients of what lies apart are summed as their layer is left.
        let own: Vec<usize> = (0..parameters.len()).filter(|&place| !shards.is_apart(place)).collect();
        let mut gradients: Vec<Option<Tensor>> = parameters.iter().map(|_| None).collect();
        let sums = GradientSums::new(own.iter().map(|&place| &parameters[place]))?;
        let mut worked = Worked::default();
        for (number, part) in parts.iter_mut().enumerate() {
            self.layers.at(number, Stage::Model);
            let share = part.batch.input_ids.len() as f64 / *tokens as f64;
            let routing = Routing::new(self.config.optimizer.router_aux_loss_coef * share);
            part.batch.routing = Some(routing.clone());
            let scored = self.scored((number, &mut *part), encoded, needs, *mismatched_kl)?;
            if *iteration == 0 {
                worked.sampler.fold(&sampler_gap(&scored));
                worked.logprobs.extend(lists(&scored.logprobs.detach(), &part.batch.lengths)?);
            }
            let (value, measured) = self.times.of("forward", || -> Result<_> {
                let (value, measured) = loss.loss(&scored, counts)?;
                if !value.f_double_value(&[])?.is_finite() {
                    return Err(Error::NotFinite { what: part.blame(&scored), step: *step });
                }
                Ok((value, measured))
            })?;
            drop(scored);
            self.times.of("backward", || value.f_backward())?;
            worked.stats.fold(&measured);
            worked.routed.add(&routing);
        }
        own.into_iter().zip(sums.take()).for_each(|(place, sum)| gradients[place] = sum);
        Ok((gradients, worked))
    }

    fn scored(
        &mut self,
        (number, part): (usize, &mut Part<'_>),
        encoded: &mut Encoded,
        needs: &Needs,
        mismatched_kl: Option<f64>,
    ) -> Result<Scored> {
        let (model, unreachable) = (self.model.as_ref(), &self.unreachable);
        let said = self.times.of("forward", || {
            let features = encoded.of_model(model, &part.batch)?;
            score(model, &part.batch, &features, unreachable, needs)
        })?;
        if part.wants_reference(needs) {
            self.layers.at(number, Stage::Reference);
            let compared = &mut self.compared;
            let lists = self
                .times
                .of("reference", || compared.logprobs(&part.pieces, &part.batch, encoded, unreachable, needs))?;
            part.set_reference(&lists.concat());
        }
        Ok(part.scored(said, needs, mismatched_kl))
    }
}

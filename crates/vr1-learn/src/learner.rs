//! `B` sequences of a micro-batch, `T` trained tokens of the longest.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::rc::Rc;

use tch::{Device, Kind, Tensor};
use vr1_nn::Derived;
use vr1_rollout::{Group, SampleKey, Sequence, Version};
use vr1_vlm::{Backbone, Batch, Piece, Snapshot};

use super::cut::cut;
use super::features::Encoded;
use super::gradients::{Gradients, drop_gradients};
use super::score::{Rows, lists, score};
use crate::{
    Counts, Error, Fold, Loss, Needs, Old, Optimizer, OptimizerConfig, ReferenceConfig, Result, Scored,
    SequenceLogprobs, Signals, Stats,
};

/// How a learner learns.
#[derive(Debug, Clone, PartialEq)]
pub struct LearnerConfig {
    /// What is not trained: parts of the model, or places in the tree of names.
    pub freeze: Vec<String>,
    /// How gradients become updates.
    pub optimizer: OptimizerConfig,
    /// Tokens whose gradients are computed at once; the gradient does not depend on it. 0: all of a step.
    pub tokens_per_micro_batch: usize,
    /// Updates made from one set of sequences, μ.
    pub iterations: u64,
    /// What losses compare with.
    pub reference: ReferenceConfig,
}

impl Default for LearnerConfig {
    fn default() -> Self {
        let (freeze, optimizer, reference) = (Vec::new(), OptimizerConfig::default(), ReferenceConfig::default());
        Self { freeze, optimizer, tokens_per_micro_batch: 0, iterations: 1, reference }
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
    /// The weights that it made.
    pub version: Version,
}

/// Turns sequences into weights.
pub struct Learner {
    model: Rc<dyn Backbone>,
    config: LearnerConfig,
    optimizer: Optimizer,
    reference: Option<Rc<dyn Backbone>>,
    /// Whether the reference is no longer the model that the learner began with.
    moved: bool,
    /// The reference's log-probabilities of answers that were not sampled, which come up again from epoch to epoch.
    known: HashMap<(SampleKey, usize), SequenceLogprobs>,
    /// Ids that are never sampled.
    unreachable: Tensor,
    version: Version,
}

impl std::fmt::Debug for Learner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Learner").field("config", &self.config).field("version", &self.version).finish_non_exhaustive()
    }
}

/// A micro-batch of a step with what does not change while its updates are made.
struct Part<'a> {
    pieces: Vec<Piece<'a>>,
    batch: Batch,
    rows: Rows,
    mask: Tensor,
    signals: Tensor,
    token_signals: Option<Tensor>,
    drawn: Option<Tensor>,
    old: Option<Tensor>,
    reference: Option<Tensor>,
}

impl Learner {
    /// A learner of `model`; `unreachable` are the ids that are never sampled
    /// ([`Tokenizer::unreachable_ids`](vr1_processor::Tokenizer::unreachable_ids)).
    ///
    /// # Errors
    /// If a setting is out of range, everything is frozen, or the model is f16, whose gradients overflow.
    pub fn new(model: Rc<dyn Backbone>, config: LearnerConfig, unreachable: &[i64]) -> Result<Self> {
        if model.kind() == Kind::Half {
            return Err(Error::Half);
        }
        config.reference.validate()?;
        if config.iterations == 0 {
            return Err(Error::Setting { field: "iterations", value: "0".into(), allowed: "1 or more" });
        }
        let optimizer = Optimizer::new(model.train(&config.freeze)?, config.optimizer.clone())?;
        let unreachable = Tensor::from_slice(unreachable).to_device(model.device());
        let (known, version) = (HashMap::new(), Version::default());
        Ok(Self { model, config, optimizer, reference: None, moved: false, known, unreachable, version })
    }

    /// The model.
    pub fn model(&self) -> &Rc<dyn Backbone> {
        &self.model
    }

    /// The weights as they are now, for an engine.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { model: self.model.clone(), version: self.version }
    }

    /// Counts versions on from `version`: what a learner of an earlier stage had made.
    pub fn continue_from(&mut self, version: Version) {
        self.version = version;
    }

    /// The learning rate of a step.
    pub fn learning_rate(&self, at: Step) -> f64 {
        self.optimizer.learning_rate(at.done, at.of)
    }

    /// Keeps the model as it is now as the reference: the model without its adapter where it has one, else a copy of what
    /// is trained. Losses that compare need it; nobody else pays for it.
    ///
    /// # Errors
    /// If there is no room.
    pub fn keep_reference(&mut self) -> Result<()> {
        let reference = self.config.reference.begin(self.model.as_ref())?;
        self.set_reference(reference);
        Ok(())
    }

    /// Compares with the model as it is now, its adapter included, from here on: a new round.
    ///
    /// # Errors
    /// If there is no room.
    pub fn renew_reference(&mut self) -> Result<()> {
        let reference = self.model.derive(Derived::Copy)?;
        self.set_reference(reference);
        self.moved = true;
        Ok(())
    }

    /// The reference where it is neither the model that the learner began with nor none: what a checkpoint must hold.
    pub fn moved_reference(&self) -> Option<&Rc<dyn Backbone>> {
        self.reference.as_ref().filter(|_| self.moved)
    }

    /// Takes up a reference that had moved.
    pub fn set_moved_reference(&mut self, reference: Rc<dyn Backbone>) {
        self.set_reference(reference);
        self.moved = true;
    }

    /// Compares with `reference` from here on.
    pub fn set_reference(&mut self, reference: Rc<dyn Backbone>) {
        self.reference = Some(reference);
        self.known.clear();
    }

    /// The reference, where one is kept.
    pub fn reference(&self) -> Option<&Rc<dyn Backbone>> {
        self.reference.as_ref()
    }

    /// Learns from `groups`, whose sequences are as good as `signals` say: all of it or nothing.
    ///
    /// Micro-batches are scored and their gradients summed in f32; the optimizer steps once an iteration. Sampled
    /// sequences are compared with what they were drawn by: `sampler_kl` is the mean of `exp(d) − 1 − d` with
    /// `d = log π − log drawn` over their tokens before the first step.
    ///
    /// # Errors
    /// If a sequence does not fit the model or the loss, there is nothing to learn from, or a loss or gradient is not
    /// finite. Parameters, moments and gradients are then as they were.
    pub fn update(&mut self, groups: &[Group], signals: &Signals, loss: &dyn Loss, at: Step) -> Result<Update> {
        let mut undo = None;
        let done = self.steps(groups, signals, loss, at, &mut undo);
        drop_gradients(self.optimizer.parameters());
        match done {
            Ok(metrics) => {
                self.version.0 += 1;
                if let Some(reference) = &self.reference {
                    let moved = self.config.reference.follow(reference.as_ref(), self.model.as_ref(), at.done + 1);
                    if moved {
                        self.known.clear();
                        self.moved = true;
                    }
                }
                Ok(Update { metrics, version: self.version })
            }
            Err(error) => {
                if let Some(before) = undo {
                    self.optimizer.put_back(&before);
                }
                Err(error)
            }
        }
    }

    /// The reference's log-probabilities of the trained tokens of `groups`, a list for each sequence in order.
    ///
    /// # Errors
    /// If no reference is kept, or a sequence does not fit the model.
    pub fn reference_logprobs(&mut self, groups: &[Group], needs: &Needs) -> Result<Vec<SequenceLogprobs>> {
        let mut all = Vec::new();
        let mut encoded = Encoded::default();
        for pieces in cut(groups, self.config.tokens_per_micro_batch, needs.coupling) {
            all.extend(self.compared(&pieces, &Batch::new(&pieces)?, &mut encoded, needs)?);
        }
        Ok(all)
    }

    fn steps(
        &mut self,
        groups: &[Group],
        signals: &Signals,
        loss: &dyn Loss,
        at: Step,
        undo: &mut Option<Vec<Tensor>>,
    ) -> Result<BTreeMap<String, f64>> {
        let step = at.done + 1;
        signals.check(groups)?;
        for group in groups {
            self.check(group)?;
        }
        let needs = loss.needs();
        let counts = count(groups, signals);
        if counts.tokens == 0.0 {
            return Err(Error::Nothing { step });
        }
        let mut encoded = Encoded::default();
        let mismatched_kl = match needs.mismatched {
            true => Some(self.mismatched_kl(groups, &mut encoded, &needs)?),
            false => None,
        };
        let mut parts = self.parts(groups, signals, &needs)?;
        let (mut stats, mut sampler, mut norm) = (Stats::default(), Stats::default(), 0.0);
        for iteration in 0..self.config.iterations {
            let mut gradients = Gradients::new(self.optimizer.parameters().len());
            stats = Stats::default();
            for part in &mut parts {
                let scored = self.scored(part, &mut encoded, &needs, mismatched_kl)?;
                if let (0, Some(drawn)) = (iteration, &part.drawn) {
                    sampler.fold(&sampler_gap(&scored, drawn));
                }
                let (value, measured) = loss.loss(&scored, &counts)?;
                if !value.double_value(&[]).is_finite() {
                    return Err(Error::NotFinite { what: "the loss".into(), step });
                }
                value.f_backward()?;
                gradients.collect(self.optimizer.parameters());
                stats.fold(&measured);
            }
            if self.config.iterations > 1 && iteration == 0 {
                *undo = Some(self.optimizer.copy_of_state());
            }
            norm = self.optimizer.step(gradients.into_sums(), at.done, at.of)?;
        }
        stats.fold(&sampler);
        let mut metrics = stats.into_values();
        metrics.insert("grad_norm".to_owned(), norm);
        metrics.insert("learning_rate".to_owned(), self.learning_rate(at));
        metrics.insert("micro_batches".to_owned(), parts.len() as f64);
        Ok(metrics)
    }

    fn check(&self, group: &Group) -> Result<()> {
        self.model.check(group.prompt())?;
        for sequence in group.sequences() {
            self.model.check(sequence.tail())?;
            let (tokens, most) = (group.prompt().len() + sequence.tail().len(), self.model.max_tokens());
            if tokens > most {
                let reason = format!("{tokens} tokens where {most} fit");
                return Err(Error::Sequence { sample: group.prompt().sample().into(), reason });
            }
        }
        Ok(())
    }

    fn parts<'a>(&self, groups: &'a [Group], signals: &Signals, needs: &Needs) -> Result<Vec<Part<'a>>> {
        let device = self.model.device();
        let mut at = 0;
        let part = |pieces: Vec<Piece<'a>>| -> Result<Part<'a>> {
            let batch = Batch::new(&pieces)?;
            let rows = Rows::new(&batch.lengths, device);
            let these = at..at + batch.lengths.len();
            at = these.end;
            let learnt = batch.lengths.iter().zip(&signals.parts()[these.clone()]);
            let marks = learnt.flat_map(|(&length, &part)| std::iter::repeat_n(f32::from(u8::from(part)), length));
            let mask = rows.lay_slice(&marks.collect::<Vec<_>>()).to_kind(Kind::Int64);
            let token_signals = match signals.tokens().map(|tokens| &tokens[these.clone()]) {
                Some(lists) if lists.iter().map(Vec::len).ne(batch.lengths.iter().copied()) => {
                    let (wanted, found) = (batch.targets.len(), lists.iter().map(Vec::len).sum());
                    return Err(Error::Count { what: "signals of tokens", wanted, found });
                }
                lists => lists.map(|lists| rows.lay_slice(&lists.concat())),
            };
            let signals = Tensor::from_slice(&signals.values()[these]).to_device(device);
            let drawn = drawn(&pieces).map(|values| rows.lay_slice(&values));
            let old = drawn.as_ref().filter(|_| needs.old == Old::Drawn).map(Tensor::shallow_clone);
            Ok(Part { pieces, batch, rows, mask, signals, token_signals, drawn, old, reference: None })
        };
        cut(groups, self.config.tokens_per_micro_batch, needs.coupling).into_iter().map(part).collect()
    }

    fn scored(
        &mut self,
        part: &mut Part<'_>,
        encoded: &mut Encoded,
        needs: &Needs,
        mismatched_kl: Option<f64>,
    ) -> Result<Scored> {
        let said = score(self.model.as_ref(), &part.batch, encoded, &self.unreachable, needs)?;
        if needs.reference && part.reference.is_none() {
            let reference = self.compared(&part.pieces, &part.batch, encoded, needs)?;
            part.reference = Some(part.rows.lay_slice(&reference.concat()));
        }
        let old = part.old.get_or_insert_with(|| said.logprobs.detach());
        Ok(Scored {
            logprobs: said.logprobs,
            entropy: said.entropy,
            likeliest: said.likeliest,
            mean_logprobs: said.mean_logprobs,
            mask: part.mask.shallow_clone(),
            old_logprobs: old.shallow_clone(),
            drawn: part.drawn.as_ref().map(Tensor::shallow_clone),
            ref_logprobs: part.reference.as_ref().map(Tensor::shallow_clone),
            signals: part.signals.shallow_clone(),
            token_signals: part.token_signals.as_ref().map(Tensor::shallow_clone),
            groups: part.pieces.iter().map(|piece| piece.sequences.len()).collect(),
            samples: part.pieces.iter().map(|piece| piece.group.prompt().sample().to_owned()).collect(),
            mismatched_kl,
        })
    }

    /// What the reference says of a batch: a list for each sequence. Answers that nobody sampled come up again in the next
    /// epoch and are looked up then.
    fn compared(
        &mut self,
        pieces: &[Piece<'_>],
        batch: &Batch,
        encoded: &mut Encoded,
        needs: &Needs,
    ) -> Result<Vec<SequenceLogprobs>> {
        let reference = self.reference.as_ref().ok_or(Error::NoReference)?;
        let key = |piece: &Piece<'_>, i: usize| (SampleKey { epoch: 0, ..piece.group.key() }, i);
        let places: Vec<_> = pieces.iter().flat_map(|piece| piece.sequences.clone().map(|i| key(piece, i))).collect();
        let written = pieces.iter().flat_map(Piece::iter).all(|sequence| sequence.sampled().is_none());
        let known = |(place, &length): (_, &usize)| self.known.get(place).filter(|list| list.len() == length).cloned();
        if let (true, Some(known)) = (written, places.iter().zip(&batch.lengths).map(known).collect::<Option<Vec<_>>>())
        {
            return Ok(known);
        }
        let said = tch::no_grad(|| score(reference.as_ref(), batch, encoded, &self.unreachable, needs))?;
        let lists = lists(&said.logprobs, &batch.lengths)?;
        if written {
            self.known.extend(places.into_iter().zip(lists.iter().cloned()));
        }
        Ok(lists)
    }

    /// KTO's estimate of how far the model is from the reference: over each prompt with the answer of the one before it.
    fn mismatched_kl(&mut self, groups: &[Group], encoded: &mut Encoded, needs: &Needs) -> Result<f64> {
        let mut swapped = Vec::with_capacity(groups.len());
        for (i, group) in groups.iter().enumerate() {
            let other = &groups[(i + groups.len() - 1) % groups.len()].sequences()[0];
            let (tail, trained) = (other.tail().clone(), other.trained().to_vec());
            let sequence = Sequence::new(group.prompt().clone(), tail, trained, String::new())?;
            swapped.push(Group::new(group.key(), vec![sequence])?);
        }
        let (mut gaps, mut unkept) = (Vec::new(), Encoded::default());
        for pieces in cut(&swapped, self.config.tokens_per_micro_batch, needs.coupling) {
            let batch = Batch::new(&pieces)?;
            let reference = self.reference.as_ref().ok_or(Error::NoReference)?;
            let sums = |model: &dyn Backbone, encoded: &mut Encoded| -> Result<Vec<f64>> {
                let said = tch::no_grad(|| score(model, &batch, encoded, &self.unreachable, needs))?;
                let lists = lists(&said.logprobs, &batch.lengths)?;
                Ok(lists.iter().map(|list| list.iter().map(|&x| f64::from(x)).sum()).collect())
            };
            let own = sums(self.model.as_ref(), &mut unkept)?;
            let others = sums(reference.as_ref(), encoded)?;
            gaps.extend(own.iter().zip(others).map(|(own, other)| own - other));
        }
        Ok((gaps.iter().sum::<f64>() / gaps.len().max(1) as f64).max(0.0))
    }

    /// Writes what a resumed run needs beside the weights into `dir`: the optimizer's state, and what the reference said of
    /// answers that come up again.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn save(&self, dir: &Path) -> Result<()> {
        self.optimizer.save(&dir.join(OPTIMIZER))?;
        if self.known.is_empty() {
            return Ok(());
        }
        let name = |(key, i): &(SampleKey, usize)| format!("{}.{}.{i}", key.dataset, key.index);
        let mut known: Vec<(String, Tensor)> =
            self.known.iter().map(|(place, list)| (name(place), Tensor::from_slice(list))).collect();
        known.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(Tensor::write_safetensors(&known, dir.join(KNOWN))?)
    }

    /// Takes up what [`save`](Self::save) wrote; `version` updates had been made.
    ///
    /// # Errors
    /// If a file cannot be read, or is of other parameters.
    pub fn restore(&mut self, dir: &Path, version: Version) -> Result<()> {
        self.optimizer.restore(&dir.join(OPTIMIZER))?;
        self.version = version;
        let path = dir.join(KNOWN);
        if !path.is_file() {
            return Ok(());
        }
        let broken = |reason: String| Error::State { path: path.clone(), reason };
        for (name, tensor) in Tensor::read_safetensors(&path).map_err(|error| broken(error.to_string()))? {
            let numbers: Option<Vec<u64>> = name.split('.').map(|part| part.parse().ok()).collect();
            let Some([dataset, index, i]) = numbers.as_deref() else {
                return Err(broken(format!("{name:?} names no answer")));
            };
            let key = SampleKey { dataset: *dataset as u32, epoch: 0, index: *index };
            self.known.insert((key, *i as usize), Vec::<f32>::try_from(&tensor.to_device(Device::Cpu))?);
        }
        Ok(())
    }
}

const OPTIMIZER: &str = "optimizer.safetensors";
const KNOWN: &str = "reference_logprobs.safetensors";

fn count(groups: &[Group], signals: &Signals) -> Counts {
    let mut counts = Counts { groups: groups.len() as f64, ..Counts::default() };
    let sequences = groups.iter().flat_map(Group::sequences);
    for ((sequence, &signal), &part) in sequences.zip(signals.values()).zip(signals.parts()) {
        let tokens = if part { sequence.trained_tokens() as f64 } else { 0.0 };
        counts.tokens += tokens;
        counts.positive_tokens += if signal > 0.0 { tokens } else { 0.0 };
        counts.sequences += 1.0;
        counts.occupied += f64::from(u8::from(tokens > 0.0));
    }
    counts
}

/// The log-probabilities that the tokens of all sequences were drawn by, if all were sampled.
fn drawn(pieces: &[Piece<'_>]) -> Option<Vec<f32>> {
    let lists = pieces.iter().flat_map(Piece::iter).map(|sequence| Some(sequence.sampled()?.drawn.as_slice()));
    lists.collect::<Option<Vec<&[f32]>>>().map(|lists| lists.concat())
}

/// How far the trainer's log-probabilities are from those drawn by.
fn sampler_gap(scored: &Scored, drawn: &Tensor) -> Stats {
    tch::no_grad(|| {
        let counted = scored.mask.to_kind(Kind::Float);
        let gap = (&scored.logprobs - drawn).to_kind(Kind::Float) * &counted;
        let tokens = counted.sum(Kind::Double).double_value(&[]);
        let kl = (gap.exp() - 1.0 - &gap).sum(Kind::Double).double_value(&[]) / tokens;
        let widest = if gap.numel() == 0 { 0.0 } else { gap.abs().max().double_value(&[]) };
        Stats::new([("sampler_kl", kl, Fold::Mean(tokens)), ("sampler_gap", widest, Fold::Max)])
    })
}

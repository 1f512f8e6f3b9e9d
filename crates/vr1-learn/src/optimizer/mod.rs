use std::collections::BTreeMap;

use tch::{Device, Kind, Tensor};
use vr1_torch::{
    AdamWStep, blockwise_adamw, foreach_copy, foreach_scale, foreach_shift, fused_adamw, guarded, take_gradient,
};

use crate::reduce::gathered;
use crate::sharding::Shards;
use crate::{Error, Result, Sharding, World};

mod blockwise;
mod config;
mod groups;
mod muon;
mod norms;
mod numbers;
mod piece;
mod slot;
mod state;

use blockwise::Codebook;
pub use config::{Method, Moments, OptimizerConfig};
pub use groups::ParameterGroup;
use groups::{Named, assigned};
use muon::muon;
use numbers::Numbers;
use piece::{Piece, batches};
use slot::{Rates, Rule, Slot};
pub(crate) use state::FILE;

/// AdamW, or Muon where [`Method::Muon`] is chosen, over named parameters. Parameters of a narrow kind (bf16, f16) have f32 masters, which
/// the updates are added to: at a learning rate of 1e-6 an update is smaller than half of bf16's last digit and would be lost.
#[derive(Debug)]
pub struct Optimizer {
    config: OptimizerConfig,
    /// Of all parameters the name, and the part of the model that it is in.
    names: Vec<(String, Option<&'static str>)>,
    parameters: Vec<Tensor>,
    /// Which rank holds what of them.
    shards: Shards,
    /// What this rank holds, in the order of parameters.
    slots: Vec<Slot>,
    /// The places of the parameters that a step has changed at their owners, and that are not yet at all ranks.
    changed: Vec<usize>,
    /// The norm that the last step's gradient had in each part of the model.
    norms: BTreeMap<&'static str, f64>,
    /// Whether all of it is of one step: not where an update broke off half way.
    whole: bool,
}

/// The gradients of a step, and which step it is.
#[derive(Debug, Clone, Copy)]
struct Work<'a> {
    /// Whose they are: numbers of slots.
    with_gradient: &'a [usize],
    gradients: &'a [Tensor],
    /// What they count.
    scale: f64,
    step: u64,
    steps: u64,
}

impl Work<'_> {
    fn gradient(&self, piece: &Piece) -> Tensor {
        piece.of(&self.gradients[piece.gradient])
    }
}

impl Optimizer {
    /// An optimizer of `parameters`, which already collect gradients, of no part of a model.
    ///
    /// # Errors
    /// As [`of_parts`](Self::of_parts).
    pub fn new(parameters: Vec<(String, Tensor)>, config: OptimizerConfig) -> Result<Self> {
        Self::of_parts(parameters, config, |_| None)
    }

    /// An optimizer of `parameters`, which already collect gradients; `part` is the part of the model that a name is in.
    ///
    /// # Errors
    /// If a setting is out of range, there is nothing to train, or a group has none of it.
    pub fn of_parts(
        parameters: Vec<(String, Tensor)>,
        config: OptimizerConfig,
        part: impl Fn(&str) -> Option<&'static str>,
    ) -> Result<Self> {
        let shards = Shards::new(Sharding::None, &sizes(&parameters), &World::default());
        Self::sharded(parameters, config, part, shards)
    }

    /// The same, of which the ranks of a world hold each a share where these say so.
    pub(crate) fn sharded(
        parameters: Vec<(String, Tensor)>,
        config: OptimizerConfig,
        part: impl Fn(&str) -> Option<&'static str>,
        shards: Shards,
    ) -> Result<Self> {
        config.validate()?;
        let Some((_, first)) = parameters.first() else { return Err(Error::NothingToTrain) };
        let codebooks = [Codebook::signed(first.device()), Codebook::unsigned(first.device())];
        let (names, parameters): (Vec<_>, Vec<_>) = parameters.into_iter().unzip();
        let names: Vec<_> =
            names.into_iter().map(|name| (part(&name), name)).map(|(part, name)| (name, part)).collect();
        let named: Vec<_> = names.iter().map(|(name, part)| Named { name, part: *part }).collect();
        let groups = assigned(&config.groups, &named)?;
        let own = (0..parameters.len()).filter(|&place| shards.has(place));
        let slots = own.map(|place| {
            let (parameter, group) = (&parameters[place], groups[place].map(|number| &config.groups[number]));
            let rates = Rates::new(&config, group, parameter);
            Slot::new((place, names[place].0.clone()), rates, parameter, &config, &codebooks)
        });
        let slots = slots.collect();
        let (changed, norms) = (Vec::new(), BTreeMap::new());
        Ok(Self { config, names, parameters, shards, slots, changed, norms, whole: true })
    }

    /// The norm that the gradient of the last step had in each part of the model, before it was clipped.
    pub fn norms(&self) -> &BTreeMap<&'static str, f64> {
        &self.norms
    }

    /// Whether parameters and moments are of one step. They are not where an update broke off half way, for want of memory that was there
    /// when it began.
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// The parameters, in the order of the gradients that [`step`](Self::step) takes.
    pub fn parameters(&self) -> &[Tensor] {
        &self.parameters
    }

    /// Which rank holds what of them.
    pub(crate) fn shards(&self) -> &Shards {
        &self.shards
    }

    /// Bytes of the moments, step counts and f32 masters that this rank holds between steps, wherever they lie.
    pub fn state_bytes(&self) -> u64 {
        let bytes = |tensor: &Tensor| (tensor.numel() * tensor.kind().elt_size_in_bytes()) as u64;
        self.slots.iter().flat_map(Slot::state).map(|(_, tensor)| bytes(tensor)).sum()
    }

    /// The hash of the parameters; `comes_to` is told of the place of each before it is read.
    pub(crate) fn fingerprint(&self, comes_to: impl Fn(usize) -> Result<()>) -> Result<String> {
        let mut hasher = blake3::Hasher::new();
        for (place, ((name, _), parameter)) in self.names.iter().zip(&self.parameters).enumerate() {
            comes_to(place)?;
            let (kind, shape) = (parameter.kind(), parameter.size());
            hasher.update(format!("{name} {kind:?} {shape:?}\n").as_bytes());
            let bytes = parameter.detach().f_to_device(Device::Cpu)?.f_contiguous()?.f_flatten(0, -1)?;
            hasher.update_rayon(&Vec::<u8>::try_from(bytes.f_view_dtype(Kind::Uint8)?)?);
        }
        Ok(hasher.finalize().to_hex().to_string())
    }

    /// Leaves no gradient on the parameters.
    pub(crate) fn drop_gradients(&self) {
        self.parameters.iter().for_each(|parameter| drop(take_gradient(parameter)));
    }

    /// One step along `gradients`, one a parameter and of whatever kind: the norm that they had before they were clipped. A
    /// parameter that had no part in the step, and so has none, is left alone, its moments too.
    ///
    /// # Errors
    /// If a gradient is not finite; the first parameter with such a one is named. If there is no room for what the step holds on the way.
    /// Nothing is changed then. If a parameter is not finite after the step, which is not [whole](Self::is_whole) then.
    pub fn step(&mut self, gradients: Vec<Option<Tensor>>, step: u64, steps: u64) -> Result<f64> {
        let norm = self.apply(gradients, step, steps)?;
        self.gather()?;
        Ok(norm)
    }

    /// A [`step`](Self::step) of what this rank holds, by the norm over all ranks; it is whole once all [have](Self::gather) the parameters.
    /// Where one rank fails all do.
    pub(crate) fn apply(&mut self, mut gradients: Vec<Option<Tensor>>, step: u64, steps: u64) -> Result<f64> {
        let own = self.slots.iter().enumerate();
        let (with_gradient, gradients): (Vec<usize>, Vec<Tensor>) =
            own.filter_map(|(i, slot)| Some((i, gradients.get_mut(slot.place)?.take()?))).unzip();
        let norms = self.all_norms(&with_gradient, &gradients)?;
        if norms.is_empty() {
            return Ok(0.0);
        }
        let norm = self.norm(&norms)?;
        if !norm.is_finite() {
            let bad = norms.iter().find(|(_, norm)| !norm.is_finite()).map_or(norms[0].0, |(place, _)| *place);
            return Err(Error::NotFinite { what: format!("the gradient of {}", self.names[bad].0), step: step + 1 });
        }
        let scale = (self.config.max_grad_norm / (norm + 1e-6)).min(1.0);
        let work = Work { with_gradient: &with_gradient, gradients: &gradients, scale, step, steps };
        self.norms = self.norms_by_part(&norms);
        let mut rates: Vec<Rates> = Vec::new();
        for slot in &self.slots {
            if !rates.contains(&slot.rates) {
                rates.push(slot.rates);
            }
        }
        let plans: Vec<_> =
            rates.into_iter().map(|rates| (rates, self.plan(&work, Rule::AdamW, Some(rates)))).collect();
        let matrices = self.plan(&work, Rule::Muon, None);
        tch::no_grad(|| {
            // Room for all that is held on the way, before anything is changed.
            let held =
                plans.iter().flat_map(|(_, batches)| batches).chain(&matrices).map(|batch| self.held(batch, &work));
            let most = held.max().unwrap_or(0);
            let room = Tensor::f_empty([most as i64], (Kind::Uint8, self.parameters[0].device()));
            self.shards.agreed(room.map(drop).map_err(Error::from))?;
            self.whole = false;
            let applied = guarded(|| {
                for (rates, batches) in &plans {
                    self.adamw(batches, *rates, &work)?;
                }
                self.muon(&matrices, &work)?;
                self.not_finite(&with_gradient)
            });
            let bad = self.shards.world().all(applied.map_err(Error::from).flatten())?;
            if let Some(place) = bad.into_iter().flatten().min() {
                let what = format!("the parameter {} after it", self.names[place].0);
                return Err(Error::NotFinite { what, step: step + 1 });
            }
            self.changed = norms.iter().map(|(place, _)| *place).collect();
            Ok(norm)
        })
    }

    /// Brings what a step has changed from its owners to all ranks: the bytes of it.
    ///
    /// # Errors
    /// If another rank is gone; nothing is [whole](Self::is_whole) then.
    pub(crate) fn gather(&mut self) -> Result<u64> {
        // What lies at its owner alone is brought when it is needed.
        self.changed.retain(|&place| !self.shards.is_apart(place));
        let bytes = gathered(&self.shards, &self.parameters, &self.changed)?;
        self.changed.clear();
        self.whole = true;
        Ok(bytes)
    }

    /// Whether a step at these settings may leave numbers that are not finite though its gradient is: where rates are such that nothing is
    /// learnt, or gradients so large that their squares may be infinite.
    pub(crate) fn may_overflow(&self, step: u64, steps: u64) -> bool {
        let factor = self.config.factor(step, steps);
        let OptimizerConfig { learning_rate, weight_decay, max_grad_norm, .. } = self.config;
        let own =
            self.config.groups.iter().map(|group| {
                (group.learning_rate.unwrap_or(learning_rate), group.weight_decay.unwrap_or(weight_decay))
            });
        let wild = |(rate, decay): (f64, f64)| rate * factor > 1.0 || rate * decay > 1.0;
        max_grad_norm > 1e9 || own.chain([(learning_rate, weight_decay)]).any(wild)
    }

    /// The parameters that go by a rule, at these rates, in pieces that are updated at once; matrices of Muon's one by one.
    fn plan(&self, work: &Work<'_>, rule: Rule, rates: Option<Rates>) -> Vec<Vec<Piece>> {
        let these = |slot: &Slot| slot.rule == rule && rates.is_none_or(|rates| slot.rates == rates);
        let ruled = work.with_gradient.iter().enumerate().filter(|(_, i)| these(&self.slots[**i]));
        let all = ruled.map(|(gradient, &parameter)| (parameter, gradient, &work.gradients[gradient]));
        match rule {
            Rule::AdamW => batches(all),
            Rule::Muon => all.map(|(parameter, gradient, _)| vec![Piece::whole(parameter, gradient)]).collect(),
        }
    }

    /// The bytes that are held on the way while a batch is updated, at most.
    fn held(&self, batch: &[Piece], work: &Work<'_>) -> u64 {
        let of = |piece: &Piece| {
            let slot = &self.slots[piece.parameter];
            let gradient = if work.gradients[piece.gradient].kind() == Kind::Float { 0 } else { 4 };
            let lists = [&slot.master, &slot.exp_avg, &slot.exp_avg_sq].map(|numbers| numbers.held(piece));
            let muon = if slot.rule == Rule::Muon { muon::HELD } else { 0 };
            piece.run(slot.parameter.numel()).1 as u64 * (gradient + lists.iter().sum::<u64>() + muon)
        };
        // What is rounded up for each tensor.
        batch.iter().map(of).sum::<u64>() + (batch.len() as u64 * 8 + 64) * 512
    }

    fn adamw(&self, plan: &[Vec<Piece>], rates: Rates, work: &Work<'_>) -> Result<()> {
        let OptimizerConfig { beta1, beta2, epsilon, .. } = self.config;
        let Rates { learning_rate, weight_decay } = self.rates(rates, work);
        let hyper = AdamWStep { learning_rate, beta1, beta2, weight_decay, epsilon };
        let first = plan.iter().flatten().filter(|piece| piece.is_first());
        let steps: Vec<Tensor> = first.map(|piece| self.slots[piece.parameter].step.shallow_clone()).collect();
        foreach_shift(&steps, 1.0)?;
        for pieces in plan {
            let (packed, wide): (Vec<Piece>, Vec<Piece>) =
                pieces.iter().partition(|piece| self.slots[piece.parameter].exp_avg.packed(piece).is_some());
            for piece in packed {
                self.adamw_packed(&piece, work, &hyper)?;
            }
            let of = |numbers: fn(&Slot) -> &Numbers| {
                wide.iter().map(|piece| numbers(&self.slots[piece.parameter]).load(piece)).collect::<Vec<_>>()
            };
            let (masters, exp_avgs) = (of(|slot| &slot.master), of(|slot| &slot.exp_avg));
            let exp_avg_sqs = of(|slot| &slot.exp_avg_sq);
            let steps: Vec<Tensor> =
                wide.iter().map(|piece| self.slots[piece.parameter].step.shallow_clone()).collect();
            let gradients = scaled(wide.iter().map(|piece| work.gradient(piece)), work.scale)?;
            fused_adamw(&masters, &gradients, &exp_avgs, &exp_avg_sqs, &steps, &hyper)?;
            for (i, piece) in wide.iter().enumerate() {
                let slot = &self.slots[piece.parameter];
                slot.master.store(piece, &masters[i]);
                slot.exp_avg.store(piece, &exp_avgs[i]);
                slot.exp_avg_sq.store(piece, &exp_avg_sqs[i]);
            }
            self.narrow(&wide, &masters)?;
        }
        Ok(())
    }

    /// A piece whose moments are updated as they lie, in 8 bits.
    fn adamw_packed(&self, piece: &Piece, work: &Work<'_>, hyper: &AdamWStep) -> Result<()> {
        let slot = &self.slots[piece.parameter];
        let (Some(mean), Some(square)) = (slot.exp_avg.packed(piece), slot.exp_avg_sq.packed(piece)) else {
            return Ok(());
        };
        let (master, gradient) =
            (slot.master.load(piece), work.gradient(piece).f_to_kind(Kind::Float)?.f_contiguous()?);
        let step = slot.step.f_double_value(&[])?;
        blockwise_adamw(&master, (&gradient, work.scale), &mean.blocks(), &square.blocks(), step, hyper)?;
        slot.master.store(piece, &master);
        self.narrow(&[*piece], &[master])
    }

    fn muon(&self, plan: &[Vec<Piece>], work: &Work<'_>) -> Result<()> {
        for piece in plan.iter().flatten() {
            let slot = &self.slots[piece.parameter];
            let Rates { learning_rate, weight_decay } = self.rates(slot.rates, work);
            let gradient = scaled([work.gradient(piece)], work.scale)?;
            let [master, momentum] = [&slot.master, &slot.exp_avg].map(|numbers| numbers.load(piece));
            muon(&master, &gradient[0], &momentum, learning_rate, weight_decay);
            slot.master.store(piece, &master);
            slot.exp_avg.store(piece, &momentum);
            self.narrow(&[*piece], &[master])?;
        }
        Ok(())
    }

    /// Brings what was changed in f32 masters to the parameters themselves.
    fn narrow(&self, pieces: &[Piece], masters: &[Tensor]) -> Result<()> {
        let parameter = |piece: &Piece| &self.slots[piece.parameter].parameter;
        let pairs = pieces.iter().zip(masters).filter(|(piece, _)| parameter(piece).kind() != Kind::Float);
        let (narrow, wide): (Vec<Tensor>, Vec<Tensor>) =
            pairs.map(|(piece, master)| (piece.of(&parameter(piece).detach()), master.shallow_clone())).unzip();
        Ok(foreach_copy(&narrow, &wide)?)
    }

    /// All that a step changes, as it is now.
    pub(crate) fn copy_of_state(&self) -> Vec<Tensor> {
        tch::no_grad(|| self.changing().map(Tensor::copy).collect())
    }

    /// Puts back what [`copy_of_state`](Self::copy_of_state) gave.
    pub(crate) fn put_back(&mut self, state: &[Tensor]) {
        tch::no_grad(|| {
            self.changing().zip(state).for_each(|(mine, before)| mine.shallow_clone().copy_(before));
            self.narrow_all();
        });
        self.whole = true;
    }

    fn narrow_all(&self) {
        for slot in self.slots.iter().filter(|slot| slot.parameter.kind() != Kind::Float) {
            for (_, master) in slot.master.tensors() {
                slot.parameter.shallow_clone().copy_(master);
            }
        }
    }

    /// What this rank holds, and the parameters that others bring.
    fn changing(&self) -> impl Iterator<Item = &Tensor> {
        let others = |place: usize| !self.shards.has(place) && !self.shards.is_apart(place);
        let brought = self.parameters.iter().enumerate().filter(move |(place, _)| others(*place));
        self.slots.iter().flat_map(Slot::changing).chain(brought.map(|(_, parameter)| parameter))
    }

    /// The learning rate at `step` of `steps`, of what is in no group.
    pub fn learning_rate(&self, step: u64, steps: u64) -> f64 {
        self.config.learning_rate * self.config.factor(step, steps)
    }

    /// Rates as they are in this step.
    fn rates(&self, highest: Rates, work: &Work<'_>) -> Rates {
        Rates { learning_rate: highest.learning_rate * self.config.factor(work.step, work.steps), ..highest }
    }
}

/// How many numbers each has.
pub(crate) fn sizes(parameters: &[(String, Tensor)]) -> Vec<usize> {
    parameters.iter().map(|(_, tensor)| tensor.numel()).collect()
}

/// Gradients in f32, times `scale`; those that are f32 are changed themselves.
fn scaled(gradients: impl IntoIterator<Item = Tensor>, scale: f64) -> Result<Vec<Tensor>> {
    let wide: Vec<Tensor> = gradients.into_iter().map(|gradient| gradient.to_kind(Kind::Float)).collect();
    if scale < 1.0 {
        foreach_scale(&wide, scale)?;
    }
    Ok(wide)
}

use std::collections::BTreeMap;
use std::path::Path;

use tch::{Device, Kind, Tensor};
use vr1_torch::{
    AdamWStep, blockwise_adamw, foreach_copy, foreach_norm, foreach_scale, foreach_shift, fused_adamw, take_gradient,
};

use crate::{Error, Result};

mod blockwise;
mod config;
mod groups;
mod muon;
mod numbers;
mod piece;

use blockwise::Codebook;
pub use config::{Method, Moments, OptimizerConfig};
pub use groups::ParameterGroup;
use groups::{Named, assigned};
use muon::muon;
use numbers::Numbers;
use piece::{Piece, batches};

/// AdamW, or Muon where [`Method::Muon`] is chosen, over named parameters. Parameters of a narrow kind (bf16, f16) have f32 masters, which
/// the updates are added to: at a learning rate of 1e-6 an update is smaller than half of bf16's last digit and would be lost.
#[derive(Debug)]
pub struct Optimizer {
    config: OptimizerConfig,
    parameters: Vec<Tensor>,
    slots: Vec<Slot>,
    /// The norm that the last step's gradient had in each part of the model.
    norms: BTreeMap<&'static str, f64>,
    /// Whether all of it is of one step: not where an update broke off half way.
    whole: bool,
}

/// The gradients of a step, and which step it is.
#[derive(Debug, Clone, Copy)]
struct Work<'a> {
    /// The parameters that have one.
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

/// What is held of a parameter between steps.
#[derive(Debug)]
struct Slot {
    name: String,
    /// The part of the model that it is in.
    part: Option<&'static str>,
    rule: Rule,
    rates: Rates,
    /// The parameter itself, where that is f32.
    master: Numbers,
    exp_avg: Numbers,
    exp_avg_sq: Numbers,
    step: Tensor,
}

/// What becomes of a parameter's gradient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    AdamW,
    Muon,
}

impl Rule {
    fn new(method: Method, name: &str, parameter: &Tensor) -> Self {
        let layer = parameter.dim() == 2 && !name.contains("embed_tokens") && !name.contains("lm_head");
        if method == Method::Muon && layer { Self::Muon } else { Self::AdamW }
    }
}

/// At which rate a parameter learns at the highest, and how it decays.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Rates {
    learning_rate: f64,
    weight_decay: f64,
}

impl Rates {
    fn new(config: &OptimizerConfig, group: Option<&ParameterGroup>, parameter: &Tensor) -> Self {
        let learning_rate = group.and_then(|group| group.learning_rate).unwrap_or(config.learning_rate);
        let usual = if parameter.dim() > 1 { config.weight_decay } else { 0.0 };
        Self { learning_rate, weight_decay: group.and_then(|group| group.weight_decay).unwrap_or(usual) }
    }
}

/// Below so many numbers moments are f32 always.
const SMALL: usize = 4096;

impl Slot {
    fn new(
        (name, part): (String, Option<&'static str>),
        rates: Rates,
        parameter: &Tensor,
        config: &OptimizerConfig,
        codebooks: &[Codebook; 2],
    ) -> Self {
        let rule = Rule::new(config.method, &name, parameter);
        let wide = |tensor: Tensor| match config.offload {
            true => Numbers::host(&tensor, parameter.device()),
            false => Numbers::Here(tensor),
        };
        let narrow = config.moments == Moments::Blockwise8bit && rule != Rule::Muon && parameter.numel() >= SMALL;
        let moment = |codebook: &Codebook| match narrow {
            true => Numbers::blockwise(parameter, codebook, config.offload),
            false => wide(Tensor::zeros(parameter.size(), (Kind::Float, parameter.device()))),
        };
        let [exp_avg, exp_avg_sq] = [0, 1].map(|i| moment(&codebooks[i]));
        let master = match parameter.kind() {
            Kind::Float => Numbers::Here(parameter.detach()),
            _ => wide(parameter.detach().to_kind(Kind::Float)),
        };
        let step = Tensor::zeros([], (Kind::Float, parameter.device()));
        Self { name, part, rule, rates, master, exp_avg, exp_avg_sq, step }
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
        config.validate()?;
        let Some((_, first)) = parameters.first() else { return Err(Error::NothingToTrain) };
        let codebooks = [Codebook::signed(first.device()), Codebook::unsigned(first.device())];
        let (names, parameters): (Vec<_>, Vec<_>) = parameters.into_iter().unzip();
        let parts: Vec<_> = names.iter().map(|name| part(name)).collect();
        let named: Vec<_> = names.iter().zip(&parts).map(|(name, &part)| Named { name, part }).collect();
        let groups = assigned(&config.groups, &named)?;
        let places = names.into_iter().zip(parts).zip(groups).zip(&parameters);
        let slots = places.map(|((named, group), parameter)| {
            let rates = Rates::new(&config, group.map(|number| &config.groups[number]), parameter);
            Slot::new(named, rates, parameter, &config, &codebooks)
        });
        Ok(Self { slots: slots.collect(), config, parameters, norms: BTreeMap::new(), whole: true })
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

    /// The hash of the parameters.
    pub(crate) fn fingerprint(&self) -> Result<String> {
        let mut hasher = blake3::Hasher::new();
        for (slot, parameter) in self.slots.iter().zip(&self.parameters) {
            let (name, kind, shape) = (&slot.name, parameter.kind(), parameter.size());
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
        let (with_gradient, gradients): (Vec<usize>, Vec<Tensor>) =
            gradients.into_iter().enumerate().filter_map(|(i, gradient)| Some((i, gradient?))).unzip();
        if gradients.is_empty() {
            return Ok(0.0);
        }
        let norms = foreach_norm(&gradients)?;
        let norm = Tensor::f_stack(&norms, 0)?.f_norm()?.f_double_value(&[])?;
        if !norm.is_finite() {
            let bad = norms.iter().position(|n| !n.double_value(&[]).is_finite()).unwrap_or_default();
            let what = format!("the gradient of {}", self.slots[with_gradient[bad]].name);
            return Err(Error::NotFinite { what, step: step + 1 });
        }
        let scale = (self.config.max_grad_norm / (norm + 1e-6)).min(1.0);
        let work = Work { with_gradient: &with_gradient, gradients: &gradients, scale, step, steps };
        self.norms = self.norms_by_part(&work, &norms)?;
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
            drop(Tensor::f_empty([most as i64], (Kind::Uint8, self.parameters[0].device()))?);
            self.whole = false;
            for (rates, batches) in &plans {
                self.adamw(batches, *rates, &work)?;
            }
            self.muon(&matrices, &work)?;
            if let Some(name) = self.not_finite(&with_gradient)? {
                return Err(Error::NotFinite { what: format!("the parameter {name} after it"), step: step + 1 });
            }
            self.whole = true;
            Ok(norm)
        })
    }

    /// The first of these parameters that holds a number which is not finite: all of them are looked at in one pass.
    fn not_finite(&self, changed: &[usize]) -> Result<Option<&str>> {
        let parameters: Vec<Tensor> = changed.iter().map(|&i| self.parameters[i].detach()).collect();
        let norms = foreach_norm(&parameters)?;
        if Tensor::f_stack(&norms, 0)?.f_norm()?.f_double_value(&[])?.is_finite() {
            return Ok(None);
        }
        // The square of a large number may be infinite where the number is not.
        let finite = |i: &usize| self.parameters[*i].detach().isfinite().all().double_value(&[]) != 0.0;
        Ok(changed.iter().find(|i| !finite(i)).map(|&i| self.slots[i].name.as_str()))
    }

    /// Whether a step at these settings may leave numbers that are not finite though its gradient is: where rates are such that nothing is
    /// learnt, or gradients so large that their squares may be infinite.
    pub(crate) fn may_overflow(&self, step: u64, steps: u64) -> bool {
        let factor = self.config.factor(step, steps);
        let wild = |rates: Rates| rates.learning_rate * factor > 1.0 || rates.learning_rate * rates.weight_decay > 1.0;
        self.config.max_grad_norm > 1e9 || self.slots.iter().any(|slot| wild(slot.rates))
    }

    fn norms_by_part(&self, work: &Work<'_>, norms: &[Tensor]) -> Result<BTreeMap<&'static str, f64>> {
        if self.slots.iter().all(|slot| slot.part.is_none()) {
            return Ok(BTreeMap::new());
        }
        let norms = Vec::<f64>::try_from(Tensor::f_stack(norms, 0)?.f_to_kind(Kind::Double)?)?;
        let mut parts = BTreeMap::new();
        for (&i, norm) in work.with_gradient.iter().zip(norms) {
            if let Some(part) = self.slots[i].part {
                *parts.entry(part).or_default() += norm * norm;
            }
        }
        Ok(parts.into_iter().map(|(part, square): (_, f64)| (part, square.sqrt())).collect())
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
            piece.run(self.parameters[piece.parameter].numel()).1 as u64 * (gradient + lists.iter().sum::<u64>() + muon)
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
        let pairs =
            pieces.iter().zip(masters).filter(|(piece, _)| self.parameters[piece.parameter].kind() != Kind::Float);
        let (narrow, wide): (Vec<Tensor>, Vec<Tensor>) = pairs
            .map(|(piece, master)| (piece.of(&self.parameters[piece.parameter].detach()), master.shallow_clone()))
            .unzip();
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
        for (slot, parameter) in self.slots.iter().zip(&self.parameters).filter(|(_, p)| p.kind() != Kind::Float) {
            for (_, master) in slot.master.tensors() {
                parameter.shallow_clone().copy_(master);
            }
        }
    }

    fn changing(&self) -> impl Iterator<Item = &Tensor> {
        self.slots.iter().flat_map(|slot| {
            let numbers = [&slot.master, &slot.exp_avg, &slot.exp_avg_sq].into_iter().flat_map(Numbers::tensors);
            numbers.map(|(_, tensor)| tensor).chain([&slot.step])
        })
    }

    /// Writes what a resumed run needs: moments, step counts and, of narrow parameters, the f32 masters.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, file: &Path) -> Result<()> {
        let tensors: Vec<(String, Tensor)> =
            self.state().map(|(name, tensor)| (name, tensor.to_device(Device::Cpu).contiguous())).collect();
        Ok(Tensor::write_safetensors(&tensors, file)?)
    }

    /// Takes up what [`save`](Self::save) wrote.
    ///
    /// # Errors
    /// If the file cannot be read, or is of other parameters or moments; nothing is changed then.
    pub fn restore(&mut self, file: &Path) -> Result<()> {
        let broken = |reason: String| Error::State { path: file.to_owned(), reason };
        let found = Tensor::read_safetensors(file).map_err(|error| broken(error.to_string()))?;
        let found: BTreeMap<String, Tensor> = found.into_iter().collect();
        let facts = |tensor: &Tensor| (tensor.kind(), tensor.size());
        let pairs = self.state().map(|(name, mine)| match found.get(&name) {
            Some(saved) if facts(saved) == facts(mine) => Ok((mine.shallow_clone(), saved)),
            Some(saved) => Err(broken(format!("{name} is {:?}, should be {:?}", facts(saved), facts(mine)))),
            None => Err(broken(format!("{name} is missing"))),
        });
        let pairs: Vec<_> = pairs.collect::<Result<_>>()?;
        if pairs.len() != found.len() {
            return Err(broken(format!("{} tensors, should be {}", found.len(), pairs.len())));
        }
        tch::no_grad(|| pairs.into_iter().try_for_each(|(mut mine, saved)| Ok(mine.f_copy_(saved).map(drop)?)))
    }

    /// The state's tensors, the optimizer's own, by name.
    fn state(&self) -> impl Iterator<Item = (String, &Tensor)> {
        self.slots.iter().zip(&self.parameters).flat_map(|(slot, parameter)| {
            let master = (parameter.kind() != Kind::Float).then_some(("master", &slot.master));
            let numbers = [("exp_avg", &slot.exp_avg), ("exp_avg_sq", &slot.exp_avg_sq)].into_iter().chain(master);
            let tensors = numbers.flat_map(move |(what, numbers)| {
                numbers.tensors().map(move |(part, tensor)| (format!("{what}{part}.{}", slot.name), tensor))
            });
            tensors.chain([(format!("step.{}", slot.name), &slot.step)])
        })
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

/// Gradients in f32, times `scale`; those that are f32 are changed themselves.
fn scaled(gradients: impl IntoIterator<Item = Tensor>, scale: f64) -> Result<Vec<Tensor>> {
    let wide: Vec<Tensor> = gradients.into_iter().map(|gradient| gradient.to_kind(Kind::Float)).collect();
    if scale < 1.0 {
        foreach_scale(&wide, scale)?;
    }
    Ok(wide)
}

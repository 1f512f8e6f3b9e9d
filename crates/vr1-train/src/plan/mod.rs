//! What a run will be, before any weights are loaded: lengths, memory by phase, time.

mod advice;
mod apart;
mod asked;
mod batch;
mod learnt;
mod lengths;
mod memory;
mod rates;
mod reduction;
mod sampling;
mod shape;
mod told;

use std::path::PathBuf;

pub use advice::Advice;
pub use asked::{AskedRow, AskedSource, RowCount, Sides};
pub use batch::BatchSize;
pub use lengths::{Length, Lengths};
pub use memory::{Held, Phase};
pub use rates::{Rates, Seconds};
pub use shape::{Adapts, LayerShape, ModelShape, TowerShape};
use tch::{Device, Kind};
use vr1_learn::{Sharding, shares};
use vr1_nn::Recompute;
use vr1_processor::Processor;

use self::batch::{Drawn, micro_batches, rows_a_step, units};
use self::memory::Setting;
use crate::{Recipe, Result, StageConfig};

/// What a run is planned for.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Where the model is.
    pub device: Device,
    /// The kind of number that its parameters are.
    pub kind: Kind,
    /// Bytes that there are for it, where that is known.
    pub memory: Option<u64>,
    /// How fast it is, where that was measured.
    pub rates: Option<Rates>,
    /// Processes that train together, each with such a device.
    pub ranks: usize,
}

impl Machine {
    /// The CPU, of whose memory nothing is said.
    #[must_use]
    pub fn cpu(kind: Kind) -> Self {
        Self { device: Device::Cpu, kind, memory: None, rates: None, ranks: 1 }
    }

    /// The kind's bytes.
    fn wide(&self) -> u64 {
        self.kind.elt_size_in_bytes() as u64
    }
}

/// A run, foreseen.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What it is of.
    pub system: String,
    /// The stages in order.
    pub stages: Vec<StagePlan>,
    /// Bytes that there are, where that is known.
    pub memory: Option<u64>,
    /// What changes how much is taken, where it does not fit: the smallest change first.
    pub advice: Vec<Advice>,
    /// Processes that train together; what is planned is that of one of them, which holds the most.
    pub ranks: usize,
    /// Where there are several, bytes of the fullest phase with each way of sharding, that of the recipe among them; `zero3` recomputes layers.
    pub by_sharding: Vec<(Sharding, u64)>,
}

/// A stage, foreseen.
#[derive(Debug, Clone)]
pub struct StagePlan {
    /// Its name, or its number.
    pub name: String,
    /// Updates.
    pub steps: u64,
    /// How often the rows are gone through; nothing where they are drawn and have no end.
    pub epochs: Option<f64>,
    /// What is learnt from.
    pub lengths: Lengths,
    /// The model as this stage trains it.
    pub model: ModelShape,
    /// How many micro-batches a step of the longest rows has, and the largest.
    pub micro_batches: usize,
    /// Its size.
    pub largest: BatchSize,
    /// What is held in each phase when it is fullest.
    pub phases: Vec<Phase>,
    /// What a step takes, where the machine's rates are known.
    pub seconds: Option<Seconds>,
}

impl StagePlan {
    /// The fullest phase.
    #[must_use]
    pub fn fullest(&self) -> Option<&Phase> {
        self.phases.iter().max_by_key(|phase| phase.bytes())
    }
}

/// What is counted once, whatever settings become of it.
pub(crate) struct Counted {
    dir: PathBuf,
    /// Of each stage what is learnt from and what is held out.
    lengths: Vec<[Lengths; 2]>,
    drawn: Vec<bool>,
}

impl Plan {
    /// The plan of a recipe. Of the model its `config.json`, tokenizer and processor are read, of pictures their headers.
    ///
    /// # Errors
    /// If one of them cannot be read, or not one row can be counted.
    pub fn new(recipe: &Recipe, machine: &Machine) -> Result<Self> {
        let counted = Counted::of(recipe)?;
        let mut plan = Self::with(recipe, machine, &counted)?;
        if machine.ranks > 1 {
            for sharding in [Sharding::None, Sharding::Zero2, Sharding::Zero3] {
                // What is brought for a pass is brought again for the way back.
                let recompute = if sharding == Sharding::Zero3 { Recompute::Layers } else { recipe.recompute };
                let other = Self::with(&Recipe { sharding, recompute, ..recipe.clone() }, machine, &counted)?;
                plan.by_sharding.push((sharding, other.peak()));
            }
        }
        if plan.fits() == Some(false) {
            plan.advice = advice::advice(recipe, machine, &counted)?;
        }
        Ok(plan)
    }

    fn with(recipe: &Recipe, machine: &Machine, counted: &Counted) -> Result<Self> {
        let stages = recipe.all_stages();
        let plan = |(number, stage): (usize, &StageConfig)| stage_plan(recipe, number, stage, machine, counted);
        let stages = stages.iter().enumerate().map(plan).collect::<Result<_>>()?;
        let (system, memory, ranks) = (recipe.system.clone(), machine.memory, machine.ranks.max(1));
        Ok(Self { system, stages, memory, advice: Vec::new(), ranks, by_sharding: Vec::new() })
    }

    /// Bytes of the fullest phase of all stages.
    #[must_use]
    pub fn peak(&self) -> u64 {
        self.stages.iter().filter_map(StagePlan::fullest).map(Phase::bytes).max().unwrap_or(0)
    }

    /// Whether it fits, where it is known how much there is.
    #[must_use]
    pub fn fits(&self) -> Option<bool> {
        self.memory.map(|memory| self.peak() <= memory)
    }
}

impl Counted {
    fn of(recipe: &Recipe) -> Result<Self> {
        let dir = vr1_vlm::resolve(&recipe.model)?;
        let processor = Processor::from_dir(&dir)?.with_media(&recipe.media)?;
        let (mut lengths, mut drawn) = (Vec::new(), Vec::new());
        let mut of_evaluation: Vec<(Vec<String>, Lengths)> = Vec::new();
        for stage in recipe.all_stages() {
            let prompt = stage.prompt.as_ref().unwrap_or(&recipe.prompt);
            let evaluation = stage.evaluation.as_ref().unwrap_or(&recipe.evaluation);
            let learnt = AskedSource::of_objective(&stage.objective, prompt, recipe.seed, "")?;
            let held_out = AskedSource::of_evaluation(evaluation, prompt, recipe.seed, "")?;
            drawn.push(learnt.iter().all(AskedSource::is_drawn));
            let all = |sources: &[AskedSource]| -> Result<Lengths> {
                let each = sources.iter().map(|source| Lengths::of(source, &processor)).collect::<Result<_>>()?;
                Ok(Lengths::joined(each))
            };
            let key = vec![format!("{evaluation:?}"), format!("{prompt:?}")];
            let known = of_evaluation.iter().find(|(known, _)| *known == key).map(|(_, lengths)| lengths.clone());
            let held_out = match known {
                Some(known) => known,
                None => all(&held_out)?,
            };
            of_evaluation.push((key, held_out.clone()));
            lengths.push([all(&learnt)?, held_out]);
        }
        Ok(Self { dir, lengths, drawn })
    }
}

fn stage_plan(
    recipe: &Recipe,
    number: usize,
    stage: &StageConfig,
    machine: &Machine,
    counted: &Counted,
) -> Result<StagePlan> {
    let freeze = stage.freeze.clone().unwrap_or_default();
    let shape = ModelShape::from_dir(&counted.dir, &freeze, recipe.lora.as_ref())?;
    let [lengths, held_out] = &counted.lengths[number];
    let optimizer = stage.optimizer.clone().unwrap_or_default();
    let learner = stage.learner(recipe);
    let ranks = machine.ranks.max(1);
    let sharded = if recipe.sharding == Sharding::None { 1 } else { ranks };
    let apart = (recipe.sharding == Sharding::Zero3 && ranks > 1).then(|| shape.apart(ranks));
    let on_cpu = !machine.device.is_cuda();
    let evaluation = stage.evaluation.as_ref().unwrap_or(&recipe.evaluation);
    // What servers sample takes nothing here.
    let elsewhere = recipe.rollout.engine.is_some();
    let mut setting = Setting {
        shape: &shape,
        wide: machine.wide(),
        optimizer: &optimizer,
        recompute: recipe.recompute,
        reference: stage.objective.compares(),
        iterations: learner.iterations,
        on_cpu,
        samples: !elsewhere && (Drawn::of(&stage.objective).is_some() || evaluation.engine.is_none()),
        decoding: u64::MAX,
        ranks: ranks as u64,
        own: apart.map_or_else(|| shape.share(sharded), |apart| apart.share),
        apart,
    };
    // As the engine takes it: a part of what is free beside the model.
    let resident = setting.always();
    let free = machine.memory.map_or(u64::MAX, |memory| memory.saturating_sub(resident));
    setting.decoding = recipe.rollout.memory_bytes().unwrap_or(if on_cpu { free / 2 } else { free / 4 * 3 });
    // Of several ranks each has a run of what is learnt from, and every so-manieth of what is sampled.
    let units = units(stage, lengths);
    let weights: Vec<usize> =
        units.iter().map(|unit| (unit.prompt + unit.tails.iter().sum::<u64>()) as usize).collect();
    let runs = shares(&weights, ranks);
    let cut = runs.into_iter().map(|run| micro_batches(stage, &units[run], recipe.tokens_per_micro_batch));
    let fullest = |parts: &Vec<BatchSize>| parts.iter().map(|part| setting.update(*part, parts.len()).bytes()).max();
    let parts = cut.max_by_key(fullest).unwrap_or_default();
    let dealt = |drawn: Drawn| Drawn { prompts: drawn.prompts.div_ceil(ranks), ..drawn };
    let sampled = Drawn::of(&stage.objective).map(dealt);
    let mut phases = Vec::new();
    let samples = if evaluation.samples == 0 { held_out.of } else { evaluation.samples.min(held_out.of) };
    let samples = samples.div_ceil(ranks);
    let asked = |lengths: &Lengths, count: usize| -> Vec<(u64, u64)> {
        lengths.longest(count).iter().map(|row| (row.prompt, row.patches)).collect()
    };
    let largest =
        parts.iter().copied().max_by_key(|part| setting.update(*part, parts.len()).bytes()).unwrap_or_default();
    let beams = evaluation.stage_beams.unwrap_or(1);
    let drawn = Drawn { prompts: samples, group: beams, tokens: evaluation.max_completion_tokens };
    if !elsewhere && evaluation.engine.is_none() {
        phases.push(setting.sampling("evaluation", drawn, &asked(held_out, samples)));
    }
    if let Some(drawn) = sampled.filter(|_| !elsewhere) {
        phases.extend(setting.handing_over());
        phases.push(setting.sampling("rollout", drawn, &asked(lengths, drawn.prompts)));
    }
    phases.extend(setting.copying());
    phases.push(setting.update(largest, parts.len()));
    phases.extend(setting.reduction(parts.len()));
    phases.push(setting.optimizer(parts.len()));
    phases.push(setting.checkpoint());
    let rows = rows_a_step(&stage.objective) as f64;
    let epochs = (!counted.drawn[number]).then(|| stage.steps as f64 * rows / lengths.of.max(1) as f64);
    let seconds = machine.rates.as_ref().map(|rates| rates.step(&setting, lengths, rows / ranks as f64, sampled));
    Ok(StagePlan {
        name: stage.name.clone().unwrap_or_else(|| (number + 1).to_string()),
        steps: stage.steps,
        epochs,
        lengths: lengths.clone(),
        micro_batches: parts.len(),
        largest,
        phases,
        seconds,
        model: shape,
    })
}

impl Counted {
    /// Tokens of the longest prompt with one answer.
    fn longest(&self, recipe: &Recipe) -> u64 {
        let of_stage = |(number, stage): (usize, &StageConfig)| {
            let units = units(stage, &self.lengths[number][0]);
            units.iter().map(|unit| unit.prompt + unit.tails.iter().max().unwrap_or(&0)).max().unwrap_or(0)
        };
        recipe.all_stages().iter().enumerate().map(of_stage).max().unwrap_or(0)
    }
}

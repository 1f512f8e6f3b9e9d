//! How a [`Derivation`] is made of a recipe.

use std::sync::Arc;

use vr1_learn::OptimizerConfig;
use vr1_processor::Processor;
use vr1_remote::EngineConfig;
use vr1_reward::{Program, Registry};

use super::stage::{self, evaluation, objective};
use crate::derivation::{Derivation, Rate, Spread, StageDerivation};
use crate::evaluate::Evaluation;
use crate::recipe::{ObjectiveConfig, PairSource, Recipe, StageConfig};
use crate::{Error, Objective, Result, Source};

/// Samples whose prompts are made to know how long they are.
const FIRST: usize = 8;

impl Derivation {
    /// What `recipe` comes to, without its model's weights: its data is opened, and its first prompts are made.
    ///
    /// # Errors
    /// If the model's processor, the data or the reward cannot be had, or the recipe is none.
    pub fn of(recipe: &Recipe, registry: &Registry) -> Result<Self> {
        recipe.check().map_err(|(key, reason)| Error::Recipe(format!("`{key}` {reason}")))?;
        let processor = Processor::from_dir(&vr1_vlm::resolve(&recipe.model)?)?.with_media(&recipe.media)?;
        let reward = Arc::new(Program::compile(recipe.reward.clone(), registry)?.tested()?);
        let stages = recipe.all_stages();
        let opened = stages.iter().map(|config| Ok((objective(config, recipe, &reward)?, evaluation(config, recipe)?)));
        let opened: Vec<_> = opened.collect::<Result<_>>()?;
        let derived = stages.iter().zip(&opened).enumerate().map(|(number, (_, (objective, evaluation)))| {
            stage_of(recipe, &stages, number, objective.as_ref(), evaluation, &processor)
        });
        Ok(of_stages(recipe, derived.collect()))
    }
}

pub(super) fn of_stages(recipe: &Recipe, stages: Vec<StageDerivation>) -> Derivation {
    let by_steps = match recipe.save_every_steps {
        0 => 0,
        every => (recipe.all_steps().saturating_sub(1)) / every,
    };
    let (checkpoints, checkpoint_minutes) = (by_steps + 1, recipe.save_every_minutes);
    let ahead = if recipe.rollout.max_staleness_steps > 0 { ", the next step's while one is learnt from" } else { "" };
    let servers = |engine: &EngineConfig| format!("`{}` at {}{ahead}", engine.model, engine.urls.join(", "));
    let sampled_by = recipe.rollout.engine.as_ref().map(servers);
    let (system, sharding) = (recipe.system.clone(), recipe.sharding);
    Derivation { system, stages, checkpoints, checkpoint_minutes, sharding, sampled_by }
}

/// What stage `number` of `stages` comes to, whose objective and evaluation are these.
pub(super) fn stage_of(
    recipe: &Recipe,
    stages: &[StageConfig],
    number: usize,
    objective: &dyn Objective,
    evaluation: &Evaluation,
    processor: &Processor,
) -> StageDerivation {
    let config = &stages[number];
    let asks = Asks::of(&config.objective);
    let supply = objective.supply(processor, FIRST);
    let steps = config.steps;
    let samples_seen = asks.samples * steps;
    let samples = (!asks.endless && supply.samples > 0).then_some(supply.samples);
    let [prompt_tokens, answer_tokens] = [&supply.prompt_tokens, &supply.answer_tokens].map(|list| Spread::of(list));
    let of_answers = match (asks.longest, answer_tokens) {
        (Some(longest), _) => Some((asks.completions * longest) as f64),
        (None, answers) => answers.map(|answers| answers.mean),
    };
    let each = prompt_tokens.map(|prompt| prompt.mean + of_answers.unwrap_or(0.0));
    let tokens_per_step = each.map(|each| (each * asks.samples as f64).round() as u64);
    let micro_batches = match recipe.tokens_per_micro_batch as u64 {
        0 => Some(1),
        most => tokens_per_step.map(|tokens| tokens.div_ceil(most).max(1)),
    };
    let optimizer = config.optimizer.clone().unwrap_or_default();
    StageDerivation {
        name: stage::name(config),
        unit: asks.unit.to_owned(),
        steps,
        updates: steps * asks.updates,
        samples_per_step: asks.samples,
        completions_per_sample: asks.completions,
        samples_seen,
        samples,
        epochs: samples.map(|samples| samples_seen as f64 / samples as f64),
        prompt_tokens,
        answer_tokens,
        max_completion_tokens: asks.longest,
        tokens_per_step,
        micro_batches,
        unread: supply.unread,
        warmup_steps: optimizer.warmup(steps),
        rates: rates(&optimizer, steps),
        evaluations: evaluations(stages, number),
        evaluation_samples: evaluation.samples(),
    }
}

/// How often a stage is evaluated, from its first step to the end of it; not what comes after the last step of all.
fn evaluations(stages: &[StageConfig], number: usize) -> u64 {
    let before: u64 = stages[..number].iter().map(|stage| stage.steps).sum();
    let (end, last) = (before + stages[number].steps, number + 1 == stages.len());
    let every = stages[number].evaluation.as_ref().map_or(0, |evaluation| evaluation.every_steps);
    let up_to = |step: u64| step.checked_div(every).unwrap_or(0);
    // The last step of all has an evaluation of its own, that of another stage has one in any case.
    up_to(end - 1) - up_to(before) + u64::from(!last)
}

fn rates(optimizer: &OptimizerConfig, steps: u64) -> Vec<Rate> {
    let last = steps.saturating_sub(1);
    let factors = [0, optimizer.warmup(steps).min(last), last].map(|step| optimizer.factor(step, steps));
    let rate = |group: &[String], highest: f64, weight_decay: f64| {
        let [start, peak, end] = factors.map(|factor| factor * highest);
        Rate { group: group.to_vec(), start, peak, end, weight_decay }
    };
    let groups = optimizer.groups.iter().map(|group| {
        let highest = group.learning_rate.unwrap_or(optimizer.learning_rate);
        rate(&group.matches, highest, group.weight_decay.unwrap_or(optimizer.weight_decay))
    });
    std::iter::once(rate(&[], optimizer.learning_rate, optimizer.weight_decay)).chain(groups).collect()
}

/// What an objective asks for in a step.
struct Asks {
    unit: &'static str,
    samples: u64,
    /// Completions of each, and the longest.
    completions: u64,
    longest: Option<u64>,
    updates: u64,
    endless: bool,
}

impl Asks {
    fn of(objective: &ObjectiveConfig) -> Self {
        let written = |unit, samples: usize, endless| Self {
            unit,
            samples: samples as u64,
            completions: 0,
            longest: None,
            updates: 1,
            endless,
        };
        match objective {
            ObjectiveConfig::Grpo(grpo) => Self {
                unit: "prompt",
                samples: grpo.prompts_per_step as u64,
                completions: grpo.group_size as u64,
                longest: Some(grpo.sampling.max_completion_tokens as u64),
                updates: grpo.iterations,
                endless: grpo.decks().iter().any(|deck| deck.source.is_endless()),
            },
            ObjectiveConfig::Dpo(dpo) => match &dpo.pairs {
                PairSource::Sampled { train, group_size, sampling, .. } => Self {
                    unit: "prompt",
                    samples: dpo.pairs_per_step as u64,
                    completions: *group_size as u64,
                    longest: Some(sampling.max_completion_tokens as u64),
                    updates: 1,
                    endless: train.is_endless(),
                },
                PairSource::Written { source, .. } => written("pair", dpo.pairs_per_step, source.is_endless()),
                PairSource::Rows(_) => written("pair", dpo.pairs_per_step, false),
            },
            ObjectiveConfig::Kto(kto) => written("answer", kto.answers_per_step, false),
            ObjectiveConfig::Sft(sft) => {
                let endless = |source: &Source| source.is_endless();
                written("document", sft.documents_per_step, sft.documents.iter().any(|d| endless(&d.source)))
            }
        }
    }
}

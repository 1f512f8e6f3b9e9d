//! One round of group relative policy optimisation, in the order in which data flows: samples, prompts, groups of
//! completions, rewards, advantages, log-probabilities, loss, gradients.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::Serialize;
use tch::Tensor;
use vr1_data::{Dataset, Sample};
use vr1_grpo::{GrpoStats, Normalizer, group_advantages, grpo_loss};
use vr1_processor::{Processor, Prompt};
use vr1_reward::{Outcome, Program, Rollout};
use vr1_rollout::{Completion, Group, LocalEngine, RolloutEngine, Sampling};
use vr1_vlm::Model;

use crate::{GrpoObjective, ModelPolicy, Optimizer, Policy, PromptConfig, Result, Template};

/// A prompt template at work.
pub(crate) struct Prompting {
    config: PromptConfig,
    text: Template,
}

impl Prompting {
    pub(crate) fn new(config: &PromptConfig) -> Result<Self> {
        Ok(Self { text: Template::new(&config.text)?, config: config.clone() })
    }

    /// Samples to prompts, side by side.
    pub(crate) fn prompts(&self, samples: &[Sample], processor: &Processor, limit: usize) -> Result<Vec<Prompt>> {
        let prompt = |sample: &Sample| {
            let text = self.text.render(sample)?;
            let prompt = processor.sample(sample, &text, self.config.layout, &self.config.prefill)?;
            prompt.check_fits(limit)?;
            Ok(prompt)
        };
        samples.par_iter().map(prompt).collect()
    }
}

/// What a run of GRPO keeps from step to step.
pub(crate) struct Grpo {
    config: GrpoObjective,
    prompting: Prompting,
    reward: Program,
    samples: Arc<dyn Dataset>,
    order: Vec<u32>,
    reference: Option<Model>,
    seed: u64,
}

/// One completion as it is written into the run's folder.
#[derive(Debug, Serialize)]
pub(crate) struct RolloutRecord {
    sample: String,
    prompt: String,
    completion: String,
    solution: String,
    tokens: usize,
    finished: bool,
    #[serde(flatten)]
    outcome: Outcome,
    advantage: f32,
    ids: Vec<i64>,
}

impl Grpo {
    pub(crate) fn new(
        config: &GrpoObjective,
        prompt: &PromptConfig,
        reward: Program,
        seed: u64,
        reference: Option<Model>,
    ) -> Result<Self> {
        let samples = config.train.open(seed)?;
        let mut order: Vec<u32> = (0..samples.len() as u32).collect();
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        Ok(Self { config: config.clone(), prompting: Prompting::new(prompt)?, reward, samples, order, reference, seed })
    }

    /// One round: the optimizer is stepped `iterations` times, as step `step` of `steps` in all.
    pub(crate) fn step(
        &self,
        model: &Model,
        processor: &Processor,
        optimizer: &mut Optimizer,
        (step, steps): (u64, u64),
    ) -> Result<(BTreeMap<String, f64>, Vec<RolloutRecord>)> {
        let begun = Instant::now();
        let samples = self.samples(step)?;
        let limit = model.config().text.max_position_embeddings as usize;
        let limit = limit.saturating_sub(self.config.sampling.max_completion_tokens);
        let prompts = self.prompting.prompts(&samples, processor, limit)?;

        let sampling = Sampling { seed: self.seed.wrapping_add(step << 32), ..self.config.sampling.clone() };
        let engine = LocalEngine::new(model, processor.tokenizer());
        let groups = engine.generate(prompts, self.config.group_size, &sampling)?;
        let sampled = begun.elapsed().as_secs_f64();

        let outcomes = self.rewards(&samples, &groups)?;
        // A reward that is missing takes no part; NaN says so.
        let rewards: Vec<f32> = outcomes.iter().map(|o| o.total.unwrap_or(f32::NAN)).collect();
        let advantages = group_advantages(&rewards, self.config.group_size, self.config.scale)?;

        let (stats, grad_norm) = self.update(model, &groups, &advantages, optimizer, (step, steps))?;

        let tokens: usize = groups.iter().flat_map(|g| &g.completions).map(|c| c.ids.len()).sum();
        let mut metrics = reward_metrics(&outcomes, self.config.group_size);
        let finished = groups.iter().flat_map(|g| &g.completions).filter(|c| c.finished).count();
        let count = outcomes.len().max(1) as f64;
        metrics.extend(
            [
                ("completion_length", tokens as f64 / count),
                ("finished", finished as f64 / count),
                ("loss", stats.iter().map(|s| s.loss).sum()),
                ("kl", weighted(&stats, |s| s.kl)),
                ("clip_ratio", weighted(&stats, |s| s.clip_ratio)),
                ("entropy", weighted(&stats, |s| s.entropy.unwrap_or_default())),
                ("grad_norm", grad_norm),
                ("learning_rate", optimizer.learning_rate(step, steps)),
                ("tokens_per_second", tokens as f64 / sampled.max(1e-9)),
                ("seconds", begun.elapsed().as_secs_f64()),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        let records = records(&samples, groups, outcomes, &advantages);
        Ok((metrics, records))
    }

    /// The samples of a step: the shuffled set, round and round.
    fn samples(&self, step: u64) -> Result<Vec<Sample>> {
        let first = step as usize * self.config.prompts_per_step;
        let (samples, order) = (&self.samples, &self.order);
        (first..first + self.config.prompts_per_step)
            .into_par_iter()
            .map(|i| Ok(samples.get(order[i % order.len()] as usize)?))
            .collect()
    }

    fn rewards(&self, samples: &[Sample], groups: &[Group]) -> Result<Vec<Outcome>> {
        let reward = &self.reward;
        let score = |(sample, group): (&Sample, &Group)| -> Result<Vec<Outcome>> {
            let rollouts: Vec<Rollout<'_>> = group.completions.iter().map(|c| rollout(sample, group, c)).collect();
            Ok(reward.outcomes(&rollouts).into_iter().collect::<Result<_, _>>()?)
        };
        let scored: Vec<Vec<Outcome>> = samples.par_iter().zip(groups.par_iter()).map(score).collect::<Result<_>>()?;
        Ok(scored.into_iter().flatten().collect())
    }

    /// Gradients, micro-batch by micro-batch, and steps of the optimizer: statistics and the last norm.
    fn update(
        &self,
        model: &Model,
        groups: &[Group],
        advantages: &[f32],
        optimizer: &mut Optimizer,
        (step, steps): (u64, u64),
    ) -> Result<(Vec<GrpoStats>, f64)> {
        let policy = ModelPolicy { model, temperature: temperature(&self.config.sampling) };
        let size = match self.config.prompts_per_micro_batch {
            0 => groups.len(),
            size => size,
        };
        // Counted over the whole step, so that the parts' gradients add up to the whole's.
        let tokens: usize = groups.iter().flat_map(|g| &g.completions).map(|c| c.ids.len()).sum();
        let normalizer = Normalizer::Global { tokens: tokens as f64, sequences: advantages.len() as f64 };
        let config = vr1_grpo::GrpoConfig { normalizer, ..self.config.loss };
        let mut old: Vec<Tensor> = Vec::new();
        let mut reference: Vec<Option<Tensor>> = Vec::new();
        let (mut all, mut grad_norm) = (Vec::new(), 0.0);
        for iteration in 0..self.config.iterations {
            all.clear();
            for (part, groups) in groups.chunks(size).enumerate() {
                let now = policy.logprobs(groups)?;
                if iteration == 0 {
                    old.push(now.logprobs.detach());
                    reference.push(self.reference_logprobs(groups, policy.temperature)?);
                }
                let start = part * size * self.config.group_size;
                let rows = groups.len() * self.config.group_size;
                let advantages = Tensor::from_slice(&advantages[start..start + rows]).to_device(model.device());
                let (loss, mut stats) = grpo_loss(
                    &now.logprobs,
                    &old[part],
                    reference[part].as_ref(),
                    &advantages,
                    &now.completion_mask,
                    &config,
                )?;
                loss.backward();
                let counted = now.completion_mask.sum(tch::Kind::Float).double_value(&[]).max(1.0);
                stats.entropy = Some(now.entropy.sum(tch::Kind::Float).double_value(&[]) / counted);
                all.push(stats);
            }
            grad_norm = optimizer.step(step, steps)?;
        }
        Ok((all, grad_norm))
    }

    fn reference_logprobs(&self, groups: &[Group], temperature: f64) -> Result<Option<Tensor>> {
        let Some(model) = &self.reference else { return Ok(None) };
        tch::no_grad(|| Ok(Some(ModelPolicy { model, temperature }.logprobs(groups)?.logprobs)))
    }
}

fn rollout<'a>(sample: &'a Sample, group: &'a Group, completion: &'a Completion) -> Rollout<'a> {
    Rollout {
        prompt: group.prompt.text(),
        completion: &completion.text,
        solution: &sample.solution,
        tokens: completion.ids.len(),
        finished: completion.finished,
        fields: &sample.fields,
    }
}

/// What logits are divided by when completions are scored: the sampling temperature; greedy sampling has none.
fn temperature(sampling: &Sampling) -> f64 {
    if sampling.temperature > 0.0 { sampling.temperature } else { 1.0 }
}

/// A mean over all tokens of the step, from the means of its parts.
fn weighted(stats: &[GrpoStats], value: impl Fn(&GrpoStats) -> f64) -> f64 {
    let tokens: f64 = stats.iter().map(|s| s.tokens as f64).sum();
    stats.iter().map(|s| value(s) * s.tokens as f64).sum::<f64>() / tokens.max(1.0)
}

fn reward_metrics(outcomes: &[Outcome], group_size: usize) -> BTreeMap<String, f64> {
    let mut metrics = BTreeMap::new();
    let present = |group: &[Outcome]| group.iter().filter_map(|o| o.total.map(f64::from)).collect::<Vec<_>>();
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let all = present(outcomes);
    let spread = |group: &[Outcome]| {
        let values = present(group);
        let centre = mean(&values);
        let squares: f64 = values.iter().map(|v| (v - centre).powi(2)).sum();
        (squares / (values.len().saturating_sub(1)).max(1) as f64).sqrt()
    };
    let spreads: Vec<f64> = outcomes.chunks(group_size).map(spread).collect();
    metrics.insert("reward".to_owned(), mean(&all));
    metrics.insert("reward_std".to_owned(), mean(&spreads));
    metrics.insert("reward_missing".to_owned(), (outcomes.len() - all.len()) as f64);
    let mut terms: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (name, value) in outcomes.iter().flat_map(|o| &o.terms) {
        terms.entry(name).or_default().extend(value.map(f64::from));
    }
    metrics.extend(terms.into_iter().map(|(name, values)| (format!("rewards/{name}"), mean(&values))));
    metrics
}

fn records(samples: &[Sample], groups: Vec<Group>, outcomes: Vec<Outcome>, advantages: &[f32]) -> Vec<RolloutRecord> {
    let mut scored = outcomes.into_iter().zip(advantages);
    let mut records = Vec::new();
    for (sample, group) in samples.iter().zip(groups) {
        for (completion, (outcome, &advantage)) in group.completions.into_iter().zip(scored.by_ref()) {
            records.push(RolloutRecord {
                sample: sample.id.clone(),
                prompt: group.prompt.text().to_owned(),
                completion: completion.text,
                solution: sample.solution.clone(),
                tokens: completion.ids.len(),
                finished: completion.finished,
                outcome,
                advantage,
                ids: completion.ids,
            });
        }
    }
    records
}

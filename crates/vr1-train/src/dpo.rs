use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use vr1_dpo::preference_pairs;
use vr1_learn::{Loss, PreferenceLoss, Signals, Step};
use vr1_reward::Program;
use vr1_rollout::{Group, SampleKey, Sampling, Sequence};

use super::draw::{Deck, Draw, Drawing, Drawn};
use super::grpo::{Setting, ask};
use super::pairs::Pairs;
use super::prompting::Prompting;
use super::rewards::{lengths, reward};
use crate::recipe::{DpoObjective, PairSource};
use crate::{Collected, Error, Objective, Result, Run};

/// Preference pairs: written ones, or the best against the worst of what the model itself says; at once or in rounds.
pub struct Dpo {
    config: DpoObjective,
    written: Option<Pairs>,
    prompting: Prompting,
    reward: Arc<Program>,
    draw: Draw,
    loss: PreferenceLoss,
    steps_per_round: u64,
    /// The pairs of this round, and how many were learnt from; a round with few goes through them again.
    pool: Vec<Pooled>,
    taken: usize,
    seed: u64,
}

/// A pair of this round.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Pooled {
    key: SampleKey,
    /// The ids of the chosen and of the rejected completion.
    ids: [Vec<i64>; 2],
    texts: [String; 2],
}

#[derive(Serialize, Deserialize)]
struct State {
    drawn: Drawing,
    pool: Vec<Pooled>,
    taken: usize,
}

impl std::fmt::Debug for Dpo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dpo").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Dpo {
    /// The objective that a recipe describes.
    ///
    /// # Errors
    /// If pairs cannot be had, or a setting is out of range.
    pub fn new(config: &DpoObjective, setting: &Setting<'_>) -> Result<Self> {
        let written = Pairs::open(&config.pairs, setting.prompt, setting.seed)?;
        let samples = match (&written, &config.pairs) {
            (Some(pairs), _) => pairs.numbered(),
            (None, PairSource::Sampled { train, .. }) => train.open(setting.seed)?,
            (None, _) => unreachable!("what is not sampled is written"),
        };
        let draw = Draw::new(vec![Deck { samples, weight: 1.0, stage: 0 }], setting.seed)?;
        Ok(Self {
            config: config.clone(),
            written,
            prompting: Prompting::new(setting.prompt)?,
            reward: setting.reward.clone(),
            draw,
            loss: config.preference_loss(),
            steps_per_round: setting.steps.div_ceil(config.rounds.max(1)),
            pool: Vec::new(),
            taken: 0,
            seed: setting.seed,
        })
    }

    /// Groups of completions, rewarded and paired.
    fn sampled(&self, run: &mut Run, drawn: &[Drawn], at: Step) -> Result<(Vec<Group>, Collected)> {
        let PairSource::Sampled { group_size, sampling, rule, margin, on_error, .. } = &self.config.pairs else {
            unreachable!("pairs that are written are not sampled")
        };
        let sampling = Sampling { seed: self.seed, ..sampling.clone() };
        let groups = ask(run, &self.prompting, drawn, *group_size, &sampling)?;
        let samples: Vec<_> = drawn.iter().map(|drawn| &drawn.sample).collect();
        let mut rewarded = reward(&self.reward, *on_error, &samples, &groups, at.done + 1)?;
        let mut metrics = rewarded.metrics();
        metrics.extend(lengths(&groups));
        let warnings = std::mem::take(&mut rewarded.warnings);
        let mut totals = rewarded.totals().into_iter();
        let mut pairs = Vec::new();
        for group in groups {
            let scores: Vec<f32> = totals.by_ref().take(group.size()).collect();
            for pair in preference_pairs(&scores, scores.len(), *margin, *rule)? {
                let sequence = |i: usize| group.sequences()[i].clone();
                pairs.push(Group::new(group.key(), vec![sequence(pair.chosen), sequence(pair.rejected)])?);
            }
        }
        metrics.insert("pairs".to_owned(), pairs.len() as f64);
        Ok((pairs, Collected { metrics, warnings, ..Collected::default() }))
    }

    /// The pairs of a round, all sampled from the model at its start; what is told is of all of them.
    fn fill(&mut self, run: &mut Run, at: Step) -> Result<Collected> {
        let steps = self.steps_per_round.min(at.of - at.done);
        let mut told = Collected::default();
        (self.pool, self.taken) = (Vec::new(), 0);
        for _ in 0..steps {
            let drawn = self.draw.next(self.config.pairs_per_step, &[1.0])?;
            let (pairs, collected) = self.sampled(run, &drawn, at)?;
            told.warnings.extend(collected.warnings);
            for (name, value) in collected.metrics {
                *told.metrics.entry(name).or_default() += value / steps as f64;
            }
            self.pool.extend(pairs.iter().map(|group| Pooled {
                key: group.key(),
                ids: [0, 1].map(|i| group.sequences()[i].ids().to_vec()),
                texts: [0, 1].map(|i| group.sequences()[i].text().to_owned()),
            }));
        }
        told.metrics.remove("pairs");
        told.metrics.insert("pairs_in_round".to_owned(), self.pool.len() as f64);
        Ok(told)
    }

    /// The pool's next pairs as groups: their prompts are made again.
    fn take(&mut self, run: &Run, at: Step) -> Result<Vec<Group>> {
        let begun = at.done - at.done % self.steps_per_round;
        let steps = self.steps_per_round.min(at.of - begun) as usize;
        let count = self.pool.len().div_ceil(steps.max(1));
        let pooled: Vec<Pooled> = self.pool.iter().cycle().skip(self.taken).take(count).cloned().collect();
        self.taken = (self.taken + count) % self.pool.len().max(1);
        let processor = &run.processor;
        let group = |pooled: &Pooled| -> Result<Group> {
            let sample = self.draw.sample(pooled.key)?;
            let prompts = self.prompting.prompts(&[&sample], processor, usize::MAX)?;
            let prompt = Arc::new(prompts.into_iter().next().ok_or(Error::Recipe("no prompt".to_owned()))?);
            let sequences = pooled.ids.iter().zip(&pooled.texts).map(|(ids, text)| {
                Sequence::new(prompt.clone(), prompt.tail(ids, text)?, vec![true; ids.len()], text.clone())
            });
            Ok(Group::new(pooled.key, sequences.collect::<vr1_rollout::Result<_>>()?)?)
        };
        pooled.par_iter().map(group).collect()
    }

    fn written(&mut self, run: &Run) -> Result<Vec<Group>> {
        let drawn = self.draw.next(self.config.pairs_per_step, &[1.0])?;
        let pairs = self.written.as_ref().ok_or(Error::Recipe("no written pairs".to_owned()))?;
        let processor = &run.processor;
        drawn.par_iter().map(|drawn| pairs.group(drawn.key, processor)).collect()
    }
}

impl Objective for Dpo {
    fn collect(&mut self, run: &mut Run, at: Step) -> Result<Collected> {
        let begins = at.done.is_multiple_of(self.steps_per_round);
        if begins && at.done > 0 && self.config.rounds > 1 && self.loss.needs().reference {
            run.learner.renew_reference()?;
        }
        let (groups, mut collected) = match (&self.written, self.config.rounds) {
            (Some(_), _) => (self.written(run)?, Collected::default()),
            (None, 1) => {
                let drawn = self.draw.next(self.config.pairs_per_step, &[1.0])?;
                self.sampled(run, &drawn, at)?
            }
            (None, _) => {
                let told = if begins { self.fill(run, at)? } else { Collected::default() };
                (self.take(run, at)?, told)
            }
        };
        if groups.is_empty() {
            let reason = "no group gave a pair: all its answers are equally good; try a larger group or a lower margin";
            return Err(Error::Recipe(format!("step {}: {reason}", at.done + 1)));
        }
        if self.config.rounds > 1 {
            collected.metrics.insert("round".to_owned(), (at.done / self.steps_per_round + 1) as f64);
        }
        collected.metrics.entry("pairs".to_owned()).or_insert(groups.len() as f64);
        collected.signals = Signals::new(groups.iter().flat_map(|_| [1.0, -1.0]).collect());
        collected.groups = groups;
        Ok(collected)
    }

    fn loss(&self) -> &dyn Loss {
        &self.loss
    }

    fn state(&self) -> Value {
        serde_json::json!({ "drawn": self.draw.drawing(), "pool": self.pool, "taken": self.taken })
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        let State { drawn, pool, taken } = serde_json::from_value(state.clone())
            .map_err(|error| Error::Recipe(format!("the state of the objective cannot be read: {error}")))?;
        (self.pool, self.taken) = (pool, taken);
        self.draw.resume(drawn)
    }
}

/// Metrics of held-out pairs: how often the chosen answer is likelier a token, and by how much.
pub(crate) fn preference_metrics(lists: &[Vec<f32>]) -> BTreeMap<String, f64> {
    let mean = |list: &Vec<f32>| list.iter().map(|&x| f64::from(x)).sum::<f64>() / list.len().max(1) as f64;
    let margins: Vec<f64> = lists.chunks(2).map(|pair| mean(&pair[0]) - mean(&pair[1])).collect();
    let count = margins.len().max(1) as f64;
    let right = margins.iter().filter(|margin| **margin > 0.0).count() as f64;
    BTreeMap::from([
        ("preference_accuracy".to_owned(), right / count),
        ("preference_margin".to_owned(), margins.iter().sum::<f64>() / count),
    ])
}

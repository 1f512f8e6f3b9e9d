use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::prelude::*;
use serde::Deserialize;
use serde_json::Value;
use vr1_dpo::preference_pairs;
use vr1_learn::{Loss, PreferenceLoss, Signals, Step};
use vr1_processor::Processor;
use vr1_reward::Program;
use vr1_rollout::{Group, Sampling};

use super::ahead::{Ahead, Wanted};
use super::ask::{Asked, Completed, room};
use super::draw::{Deck, Draw, Drawing, Drawn};
use super::grpo::Setting;
use super::pairs::Pairs;
use super::pool::{Pool, Pooled};
use super::prompting::Prompting;
use super::rewards::{Rewarded, lengths};
use super::rollout::rollouts;
use crate::derivation::length;
use crate::recipe::{DpoObjective, PairSource};
use crate::{Collected, Error, Objective, Result, Run, Supply};

/// Preference pairs: written ones, or the best against the worst of what the model itself says; at once or in rounds.
pub struct Dpo {
    config: DpoObjective,
    written: Option<Arc<Pairs>>,
    prompting: Arc<Prompting>,
    reward: Arc<Program>,
    draw: Draw,
    /// The next step's pairs that are written, or what is asked in it.
    pairs_ahead: Ahead<Vec<Group>>,
    asked_ahead: Ahead<Asked>,
    loss: PreferenceLoss,
    /// The pairs that were sampled at the start of this round.
    pool: Pool,
    seed: u64,
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
            written: written.map(Arc::new),
            prompting: Arc::new(Prompting::new(setting.prompt)?),
            reward: setting.reward.clone(),
            draw,
            pairs_ahead: Ahead::default(),
            asked_ahead: Ahead::default(),
            loss: config.preference_loss(),
            pool: Pool::default(),
            seed: setting.seed,
        })
    }

    /// Groups of completions, rewarded and paired.
    fn sampled(&mut self, run: &mut Run, at: Step) -> Result<Collected> {
        let PairSource::Sampled { group_size, sampling, rule, margin, on_error, .. } = &self.config.pairs else {
            unreachable!("pairs that are written are not sampled")
        };
        let wanted = self.wanted();
        let sampling = Sampling { seed: self.seed, ..sampling.clone() };
        let room = room(run, &sampling);
        let asked = match self.asked_ahead.take(&mut self.draw, &wanted, &run.processor) {
            Some(asked) => asked?,
            None => {
                let drawn = self.draw.next(wanted.count, &wanted.stages)?;
                Asked::new(drawn, &self.prompting, &run.processor, room)?
            }
        };
        // A round asks all at its start.
        if self.config.rounds == 1 && at.done + 1 < at.of {
            let prompting = self.prompting.clone();
            self.asked_ahead.begin(&mut self.draw, wanted, &run.processor, move |drawn, processor| {
                Asked::new(drawn, &prompting, processor, room)
            });
        }
        let Completed { drawn, groups: asked, scored } = asked.completed(run, *group_size, &sampling, &self.reward)?;
        let samples: Vec<_> = drawn.iter().map(|drawn| &drawn.sample).collect();
        let mut rewarded = Rewarded::new(*on_error, &samples, scored, at.done + 1)?;
        let mut metrics = rewarded.metrics();
        metrics.extend(lengths(&asked));
        let warnings = std::mem::take(&mut rewarded.warnings);
        rewarded.any(&warnings, at.done + 1)?;
        let (totals, mut groups, mut preferred, mut start) = (rewarded.totals(), Vec::new(), Vec::new(), 0);
        for group in &asked {
            let scores = &totals[start..start + group.size()];
            let mut signs = vec![0.0; group.size()];
            for pair in preference_pairs(scores, scores.len(), *margin, *rule)? {
                let sequence = |i: usize| group.sequences()[i].clone();
                groups.push(Group::new(group.key(), vec![sequence(pair.chosen), sequence(pair.rejected)])?);
                signs[pair.chosen] += 1.0;
                signs[pair.rejected] -= 1.0;
            }
            preferred.extend(signs);
            start += group.size();
        }
        let rollouts = rollouts(&samples, &asked, &rewarded.said, &Signals::new(preferred), self.seed)?;
        metrics.insert("pairs_sampled".to_owned(), groups.len() as f64);
        Ok(Collected { groups, metrics, rollouts, warnings, ..Collected::default() })
    }

    /// The pairs of a round, all sampled from the model at its start; what was measured on the way.
    fn fill(&mut self, run: &mut Run, at: Step, steps: u64) -> Result<Collected> {
        let mut told = Collected::default();
        let mut pooled = Vec::new();
        for _ in 0..steps {
            let Collected { groups, metrics, rollouts, warnings, .. } = self.sampled(run, at)?;
            for (name, value) in metrics {
                let counted = ["pairs_sampled", "reward_missing", "reward_errors"].contains(&name.as_str());
                *told.metrics.entry(name).or_default() += if counted { value } else { value / steps as f64 };
            }
            told.rollouts.extend(rollouts);
            told.warnings.extend(warnings);
            pooled.extend(groups.iter().map(Pooled::of));
        }
        self.pool = Pool::new(pooled)?;
        Ok(told)
    }

    fn written(&mut self, pairs: &Arc<Pairs>, run: &Run, at: Step) -> Result<Vec<Group>> {
        let (wanted, pairs) = (self.wanted(), pairs.clone());
        let make = move |drawn: Vec<Drawn>, processor: &Processor| {
            drawn.par_iter().map(|drawn| pairs.group(drawn.key, processor)).collect::<Result<Vec<Group>>>()
        };
        let groups = match self.pairs_ahead.take(&mut self.draw, &wanted, &run.processor) {
            Some(groups) => groups?,
            None => make(self.draw.next(wanted.count, &wanted.stages)?, &run.processor)?,
        };
        if at.done + 1 < at.of {
            self.pairs_ahead.begin(&mut self.draw, wanted, &run.processor, make);
        }
        Ok(groups)
    }

    fn wanted(&self) -> Wanted {
        Wanted { count: self.config.pairs_per_step, stages: vec![1.0] }
    }
}

impl Objective for Dpo {
    fn collect(&mut self, run: &mut Run, at: Step) -> Result<Collected> {
        let round = Round::of(at, self.config.rounds);
        if round.number > 0 && round.place == 0 && self.loss.needs().reference {
            run.learner.renew_reference()?;
        }
        let mut collected = match (self.written.clone(), self.config.rounds) {
            (Some(pairs), _) => Collected { groups: self.written(&pairs, run, at)?, ..Collected::default() },
            (None, 1) => self.sampled(run, at)?,
            (None, _) => {
                let told = if round.place == 0 { self.fill(run, at, round.steps)? } else { Collected::default() };
                let pooled = self.pool.share(round.place, round.steps);
                let (processor, prompting) = (&run.processor, &self.prompting);
                let group = |pooled: &Pooled| pooled.group(&self.draw.sample(pooled.key())?, prompting, processor);
                Collected { groups: pooled.par_iter().map(group).collect::<Result<_>>()?, ..told }
            }
        };
        if collected.groups.is_empty() {
            let why = "no group gave a pair, for its answers are equally good; nothing is learnt";
            collected.warnings.push(format!("step {}: {why}", at.done + 1));
        }
        if self.config.rounds > 1 {
            collected.metrics.insert("round".to_owned(), round.number as f64 + 1.0);
        }
        collected.metrics.insert("pairs".to_owned(), collected.groups.len() as f64);
        collected.signals = Signals::new(collected.groups.iter().flat_map(|_| [1.0, -1.0]).collect());
        Ok(collected)
    }

    fn samples(&self) -> bool {
        self.written.is_none()
    }

    fn supply(&self, processor: &Processor, count: usize) -> Supply {
        let Some(pairs) = &self.written else { return self.prompting.supply(&self.draw, processor, count) };
        let mut supply = Supply { samples: self.draw.total(), ..Supply::default() };
        for drawn in self.draw.first(count) {
            let pair = drawn.and_then(|drawn| pairs.group(drawn.key, processor));
            supply.add(pair.map(|pair| length([&pair])));
        }
        supply
    }

    fn loss(&self) -> &dyn Loss {
        &self.loss
    }

    fn state(&self) -> Value {
        serde_json::json!({ "drawn": self.draw.drawing(), "pool": self.pool.state() })
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        let State { drawn, pool } = serde_json::from_value(state.clone())
            .map_err(|error| Error::Recipe(format!("the state of the objective cannot be read: {error}")))?;
        self.pool = Pool::restored(pool)?;
        self.draw.resume(drawn)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    drawn: Drawing,
    pool: String,
}

/// Where a step is among the rounds.
struct Round {
    number: u64,
    /// Steps of the round before it.
    place: u64,
    /// Steps of the round.
    steps: u64,
}

impl Round {
    /// The rounds of `of` steps, as even as can be.
    fn of(Step { done, of }: Step, rounds: u64) -> Self {
        let begin = |round: u64| (round * of).div_ceil(rounds);
        let number = done * rounds / of.max(1);
        Self { number, place: done - begin(number), steps: begin(number + 1) - begin(number) }
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

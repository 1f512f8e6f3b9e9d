use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use vr1_curriculum::{Curriculum, Schedule as CurriculumSchedule};
use vr1_data::Dataset;
use vr1_grpo::{
    GrpoConfig, advantages_by_group, kl_in_reward, per_reward_advantages_by_group, reinforce_advantages,
    teaches_nothing,
};
use vr1_learn::{Loss, PolicyLoss, Signals, Step};
use vr1_processor::Processor;
use vr1_reward::{Outcome, Program};
use vr1_rollout::{Group, Sampling, Sequence};

use super::ahead::{Ahead, Wanted};
use super::ask::{Asked, Completed, Flight, room};
use super::beta::{Beta, Diverged, Place};
use super::course::Course;
use super::draw::{Deck, Draw, Drawn, drawn_state};
use super::grounding::{GroundingConfig, Seen, measure};
use super::prompting::Prompting;
use super::rewards::{Rewarded, Said, lengths};
use super::round::{Flown, Round};
use crate::recipe::{Advantages, GrpoObjective, PromptConfig, Truncated, deck};
use crate::{Collected, Error, Objective, Result, Run, Supply};

/// Group relative policy optimisation and its family: samples, prompts, groups of completions, rewards, advantages.
pub struct Grpo {
    config: GrpoObjective,
    prompting: Arc<Prompting>,
    reward: Arc<Program>,
    draw: Draw,
    course: Course,
    ahead: Ahead<Asked>,
    /// The next step's completions, where servers sample them while this one is learnt from.
    flown: Option<Flown>,
    loss: Box<dyn Loss>,
    beta: Beta,
    /// What was sampled in the step under way, where rewards are compared with a reference how far from it.
    sampled: Diverged,
    /// The term that says whether a completion solved its sample, and above what.
    solved: (String, f64),
    seed: u64,
}

impl std::fmt::Debug for Grpo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grpo").field("config", &self.config).finish_non_exhaustive()
    }
}

/// What the parts of an objective need of the run around it.
#[derive(Debug, Clone)]
pub struct Setting<'a> {
    /// How a sample becomes a prompt.
    pub prompt: &'a PromptConfig,
    /// What is good.
    pub reward: Arc<Program>,
    /// The term that says whether a completion solved its sample, and above what.
    pub solved: (String, f64),
    /// Everything random follows from it.
    pub seed: u64,
    /// Steps in all.
    pub steps: u64,
}

impl Grpo {
    /// The objective that a recipe describes.
    ///
    /// # Errors
    /// If samples cannot be had, or a setting is out of range.
    pub fn new(config: &GrpoObjective, setting: &Setting<'_>) -> Result<Self> {
        let decks = config.decks().iter().map(|source| deck(source, setting.seed)).collect::<Result<Vec<Deck>>>()?;
        let draw = Draw::new(decks, setting.seed)?;
        let curriculum = config.curriculum.build(draw.stages(), setting.steps)?;
        let loss = Box::new(policy_loss(config, config.loss.beta));
        let prompting = Arc::new(Prompting::new(setting.prompt)?);
        if let Advantages::PerReward { weights, .. } = &config.advantages {
            let known: Vec<&str> = setting.reward.term_names().collect();
            if let Some(unknown) = weights.keys().find(|term| !known.contains(&term.as_str())) {
                let known = known.join(", ");
                let reason = format!("objective.advantages.weights: no term {unknown:?} among {known}");
                return Err(Error::Recipe(reason));
            }
        }
        let (reward, solved, seed) = (setting.reward.clone(), setting.solved.clone(), setting.seed);
        let beta = Beta::new(config.loss.beta, config.kl_in_reward, config.kl_control, config.beta_schedule);
        let sampled = Diverged::default();
        let (config, course) = (config.clone(), Course::new(curriculum));
        Ok(Self {
            config,
            prompting,
            reward,
            draw,
            course,
            ahead: Ahead::default(),
            flown: None,
            loss,
            beta,
            sampled,
            solved,
            seed,
        })
    }

    /// The same with a curriculum of the user's own.
    #[must_use]
    pub fn with_curriculum(self, curriculum: Box<dyn Curriculum>) -> Self {
        Self { course: Course::new(curriculum), ..self }
    }

    /// The same that asks samples of the user's own.
    ///
    /// # Errors
    /// If there is none.
    pub fn with_samples(self, samples: Arc<dyn Dataset>) -> Result<Self> {
        let draw = Draw::new(vec![Deck { samples, weight: 1.0, stage: 0 }], self.seed)?;
        let curriculum = CurriculumSchedule::default().build(1, 1)?;
        Ok(Self { draw, course: Course::new(curriculum), ..self })
    }

    /// The same with a loss of the user's own; signals are advantages. Its β, if it has one, stays as it is.
    #[must_use]
    pub fn with_loss(mut self, loss: Box<dyn Loss>) -> Self {
        self.beta.leave_loss();
        Self { loss, ..self }
    }

    /// The loss with β as it is now.
    fn weigh(&mut self, at: Step) {
        self.beta.begin_step(at.done, at.of);
        if let Some(beta) = self.beta.of(Place::Loss) {
            self.loss = Box::new(policy_loss(&self.config, beta));
        }
    }

    /// Groups of completions of further samples, rewarded.
    fn round(&mut self, run: &mut Run, wanted: &Wanted, at: Step) -> Result<Round> {
        let sampling = Sampling { seed: self.seed, ..self.config.sampling.clone() };
        let Completed { drawn, groups, scored } = match self.flown(wanted) {
            Some(flight) => flight.land(run, &self.reward)?,
            None => self.completed(run, wanted, &sampling)?,
        };
        let samples: Vec<_> = drawn.iter().map(|drawn| &drawn.sample).collect();
        let rewarded = Rewarded::new(self.config.on_error, &samples, scored, at.done + 1)?;
        self.observe(&drawn, &rewarded);
        Ok(Round { drawn, groups, rewarded, replaced: Vec::new() })
    }

    /// Completions of further samples, by the weights as they are now.
    fn completed(&mut self, run: &mut Run, wanted: &Wanted, sampling: &Sampling) -> Result<Completed> {
        let asked = match self.ahead.take(&mut self.draw, wanted, &run.processor) {
            Some(asked) => asked?,
            None => {
                let drawn = self.draw.next(wanted.count, &wanted.stages)?;
                Asked::new(drawn, &self.prompting, &run.processor, room(run, sampling))?
            }
        };
        asked.completed(run, self.config.group_size, sampling, &self.reward)
    }

    /// What was sampled ahead, if it is what is wanted now; the samples are then drawn.
    fn flown(&mut self, wanted: &Wanted) -> Option<Flight> {
        let flown = self.flown.take().filter(|flown| flown.wanted == *wanted && flown.from == *self.draw.drawing())?;
        self.draw.advance(flown.after);
        Some(flown.flight)
    }

    /// Has servers begin with the next step's completions, with the weights as they are, before this one is learnt from.
    fn fly_ahead(&mut self, run: &mut Run, wanted: Wanted) -> Result<()> {
        let sampling = Sampling { seed: self.seed, ..self.config.sampling.clone() };
        let deal = self.draw.deal(wanted.count, &wanted.stages)?;
        let (from, after) = (self.draw.drawing().clone(), deal.after().clone());
        let asked = Asked::new(deal.read()?, &self.prompting, &run.processor, room(run, &sampling))?;
        let flight = Flight::begin(asked, run, self.config.group_size, &sampling)?.goes_on(run);
        self.flown = Some(Flown { wanted, from, after, flight });
        Ok(())
    }

    /// Has the next step's samples read and made into prompts while this one is learnt from.
    fn look_ahead(&mut self, run: &mut Run, at: Step) -> Result<()> {
        if at.done + 1 < at.of {
            let wanted = Wanted { count: self.config.prompts_per_step, stages: self.course.ahead(at.done + 1) };
            if run.samples_ahead() {
                return self.fly_ahead(run, wanted);
            }
            let (prompting, room) = (self.prompting.clone(), room(run, &self.config.sampling));
            self.ahead.begin(&mut self.draw, wanted, &run.processor, move |drawn, processor| {
                Asked::new(drawn, &prompting, processor, room)
            });
        }
        Ok(())
    }

    fn observe(&mut self, drawn: &[Drawn], rewarded: &Rewarded) {
        let (term, above) = &self.solved;
        for (drawn, group) in drawn.iter().zip(&rewarded.said) {
            let scored = group.iter().map(|said| f64::from(value(&said.outcome, term)));
            let scored: Vec<f64> = scored.filter(|value| !value.is_nan()).collect();
            if !scored.is_empty() {
                let solved = scored.iter().filter(|value| *value > above).count() as f64 / scored.len() as f64;
                self.course.observe(drawn.stage, solved);
            }
        }
    }

    /// Rounds until there are enough groups that teach something, or no more rounds are allowed.
    fn rounds(&mut self, run: &mut Run, at: Step) -> Result<(Round, u64)> {
        let mut wanted = Wanted { count: self.config.prompts_per_step, stages: self.course.weights(at.done) };
        let mut all = self.round(run, &wanted, at)?;
        for round in 0..self.config.refill_rounds {
            let idle = self.idle(&all);
            if idle == 0 {
                return Ok((all, round));
            }
            wanted.count = idle;
            let more = self.round(run, &wanted, at)?;
            self.refill(&mut all, more);
        }
        Ok((all, self.config.refill_rounds))
    }

    fn advantages(&mut self, run: &mut Run, round: &Round) -> Result<Signals> {
        let sizes: Vec<usize> = round.groups.iter().map(Group::size).collect();
        let mut rewards = round.rewarded.totals();
        let drawn = || -> Vec<Vec<f32>> {
            let sequences = round.groups.iter().flat_map(Group::sequences);
            sequences.map(|sequence| sequence.sampled().map(|s| s.drawn.clone()).unwrap_or_default()).collect()
        };
        let reference = match self.config.compares_rewards_with_a_reference() {
            true => Some(run.learner.reference_logprobs(&round.groups, &self.loss.needs())?),
            false => None,
        };
        if let (Some(reference), true) = (&reference, self.config.kl_in_reward > 0.0) {
            let beta = self.beta.of(Place::Reward).unwrap_or(self.config.kl_in_reward);
            let drawn = drawn();
            let gaps = drawn.iter().flatten().zip(reference.iter().flatten()).map(|(a, b)| f64::from(a - b));
            self.sampled.of_token = gaps.sum::<f64>() / self.sampled.tokens.max(1) as f64;
            rewards = kl_in_reward(&rewards, &drawn, reference, beta)?;
        }
        Ok(match &self.config.advantages {
            Advantages::Group(config) => Signals::new(advantages_by_group(&rewards, &sizes, config)?),
            Advantages::PerReward { weights, epsilon } => {
                // Row by row.
                let said = round.rewarded.said.iter().flatten();
                let table: Vec<f32> =
                    said.flat_map(|said| weights.keys().map(|term| value(&said.outcome, term))).collect();
                let weights: Vec<f32> = weights.values().map(|weight| *weight as f32).collect();
                Signals::new(per_reward_advantages_by_group(&table, &weights, &sizes, *epsilon)?)
            }
            Advantages::Reinforce(config) => {
                let reference = reference.as_deref();
                Signals::by_token(reinforce_advantages(&rewards, &sizes, &drawn(), reference, config)?)
            }
        })
    }

    /// How much of the answers comes of what is shown, in the steps that look.
    fn grounding(&self, run: &mut Run, round: &Round, at: Step) -> Result<BTreeMap<String, f64>> {
        let GroundingConfig { every_steps, prompts } = self.config.grounding;
        if every_steps == 0 || !(at.done + 1).is_multiple_of(every_steps) || run.recorded().is_some() {
            return Ok(BTreeMap::new());
        }
        let all = round.drawn.iter().zip(&round.groups).zip(&round.rewarded.said);
        let seen = all.map(|((drawn, group), said)| Seen {
            sample: &drawn.sample,
            group,
            rewards: said.iter().map(|said| said.outcome.total.unwrap_or(f32::NAN)).collect(),
        });
        let seen: Vec<Seen<'_>> = seen.take(prompts).collect();
        measure(run, &seen, &Sampling { seed: self.seed, ..self.config.sampling.clone() }, &self.reward)
    }

    /// Whether a group's rewards differ, and so tell its completions apart.
    fn teaches(&self, said: &[Said]) -> bool {
        let differ = |value: &dyn Fn(&Outcome) -> f32| {
            !teaches_nothing(&said.iter().map(|said| value(&said.outcome)).collect::<Vec<_>>())
        };
        match &self.config.advantages {
            Advantages::PerReward { weights, .. } => weights.keys().any(|term| differ(&|outcome| value(outcome, term))),
            Advantages::Group(_) | Advantages::Reinforce(_) => differ(&|outcome| outcome.total.unwrap_or(f32::NAN)),
        }
    }

    /// How many groups teach nothing.
    fn idle(&self, round: &Round) -> usize {
        round.rewarded.said.iter().filter(|said| !self.teaches(said)).count()
    }

    /// Puts the groups of `more` that teach something in the places of those that do not.
    fn refill(&self, round: &mut Round, mut more: Round) {
        for i in 0..round.groups.len() {
            let fresh = || more.rewarded.said.iter().position(|said| self.teaches(said));
            if self.teaches(&round.rewarded.said[i]) {
                continue;
            }
            let Some(j) = fresh() else { break };
            std::mem::swap(&mut round.drawn[i], &mut more.drawn[j]);
            std::mem::swap(&mut round.groups[i], &mut more.groups[j]);
            std::mem::swap(&mut round.rewarded.said[i], &mut more.rewarded.said[j]);
        }
        round.rewarded.count(&mut more.rewarded);
        round.replaced.push(more);
    }
}

/// The value of a term; NaN where it is missing.
fn value(outcome: &Outcome, term: &str) -> f32 {
    outcome.terms.iter().find(|(name, _)| name == term).and_then(|(_, value)| *value).unwrap_or(f32::NAN)
}

impl Objective for Grpo {
    fn collect(&mut self, run: &mut Run, at: Step) -> Result<Collected> {
        let begun = std::time::Instant::now();
        self.weigh(at);
        let (mut round, refills) = self.rounds(run, at)?;
        let sampled = begun.elapsed().as_secs_f64();
        self.look_ahead(run, at)?;
        let tokens: usize = round.groups.iter().flat_map(Group::sequences).map(Sequence::trained_tokens).sum();
        let completions = round.groups.iter().map(Group::size).sum();
        self.sampled = Diverged { of_token: f64::NAN, tokens, completions };
        let signals = self.advantages(run, &round)?;
        let whole = self.config.truncated == Truncated::Trained;
        let finished = round.groups.iter().flat_map(Group::sequences).map(|s| whole || s.finished());
        let parts: Vec<bool> = round.rewarded.present().iter().zip(finished).map(|(a, b)| *a && b).collect();
        let mut metrics = round.rewarded.metrics();
        metrics.extend(lengths(&round.groups));
        metrics.insert("tokens_per_second".to_owned(), tokens as f64 / sampled.max(1e-9));
        if self.beta.now() != 0.0 {
            metrics.insert("beta".to_owned(), self.beta.now());
        }
        if self.config.refill_rounds > 0 {
            metrics.insert("refill_rounds".to_owned(), refills as f64);
        }
        metrics.extend(self.grounding(run, &round, at)?);
        let mut warnings = std::mem::take(&mut round.rewarded.warnings);
        let step = at.done + 1;
        round.rewarded.any(&warnings, step)?;
        let learns = parts.contains(&true);
        let signals = signals.taking_part(parts)?;
        let rollouts = round.rollouts(&signals, self.seed)?;
        if !learns {
            warnings.push(format!("step {step}: no completion with a reward came to an end; nothing is learnt"));
            return Ok(Collected { metrics, rollouts, warnings, ..Collected::default() });
        }
        Ok(Collected { groups: round.groups, signals, metrics, rollouts, warnings })
    }

    fn loss(&self) -> &dyn Loss {
        self.loss.as_ref()
    }

    fn supply(&self, processor: &Processor, count: usize) -> Supply {
        self.prompting.supply(&self.draw, processor, count)
    }

    fn learnt(&mut self, metrics: &BTreeMap<String, f64>) {
        let of_token = match self.beta.of(Place::Loss) {
            Some(_) => metrics.get("kl").copied().unwrap_or(f64::NAN),
            None => self.sampled.of_token,
        };
        self.beta.observe(Diverged { of_token, ..self.sampled });
    }

    fn compares(&self) -> bool {
        self.loss.needs().reference || self.config.compares_rewards_with_a_reference()
    }

    fn state(&self) -> Value {
        let mut state = serde_json::json!({ "drawn": self.draw.drawing(), "curriculum": self.course.state() });
        if let Some(beta) = self.beta.state() {
            state["beta"] = beta.into();
        }
        state
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        let (drawn, curriculum) = drawn_state(state)?;
        self.draw.resume(drawn)?;
        self.flown = None;
        self.course.restore(&curriculum)?;
        if let Some(beta) = state.get("beta").and_then(Value::as_f64) {
            self.beta.restore(beta);
        }
        Ok(())
    }
}

fn policy_loss(config: &GrpoObjective, beta: f64) -> PolicyLoss {
    // What logits are divided by where completions are scored; greedy sampling divides by nothing.
    let sampled = config.sampling.temperature;
    let temperature = if sampled > 0.0 { sampled } else { 1.0 };
    PolicyLoss { config: GrpoConfig { beta, ..config.loss }, temperature }
}

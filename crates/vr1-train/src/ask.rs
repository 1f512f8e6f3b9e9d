//! Samples to prompts, prompts to completions, completions to rewards.

use std::sync::Arc;

use vr1_data::Sample;
use vr1_processor::{Processor, Prompt};
use vr1_reward::Program;
use vr1_rollout::{Group, Request, Sampling};

use super::complete::{Pending, complete};
use super::dealt::{Sent, SentScores, undealt};
use super::draw::Drawn;
use super::prompting::Prompting;
use super::rewards::{Scored, score};
use crate::{Result, Run};

/// What was drawn, and how it is asked.
pub(crate) struct Asked {
    drawn: Vec<Drawn>,
    prompts: Vec<Prompt>,
}

/// What was drawn, what was answered, and what a reward said of it.
pub(crate) struct Completed {
    pub(crate) drawn: Vec<Drawn>,
    pub(crate) groups: Vec<Group>,
    pub(crate) scored: Vec<Scored>,
}

/// How many tokens a prompt may have.
pub(crate) fn room(run: &Run, sampling: &Sampling) -> usize {
    run.learner.model().max_tokens().saturating_sub(sampling.max_completion_tokens)
}

impl Asked {
    /// Samples as prompts of at most `room` tokens.
    pub(crate) fn new(drawn: Vec<Drawn>, prompting: &Prompting, processor: &Processor, room: usize) -> Result<Self> {
        let samples: Vec<&Sample> = drawn.iter().map(|drawn| &drawn.sample).collect();
        let prompts = prompting.prompts(&samples, processor, room)?;
        Ok(Self { drawn, prompts })
    }

    /// Each prompt's completions, scored on other threads while others are still being sampled.
    pub(crate) fn completed(
        self,
        run: &mut Run,
        completions: usize,
        sampling: &Sampling,
        reward: &Arc<Program>,
    ) -> Result<Completed> {
        let Self { drawn, prompts } = self;
        if let Some(recorded) = run.recorded() {
            let (groups, scored) = recorded.completed(&drawn, prompts, completions)?;
            return Ok(Completed { drawn, groups, scored });
        }
        if !run.world().is_alone() {
            return Self { drawn, prompts }.dealt(run, completions, sampling, reward);
        }
        let asked = Self { drawn, prompts };
        Flight::begin(asked, run, completions, sampling)?.land(run, reward)
    }

    /// The same where several ranks share the work: each completes and scores what it is dealt, and tells the others.
    fn dealt(self, run: &mut Run, completions: usize, sampling: &Sampling, reward: &Arc<Program>) -> Result<Completed> {
        let Self { drawn, prompts } = self;
        let prompts: Vec<Arc<Prompt>> = prompts.into_iter().map(Arc::new).collect();
        let (world, drawn) = (run.world().clone(), Arc::new(drawn));
        let own: Vec<usize> = world.dealt(drawn.len()).collect();
        let request = |&i: &usize| Request::new(prompts[i].clone(), completions, sampling.clone(), drawn[i].key);
        let requests = own.iter().map(request).collect();
        let (asked, reward) = (drawn.clone(), reward.clone());
        let scored = move |place: usize, group: &Group| score(&reward, &asked[own[place]].sample, group);
        let completed = || -> Result<Vec<(Sent, SentScores)>> {
            // All ranks come to the first of these, whatever becomes of the rest.
            let pending = Pending::submit(run.own_engine()?, requests)?;
            let (scorers, watch) = (run.scorers()?, run.watch().clone());
            let (groups, scored, waited) = complete(run.handed().own(), pending, scored, (&scorers, &watch))?;
            run.waited(waited);
            let told = |(group, scored): (&Group, &Scored)| -> Result<(Sent, SentScores)> {
                Ok((Sent::of(group)?, SentScores::of(scored)))
            };
            groups.iter().zip(&scored).map(told).collect()
        };
        let completed = completed();
        let (mut groups, mut scored) = (Vec::new(), Vec::new());
        for (i, (sent, scores)) in undealt(world.all(completed)?, drawn.len()).into_iter().enumerate() {
            groups.push(sent.group(drawn[i].key, &prompts[i])?);
            scored.push(scores.scored());
        }
        let drawn = Arc::try_unwrap(drawn).unwrap_or_else(|drawn| drawn.as_ref().clone());
        Ok(Completed { drawn, groups, scored })
    }
}

/// Requests that are under way.
pub(crate) struct Flight {
    drawn: Vec<Drawn>,
    pending: Pending,
}

impl Flight {
    /// Has the engine begin with the weights as they are now.
    pub(crate) fn begin(asked: Asked, run: &mut Run, completions: usize, sampling: &Sampling) -> Result<Self> {
        let Asked { drawn, prompts } = asked;
        let requests = prompts.into_iter().zip(&drawn);
        let requests = requests.map(|(prompt, drawn)| Request::new(prompt, completions, sampling.clone(), drawn.key));
        let pending = Pending::submit(run.engine()?, requests.collect())?;
        Ok(Self { drawn, pending })
    }

    /// Lets the engine work at it while others are asked for.
    pub(crate) fn goes_on(self, run: &mut Run) -> Self {
        run.handed().awaits(&self.pending.tickets);
        self
    }

    /// Its completions, scored on other threads while others are still being sampled.
    pub(crate) fn land(self, run: &mut Run, reward: &Arc<Program>) -> Result<Completed> {
        let Self { drawn, mut pending } = self;
        pending.here = run.handed().land(&pending.tickets);
        let (drawn, reward) = (Arc::new(drawn), reward.clone());
        let (scorers, watch) = (run.scorers()?, run.watch().clone());
        let asked = drawn.clone();
        let scored = move |place: usize, group: &Group| score(&reward, &asked[place].sample, group);
        let (groups, scored, waited) = complete(run.handed().as_it_is(), pending, scored, (&scorers, &watch))?;
        run.waited(waited);
        let drawn = Arc::try_unwrap(drawn).unwrap_or_else(|drawn| drawn.as_ref().clone());
        Ok(Completed { drawn, groups, scored })
    }
}

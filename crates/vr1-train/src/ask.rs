//! Samples to prompts, prompts to completions, completions to rewards.

use std::sync::Arc;

use vr1_data::Sample;
use vr1_learn::World;
use vr1_processor::{Processor, Prompt};
use vr1_reward::Program;
use vr1_rollout::{Group, Request, Sampling};

use super::complete::{Pending, complete};
use super::dealt::undealt;
use super::draw::Drawn;
use super::prompting::Prompting;
use super::rewards::{Scored, score};
use super::sent::{Sent, SentScores};
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
        if let Some(recorded) = run.recorded() {
            let Self { drawn, prompts } = self;
            let (groups, scored) = recorded.completed(&drawn, prompts, completions)?;
            return Ok(Completed { drawn, groups, scored });
        }
        Flight::begin(self, run, completions, sampling)?.land(run, reward)
    }
}

/// Requests that are under way: of this rank those that it is dealt.
pub(crate) struct Flight {
    drawn: Vec<Drawn>,
    prompts: Vec<Arc<Prompt>>,
    pending: Pending,
}

impl Flight {
    /// Has the engine begin with the weights as they are now. Where several ranks share the work, each asks what it is dealt; where one cannot,
    /// all fail.
    pub(crate) fn begin(asked: Asked, run: &mut Run, completions: usize, sampling: &Sampling) -> Result<Self> {
        let Asked { drawn, prompts } = asked;
        let prompts: Vec<Arc<Prompt>> = prompts.into_iter().map(Arc::new).collect();
        let world = run.world().clone();
        let request = |i: usize| Request::new(prompts[i].clone(), completions, sampling.clone(), drawn[i].key);
        let requests = world.dealt(drawn.len()).map(request).collect();
        let mut pending = Pending::default();
        world.all(run.own_engine().and_then(|engine| pending.submit(engine, requests)))?;
        Ok(Self { drawn, prompts, pending })
    }

    /// Lets the engine work at it while others are asked for.
    pub(crate) fn goes_on(self, run: &mut Run) -> Self {
        run.handed().awaits(&self.pending.tickets);
        self
    }

    /// Its completions, scored on other threads while others are still being sampled. Each rank scores what it asked, and tells the others.
    pub(crate) fn land(self, run: &mut Run, reward: &Arc<Program>) -> Result<Completed> {
        let Self { drawn, prompts, mut pending } = self;
        pending.here = run.handed().land(&pending.tickets);
        let (world, drawn, reward) = (run.world().clone(), Arc::new(drawn), reward.clone());
        let (own, asked): (Vec<usize>, _) = (world.dealt(drawn.len()).collect(), drawn.clone());
        let scored = move |place: usize, group: &Group| score(&reward, &asked[own[place]].sample, group);
        let completed = || -> Result<(Vec<Group>, Vec<Scored>)> {
            let (scorers, watch) = (run.scorers()?, run.watch().clone());
            let (groups, scored, waited) = complete(run.handed().own(), pending, scored, (&scorers, &watch))?;
            run.waited(waited);
            Ok((groups, scored))
        };
        let completed = completed();
        let (groups, scored) = if world.is_alone() { completed? } else { told(&world, completed, &drawn, &prompts)? };
        let drawn = Arc::try_unwrap(drawn).unwrap_or_else(|drawn| drawn.as_ref().clone());
        Ok(Completed { drawn, groups, scored })
    }
}

/// Completions and rewards of all ranks, in the order of what was drawn.
fn told(
    world: &World,
    own: Result<(Vec<Group>, Vec<Scored>)>,
    drawn: &[Drawn],
    prompts: &[Arc<Prompt>],
) -> Result<(Vec<Group>, Vec<Scored>)> {
    let sent = own.and_then(|(groups, scored)| {
        let one = |(group, scored): (&Group, &Scored)| Ok((Sent::of(group)?, SentScores::of(scored)));
        groups.iter().zip(&scored).map(one).collect::<Result<Vec<_>>>()
    });
    let asked = drawn.iter().zip(prompts);
    let one = |((sent, scores), (drawn, prompt)): ((Sent, SentScores), (&Drawn, &Arc<Prompt>))| {
        Ok((sent.group(drawn.key, prompt)?, scores.scored()))
    };
    undealt(world.all(sent)?, drawn.len()).into_iter().zip(asked).map(one).collect()
}

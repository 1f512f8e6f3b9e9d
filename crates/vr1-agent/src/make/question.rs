use vr1_data::Sample;
use vr1_processor::Message;

use super::answer::{grades, pieces};
use super::call::seed;
use super::chain::Chain;
use super::making::Candidate;
use super::paths::told;
use super::{Call, Dropped, Failure, Making, Prompted, Reply};
use crate::{Error, Result};

/// A question on its way: first its answers come in, then their grades.
pub(crate) struct Question {
    pub(crate) number: u64,
    pub(crate) sample: Sample,
    prompted: Prompted,
    state: State,
    pub(crate) dropped: Dropped,
    pub(crate) answers: usize,
}

enum State {
    /// Whole answers, as many as have come, and how many calls that took.
    Whole { replies: Vec<Reply>, calls: usize, asking: bool, wanted: usize },
    /// Answers step by step.
    Steps(Vec<Chain>),
    /// Grades of answers.
    Graded { candidates: Vec<Candidate>, messages: Vec<Message>, tries: usize, asking: bool },
    /// What is left.
    Done(Vec<Candidate>),
}

impl Question {
    pub(crate) fn new(making: &Making<'_>, number: u64, sample: Sample) -> Result<Self> {
        let failed = |source| Error::Sample { sample: sample.id.clone(), source };
        let prompted = making.wording.ask(&sample).map_err(failed)?;
        let state = match making.steps {
            Some(_) => State::Steps((0..making.completions).map(Chain::new).collect()),
            None => State::Whole { replies: vec![], calls: 0, asking: false, wanted: making.completions },
        };
        Ok(Self { number, sample, prompted, state, dropped: Dropped::default(), answers: 0 })
    }

    /// The calls that can be made now.
    pub(crate) fn calls(&mut self, making: &Making<'_>) -> Vec<Call> {
        let Self { number, sample, prompted, state, .. } = self;
        let call = |name: String, messages: Vec<Message>, prefill: &str, count: usize| {
            let mut sampling = making.sampling.clone();
            sampling.seed = seed(making.sampling.seed, *number, &name);
            let (sample, prefill) = (sample.id.clone(), prefill.to_owned());
            Call { sample, question: *number, name, messages, prefill, count, sampling }
        };
        match (state, &making.steps) {
            (State::Whole { replies, calls, asking, wanted }, _) if !*asking && replies.len() < *wanted => {
                (*asking, *calls) = (true, *calls + 1);
                let name = format!("answers {calls}");
                vec![call(name, prompted.messages.clone(), &prompted.prefill, *wanted - replies.len())]
            }
            (State::Steps(chains), Some(words)) => {
                let next = chains.iter_mut().filter_map(|chain| chain.next(words));
                let whole = |turns: Vec<Message>| prompted.messages.iter().cloned().chain(turns).collect();
                next.map(|(name, turns)| call(name, whole(turns), "", 1)).collect()
            }
            (State::Graded { messages, tries, asking, .. }, _) if !*asking => {
                (*asking, *tries) = (true, *tries + 1);
                vec![call(format!("grades, try {tries}"), messages.clone(), "", 1)]
            }
            _ => vec![],
        }
    }

    /// Takes what became of a call; it goes on where a step of it is over.
    pub(crate) fn take(&mut self, making: &Making<'_>, name: &str, replied: Result<Vec<Reply>, Failure>) {
        let dropped = &mut self.dropped;
        match (&mut self.state, &making.steps) {
            (State::Whole { replies, asking, wanted, .. }, _) => {
                *asking = false;
                match replied {
                    Ok(more) if !more.is_empty() => replies.extend(more.into_iter().take(*wanted - replies.len())),
                    failed => {
                        let reason = failed.err().map(Failure::reason);
                        (replies.len()..*wanted).for_each(|_| dropped.add("a call that failed", reason.clone()));
                        *wanted = replies.len();
                    }
                }
            }
            (State::Steps(chains), Some(words)) => {
                let mine = |chain: &&mut Chain| name.starts_with(&format!("path {},", chain.attempt));
                if let Some(chain) = chains.iter_mut().find(mine) {
                    chain.take(words, replied);
                }
            }
            (State::Graded { candidates, tries, asking, .. }, _) => {
                *asking = false;
                let Some(scoring) = making.scoring else { return };
                let said = replied.ok().and_then(|replies| replies.into_iter().next()).unwrap_or_default().text;
                let found = grades(&said, candidates.len(), (scoring.from, scoring.to));
                let mut candidates = std::mem::take(candidates);
                match found {
                    Some(grades) => {
                        candidates.iter_mut().zip(grades).for_each(|(candidate, grade)| candidate.score = Some(grade));
                        self.state = State::Done(candidates);
                    }
                    None if *tries >= scoring.tries => {
                        candidates.iter().for_each(|_| dropped.add("no grade for each", Some(said.clone())));
                        self.state = State::Done(vec![]);
                    }
                    None => {
                        if let State::Graded { candidates: kept, .. } = &mut self.state {
                            *kept = candidates;
                        }
                    }
                }
            }
            _ => {}
        }
    }

    /// The answers, where they are all there for the first time.
    pub(crate) fn answered(&mut self, making: &Making<'_>) -> Option<Vec<Candidate>> {
        let (dropped, prefill) = (&mut self.dropped, &self.prompted.prefill);
        let mut candidates = vec![];
        match &mut self.state {
            State::Whole { replies, asking: false, wanted, .. } if replies.len() >= *wanted => {
                for (attempt, reply) in replies.drain(..).enumerate() {
                    self.answers += 1;
                    if reply.cut {
                        dropped.add("cut off", None);
                        continue;
                    }
                    let (completion, tokens) = (format!("{prefill}{}", reply.text), reply.tokens);
                    candidates.push(Candidate { attempt, completion, tokens, ..Candidate::default() });
                }
            }
            State::Steps(chains) if chains.iter().all(Chain::is_done) => {
                for chain in chains.drain(..) {
                    let attempt = chain.attempt;
                    match chain.finish() {
                        Ok((pieces, completion, tokens)) => {
                            self.answers += 1;
                            candidates.push(Candidate { attempt, completion, pieces, tokens, ..Candidate::default() });
                        }
                        Err((reason, more)) => dropped.add(reason, more),
                    }
                }
            }
            _ => return None,
        }
        self.state = State::Done(vec![]);
        let mut read = |mut candidate: Candidate| match pieces(&making.read, &candidate.completion) {
            Ok(pieces) => {
                candidate.pieces.extend(pieces);
                Some(candidate)
            }
            Err(name) => {
                dropped.add(format!("no `{name}` in it"), Some(candidate.completion));
                None
            }
        };
        Some(candidates.into_iter().filter_map(&mut read).collect())
    }

    /// What is left of the answers; where they are to be graded, that is asked for first.
    pub(crate) fn go_on(&mut self, making: &Making<'_>, candidates: Vec<Candidate>) -> Result<()> {
        self.state = State::Done(vec![]);
        if making.scoring.is_none() || candidates.is_empty() {
            self.state = State::Done(candidates);
            return Ok(());
        }
        let failed = |source| Error::Sample { sample: self.sample.id.clone(), source };
        let messages = making.wording.grade(&self.sample, &told(&candidates)).map_err(failed)?;
        self.state = State::Graded { candidates, messages, tries: 0, asking: false };
        Ok(())
    }

    /// What is left in the end.
    pub(crate) fn done(&mut self) -> Option<Vec<Candidate>> {
        match &mut self.state {
            State::Done(candidates) => Some(std::mem::take(candidates)),
            _ => None,
        }
    }
}

use std::collections::{BTreeMap, HashMap, HashSet};

use vr1_data::{Dataset, Sample};
use vr1_rollout::Ticket;

use super::making::Candidate;
use super::paths::{chosen, filtered, judged, rewarded, rewards};
use super::question::Question;
use super::{Call, Deduplicate, Failure, Journal, Kept, Making, Reply, Tally, Teacher};
use crate::{Error, Result};

/// A question that is over waits for those before it, of which so many times as many may be under way.
const AHEAD: usize = 8;

/// Asks about the first `count` samples and hands what is kept to `row`, in the samples' order; `told` hears how it goes.
///
/// What the journal has is not asked again. What is kept depends on the answers alone, not on when they came.
///
/// # Errors
/// If a sample cannot be read or asked about, the model cannot be asked, the journal is of other samples, or `row` fails.
pub fn make(
    making: &Making<'_>,
    samples: &dyn Dataset,
    count: usize,
    teacher: &mut dyn Teacher,
    journal: &mut Journal,
    row: &mut dyn FnMut(Kept) -> Result<()>,
    told: &mut dyn FnMut(&Tally),
) -> Result<Tally> {
    let mut run =
        Run { making, teacher, journal, tickets: HashMap::new(), done: BTreeMap::new(), tally: Tally::default() };
    let (mut asking, mut begun, mut written, mut seen) = (BTreeMap::new(), 0, 0, HashSet::new());
    while written < count {
        let at_once = run.teacher.at_once().max(1);
        while begun < count && asking.len() < at_once && begun - written < at_once.saturating_mul(AHEAD) {
            let question = Question::new(making, begun as u64, samples.get(begun)?)?;
            run.go_on(question, &mut asking)?;
            begun += 1;
        }
        while let Some(question) = run.done.remove(&(written as u64)) {
            run.emit(question, &mut seen, row)?;
            written += 1;
        }
        told(&run.tally);
        let room = begun < count && begun - written < at_once.saturating_mul(AHEAD);
        if written >= count || asking.is_empty() || (asking.len() < at_once && room) {
            continue;
        }
        let replied = run.teacher.poll()?;
        if replied.is_empty() {
            let sample = asking.values().next().map_or_else(String::new, |question| question.sample.id.clone());
            return Err(Error::Teacher { sample, reason: "a call was lost by who was to answer it".to_owned() });
        }
        for (ticket, replied) in replied {
            let Some((call, asked)) = run.tickets.remove(&ticket) else { continue };
            let Some(mut question) = asking.remove(&call.question) else { continue };
            match &replied {
                Ok(replies) => {
                    run.journal.add(call.question, &call.name, &asked, replies)?;
                    run.tally.asked_now += 1;
                }
                Err(Failure::Model(reason)) => {
                    return Err(Error::Teacher { sample: call.sample, reason: reason.clone() });
                }
                Err(Failure::Call(_)) => {}
            }
            run.count(&replied);
            question.take(making, &call.name, replied);
            run.go_on(question, &mut asking)?;
        }
    }
    told(&run.tally);
    Ok(run.tally)
}

struct Run<'r, 'm> {
    making: &'r Making<'m>,
    teacher: &'r mut dyn Teacher,
    journal: &'r mut Journal,
    /// What is under way, each with what it asks in short.
    tickets: HashMap<Ticket, (Call, String)>,
    done: BTreeMap<u64, (Question, Vec<Candidate>)>,
    tally: Tally,
}

impl Run<'_, '_> {
    /// Goes on with a question as far as what is known leads.
    fn go_on(&mut self, mut question: Question, asking: &mut BTreeMap<u64, Question>) -> Result<()> {
        let making = self.making;
        loop {
            let mut known = false;
            for call in question.calls(making) {
                let asked = call.fingerprint()?;
                match self.journal.find(call.question, &call.name, &asked)? {
                    Some(replies) => {
                        known = true;
                        let replied = Ok(replies);
                        self.count(&replied);
                        question.take(making, &call.name, replied);
                    }
                    None => {
                        let ticket = self.teacher.submit(call.clone())?;
                        self.tickets.insert(ticket, (call, asked));
                    }
                }
            }
            if let Some(candidates) = question.answered(making) {
                let candidates = self.judge(&mut question, candidates)?;
                question.go_on(making, candidates)?;
                known = true;
            }
            if let Some(candidates) = question.done() {
                self.done.insert(question.number, (question, candidates));
                return Ok(());
            }
            if !known {
                asking.insert(question.number, question);
                return Ok(());
            }
        }
    }

    fn count(&mut self, replied: &Result<Vec<Reply>, Failure>) {
        if let Ok(replies) = replied {
            self.tally.calls += 1;
            self.tally.tokens += replies.iter().map(|reply| reply.tokens).sum::<usize>();
        }
    }

    /// Those of the answers that the reward and the filters let pass. What a reward said is written down too: it may be a model's.
    fn judge(&mut self, question: &mut Question, candidates: Vec<Candidate>) -> Result<Vec<Candidate>> {
        let making = self.making;
        let Some(judging) = making.judging.as_ref().filter(|_| !candidates.is_empty()) else {
            return Ok(filtered(making, &question.sample, candidates, &mut question.dropped));
        };
        let judged = judged(making, &question.sample, &candidates)?;
        let asked = blake3::hash(judged.join("\u{0}").as_bytes()).to_hex()[..16].to_owned();
        let before = self.journal.find(question.number, "rewards", &asked)?;
        let said = match before {
            Some(replies) => replies.iter().map(|reply| reply.text.parse().map_err(|_| reply.text.clone())).collect(),
            None => {
                let said = rewards(judging, &question.sample, &candidates, &judged);
                let written = |reward: &Result<f32, String>| Reply {
                    text: reward.as_ref().map_or_else(Clone::clone, f32::to_string),
                    ..Reply::default()
                };
                // One that failed may not fail again.
                if said.iter().all(Result::is_ok) {
                    let replies: Vec<Reply> = said.iter().map(written).collect();
                    self.journal.add(question.number, "rewards", &asked, &replies)?;
                }
                said
            }
        };
        let candidates = rewarded(judging, candidates, said, &mut question.dropped);
        Ok(filtered(making, &question.sample, candidates, &mut question.dropped))
    }

    /// Hands over what is kept of a question, in its turn.
    fn emit(
        &mut self,
        (mut question, candidates): (Question, Vec<Candidate>),
        seen: &mut HashSet<blake3::Hash>,
        row: &mut dyn FnMut(Kept) -> Result<()>,
    ) -> Result<()> {
        let mut fresh = vec![];
        for candidate in candidates {
            let sample = candidate.sample(&question.sample);
            let Some(words) = self.same(&sample, &candidate)? else {
                fresh.push((candidate, None));
                continue;
            };
            match seen.contains(&words) {
                true => question.dropped.add("there is one like it", None),
                false => fresh.push((candidate, Some(words))),
            }
        }
        let (candidates, words): (Vec<Candidate>, Vec<_>) = fresh.into_iter().unzip();
        let words: HashMap<usize, blake3::Hash> =
            candidates.iter().zip(words).filter_map(|(candidate, words)| Some((candidate.attempt, words?))).collect();
        for candidate in chosen(self.making.keep, candidates, &mut question.dropped) {
            // Those of one question may be alike too.
            if words.get(&candidate.attempt).is_some_and(|words| !seen.insert(*words)) {
                question.dropped.add("there is one like it", None);
                continue;
            }
            self.tally.kept += 1;
            row(Kept { sample: candidate.sample(&question.sample), attempt: candidate.attempt })?;
        }
        self.tally.questions += 1;
        self.tally.answers += question.answers;
        self.tally.dropped.extend(question.dropped);
        Ok(())
    }

    /// What must be another in each row.
    fn same(&self, sample: &Sample, candidate: &Candidate) -> Result<Option<blake3::Hash>> {
        let failed = |source| Error::Sample { sample: sample.id.clone(), source };
        let words = match self.making.deduplicate {
            None => return Ok(None),
            Some(Deduplicate::Question) => plain(&sample.question),
            Some(Deduplicate::Answer) => format!("{}\u{0}{}", plain(&sample.question), plain(&candidate.completion)),
            Some(Deduplicate::Words) => plain(&self.making.wording.same(sample).map_err(failed)?),
        };
        let shown = sample.media.iter().map(vr1_data::Media::hash).collect::<vr1_data::Result<Vec<_>>>()?;
        Ok(Some(blake3::hash(format!("{words}\u{0}{}", shown.join(" ")).as_bytes())))
    }
}

/// Words without regard to their case and the white space between them.
fn plain(words: &str) -> String {
    words.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ")
}

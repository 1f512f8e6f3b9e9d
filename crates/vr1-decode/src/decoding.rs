//! `B` rows, `D` hidden.

use std::collections::BTreeMap;
use std::time::Instant;

use tch::{Device, Tensor};
use vr1_nn::Prefix;
use vr1_processor::Prompt;
use vr1_rollout::{Error, Request, Result, Sampling, Ticket, stream};

use super::distribution::seen;
use super::sampler::Voice;
use super::scheduler::{Admission, Job, Scheduler};
use super::seating::{SEATS_AN_EMPTY_ONE, seat};
use super::slots::{Row, Seated, Slots, Tokens, most_room, numbers, read, tokens_a_look};

/// How many tokens of prompts are run over in one pass: what lies between is held for these.
const PROMPT_TOKENS: usize = 4096;

/// Requests of one way of sampling on their way from a queue to completions.
///
/// Rows leave as they end and others take their places, as a budget allows; a prompt is run over once, before its first row, and held until its
/// last has ended.
#[derive(Debug)]
pub(crate) struct Decoding {
    voice: Voice,
    /// How all of them are sampled, but for the seed.
    sampling: Sampling,
    eos: Vec<i64>,
    scheduler: Scheduler,
    members: BTreeMap<u64, Member>,
    /// The members whose prompts are held, in the order in which they are.
    held: Vec<u64>,
    /// Who sits where.
    seated: Vec<Option<Sitting>>,
    slots: Option<Slots>,
    /// The prompts that are held while nobody sits.
    unseated: Option<Prefix>,
    /// Seconds that prompts took since they were last asked for.
    prompts_took: f64,
}

/// A request, and what has become of it.
#[derive(Debug)]
struct Member {
    ticket: Ticket,
    request: Request,
    /// The hidden state behind the prompt, `[1, D]`, once it was run over.
    hidden: Option<Tensor>,
    ended: Vec<Option<Row>>,
}

/// A row that is being decoded, and whose it is.
#[derive(Debug)]
struct Sitting {
    member: u64,
    row: Row,
    /// Where it sat before.
    from: Option<usize>,
}

/// A request with its completions in order.
pub(crate) type Done = (Ticket, Request, Vec<Row>);

/// What a row takes with this model and these requests, in bytes.
fn row_bytes(voice: &Voice, sampling: &Sampling) -> u64 {
    let token = voice.model.key_value_bytes() as u64;
    let room = most_room(sampling.max_completion_tokens, voice.device()) as u64;
    // Logits, as the model gives them and in f32, the distributions made of them, and what is sorted where there are limits.
    let logits = 32 * voice.vocabulary() as u64;
    let row = token.saturating_mul(room).saturating_add(logits);
    // An empty seat takes as much.
    row.saturating_add(row / SEATS_AN_EMPTY_ONE as u64)
}

impl Decoding {
    /// Nothing yet, of requests that are sampled so; an end is one of `eos`.
    pub(crate) fn new(voice: Voice, sampling: Sampling, eos: &[i64], budget: u64) -> Self {
        let scheduler = Scheduler::new(budget, row_bytes(&voice, &sampling));
        let (members, held, seated) = (BTreeMap::new(), Vec::new(), Vec::new());
        Self {
            voice,
            sampling,
            eos: eos.to_vec(),
            scheduler,
            members,
            held,
            seated,
            slots: None,
            unseated: None,
            prompts_took: 0.0,
        }
    }

    /// Whether a request may join: it is sampled in the same way.
    pub(crate) fn takes(&self, request: &Request) -> bool {
        Sampling { seed: self.sampling.seed, ..request.sampling.clone() } == self.sampling
    }

    /// One more request, behind those that came before.
    pub(crate) fn submit(&mut self, ticket: Ticket, request: Request) {
        let (id, rows) = (ticket.0, request.completions);
        let prompt = self.voice.model.prompt_bytes(&request.prompt) as u64;
        self.scheduler.submit(Job { id, prompt, rows });
        let ended = (0..rows).map(|_| None).collect();
        self.members.insert(id, Member { ticket, request, hidden: None, ended });
    }

    /// Whether every request is done.
    pub(crate) fn is_done(&self) -> bool {
        self.members.is_empty()
    }

    /// The bytes that prompts and rows may take.
    pub(crate) fn budget(&self) -> u64 {
        self.scheduler.budget()
    }

    /// The fewest bytes that the least of what is not done takes: a row is decoded alone where it takes more than there is.
    pub(crate) fn least(&self) -> u64 {
        row_bytes(&self.voice, &self.sampling)
    }

    /// Seconds that prompts took since this was last asked.
    pub(crate) fn take_seconds(&mut self) -> f64 {
        std::mem::take(&mut self.prompts_took)
    }

    /// What is not done, in the order in which it came.
    pub(crate) fn into_requests(self) -> impl DoubleEndedIterator<Item = (Ticket, Request)> {
        self.members.into_values().map(|member| (member.ticket, member.request))
    }

    /// Decodes until a request is done or more, and gives these; none where none is left.
    pub(crate) fn advance(&mut self) -> Result<Vec<Done>> {
        while !self.members.is_empty() {
            if self.is_worth_seating() {
                self.seat_anew()?;
            }
            let living = self.living().count();
            if living > 0 {
                self.step()?;
            }
            let done = self.done();
            if !done.is_empty() {
                return Ok(done);
            }
        }
        (self.slots, self.unseated) = (None, None);
        self.held.clear();
        Ok(Vec::new())
    }

    fn living(&self) -> impl Iterator<Item = &Sitting> {
        self.seated.iter().flatten()
    }

    /// Whether so many rows have left or may enter that it is worth it, or none is left, or there is no more room.
    fn is_worth_seating(&self) -> bool {
        let Some(slots) = &self.slots else { return true };
        let living = self.living().count();
        let longest = self.living().map(|sitting| sitting.row.ids.len()).max().unwrap_or(1);
        let entering: usize = self.scheduler.admissible().iter().map(|admission| admission.rows.len()).sum();
        // On a GPU a step is recorded anew, which takes as long as some steps.
        let part = if self.voice.device().is_cuda() { 4 } else { 8 };
        living == 0 || !slots.has_room(longest) || part * (slots.seats() - living + entering) >= slots.seats()
    }

    /// Rows that have ended leave, others enter, and all sit down.
    fn seat_anew(&mut self) -> Result<()> {
        let (prefix, cache) = self.slots.take().map(Slots::into_parts).unzip();
        let mut sitting: Vec<Sitting> = Vec::new();
        for (from, row) in std::mem::take(&mut self.seated).into_iter().enumerate() {
            sitting.extend(row.map(|row| Sitting { from: Some(from), ..row }));
        }
        // What is not needed any more goes before more comes.
        let cache = cache.filter(|_| !sitting.is_empty());
        let mut prefix =
            prefix.or_else(|| self.unseated.take()).unwrap_or_else(|| Prefix::empty(Vec::new(), Vec::new()));
        let kept: Vec<usize> =
            (0..self.held.len()).filter(|&place| self.members.contains_key(&self.held[place])).collect();
        prefix.rebuild(&kept, Vec::new());
        self.held = kept.iter().map(|&place| self.held[place]).collect();

        let admitted = self.scheduler.admit();
        let begun = Instant::now();
        let more = self.run_over(&admitted)?;
        if let (Device::Cuda(index), false) = (self.voice.device(), more.is_empty()) {
            tch::Cuda::synchronize(index as i64);
        }
        self.prompts_took += begun.elapsed().as_secs_f64();
        let all: Vec<usize> = (0..self.held.len()).collect();
        self.held.extend(more.iter().flat_map(|(ids, _)| ids));
        prefix.rebuild(&all, more.into_iter().map(|(_, prefix)| prefix).collect());
        for admission in admitted {
            sitting.extend(self.begin(&admission)?);
        }
        // Rows of a member adjoin, in the order of members.
        sitting.sort_by_key(|sitting| (sitting.member, sitting.row.completion));
        if sitting.is_empty() {
            self.unseated = Some(prefix);
            return Ok(());
        }
        let of = |id: u64| sitting.iter().position(|sitting| sitting.member == id);
        let ranges: Vec<_> = (self.held.iter())
            .map(|&id| of(id).map_or(0..0, |start| start..start + sitting.iter().filter(|s| s.member == id).count()))
            .collect();
        let seating = seat(&ranges);
        let rows: Vec<&Row> = sitting.iter().map(|sitting| &sitting.row).collect();
        let from: Vec<Option<usize>> = sitting.iter().map(|sitting| sitting.from).collect();
        let prompts: Vec<&[i64]> = self.held.iter().map(|id| self.members[id].request.prompt.input_ids()).collect();
        let seated = Seated { seating: &seating, rows: &rows, from: &from, prompts: &prompts };
        self.slots = Some(Slots::new(&self.voice, &self.sampling, prefix, cache, &seated));
        let mut sitting = sitting.into_iter();
        self.seated = seating.rows.iter().map(|seat| seat.and_then(|_| sitting.next())).collect();
        Ok(())
    }

    /// Runs over the prompts of those who enter first, some at a time: whose they are, and their keys and values.
    fn run_over(&mut self, admitted: &[Admission]) -> Result<Vec<(Vec<u64>, Prefix)>> {
        let mut new: Vec<u64> = admitted.iter().map(|admission| admission.id).collect();
        new.retain(|id| self.members[id].hidden.is_none());
        // What is shown beside the text counts as the tokens whose keys take as much.
        let token = self.voice.model.key_value_bytes().max(1);
        let tokens_of = |id: &u64| self.voice.model.prompt_bytes(&self.members[id].request.prompt).div_ceil(token);
        let lengths: Vec<usize> = new.iter().map(tokens_of).collect();
        let mut lengths = lengths.as_slice();
        let mut found = Vec::new();
        while !new.is_empty() {
            let (mut tokens, mut count) = (0, 0);
            while count < new.len() && (count == 0 || tokens + lengths[count] <= PROMPT_TOKENS) {
                tokens += lengths[count];
                count += 1;
            }
            lengths = &lengths[count..];
            let ids: Vec<u64> = new.drain(..count).collect();
            let prompts: Vec<&Prompt> = ids.iter().map(|id| self.members[id].request.prompt.as_ref()).collect();
            let (hidden, prefix) = self.voice.model.prefill(&prompts).map_err(Error::engine)?;
            for (row, id) in (0..).zip(&ids) {
                if let Some(member) = self.members.get_mut(id) {
                    member.hidden = Some(hidden.narrow(0, row, 1));
                }
            }
            found.push((ids, prefix));
        }
        Ok(found)
    }

    /// Draws the first token of rows; those that it does not end are to be seated.
    fn begin(&mut self, admission: &Admission) -> Result<Vec<Sitting>> {
        let (id, count) = (admission.id, admission.rows.len() as i64);
        let Some(Member { request, hidden: Some(hidden), .. }) = self.members.get(&id) else { return Ok(Vec::new()) };
        let (seed, key, device) = (request.sampling.seed, request.key, self.voice.device());
        let row = |completion| Row { stream: stream(seed, key, completion), completion, ..Row::default() };
        let rows: Vec<Row> = admission.rows.clone().map(row).collect();
        let words = rows.iter().map(|_| request.prompt.input_ids().to_vec());
        let mut seen = seen(&self.sampling, words, self.voice.vocabulary(), device);
        let numbers = numbers(rows.iter().map(Some), device);
        let (ids, scores) = self.voice.draw(&self.sampling, &hidden.expand([count, -1], false), &numbers, &mut seen)?;
        let tokens = read(&ids.unsqueeze(1), &scores.unsqueeze(2), 1)?;
        let mut going = Vec::new();
        for (row, tokens) in rows.into_iter().zip(tokens) {
            going.extend(self.tell(Sitting { member: id, row, from: None }, tokens));
        }
        Ok(going)
    }

    /// Tokens up to the next look.
    fn step(&mut self) -> Result<()> {
        let limit = self.sampling.max_completion_tokens;
        let most = self.living().map(|sitting| limit - sitting.row.ids.len()).max().unwrap_or(0);
        let Some(slots) = &mut self.slots else { return Ok(()) };
        let tokens = slots.advance(most.min(tokens_a_look(self.voice.device())))?;
        for (seat, tokens) in std::mem::take(&mut self.seated).into_iter().zip(tokens) {
            let going = seat.and_then(|sitting| self.tell(sitting, tokens));
            self.seated.push(going);
        }
        Ok(())
    }

    /// What a row goes on with; nothing where it has ended, which its member is told. What stands behind an end was drawn for nothing.
    fn tell(&mut self, mut sitting: Sitting, tokens: Tokens) -> Option<Sitting> {
        for (id, scores) in tokens {
            sitting.row.push(id, scores);
            if self.eos.contains(&id) || sitting.row.ids.len() == self.sampling.max_completion_tokens {
                self.scheduler.end(sitting.member);
                if let Some(member) = self.members.get_mut(&sitting.member) {
                    let place = sitting.row.completion;
                    member.ended[place] = Some(sitting.row);
                }
                return None;
            }
        }
        Some(sitting)
    }

    /// Takes out the members of which every row has ended.
    fn done(&mut self) -> Vec<Done> {
        let ids: Vec<u64> = (self.members.iter())
            .filter(|(_, member)| member.ended.iter().all(Option::is_some))
            .map(|(id, _)| *id)
            .collect();
        let of = |id: &u64| self.members.remove(id);
        let members = ids.iter().filter_map(of);
        members.map(|member| (member.ticket, member.request, member.ended.into_iter().flatten().collect())).collect()
    }
}

//! `K` beams, `V` vocabulary, `T` steps.

use tch::{Device, Kind, Tensor};
use vr1_nn::{GrowingCache, Seat};
use vr1_processor::Prompt;
use vr1_rollout::{Error, Result, SampleKey, Sampling, uniform};

use super::distribution::{penalised, see, seen};
use super::sampler::{Voice, entropy};
use super::slots::{Row, room};

/// How a search goes.
#[derive(Debug, Clone)]
pub(crate) struct Beam {
    /// How many beams are kept, `K`.
    pub(crate) beams: usize,
    /// A hypothesis of `n` tokens scores its summed log-probability over `n^length_penalty`. Where repetition is
    /// penalised, each log-probability is before it is summed, as in transformers.
    pub(crate) length_penalty: f64,
    /// With a temperature above 0, the `2K` successors are drawn at random in proportion to their likelihood
    /// (transformers' beam-sample); at 0 the best are taken.
    pub(crate) sampling: Sampling,
    /// What the randomness hangs on.
    pub(crate) key: SampleKey,
}

/// The best completion of `prompt` that beam search finds; one of `eos` ends it.
///
/// Each step extends every beam by every token and keeps the best `K` that go on; an ended one joins the finished
/// hypotheses. The search ends when `K` are finished and none that goes on scores more than the worst of them now, or
/// there is no more room; what is unfinished then competes with what is finished. Beams share the prompt's keys and
/// values as a group of completions does. All of it lies on the device; the host asks after each step whether it is settled. Their own room
/// grows as they do, and the search ends with an error where it would take more than `budget` bytes.
pub(crate) fn beam_search(voice: &Voice, prompt: &Prompt, eos: &[i64], beam: &Beam, budget: u64) -> Result<Row> {
    tch::no_grad(|| search(voice, prompt, eos, beam, budget))
}

fn search(voice: &Voice, prompt: &Prompt, eos: &[i64], beam: &Beam, budget: u64) -> Result<Row> {
    let (count, limit) = (beam.beams as i64, beam.sampling.max_completion_tokens);
    let fits = |room: usize| match taken(voice, prompt, beam, room) {
        taken if taken > budget => {
            let said = |bytes: u64| format!("{:.2} GB", bytes as f64 / 1e9);
            Err(Error::engine(format!(
                "sample `{}`: a search of {count} beams takes {} for {room} tokens, where decoding may take {}; give it more \
                 (`rollout.memory_gb`), fewer beams or shorter completions",
                prompt.sample(),
                said(taken),
                said(budget)
            )))
        }
        _ => Ok(room as i64),
    };
    let room_for = |tokens: usize| fits(room(tokens, limit, voice.device()));
    let first = room_for(1)?;
    let (hidden, prefix) = voice.model.prefill(&[prompt]).map_err(Error::engine)?;
    let mut cache = GrowingCache::new(&prefix, count, first);
    let words = (0..count).map(|_| prompt.input_ids().to_vec());
    let mut before = seen(&beam.sampling, words, voice.vocabulary(), voice.device());
    let mut hypotheses = Hypotheses::new(beam, eos, voice.device());
    let mut last = hidden.expand([count, -1], false);
    for position in 0..limit {
        let logits = voice.logits(&last).log_softmax(-1, Kind::Float);
        let entropies = entropy(&logits);
        let logprobs = voice.reachable(&logits);
        let penalised = penalised(&beam.sampling, &logprobs, before.as_ref());
        hypotheses.extend(beam, position, [&logprobs, &penalised, &entropies]);
        if position + 1 == limit || hypotheses.is_settled() {
            break;
        }
        cache.reorder(&hypotheses.parents);
        before = before.map(|before| before.index_select(0, &hypotheses.parents));
        see(&mut before, &hypotheses.ids);
        if cache.length() == cache.room() {
            let length = cache.length();
            let seats: Vec<Seat> = (0..count as usize).map(|row| Seat { from: Some(row), length }).collect();
            let more = room_for(length as usize + 1)?;
            cache = GrowingCache::seated(Some(cache), &prefix, &[0], &seats, more);
        }
        last = voice.model.step(&prefix, &mut cache, &hypotheses.ids);
    }
    hypotheses.best()
}

/// The bytes of a search whose beams have room for so many tokens: its prompt's keys and values, those of the beams and what they are
/// copied to when they are put in another order, which is a layer at a time, and the logits, in f32 and sorted.
fn taken(voice: &Voice, prompt: &Prompt, beam: &Beam, room: usize) -> u64 {
    let (beams, token) = (beam.beams as u64, voice.model.key_value_bytes() as u64);
    let logits = beams.saturating_mul(LOGIT * voice.vocabulary() as u64);
    let rows = beams.saturating_mul(room as u64).saturating_mul(token);
    (prompt.len() as u64).saturating_mul(token).saturating_add(rows).saturating_add(logits)
}

/// Bytes that are held for a logit: it, its log-probability, what is penalised, summed and sorted of it.
const LOGIT: u64 = 32;

/// What the host reads of a hypothesis's last token, and what leads back to those before.
struct Step {
    /// The beam that each one extends, `[K]`.
    parents: Tensor,
    /// `[K]`.
    ids: Tensor,
    /// The model's log-probability, and the entropy of its distribution, `[2, K]` in f32.
    scores: Tensor,
}

/// Hypotheses that are open, those that are finished, and how they came about.
struct Hypotheses {
    length_penalty: f64,
    eos: Tensor,
    /// The beam that each open one extends, and its last token, `[K]`.
    parents: Tensor,
    ids: Tensor,
    /// Sums of what counts, `[K]` in f64; −∞ where there is none.
    totals: Tensor,
    /// What the open ones score, `[K]`.
    open: Tensor,
    steps: Vec<Step>,
    /// What the finished ones score, best first, `[K]`; −∞ where there is none.
    finished: Tensor,
    /// Of the finished ones `[4, K]` in f64: how many tokens they have, the beam that the last extends, and its two scores.
    last: Tensor,
    /// The last token of the finished ones, `[K]`.
    ends: Tensor,
}

impl Hypotheses {
    /// One, of no token.
    fn new(beam: &Beam, eos: &[i64], device: Device) -> Self {
        let count = beam.beams as i64;
        let none = Tensor::full([count], f64::NEG_INFINITY, (Kind::Double, device));
        let totals = none.copy();
        let _ = totals.get(0).fill_(0.0);
        let zeros = || Tensor::zeros([count], (Kind::Int64, device));
        Self {
            length_penalty: beam.length_penalty,
            eos: Tensor::from_slice(eos).to_device(device),
            parents: zeros(),
            ids: zeros(),
            totals,
            open: none.copy(),
            steps: Vec::new(),
            finished: none,
            last: Tensor::zeros([4, count], (Kind::Double, device)),
            ends: zeros(),
        }
    }

    /// Extends every open one by a token, number `position`, of log-probabilities `[K, V]`, the same penalised, and entropies `[K]`.
    fn extend(&mut self, beam: &Beam, position: usize, [logprobs, penalised, entropies]: [&Tensor; 3]) {
        let (count, vocabulary) = (beam.beams as i64, logprobs.size()[1]);
        let scores = (penalised + self.totals.to_kind(Kind::Float).unsqueeze(1)).flatten(0, 1);
        let wanted = (2 * count).min(scores.size()[0]);
        let (_, places) = keys(beam, position, &scores).topk(wanted, -1, true, true);
        let (_, order) = scores.index_select(0, &places).sort_stable(true, -1, true);
        let places = places.index_select(0, &order);
        let (rows, ids) = (places.divide_scalar_mode(vocabulary, "floor"), places.remainder(vocabulary));
        let of = |list: &Tensor| list.flatten(0, 1).index_select(0, &places);
        let totals = self.totals.index_select(0, &rows) + of(penalised).to_kind(Kind::Double);
        let exists = totals.gt(f64::NEG_INFINITY);
        let ends = Tensor::isin(&ids, &self.eos, false, false);
        let own = Tensor::stack(&[of(logprobs), entropies.index_select(0, &rows)], 0); // [2, 2K]
        let scored = &totals / ((position + 1) as f64).powf(self.length_penalty);
        let hidden = |scores: &Tensor, shown: &Tensor| scores.masked_fill(&shown.logical_not(), f64::NEG_INFINITY);

        // As in transformers, an end counts only among the best K candidates.
        let rank = Tensor::arange(wanted, (Kind::Int64, ids.device()));
        let finishing = hidden(&scored, &ends.logical_and(&rank.lt(count)).logical_and(&exists));
        let tokens = Tensor::full([wanted], position as i64 + 1, (Kind::Double, ids.device()));
        let facts = [tokens, rows.to_kind(Kind::Double)];
        let facts = Tensor::cat(&[Tensor::stack(&facts, 0), own.to_kind(Kind::Double)], 0);
        let (best, order) = Tensor::cat(&[&self.finished, &finishing], 0).sort_stable(true, -1, true);
        let order = order.narrow(0, 0, count);
        self.finished = best.narrow(0, 0, count);
        self.last = Tensor::cat(&[&self.last, &facts], 1).index_select(1, &order);
        self.ends = Tensor::cat(&[&self.ends, &ids], 0).index_select(0, &order);

        // The cache always holds K rows; where fewer go on, the others are such that no candidate is taken from.
        let goes_on = ends.logical_not().logical_and(&exists);
        let (_, order) = (&rank + goes_on.logical_not().to_kind(Kind::Int64) * wanted).sort_stable(true, -1, false);
        let next = order.narrow(0, 0, count.min(wanted));
        let next = if wanted < count { next.constant_pad_nd([0, count - wanted]) } else { next };
        let there = goes_on.index_select(0, &next);
        let there = if wanted < count {
            there.logical_and(&Tensor::arange(count, (Kind::Int64, ids.device())).lt(wanted))
        } else {
            there
        };
        self.parents = rows.index_select(0, &next);
        self.ids = ids.index_select(0, &next);
        self.totals = hidden(&totals.index_select(0, &next), &there);
        self.open = hidden(&scored.index_select(0, &next), &there);
        let [parents, ids] = [&self.parents, &self.ids].map(Tensor::shallow_clone);
        self.steps.push(Step { parents, ids, scores: own.index_select(1, &next) });
    }

    /// Whether nothing goes on, or nothing that scores more than the worst of `K` finished ones.
    fn is_settled(&self) -> bool {
        let (worst, best) = (self.finished.min(), self.open.max());
        let nothing = best.eq(f64::NEG_INFINITY);
        let beaten = worst.gt(f64::NEG_INFINITY).logical_and(&worst.ge_tensor(&best));
        nothing.logical_or(&beaten).int64_value(&[]) != 0
    }

    /// The best of all, read back.
    fn best(&self) -> Result<Row> {
        let doubles = |x: &Tensor| Vec::<f64>::try_from(&x.flatten(0, -1)).map_err(Error::engine);
        let whole = |x: &Tensor| Vec::<i64>::try_from(&x.flatten(0, -1)).map_err(Error::engine);
        let (open, finished, last, ends) =
            (doubles(&self.open)?, doubles(&self.finished)?, doubles(&self.last.contiguous())?, whole(&self.ends)?);
        let count = open.len();
        let all = |of: fn(&Step) -> &Tensor| Tensor::stack(&self.steps.iter().map(of).collect::<Vec<_>>(), 0);
        let [parents, ids] = [whole(&all(|step| &step.parents))?, whole(&all(|step| &step.ids))?];
        let scores = doubles(&all(|step| &step.scores).to_kind(Kind::Double))?; // [T, 2, K]
        // Where there was no more room, what is unfinished competes too, as in transformers; a settled search has nothing
        // open that is better.
        let competing = open.iter().chain(&finished).enumerate().filter(|(_, score)| **score > f64::NEG_INFINITY);
        let Some((winner, _)) = competing.max_by(|a, b| a.1.total_cmp(b.1)) else { return Ok(Row::default()) };
        let mut tokens: Vec<(i64, [f32; 3])> = Vec::new();
        // What a search finds is not drawn.
        let token = |id, logprob: f64, entropy: f64| (id, [logprob as f32, 0.0, entropy as f32]);
        let (mut step, mut row) = if winner < count {
            (self.steps.len(), winner)
        } else {
            let place = winner - count;
            let fact = |list: usize| last[list * count + place];
            tokens.push(token(ends[place], fact(2), fact(3)));
            (fact(0) as usize - 1, fact(1) as usize)
        };
        while step > 0 {
            step -= 1;
            let score = |list: usize| scores[(step * 2 + list) * count + row];
            tokens.push(token(ids[step * count + row], score(0), score(1)));
            row = parents[step * count + row] as usize;
        }
        let mut found = Row::default();
        tokens.into_iter().rev().for_each(|(id, scores)| found.push(id, scores));
        Ok(found)
    }
}

/// What the `2K` successors are the largest of, from scores `[K·V]`.
fn keys(beam: &Beam, position: usize, scores: &Tensor) -> Tensor {
    let temperature = beam.sampling.temperature;
    if temperature == 0.0 {
        return scores.shallow_clone();
    }
    // Gumbel noise on the scores draws without replacement in proportion to their exponentials.
    let noise: Vec<f32> = (0..scores.size()[0] as usize)
        .map(|i| -(-(uniform(beam.sampling.seed, beam.key, i, position).max(1e-300)).ln()).ln() as f32)
        .collect();
    scores / temperature + Tensor::from_slice(&noise).to_device(scores.device())
}

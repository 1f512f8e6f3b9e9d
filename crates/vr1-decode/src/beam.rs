//! `K` beams, `V` vocabulary.

use tch::Tensor;
use vr1_nn::GrowingCache;
use vr1_processor::Prompt;
use vr1_rollout::{Error, Result, SampleKey, Sampling, uniform};

use super::distribution::{penalised, see, seen};
use super::local::LocalEngine;

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

/// The ids of the best completion of `prompt` that beam search finds, and their log-probabilities.
///
/// Each step extends every beam by every token and keeps the best `K` that go on; an ended one joins the finished
/// hypotheses. The search ends when `K` are finished and none that goes on scores more than the worst of them now, or
/// there is no more room; what is unfinished then competes with what is finished. Beams share the prompt's keys and
/// values as a group of completions does.
pub(crate) fn beam_search(engine: &LocalEngine, prompt: &Prompt, beam: &Beam) -> Result<(Vec<i64>, Vec<f32>)> {
    tch::no_grad(|| search(engine, prompt, beam))
}

#[derive(Clone, Default)]
struct Hypothesis {
    ids: Vec<i64>,
    logprobs: Vec<f32>,
    total: f64,
}

impl Hypothesis {
    fn extended(&self, successor: &Successor) -> Self {
        let mut next = self.clone();
        next.ids.push(successor.id);
        next.logprobs.push(successor.logprob as f32);
        next.total += successor.penalised;
        next
    }

    fn score(&self, penalty: f64) -> f64 {
        self.total / (self.ids.len().max(1) as f64).powf(penalty)
    }
}

/// A token that may follow a beam.
struct Successor {
    beam: usize,
    id: i64,
    /// The model's own log-probability.
    logprob: f64,
    /// What it counts in the search.
    penalised: f64,
}

fn search(engine: &LocalEngine, prompt: &Prompt, beam: &Beam) -> Result<(Vec<i64>, Vec<f32>)> {
    let (model, tokenizer) = (engine.model(), engine.tokenizer());
    let (count, limit, penalty) = (beam.beams, beam.sampling.max_completion_tokens, beam.length_penalty);
    let (hidden, prefix) = model.prefill(&[prompt]).map_err(Error::engine)?;
    let mut cache = GrowingCache::new(&prefix, count as i64, limit as i64);
    let mut last = hidden.expand([count as i64, -1], false);
    let mut live = vec![Hypothesis::default()];
    let mut finished: Vec<Hypothesis> = Vec::new();
    let mut before = None;
    for position in 0..limit {
        let logprobs = engine.reachable(&engine.logits(&last).log_softmax(-1, tch::Kind::Float));
        if position == 0 {
            before = seen(&beam.sampling, &[prompt], count, logprobs.size()[1], model.device());
        }
        let penalised = penalised(&beam.sampling, &logprobs, before.as_ref());
        let successors = successors([&logprobs, &penalised], &live, position, beam)?;
        let mut next = Vec::with_capacity(count);
        for (rank, successor) in successors.into_iter().enumerate() {
            let hypothesis = live[successor.beam].extended(&successor);
            if tokenizer.eos().contains(&successor.id) {
                // As in transformers, an end counts only among the best K candidates.
                if rank < count {
                    finished.push(hypothesis);
                }
            } else if next.len() < count {
                next.push((successor.beam, hypothesis));
            }
        }
        finished.sort_by(|a, b| b.score(penalty).total_cmp(&a.score(penalty)));
        finished.truncate(count);
        let best_open = next.iter().map(|(_, h)| h.score(penalty)).fold(f64::NEG_INFINITY, f64::max);
        let settled = finished.len() == count && finished.last().is_some_and(|worst| worst.score(penalty) >= best_open);
        if settled || next.is_empty() || position + 1 == limit {
            live = next.into_iter().map(|(_, hypothesis)| hypothesis).collect();
            break;
        }
        // The cache always holds K rows; a short list is filled up with copies that no candidate is taken from.
        let row = |i: usize| &next[i.min(next.len() - 1)];
        let parents: Vec<i64> = (0..count).map(|i| row(i).0 as i64).collect();
        let ids: Vec<i64> = (0..count).map(|i| row(i).1.ids.last().copied().unwrap_or_default()).collect();
        let parents = Tensor::from_slice(&parents).to_device(model.device());
        let ids = Tensor::from_slice(&ids).to_device(model.device());
        cache.reorder(&parents.unsqueeze(0));
        before = before.map(|before| before.index_select(0, &parents));
        see(&mut before, &ids);
        last = model.step(&prefix, &mut cache, &ids);
        live = next.into_iter().map(|(_, hypothesis)| hypothesis).collect();
    }
    // Where there was no more room, what is unfinished competes too, as in transformers; a settled search has nothing
    // open that is better.
    let all = live.into_iter().chain(finished);
    let winner = all.max_by(|a, b| a.score(penalty).total_cmp(&b.score(penalty))).unwrap_or_default();
    Ok((winner.ids, winner.logprobs))
}

/// The `2K` successors to consider, best first, from log-probabilities `[K, V]` and the same penalised.
fn successors(
    [logprobs, penalised]: [&Tensor; 2],
    live: &[Hypothesis],
    position: usize,
    beam: &Beam,
) -> Result<Vec<Successor>> {
    let vocabulary = logprobs.size()[1];
    let open = penalised.narrow(0, 0, live.len() as i64);
    let totals: Vec<f32> = live.iter().map(|h| h.total as f32).collect();
    let scores = (&open + Tensor::from_slice(&totals).to_device(open.device()).unsqueeze(1)).flatten(0, 1);
    let wanted = (2 * beam.beams as i64).min(scores.size()[0]);
    let temperature = beam.sampling.temperature;
    let keys = if temperature > 0.0 {
        // Gumbel noise on the scores draws without replacement in proportion to their exponentials.
        let noise: Vec<f32> = (0..scores.size()[0] as usize)
            .map(|i| -(-(uniform(beam.sampling.seed, beam.key, i, position).max(1e-300)).ln()).ln() as f32)
            .collect();
        &scores / temperature + Tensor::from_slice(&noise).to_device(scores.device())
    } else {
        scores.shallow_clone()
    };
    let places = keys.topk(wanted, -1, true, true).1;
    let flat = Vec::<i64>::try_from(&places).map_err(Error::engine)?;
    let values = Vec::<f32>::try_from(&scores.index_select(0, &places)).map_err(Error::engine)?;
    let mut order: Vec<usize> = (0..flat.len()).filter(|&i| values[i].is_finite()).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
    let successor = |i: usize| {
        let (row, id) = (flat[i] / vocabulary, flat[i] % vocabulary);
        let [logprob, penalised] = [logprobs, penalised].map(|scores| scores.double_value(&[row, id]));
        Successor { beam: row as usize, id, logprob, penalised }
    };
    Ok(order.into_iter().map(successor).collect())
}

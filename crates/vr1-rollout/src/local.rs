//! `P` prompts, `G` completions of each, `V` vocabulary.

use tch::{Kind, Tensor};
use vr1_nn::GrowingCache;
use vr1_processor::{Prompt, Specials, Tokenizer};
use vr1_vlm::Model;

use crate::distribution::see;
use crate::{Completion, Group, Result, RolloutEngine, Sampling, uniform};

/// Samples from a model in this process.
#[derive(Debug, Clone)]
pub struct LocalEngine<'a> {
    model: &'a Model,
    tokenizer: &'a Tokenizer,
    /// Ids that are never sampled: those of media, which stand for pixels, and those that spell nothing, for which a
    /// model's matrix has rows beyond its tokenizer.
    unreachable: Vec<i64>,
}

impl<'a> LocalEngine<'a> {
    /// An engine over `model`, whose ids `tokenizer` spells.
    pub fn new(model: &'a Model, tokenizer: &'a Tokenizer) -> Self {
        let mut unreachable = tokenizer.media_ids();
        unreachable.extend(tokenizer.unspelt_ids(model.config().text.vocab_size));
        Self { model, tokenizer, unreachable }
    }

    /// The model.
    pub fn model(&self) -> &'a Model {
        self.model
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &'a Tokenizer {
        self.tokenizer
    }

    /// Logits of hidden states `[…, D]` in f32, over the whole vocabulary.
    pub(crate) fn logits(&self, hidden: &Tensor) -> Tensor {
        self.model.logits(hidden).to_kind(Kind::Float)
    }

    /// Scores `[…, V]` with what is never sampled out of reach.
    pub(crate) fn reachable(&self, scores: &Tensor) -> Tensor {
        let unreachable = Tensor::from_slice(&self.unreachable).to_device(scores.device());
        scores.index_fill(-1, &unreachable, f64::NEG_INFINITY)
    }

    /// A completion from sampled ids, cut after the first end of sequence.
    pub(crate) fn completion(&self, mut ids: Vec<i64>, mut logprobs: Vec<f32>) -> Result<Completion> {
        let end = ids.iter().position(|id| self.tokenizer.eos().contains(id));
        if let Some(end) = end {
            ids.truncate(end + 1);
            logprobs.truncate(end + 1);
        }
        let text = self.tokenizer.decode(&ids, Specials::Skip)?;
        Ok(Completion { ids, logprobs, text, finished: end.is_some() })
    }
}

impl RolloutEngine for LocalEngine<'_> {
    /// The prompts are prefilled once; then all completions of all prompts advance together, token by token, until each
    /// has ended or `max_completion_tokens` is reached.
    fn generate(&self, prompts: Vec<Prompt>, group_size: usize, sampling: &Sampling) -> Result<Vec<Group>> {
        sampling.validate()?;
        if prompts.is_empty() || group_size == 0 {
            return Ok(prompts.into_iter().map(|prompt| Group { prompt, completions: Vec::new() }).collect());
        }
        let sampled = tch::no_grad(|| self.decode(&prompts, group_size, sampling))?;
        let mut sampled = sampled.into_iter();
        let complete = |prompt| {
            let completions = sampled.by_ref().take(group_size).map(|(ids, logprobs)| self.completion(ids, logprobs));
            Ok(Group { completions: completions.collect::<Result<_>>()?, prompt })
        };
        prompts.into_iter().map(complete).collect()
    }
}

impl LocalEngine<'_> {
    fn decode(&self, prompts: &[Prompt], group_size: usize, sampling: &Sampling) -> Result<Vec<(Vec<i64>, Vec<f32>)>> {
        let (device, limit) = (self.model.device(), sampling.max_completion_tokens);
        let borrowed: Vec<&Prompt> = prompts.iter().collect();
        let batch = self.model.embed(&borrowed)?;
        let (hidden, prefix) = self.model.prefill(&batch);
        let mut cache = GrowingCache::new(&prefix, group_size as i64, limit as i64);
        // Every completion's first token follows its prompt's last.
        let mut last = hidden.select(1, -1).repeat_interleave_self_int(group_size as i64, 0, None);
        let rows = prompts.len() * group_size;
        let mut seen = None;
        let mut sampled = vec![(Vec::new(), Vec::new()); rows];
        let mut open = rows;
        for position in 0..limit {
            let logits = self.logits(&last);
            if position == 0 {
                seen = sampling.seen(&borrowed, group_size, logits.size()[1], device);
            }
            let noise: Vec<f64> = (0..rows)
                .map(|row| uniform(sampling.seed, prompts[row / group_size].sample(), row % group_size, position))
                .collect();
            // What is recorded is the model's own, without penalty, temperature or limits.
            let logprobs = logits.log_softmax(-1, Kind::Float);
            // Log-probabilities are logits too, but for a constant, which only a penalty can tell.
            let reachable = match &seen {
                Some(seen) => self.reachable(&sampling.penalised(&logits, Some(seen))),
                None => self.reachable(&logprobs),
            };
            let ids = sampling.pick(&reachable, &Tensor::from_slice(&noise).to_device(device));
            see(&mut seen, &ids);
            let scores = logprobs.gather(1, &ids.unsqueeze(1), false).squeeze_dim(1);
            let (picked, scores) = (Vec::<i64>::try_from(&ids)?, Vec::<f32>::try_from(&scores)?);
            for ((ids, logprobs), (&id, score)) in sampled.iter_mut().zip(picked.iter().zip(scores)) {
                let done = ids.last().is_some_and(|last| self.tokenizer.eos().contains(last));
                if !done {
                    ids.push(id);
                    logprobs.push(score);
                    open -= usize::from(self.tokenizer.eos().contains(&id));
                }
            }
            if open == 0 || position + 1 == limit {
                break;
            }
            last = self.model.step(&batch, &prefix, &mut cache, &ids);
        }
        Ok(sampled)
    }
}

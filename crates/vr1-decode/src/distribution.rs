//! `B` rows, `V` vocabulary.

use tch::{Device, Kind, Tensor};
use vr1_processor::Prompt;
use vr1_rollout::{Result, Sampling};

/// The probabilities `[B, V]` by which tokens are drawn, from logits `[B, V]`.
///
/// The logits of tokens in `seen` `[B, V]` (true where a row has one already) are penalised, all are divided by the
/// temperature, and what the limits leave out gets 0, in transformers' order: repetition penalty (Keskar et al.,
/// [arXiv:1909.05858](https://arxiv.org/abs/1909.05858)), temperature, top-k, top-p (Holtzman et al.,
/// [arXiv:1904.09751](https://arxiv.org/abs/1904.09751)), min-p (Nguyen et al.,
/// [arXiv:2407.01082](https://arxiv.org/abs/2407.01082)). At temperature 0 the likeliest token has 1.
///
/// # Errors
/// If a setting is out of its range.
///
/// # Example
/// ```
/// use tch::Tensor;
/// use vr1_decode::probabilities;
/// use vr1_rollout::Sampling;
///
/// let logits = Tensor::from_slice(&[4.0f32, 2.0, 1.0, 0.0]).log().view([1, 4]); // likelihoods of 4 : 2 : 1 : 0
/// let two = Sampling { top_k: 2, ..Sampling::default() };
/// let probabilities = Vec::<f32>::try_from(&probabilities(&two, &logits, None)?.view(4))?;
/// for (found, expected) in probabilities.iter().zip([2.0 / 3.0, 1.0 / 3.0, 0.0, 0.0]) {
///     assert!((found - expected).abs() < 1e-6);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn probabilities(sampling: &Sampling, logits: &Tensor, seen: Option<&Tensor>) -> Result<Tensor> {
    sampling.validate()?;
    let logits = penalised(sampling, &logits.to_kind(Kind::Float), seen);
    if sampling.temperature == 0.0 {
        let likeliest = logits.argmax(-1, true);
        return Ok(logits.zeros_like().scatter_value(-1, &likeliest, 1.0));
    }
    Ok(limited(sampling, &logits))
}

/// Logits or log-probabilities `[B, V]` with the repetition penalty on what was seen.
pub(crate) fn penalised(sampling: &Sampling, scores: &Tensor, seen: Option<&Tensor>) -> Tensor {
    let penalty = sampling.repetition_penalty;
    match seen {
        Some(seen) if penalty != 1.0 => {
            (scores * penalty).where_self(&scores.lt(0.0), &(scores / penalty)).where_self(seen, scores)
        }
        _ => scores.shallow_clone(),
    }
}

/// Probabilities at the temperature, 0 where a limit leaves a token out.
fn limited(sampling: &Sampling, logits: &Tensor) -> Tensor {
    let mut logits = logits / sampling.temperature;
    let vocabulary = logits.size()[1];
    if sampling.top_k > 0 && sampling.top_k < vocabulary {
        let (top, _) = logits.topk(sampling.top_k, -1, true, true);
        let least = top.narrow(1, sampling.top_k - 1, 1);
        logits = logits.masked_fill(&logits.lt_tensor(&least), f64::NEG_INFINITY);
    }
    if sampling.top_p < 1.0 {
        let (sorted, order) = logits.sort(-1, true);
        let probabilities = sorted.softmax(-1, Kind::Float);
        let before = probabilities.cumsum(-1, Kind::Float) - &probabilities;
        let cut = before.ge(sampling.top_p).scatter(1, &order, &before.ge(sampling.top_p));
        logits = logits.masked_fill(&cut, f64::NEG_INFINITY);
    }
    if sampling.min_p > 0.0 {
        let probabilities = logits.softmax(-1, Kind::Float);
        let least = probabilities.amax([-1i64].as_slice(), true) * sampling.min_p;
        logits = logits.masked_fill(&probabilities.lt_tensor(&least), f64::NEG_INFINITY);
    }
    logits.softmax(-1, Kind::Float)
}

/// Picks a token for each row of `logits` `[B, V]` (f32, penalised already) with the numbers `uniform` `[B]` in `[0, 1)`:
/// ids `[B]`, and the log-probability by which each was drawn.
///
/// The tokens left by the limits are put in the order of the vocabulary, and the number says where in their cumulative
/// probability to stop.
pub(crate) fn pick(sampling: &Sampling, logits: &Tensor, uniform: &Tensor) -> (Tensor, Tensor) {
    if sampling.temperature == 0.0 {
        let ids = logits.argmax(-1, false);
        return (ids.shallow_clone(), ids.zeros_like().to_kind(Kind::Float)); // it is certain
    }
    let last = logits.size()[1] - 1;
    let probabilities = limited(sampling, logits);
    let cumulative = probabilities.to_kind(Kind::Double).cumsum(-1, Kind::Double);
    let target = uniform.to_kind(Kind::Double).unsqueeze(1) * cumulative.narrow(1, last, 1);
    // The first token whose cumulative probability exceeds the target; never one of probability zero.
    let ids = cumulative.le_tensor(&target).sum_dim_intlist([-1i64].as_slice(), false, Kind::Int64).clamp(0, last);
    let drawn = probabilities.gather(1, &ids.unsqueeze(1), false).squeeze_dim(1).log();
    (ids, drawn)
}

/// Which of `vocabulary` tokens each of `group_size` completions of each prompt has before it begins, `[P·G, V]`; nothing
/// where nothing is penalised.
pub(crate) fn seen(
    sampling: &Sampling,
    prompts: &[&Prompt],
    group_size: usize,
    vocabulary: i64,
    device: Device,
) -> Option<Tensor> {
    if sampling.repetition_penalty == 1.0 {
        return None;
    }
    let row = |prompt: &&Prompt| {
        let ids = Tensor::from_slice(prompt.input_ids());
        Tensor::zeros([vocabulary], (Kind::Bool, Device::Cpu)).index_fill(0, &ids, 1)
    };
    let rows = Tensor::stack(&prompts.iter().map(row).collect::<Vec<_>>(), 0);
    Some(rows.to_device(device).repeat_interleave_self_int(group_size as i64, 0, None))
}

/// `seen` `[B, V]` with one more id `[B]` in each row.
pub(crate) fn see(seen: &mut Option<Tensor>, ids: &Tensor) {
    if let Some(seen) = seen {
        *seen = seen.scatter_value(1, &ids.unsqueeze(1), 1);
    }
}

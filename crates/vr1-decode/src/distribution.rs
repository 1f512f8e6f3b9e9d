//! `B` rows, `V` vocabulary.

use tch::{Device, Kind, Tensor};
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

/// Whether something is left out of the distribution.
pub(crate) fn is_limited(sampling: &Sampling, vocabulary: i64) -> bool {
    let by_count = sampling.top_k > 0 && sampling.top_k < vocabulary;
    by_count || sampling.top_p < 1.0 || sampling.min_p > 0.0
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
    let mut logits = if sampling.temperature == 1.0 { logits.shallow_clone() } else { logits / sampling.temperature };
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
/// probability to stop: first among stretches of the vocabulary, then in the one where it stops, so that no sum over all of it is kept.
pub(crate) fn pick(sampling: &Sampling, logits: &Tensor, uniform: &Tensor) -> (Tensor, Tensor) {
    if sampling.temperature == 0.0 {
        let ids = logits.argmax(-1, false);
        return (ids.shallow_clone(), ids.zeros_like().to_kind(Kind::Float)); // it is certain
    }
    let probabilities = limited(sampling, logits);
    let [rows, vocabulary] = [0, 1].map(|dim| probabilities.size()[dim]);
    let stretch = stretch(vocabulary);
    let missing = (stretch - vocabulary % stretch) % stretch;
    let whole = if missing == 0 { probabilities.shallow_clone() } else { probabilities.constant_pad_nd([0, missing]) };
    let stretches = whole.view([rows, -1, stretch]);

    let sums = stretches.sum_dim_intlist([-1i64].as_slice(), false, Kind::Double);
    let target =
        uniform.to_kind(Kind::Double).unsqueeze(1) * sums.sum_dim_intlist([-1i64].as_slice(), true, Kind::Double);
    let (which, before) = first_beyond(&sums, &target);
    let place = which.unsqueeze(-1).expand([-1, -1, stretch], false);
    let inside = stretches.gather(1, &place, false).squeeze_dim(1).to_kind(Kind::Double);
    let (within, _) = first_beyond(&inside, &(target - before));
    let ids = which * stretch + within;
    let drawn = probabilities.gather(1, &ids, false).squeeze_dim(1).log();
    (ids.squeeze_dim(1), drawn)
}

/// How long the stretches of a vocabulary are: one that divides it, if there is one.
fn stretch(vocabulary: i64) -> i64 {
    (128..=1024).find(|length| vocabulary % length == 0).unwrap_or(256)
}

/// The first place of each row of `weights` `[B, n]` at which their sum exceeds `target` `[B, 1]`, never one of weight 0, and the sum
/// before it; `[B, 1]` each.
fn first_beyond(weights: &Tensor, target: &Tensor) -> (Tensor, Tensor) {
    let cumulative = weights.cumsum(-1, Kind::Double);
    let count = cumulative.le_tensor(target).sum_dim_intlist([-1i64].as_slice(), true, Kind::Int64);
    // Rounding can leave a target that no sum exceeds.
    let places = Tensor::arange(weights.size()[1], (Kind::Int64, weights.device()));
    let last = (weights.gt(0.0) * places).amax([-1i64].as_slice(), true);
    let place = count.minimum(&last);
    let before = (cumulative - weights).gather(1, &place, false);
    (place, before)
}

/// Which of `vocabulary` tokens each row has that holds these ids, `[B, V]`; nothing where nothing is penalised.
pub(crate) fn seen(
    sampling: &Sampling,
    rows: impl Iterator<Item = Vec<i64>>,
    vocabulary: i64,
    device: Device,
) -> Option<Tensor> {
    if sampling.repetition_penalty == 1.0 {
        return None;
    }
    let row = |ids: Vec<i64>| {
        Tensor::zeros([vocabulary], (Kind::Bool, Device::Cpu)).index_fill(0, &Tensor::from_slice(&ids), 1)
    };
    Some(Tensor::stack(&rows.map(row).collect::<Vec<_>>(), 0).to_device(device))
}

/// One more id `[B]` in each row of `seen` `[B, V]`, in place.
pub(crate) fn see(seen: &mut Option<Tensor>, ids: &Tensor) {
    if let Some(seen) = seen {
        let _ = seen.scatter_value_(1, &ids.unsqueeze(1), 1);
    }
}

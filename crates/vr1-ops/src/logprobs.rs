use tch::{Kind, Tensor};

use crate::checks::{check_device, check_floating, check_rank, check_shape, check_token_ids};
use crate::chunked::chunked;
use crate::head::{Head, HeadOutput};
use crate::{Error, Result};

/// The log-probability that each row of `logits` gives to its token.
///
/// ```text
/// out = logits[id] − log Σ_v exp(logits[v])
/// ```
///
/// Half-precision logits are raised to f32 first; the result is f32 (f64 for f64 logits).
///
/// # Shapes
/// `logits [.., V]`, `ids [..]` → `[..]`.
///
/// # Errors
/// Shapes that do not go together, `logits` not floating-point, an id outside `0..V`.
///
/// # Example
/// Two tokens with logits ln 1 and ln 3 have probabilities ¼ and ¾:
/// ```
/// use tch::Tensor;
/// let logits = Tensor::from_slice2(&[[1f32.ln(), 3f32.ln()]]);
/// let logprobs = vr1_ops::token_logprobs(&logits, &Tensor::from_slice(&[1i64]))?;
/// assert!((logprobs.double_value(&[0]) - 0.75f64.ln()).abs() < 1e-6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn token_logprobs(logits: &Tensor, ids: &Tensor) -> Result<Tensor> {
    check_floating("logits", logits)?;
    let shape = logits.size();
    let Some((&vocab, lead)) = shape.split_last() else {
        return Err(Error::Rank { name: "logits", expected: 1, got: shape });
    };
    check_shape("ids", ids, "logits", lead)?;
    check_device("ids", ids, "logits", logits)?;
    check_token_ids("ids", ids, vocab)?;
    let logits = logits.f_to_kind(accumulation(logits.kind()))?;
    let picked = logits.f_gather(-1, &ids.f_to_kind(Kind::Int64)?.f_unsqueeze(-1)?, false)?.f_squeeze_dim(-1)?;
    Ok(picked.f_sub(&logits.f_logsumexp(-1i64, false)?)?)
}

/// The entropy of each row of `logits`, in nats.
///
/// ```text
/// H = − Σ_v p_v log p_v,   p = softmax(logits)
/// ```
///
/// # Shapes
/// `logits [.., V]` → `[..]`.
///
/// # Errors
/// `logits` not floating-point, or without a dimension.
///
/// # Example
/// Two equally likely tokens have one bit of entropy, ln 2 nats:
/// ```
/// use tch::Tensor;
/// let entropy = vr1_ops::token_entropy(&Tensor::from_slice2(&[[5f32, 5.0]]))?;
/// assert!((entropy.double_value(&[0]) - 2f64.ln()).abs() < 1e-6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn token_entropy(logits: &Tensor) -> Result<Tensor> {
    check_floating("logits", logits)?;
    if logits.dim() == 0 {
        return Err(Error::Rank { name: "logits", expected: 1, got: vec![] });
    }
    let logprobs = logits.f_log_softmax(-1, accumulation(logits.kind()))?;
    // A token of probability 0 adds 0, although its logarithm is −∞.
    let terms = logprobs.f_exp()?.f_mul(&logprobs.f_clamp_min(f64::from(f32::MIN))?)?;
    Ok(terms.f_sum_dim_intlist(-1i64, false, None::<Kind>)?.f_neg()?)
}

/// Token log-probabilities and entropies straight from hidden states and the output matrix, a chunk of tokens at a time:
/// [`head_logprobs`] for a head in which every token is reachable.
///
/// ```text
/// z_n = output_matrix · hidden_n / temperature
/// logprobs_n = z_n[targets_n] − log Σ_v exp(z_n[v])
/// entropy_n  = − Σ_v p_n[v] log p_n[v],   p_n = softmax(z_n)
/// ```
///
/// # Shapes
/// `hidden [N, D]`, `output_matrix [V, D]`, `targets [N]` → `([N], [N])`, in f32 (f64 for f64 input).
///
/// # Errors
/// Shapes, kinds or devices that do not go together, a target outside `0..V`, a temperature or a chunk that is not positive.
///
/// # Example
/// ```
/// use tch::Tensor;
/// // One token, D = 1, V = 2: logits ln 1 and ln 3, so probabilities ¼ and ¾.
/// let (hidden, matrix) = (Tensor::from_slice2(&[[1f32]]), Tensor::from_slice2(&[[0f32], [3f32.ln()]]));
/// let (logprobs, entropy) = vr1_ops::chunked_logprobs(&hidden, &matrix, &Tensor::from_slice(&[0i64]), 1.0, 512)?;
/// assert!((logprobs.double_value(&[0]) - 0.25f64.ln()).abs() < 1e-6);
/// assert!((entropy.double_value(&[0]) - (0.25 * 4f64.ln() + 0.75 * (4.0 / 3f64).ln())).abs() < 1e-6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn chunked_logprobs(
    hidden: &Tensor,
    output_matrix: &Tensor,
    targets: &Tensor,
    temperature: f64,
    chunk: i64,
) -> Result<(Tensor, Tensor)> {
    let out = head_logprobs(hidden, targets, &Head { temperature, chunk, ..Head::new(output_matrix) })?;
    Ok((out.logprobs, out.entropy))
}

/// Log-probabilities of tokens straight from hidden states, and what else the logits know, a chunk of tokens at a time.
///
/// ```text
/// z_n = matrix · hidden_n / temperature,   z_n[v] = −∞ for the unreachable v
/// logprobs_n = z_n[targets_n] − log Σ_v exp(z_n[v])
/// entropy_n  = − Σ_v p_n[v] log p_n[v],   p_n = softmax(z_n)
/// mean_n     = 1/(V − U) Σ_v log p_n[v]   over the V − U reachable v
/// ```
///
/// `[N, V]` never exists: the forward keeps a few numbers a token, and the backward computes the logits of a chunk again,
///
/// ```text
/// d logprobs_n / d z_n[v] = [v = targets_n] − p_n[v],    d entropy_n / d z_n[v] = −p_n[v] (log p_n[v] + entropy_n)
/// d mean_n / d z_n[v]     = 1/(V − U) − p_n[v]
/// ```
///
/// so that both hold two buffers of `chunk · V` numbers, beside the gradients themselves. One matrix product in four is the price.
/// Gradients flow to `hidden` and to the matrix, each where it asks for one; second derivatives do not exist. Sums over the vocabulary
/// are f32 for half-precision input. So is the sum of the matrix's gradient over all tokens, which is rounded once, at its end: it
/// does not depend on the chunk.
///
/// # Shapes
/// `hidden [N, D]`, `targets [N]`, `head.matrix [V, D]` → `[N]` each.
///
/// # Errors
/// Shapes, kinds or devices that do not go together, an id outside `0..V`, a target that is unreachable ([`Error::Unreachable`]), a
/// temperature or a chunk that is not positive.
///
/// # Example
/// ```
/// use tch::Tensor;
/// use vr1_ops::{Head, VocabularyMean, head_logprobs};
/// // One token, D = 1, V = 3: logits ln 1, ln 3 and ln 1000, of which the last is of a token that cannot be sampled.
/// let hidden = Tensor::from_slice2(&[[1f64]]);
/// let matrix = Tensor::from_slice2(&[[0f64], [3f64.ln()], [1000f64.ln()]]);
/// let media = Tensor::from_slice(&[2i64]);
/// let head = Head { unreachable: Some(&media), vocabulary_mean: VocabularyMean::Taken, ..Head::new(&matrix) };
/// let out = head_logprobs(&hidden, &Tensor::from_slice(&[0i64]), &head)?;
/// let near = |tensor: &Tensor, expected: f64| (tensor.double_value(&[0]) - expected).abs() < 1e-12;
/// assert!(near(&out.logprobs, 0.25f64.ln()));
/// assert!(near(&out.entropy, 0.25 * 4f64.ln() + 0.75 * (4.0 / 3f64).ln()));
/// assert!(near(&out.mean_logprobs.unwrap(), (0.25f64.ln() + 0.75f64.ln()) / 2.0));
/// assert_eq!(out.likeliest.int64_value(&[0]), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn head_logprobs(hidden: &Tensor, targets: &Tensor, head: &Head<'_>) -> Result<HeadOutput> {
    check_rank("hidden", hidden, 2)?;
    check_rank("output_matrix", head.matrix, 2)?;
    let (tokens, width) = hidden.size2()?;
    let vocab = head.matrix.size()[0];
    check_shape("output_matrix", head.matrix, "hidden", &[vocab, width])?;
    check_shape("targets", targets, "hidden", &[tokens])?;
    check_floating("hidden", hidden)?;
    check_floating("output_matrix", head.matrix)?;
    check_device("output_matrix", head.matrix, "hidden", hidden)?;
    check_device("targets", targets, "hidden", hidden)?;
    check_token_ids("targets", targets, vocab)?;
    let temperature = head.temperature;
    if !(temperature.is_finite() && temperature > 0.0) {
        return Err(Error::Setting { name: "temperature", expected: "a positive number", got: temperature });
    }
    if head.chunk < 1 {
        return Err(Error::Setting { name: "chunk", expected: "at least 1", got: head.chunk as f64 });
    }
    let targets = targets.f_to_kind(Kind::Int64)?;
    let unreachable = unreachable(hidden, &targets, head)?;
    let kind = if hidden.kind() == head.matrix.kind() { hidden.kind() } else { accumulation(hidden.kind()) };
    let (hidden, matrix) = (hidden.f_to_kind(kind)?, head.matrix.f_to_kind(kind)?);
    Ok(chunked(&hidden, &targets, &unreachable, &Head { matrix: &matrix, ..*head })?)
}

/// The ids that `head.unreachable` names, each of them once.
fn unreachable(hidden: &Tensor, targets: &Tensor, head: &Head<'_>) -> Result<Tensor> {
    let device = hidden.device();
    let Some(ids) = head.unreachable else { return Ok(Tensor::f_zeros([0], (Kind::Int64, device))?) };
    let vocab = head.matrix.size()[0];
    check_rank("unreachable", ids, 1)?;
    check_device("unreachable", ids, "hidden", hidden)?;
    check_token_ids("unreachable", ids, vocab)?;
    let never = Tensor::f_zeros([vocab], (Kind::Bool, device))?.f_index_fill(0, &ids.f_to_kind(Kind::Int64)?, 1)?; // [V]
    let bad = targets.f_masked_select(&never.f_index_select(0, targets)?)?;
    if bad.numel() > 0 {
        return Err(Error::Unreachable { name: "targets", id: bad.f_int64_value(&[0])? });
    }
    Ok(never.f_nonzero()?.f_squeeze_dim(-1)?)
}

/// The kind in which sums over a vocabulary are taken: f64 stays, all else becomes f32.
fn accumulation(kind: Kind) -> Kind {
    if kind == Kind::Double { Kind::Double } else { Kind::Float }
}

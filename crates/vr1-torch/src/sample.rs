//! `B` rows, `V` vocabulary.

use tch::{Device, Kind, Tensor, no_grad};

use crate::draw::on_cpu;
use crate::driver::{Argument, Size};
use crate::kernels::{Kernel, in_packs, kind_name, pack};
use crate::trial::{Pair, trusted, varied};
use crate::{Result, described, unfit, uniforms};

const FUNCTION: &str = "sample";

/// By what tokens are drawn.
#[derive(Debug, Clone, Copy)]
pub struct Draw<'a> {
    /// What logits are divided by; at 0 the likeliest token is taken, of equal ones the first.
    pub temperature: f64,
    /// Tokens that are never drawn: `[V]`, bool.
    pub unreachable: Option<&'a Tensor>,
    /// Each row's state of randomness: `[B]`, i64, as [`uniforms`](crate::uniforms) takes it.
    pub states: &'a Tensor,
    /// Each row's position in its completion: `[B]`, or `[1]` for all, i64.
    pub positions: &'a Tensor,
}

/// What was drawn, and what is recorded of it.
#[derive(Debug)]
pub struct Drawn {
    /// `[B]`, i64.
    pub ids: Tensor,
    /// The model's own log-probabilities of the ids, at temperature 1 among all of the vocabulary: `[B]`, f32 (f64 for f64).
    pub logprobs: Tensor,
    /// Those of the distribution that was drawn from; 0 at temperature 0.
    pub drawn_logprobs: Tensor,
    /// The entropy of the model's own distribution.
    pub entropies: Tensor,
}

/// Draws a token for each row: the first at which the cumulative probability, in the order of the vocabulary, exceeds the
/// row's number of [`uniforms`](crate::uniforms). Probabilities are f32 (f64 for f64) whatever the kind of the logits.
///
/// # Shapes
/// `logits` `[B, V]`; see [`Draw`] and [`Drawn`].
///
/// # Errors
/// If shapes, kinds or devices do not fit together, the temperature is negative or no number, or the device fails.
///
/// # Example
/// ```
/// use tch::Tensor;
/// use vr1_torch::{Draw, sample};
///
/// let logits = Tensor::from_slice(&[1.0f32, 2.0, 1.0]).log().view([1, 3]);
/// let (states, positions) = (Tensor::from_slice(&[7i64]), Tensor::from_slice(&[0i64]));
/// let draw = Draw { temperature: 0.0, unreachable: None, states: &states, positions: &positions };
/// let drawn = sample(&logits, &draw)?;
/// assert_eq!(drawn.ids.int64_value(&[0]), 1);
/// assert!((drawn.logprobs.double_value(&[0]) - 0.5f64.ln()).abs() < 1e-6);
/// assert!((drawn.entropies.double_value(&[0]) - 1.5 * 2f64.ln()).abs() < 1e-6);
/// # Ok::<(), vr1_torch::Error>(())
/// ```
pub fn sample(logits: &Tensor, draw: &Draw<'_>) -> Result<Drawn> {
    check(logits, draw)?;
    let vocabulary = logits.size()[1];
    let made = trusted(Kernel::Sample, logits, &[vocabulary], |device, kind| trial(vocabulary, device, kind))?;
    let by_kernel = || if made { by_kernel(logits, draw) } else { Ok(None) };
    no_grad(|| match by_kernel()? {
        Some(drawn) => Ok(drawn),
        None => on_cpu(logits, draw)?.map_or_else(|| plain(logits, draw), Ok),
    })
}

fn trial(vocabulary: i64, device: Device, kind: Kind) -> Result<Vec<Pair>> {
    const ROWS: i64 = 16;
    let logits = varied(&[ROWS, vocabulary], 0.0, device, kind)?.f_mul_scalar(12.0)?;
    let states = Tensor::f_arange(ROWS, (Kind::Int64, device))?;
    let positions = Tensor::f_full([1], 7, (Kind::Int64, device))?;
    let unreachable = varied(&[vocabulary], 0.3, device, Kind::Float)?.f_gt(0.4)?;
    let mut pairs = Vec::new();
    for temperature in [0.0, 0.8] {
        let draw = Draw { temperature, unreachable: Some(&unreachable), states: &states, positions: &positions };
        let Some(kernel) = by_kernel(&logits, &draw)? else { return Ok(Vec::new()) };
        let operators = plain(&logits, &draw)?;
        // Two tokens can be within rounding of each other, for a row or so.
        let other = kernel.ids.f_not_equal_tensor(&operators.ids)?;
        let others = other.f_sum(Kind::Double)?.f_sub_scalar(1.0)?.f_clamp_min(0.0)?;
        pairs.push(Pair { kernel: others, operators: Tensor::f_zeros([], (Kind::Double, device))?, tolerance: 0.0 });
        let close = |kernel: Tensor, operators: Tensor| -> Result<Pair> {
            let kernel = kernel.f_where_self(&other.f_logical_not()?, &operators)?;
            Ok(Pair { kernel, operators, tolerance: 1e-4 })
        };
        pairs.push(close(kernel.logprobs, operators.logprobs)?);
        pairs.push(close(kernel.drawn_logprobs, operators.drawn_logprobs)?);
        pairs.push(Pair { kernel: kernel.entropies, operators: operators.entropies, tolerance: 1e-4 });
    }
    Ok(pairs)
}

/// Tokens a block takes, and bytes that it says of them, as in the kernel.
const STRETCH: i64 = 4096;
const PART: i64 = 24;

/// Nothing where the kernel does not take these.
fn by_kernel(logits: &Tensor, draw: &Draw<'_>) -> Result<Option<Drawn>> {
    let (rows, vocabulary) = (logits.size()[0], logits.size()[1]);
    let fits = rows < 65_536 && vocabulary <= STRETCH * STRETCH;
    let (Some(kind), Some(gpu)) = (kind_name(logits.kind()).filter(|_| fits), Kernel::Sample.gpu(logits)?) else {
        return Ok(None);
    };
    let (logits, states, positions) =
        (logits.f_contiguous()?, draw.states.f_contiguous()?, draw.positions.f_contiguous()?);
    let unreachable = draw.unreachable.map(|unreachable| unreachable.f_contiguous()).transpose()?;
    let pack = if vocabulary % pack(logits.kind()) == 0 && in_packs(&logits) { pack(logits.kind()) } else { 1 };
    let functions = Kernel::Sample.functions(gpu, &[format!("T={kind}"), format!("VEC={pack}")])?;
    let stretches = (vocabulary + STRETCH - 1) / STRETCH;
    let made = |size: &[i64], kind| Tensor::f_empty(size, (kind, logits.device()));
    let parts = made(&[rows, stretches, PART], Kind::Uint8)?;
    let ids = made(&[rows], Kind::Int64)?;
    let (logprobs, drawn_logprobs, entropies) =
        (made(&[rows], Kind::Float)?, made(&[rows], Kind::Float)?, made(&[rows], Kind::Float)?);
    if rows > 0 {
        let (first, second) = (
            Size { blocks: [stretches, rows], threads: 256, shared: 0 },
            Size { blocks: [rows, 1], threads: 256, shared: 8 * stretches },
        );
        let source: [Argument; 4] = [
            (&logits).into(),
            unreachable.as_ref().into(),
            (vocabulary as i32).into(),
            (draw.temperature as f32).into(),
        ];
        let [of_stretches, of_rows]: [&[Argument]; 2] = [
            &[(&parts).into()],
            &[
                (&parts).into(),
                (stretches as i32).into(),
                (&states).into(),
                (&positions).into(),
                uniforms::step(&positions).into(),
                (&ids).into(),
                (&logprobs).into(),
                (&drawn_logprobs).into(),
                (&entropies).into(),
            ],
        ];
        // SAFETY: these are the kernels' arguments: a part for each stretch of each row, a result for each row.
        unsafe {
            gpu.launch(functions[0], first, &[&source[..], of_stretches].concat())?;
            gpu.launch(functions[1], second, &[&source[..], of_rows].concat())?;
        }
    }
    Ok(Some(Drawn { ids, logprobs, drawn_logprobs, entropies }))
}

fn check(logits: &Tensor, draw: &Draw<'_>) -> Result<()> {
    uniforms::check(FUNCTION, draw.states, draw.positions)?;
    let fits = matches!(logits.size()[..], [rows, vocabulary] if vocabulary > 0 && draw.states.size() == [rows]);
    if !fits || !logits.is_floating_point() || draw.states.device() != logits.device() {
        return Err(unfit(FUNCTION, format!("logits {} for states {}", described(logits), described(draw.states))));
    }
    if let Some(unreachable) = draw.unreachable {
        let fits = unreachable.size() == logits.size()[1..] && unreachable.kind() == Kind::Bool;
        if !fits || unreachable.device() != logits.device() {
            let unreachable = described(unreachable);
            return Err(unfit(FUNCTION, format!("unreachable tokens {unreachable} for logits {}", described(logits))));
        }
    }
    if !(draw.temperature >= 0.0 && draw.temperature.is_finite()) {
        return Err(unfit(FUNCTION, format!("temperature {} is not 0 or more", draw.temperature)));
    }
    Ok(())
}

fn plain(logits: &Tensor, draw: &Draw<'_>) -> Result<Drawn> {
    let kind = if logits.kind() == Kind::Double { Kind::Double } else { Kind::Float };
    let logprobs = logits.f_log_softmax(-1, kind)?;
    // 0 · −∞ is to be 0.
    let weighed = logprobs.f_exp()?.f_mul(&logprobs.f_clamp_min(f64::from(f32::MIN))?)?;
    let entropies = weighed.f_sum_dim_intlist(&[-1i64][..], false, kind)?.f_neg()?;
    let reachable = match draw.unreachable {
        Some(unreachable) => logits.f_to_kind(kind)?.f_masked_fill(unreachable, f64::NEG_INFINITY)?,
        None => logits.f_to_kind(kind)?,
    };
    let (ids, drawn_logprobs) = if draw.temperature == 0.0 {
        let ids = reachable.f_argmax(-1, true)?;
        let certain = Tensor::f_zeros(ids.size(), (kind, ids.device()))?;
        (ids, certain)
    } else {
        let probabilities = reachable.f_div_scalar(draw.temperature)?.f_softmax(-1, kind)?;
        let ids = pick(&probabilities, &uniforms::plain(draw.states, draw.positions)?)?;
        let drawn = probabilities.f_gather(1, &ids, false)?.f_log()?;
        (ids, drawn)
    };
    let logprobs = logprobs.f_gather(1, &ids, false)?;
    Ok(Drawn {
        ids: ids.f_squeeze_dim(1)?,
        logprobs: logprobs.f_squeeze_dim(1)?,
        drawn_logprobs: drawn_logprobs.f_squeeze_dim(1)?,
        entropies,
    })
}

/// Ids `[B, 1]` of probabilities `[B, V]` by numbers `[B]`: first among stretches of the vocabulary, then in the one where it stops, so that
/// no sum over all of it is kept.
fn pick(probabilities: &Tensor, numbers: &Tensor) -> Result<Tensor> {
    let (rows, vocabulary) = (probabilities.size()[0], probabilities.size()[1]);
    let stretch = (128..=1024).find(|length| vocabulary % length == 0).unwrap_or(256);
    let missing = (stretch - vocabulary % stretch) % stretch;
    let stretches = probabilities.f_constant_pad_nd([0, missing])?.f_view([rows, -1, stretch])?;
    let sums = stretches.f_sum_dim_intlist(&[-1i64][..], false, Kind::Double)?;
    let target = numbers.f_unsqueeze(1)?.f_mul(&sums.f_sum_dim_intlist(&[-1i64][..], true, Kind::Double)?)?;
    let (which, before) = first_beyond(&sums, &target)?;
    let place = which.f_unsqueeze(-1)?.f_expand([-1, -1, stretch], false)?;
    let inside = stretches.f_gather(1, &place, false)?.f_squeeze_dim(1)?.f_to_kind(Kind::Double)?;
    let (within, _) = first_beyond(&inside, &target.f_sub(&before)?)?;
    Ok(which.f_mul_scalar(stretch)?.f_add(&within)?)
}

/// The first place of each row of `weights` `[B, n]` at which their sum exceeds `target` `[B, 1]`, never one of weight 0, and the sum
/// before it; `[B, 1]` each.
fn first_beyond(weights: &Tensor, target: &Tensor) -> Result<(Tensor, Tensor)> {
    let cumulative = weights.f_cumsum(-1, Kind::Double)?;
    let count = cumulative.f_le_tensor(target)?.f_sum_dim_intlist(&[-1i64][..], true, Kind::Int64)?;
    // Rounding can leave a target that no sum exceeds.
    let places = Tensor::f_arange(weights.size()[1], (Kind::Int64, weights.device()))?;
    let last = weights.f_gt(0.0)?.f_mul(&places)?.f_amax(&[-1i64][..], true)?;
    let place = count.f_minimum(&last)?;
    let before = cumulative.f_sub(weights)?.f_gather(1, &place, false)?;
    Ok((place, before))
}

//! Credit of tokens: returns, and advantages over all tokens of a batch.

use crate::groups::narrowed;
use crate::range::within;
use crate::{Error, Result};

/// Advantages over the whole batch, every completion weighing as much as it has tokens (REINFORCE++).
///
/// ```text
/// A'_i = (A_i − mean A) / √(var A + 1e-8)   mean and variance (ddof = 1) over tokens
/// ```
///
/// With centred rewards (`Scale::None`) this is REINFORCE++-baseline ([arXiv:2501.03262](https://arxiv.org/abs/2501.03262)). Values that are
/// all equal become exactly 0, and so does what has no token.
///
/// # Shapes
/// `advantages [B]`, `tokens [B]` → `[B]`.
///
/// # Errors
/// [`Error::Length`] if the two differ in length, [`Error::NonFinite`], [`Error::Setting`] for fewer than two tokens in all.
///
/// # Example
/// Three tokens of 1 and one of −3: mean 0, variance (3 + 9)/3 = 4.
/// ```
/// let whitened = vr1_grpo::whiten_by_tokens(&[1.0, -3.0], &[3, 1])?;
/// assert!((whitened[0] - 0.5).abs() < 1e-6 && (whitened[1] + 1.5).abs() < 1e-6);
/// # Ok::<(), vr1_grpo::Error>(())
/// ```
pub fn whiten_by_tokens(advantages: &[f32], tokens: &[usize]) -> Result<Vec<f32>> {
    if tokens.len() != advantages.len() {
        let (expected, got) = (advantages.len(), tokens.len());
        return Err(Error::Length { name: "tokens", with: "advantages", expected, got });
    }
    check_finite("advantages", advantages.iter().copied())?;
    let total: f64 = tokens.iter().map(|&n| n as f64).sum();
    within("tokens", "at least 2 in all", total, total >= 2.0)?;
    let counted = || advantages.iter().zip(tokens).filter(|(_, n)| **n > 0).map(|(&a, &n)| (f64::from(a), n as f64));
    let mean = counted().map(|(a, n)| a * n).sum::<f64>() / total;
    let variance = counted().map(|(a, n)| (a - mean).powi(2) * n).sum::<f64>() / (total - 1.0);
    let flat = counted().zip(counted().skip(1)).all(|((a, _), (b, _))| a == b);
    let one = |(&a, &n): (&f32, &usize)| {
        if flat || n == 0 { 0.0 } else { ((f64::from(a) - mean) / (variance + 1e-8).sqrt()) as f32 }
    };
    Ok(advantages.iter().zip(tokens).map(one).collect())
}

/// What every token is still to earn: discounted sums of the rewards from it on.
///
/// ```text
/// R_t = r_t + γ·R_{t+1}   over the counted tokens of a row
/// ```
///
/// With a KL penalty in the token rewards this is REINFORCE++'s return ([arXiv:2501.03262](https://arxiv.org/abs/2501.03262)). Tokens that do not
/// count (another model's words, padding) get 0 and pass the return of what follows through unchanged.
///
/// # Shapes
/// `token_rewards [B · T]` and `mask [B · T]`, row by row, `T` = `tokens_per_row` → `[B · T]`.
///
/// # Errors
/// [`Error::Length`] if the lengths do not go together, [`Error::Setting`] if `gamma` is outside `[0, 1]`, [`Error::NonFinite`],
/// [`Error::TooLarge`].
///
/// # Example
/// ```
/// let returns = vr1_grpo::returns_to_go(&[0.0, 0.0, 1.0, 0.0], &[true, true, true, false], 4, 0.5)?;
/// assert_eq!(returns, [0.25, 0.5, 1.0, 0.0]);
/// # Ok::<(), vr1_grpo::Error>(())
/// ```
pub fn returns_to_go(token_rewards: &[f32], mask: &[bool], tokens_per_row: usize, gamma: f64) -> Result<Vec<f32>> {
    within("gamma", "in [0, 1]", gamma, (0.0..=1.0).contains(&gamma))?;
    if mask.len() != token_rewards.len() {
        let (expected, got) = (token_rewards.len(), mask.len());
        return Err(Error::Length { name: "mask", with: "token_rewards", expected, got });
    }
    if tokens_per_row == 0 || !token_rewards.len().is_multiple_of(tokens_per_row) {
        let (expected, got) = (tokens_per_row, token_rewards.len());
        return Err(Error::Length { name: "token_rewards", with: "tokens_per_row", expected, got });
    }
    check_finite("token_rewards", token_rewards.iter().zip(mask).filter(|(_, counted)| **counted).map(|(&r, _)| r))?;
    let counted =
        token_rewards.iter().zip(mask).map(|(&reward, &counted)| if counted { f64::from(reward) } else { 0.0 });
    let mut out: Vec<f64> = counted.collect();
    for (row, mask) in out.chunks_exact_mut(tokens_per_row).zip(mask.chunks_exact(tokens_per_row)) {
        accumulate(row.iter_mut().zip(mask).filter(|(_, counted)| **counted).map(|(value, _)| value), gamma);
    }
    narrowed("return", out.into_iter(), token_rewards)
}

/// `R_t = r_t + γ·R_{t+1}` in place.
pub(crate) fn accumulate<'a>(rewards: impl DoubleEndedIterator<Item = &'a mut f64>, gamma: f64) {
    let mut running = 0.0;
    for reward in rewards.rev() {
        running = *reward + gamma * running;
        *reward = running;
    }
}

pub(crate) fn check_finite(name: &'static str, values: impl Iterator<Item = f32>) -> Result<()> {
    match values.filter(|value| !value.is_finite()).count() {
        0 => Ok(()),
        count => Err(Error::NonFinite { name, count: count as i64 }),
    }
}

use crate::advantages::{Moments, check_groups};
use crate::{Error, Result, teaches_nothing};

/// The weighted sum of several rewards, `w · r`, leaving out those that do not apply.
///
/// ```text
/// R_i = Σ_k w_k · r_{i,k}   over the k with r_{i,k} not NaN;   NaN if none is left
/// ```
///
/// # Shapes
/// `rewards [B · K]`, row by row, `weights [K]` → `[B]`.
///
/// # Errors
/// [`Error::Length`] if the rewards are no whole number of rows.
///
/// # Example
/// ```
/// let rewards = [1.0, 0.5, 1.0, f32::NAN, f32::NAN, f32::NAN];
/// let sums = vr1_grpo::weighted_rewards(&rewards, &[1.0, 2.0])?;
/// assert_eq!(sums[..2], [2.0, 1.0]);
/// assert!(sums[2].is_nan());
/// # Ok::<(), vr1_grpo::Error>(())
/// ```
pub fn weighted_rewards(rewards: &[f32], weights: &[f32]) -> Result<Vec<f32>> {
    check_table(rewards, weights)?;
    Ok(rewards.chunks_exact(weights.len()).map(|row| weighted_sum(row, weights)).collect())
}

/// Advantages from several rewards, each normalised in its group before they are summed (GDPO).
///
/// ```text
/// z_{i,k} = (r_{i,k} − mean_g r_k) / (σ_g(r_k) + ε)
/// S_i     = Σ_k w_k · z_{i,k}
/// A_i     = (S_i − mean S) / (σ(S) + ε)      over the batch
/// ```
///
/// Summed first, two different combinations of rewards may have the same total and nothing tells them apart. A group in which every reward is equal
/// gets exactly 0; NaN is left out; a completion with no reward at all gets 0. Paper:
/// [arXiv:2601.05242](https://arxiv.org/abs/2601.05242).
///
/// # Shapes
/// `rewards [B · K]`, row by row, `weights [K]` → `[B]`.
///
/// # Errors
/// [`Error::Length`], [`Error::GroupSize`], [`Error::GroupOfOne`], [`Error::InfiniteReward`], a negative or non-finite `epsilon`.
///
/// # Example
/// Two rewards that disagree cancel when they weigh the same:
/// ```
/// let rewards = [1.0, 0.0, 0.0, 1.0];
/// let both = vr1_grpo::per_reward_advantages(&rewards, &[1.0, 1.0], 2, 1e-4)?;
/// assert_eq!(both, [0.0, 0.0]);
/// let first = vr1_grpo::per_reward_advantages(&rewards, &[2.0, 1.0], 2, 1e-4)?;
/// assert!(first[0] > 0.0 && first[0] == -first[1]);
/// # Ok::<(), vr1_grpo::Error>(())
/// ```
pub fn per_reward_advantages(rewards: &[f32], weights: &[f32], group_size: usize, epsilon: f64) -> Result<Vec<f32>> {
    if !(epsilon.is_finite() && epsilon >= 0.0) {
        return Err(Error::Setting { field: "epsilon", expected: "a finite number ≥ 0", got: epsilon });
    }
    check_table(rewards, weights)?;
    let kinds = weights.len();
    let mut sums = vec![f64::NAN; rewards.len() / kinds];
    for (k, &weight) in weights.iter().enumerate() {
        let column: Vec<f32> = rewards.iter().skip(k).step_by(kinds).copied().collect();
        check_groups(&column, group_size)?;
        if group_size == 1 {
            return Err(Error::GroupOfOne { needs: "every reward is divided by its spread in a group" });
        }
        for (group, sums) in column.chunks_exact(group_size).zip(sums.chunks_exact_mut(group_size)) {
            let moments = Moments::of(group);
            for (&reward, sum) in group.iter().zip(sums).filter(|(reward, _)| !reward.is_nan()) {
                let centred = if moments.is_flat() { 0.0 } else { f64::from(reward) - moments.mean };
                let divisor = moments.deviation + epsilon;
                let normalised = if divisor > 0.0 { centred / divisor } else { 0.0 };
                *sum = if sum.is_nan() { 0.0 } else { *sum } + f64::from(weight) * normalised;
            }
        }
    }
    let sums: Vec<f32> = sums.into_iter().map(|sum| sum as f32).collect();
    let mut advantages = standardised(&sums, epsilon);
    for (group, advantages) in rewards.chunks_exact(group_size * kinds).zip(advantages.chunks_exact_mut(group_size)) {
        if (0..kinds).all(|k| teaches_nothing(&group.iter().skip(k).step_by(kinds).copied().collect::<Vec<_>>())) {
            advantages.fill(0.0);
        }
    }
    Ok(advantages)
}

/// Advantages over the whole batch, every completion weighing as much as it has tokens (REINFORCE++).
///
/// ```text
/// A'_i = (A_i − mean A) / √(var A + 1e-8)   mean and variance (ddof = 1) over tokens
/// ```
///
/// With centred rewards (`Scale::None`) this is REINFORCE++-baseline ([arXiv:2501.03262](https://arxiv.org/abs/2501.03262)). Values that are
/// all equal become exactly 0.
///
/// # Shapes
/// `advantages [B]`, `tokens [B]` → `[B]`.
///
/// # Errors
/// [`Error::Length`] if the two differ in length, [`Error::Setting`] for fewer than two tokens in all.
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
    let total = tokens.iter().sum::<usize>() as f64;
    if total < 2.0 {
        return Err(Error::Setting { field: "tokens", expected: "at least 2 in all", got: total });
    }
    if teaches_nothing(advantages) {
        return Ok(vec![0.0; advantages.len()]);
    }
    let weighted = || advantages.iter().zip(tokens).map(|(&a, &n)| (f64::from(a), n as f64));
    let mean = weighted().map(|(a, n)| a * n).sum::<f64>() / total;
    let variance = weighted().map(|(a, n)| (a - mean).powi(2) * n).sum::<f64>() / (total - 1.0);
    Ok(advantages.iter().map(|&a| ((f64::from(a) - mean) / (variance + 1e-8).sqrt()) as f32).collect())
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
/// [`Error::Length`] if the lengths do not go together, [`Error::Setting`] if `gamma` is outside `[0, 1]`.
///
/// # Example
/// ```
/// let returns = vr1_grpo::returns_to_go(&[0.0, 0.0, 1.0, 0.0], &[true, true, true, false], 4, 0.5)?;
/// assert_eq!(returns, [0.25, 0.5, 1.0, 0.0]);
/// # Ok::<(), vr1_grpo::Error>(())
/// ```
pub fn returns_to_go(token_rewards: &[f32], mask: &[bool], tokens_per_row: usize, gamma: f64) -> Result<Vec<f32>> {
    if !(0.0..=1.0).contains(&gamma) {
        return Err(Error::Setting { field: "gamma", expected: "in [0, 1]", got: gamma });
    }
    if mask.len() != token_rewards.len() {
        let (expected, got) = (token_rewards.len(), mask.len());
        return Err(Error::Length { name: "mask", with: "token_rewards", expected, got });
    }
    if tokens_per_row == 0 || !token_rewards.len().is_multiple_of(tokens_per_row) {
        let (expected, got) = (tokens_per_row, token_rewards.len());
        return Err(Error::Length { name: "token_rewards", with: "tokens_per_row", expected, got });
    }
    let mut out = vec![0.0; token_rewards.len()];
    let rows = token_rewards.chunks_exact(tokens_per_row).zip(mask.chunks_exact(tokens_per_row));
    for ((rewards, mask), out) in rows.zip(out.chunks_exact_mut(tokens_per_row)) {
        let mut running = 0.0;
        for t in (0..tokens_per_row).rev().filter(|&t| mask[t]) {
            running = f64::from(rewards[t]) + gamma * running;
            out[t] = running as f32;
        }
    }
    Ok(out)
}

fn weighted_sum(row: &[f32], weights: &[f32]) -> f32 {
    if row.iter().all(|reward| reward.is_nan()) {
        return f32::NAN;
    }
    let terms = row.iter().zip(weights).filter(|(reward, _)| !reward.is_nan());
    terms.map(|(&reward, &weight)| f64::from(reward) * f64::from(weight)).sum::<f64>() as f32
}

/// Values over the spread of all of them; NaN and equal values become 0.
fn standardised(values: &[f32], epsilon: f64) -> Vec<f32> {
    let moments = Moments::of(values);
    let divisor = moments.deviation + epsilon;
    let flat = moments.is_flat() || divisor == 0.0;
    let one =
        |&value: &f32| if flat || value.is_nan() { 0.0 } else { ((f64::from(value) - moments.mean) / divisor) as f32 };
    values.iter().map(one).collect()
}

fn check_table(rewards: &[f32], weights: &[f32]) -> Result<()> {
    if weights.is_empty() || !rewards.len().is_multiple_of(weights.len()) {
        let (expected, got) = (weights.len(), rewards.len());
        return Err(Error::Length { name: "rewards", with: "weights", expected, got });
    }
    Ok(())
}

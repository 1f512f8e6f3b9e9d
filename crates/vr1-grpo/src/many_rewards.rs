use crate::advantages::teaches_nothing;
use crate::groups::{Moments, check_rewards, check_sizes, equal_sizes, split};
use crate::range::{not_negative, within};
use crate::{Error, Result};

/// Why a group of one has no advantage per reward.
const NEEDS_COMPANY: &str = "every reward is divided by its spread in a group";

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
/// [`Error::Length`] if the rewards are no whole number of rows, [`Error::InfiniteReward`], [`Error::Setting`] for a weight that is not
/// finite, [`Error::TooLarge`].
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
    let sums: Vec<f32> = rewards.chunks_exact(weights.len()).map(|row| weighted_sum(row, weights)).collect();
    match sums.iter().position(|sum| sum.is_infinite()) {
        Some(index) => Err(Error::TooLarge { name: "weighted sum", index, reward: rewards[index * weights.len()] }),
        None => Ok(sums),
    }
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
/// [`Error::Length`], [`Error::GroupSize`], [`Error::GroupOfOne`], [`Error::InfiniteReward`]; [`Error::Setting`] for a negative or non-finite
/// `epsilon`, or a weight that is not finite.
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
    not_negative("epsilon", epsilon)?;
    check_table(rewards, weights)?;
    let sizes = equal_sizes(rewards.len() / weights.len(), group_size)?;
    if group_size == 1 {
        return Err(Error::GroupOfOne { needs: NEEDS_COMPANY });
    }
    Ok(normalised_then_summed(rewards, weights, &sizes, epsilon))
}

/// [`per_reward_advantages`] of groups that need not be of one size: `sizes` says how many completions each prompt has.
///
/// ```text
/// z_{i,k} = (r_{i,k} − mean_g r_k) / (σ_g(r_k) + ε),   S_i = Σ_k w_k · z_{i,k},   A_i = (S_i − mean S) / (σ(S) + ε)
/// ```
///
/// # Shapes
/// `rewards [B · K]`, row by row, `weights [K]`; `sizes`, which add up to `B` → `[B]`.
///
/// # Errors
/// [`Error::EmptyGroup`], [`Error::GroupSizes`], [`Error::LoneCompletion`]; those of [`per_reward_advantages`] about rewards and settings.
///
/// # Example
/// One reward, of which a group of two and one of three differ by as much as they have room for; a constant second one changes nothing.
/// ```
/// let rewards = [1.0, 0.5, 0.0, 0.5, 2.0, 0.5, 1.0, 0.5, 0.0, 0.5];
/// let advantages = vr1_grpo::per_reward_advantages_by_group(&rewards, &[1.0, 7.0], &[2, 3], 0.0)?;
/// // z = ±1/√2 in the first group, 1, 0 and −1 in the second; their mean is 0 and their variance (½ + ½ + 1 + 0 + 1)/4.
/// let sigma = 0.75f32.sqrt();
/// for (got, z) in advantages.iter().zip([0.5f32.sqrt(), -0.5f32.sqrt(), 1.0, 0.0, -1.0]) {
///     assert!((got - z / sigma).abs() < 1e-6);
/// }
/// # Ok::<(), vr1_grpo::Error>(())
/// ```
pub fn per_reward_advantages_by_group(
    rewards: &[f32],
    weights: &[f32],
    sizes: &[usize],
    epsilon: f64,
) -> Result<Vec<f32>> {
    not_negative("epsilon", epsilon)?;
    check_table(rewards, weights)?;
    check_sizes(rewards.len() / weights.len(), sizes)?;
    match sizes.iter().position(|&size| size == 1) {
        Some(group) => Err(Error::LoneCompletion { group, needs: NEEDS_COMPANY }),
        None => Ok(normalised_then_summed(rewards, weights, sizes, epsilon)),
    }
}

/// Advantages of a table of rewards and groups that have been checked.
fn normalised_then_summed(rewards: &[f32], weights: &[f32], sizes: &[usize], epsilon: f64) -> Vec<f32> {
    let kinds = weights.len();
    let mut sums = vec![f64::NAN; rewards.len() / kinds];
    let mut rest = sums.as_mut_slice();
    for (rows, &size) in split(rewards, sizes, kinds).zip(sizes) {
        let (group_sums, after) = rest.split_at_mut(size);
        rest = after;
        for (k, &weight) in weights.iter().enumerate() {
            let group = column(rows, kinds, k);
            let moments = Moments::of(&group);
            for (&reward, sum) in group.iter().zip(&mut *group_sums).filter(|(reward, _)| !reward.is_nan()) {
                let divisor = moments.deviation + epsilon;
                let normalised =
                    if moments.flat || divisor == 0.0 { 0.0 } else { (f64::from(reward) - moments.mean) / divisor };
                *sum = if sum.is_nan() { 0.0 } else { *sum } + f64::from(weight) * normalised;
            }
        }
    }
    let batch = Moments::of(&sums);
    let divisor = batch.deviation + epsilon;
    let groups = split(rewards, sizes, kinds).zip(split(&sums, sizes, 1)).flat_map(|(rows, sums)| {
        let flat = batch.flat || divisor == 0.0 || (0..kinds).all(|k| teaches_nothing(&column(rows, kinds, k)));
        sums.iter().map(move |&sum| if flat || sum.is_nan() { 0.0 } else { ((sum - batch.mean) / divisor) as f32 })
    });
    groups.collect()
}

fn weighted_sum(row: &[f32], weights: &[f32]) -> f32 {
    if row.iter().all(|reward| reward.is_nan()) {
        return f32::NAN;
    }
    let terms = row.iter().zip(weights).filter(|(reward, _)| !reward.is_nan());
    terms.map(|(&reward, &weight)| f64::from(reward) * f64::from(weight)).sum::<f64>() as f32
}

/// The `k`-th reward of every row.
fn column(rows: &[f32], kinds: usize, k: usize) -> Vec<f32> {
    rows.iter().skip(k).step_by(kinds).copied().collect()
}

fn check_table(rewards: &[f32], weights: &[f32]) -> Result<()> {
    if weights.is_empty() || !rewards.len().is_multiple_of(weights.len()) {
        let (expected, got) = (weights.len(), rewards.len());
        return Err(Error::Length { name: "rewards", with: "weights", expected, got });
    }
    for &weight in weights {
        within("weights", "finite numbers", f64::from(weight), weight.is_finite())?;
    }
    check_rewards(rewards)
}

use std::iter::repeat_n;

use crate::advantages::{AdvantageConfig, Baseline, Scale, advantages_by_group};
use crate::credit::{accumulate, check_finite, whiten_by_tokens};
use crate::groups::{check_rewards, narrowed, split};
use crate::range::{not_negative, within};
use crate::{Error, Result};

/// Rewards less what a completion moved away from the reference policy: the KL term in the reward.
///
/// ```text
/// R_i = r_i − β · Σ_t (log π(y_{i,t}) − log π_ref(y_{i,t}))
/// ```
///
/// π is the policy that sampled: the sum is the estimate k1 of the KL divergence of a whole completion, without gradient. It stands in place
/// of the KL term of the loss (`GrpoConfig::beta` = 0). With [`Baseline::LeaveOneOut`] and [`Scale::None`] after it, this is RLOO
/// ([arXiv:2402.14740](https://arxiv.org/abs/2402.14740), section 2.1; TRL's `RLOOTrainer` with `beta`). A NaN reward stays NaN: none applies.
///
/// # Shapes
/// `rewards [B]`, `logprobs` and `ref_logprobs` `B` slices of one value a trained token → `[B]`.
///
/// # Errors
/// [`Error::Length`] or [`Error::SequenceLength`] if lengths do not go together, [`Error::NonFinite`], [`Error::InfiniteReward`],
/// [`Error::Setting`] for a coefficient that is negative or not finite, [`Error::TooLarge`].
///
/// # Example
/// The first completion became likelier than under the reference by 3 nats, the second is as it was.
/// ```
/// let (policy, reference) = ([[-1.0, -2.0], [-1.5, -0.5]], [[-2.0, -4.0], [-1.5, -0.5]]);
/// assert_eq!(vr1_grpo::kl_in_reward(&[1.0, 1.0], &policy, &reference, 0.5)?, [-0.5, 1.0]);
/// # Ok::<(), vr1_grpo::Error>(())
/// ```
pub fn kl_in_reward<S: AsRef<[f32]>>(
    rewards: &[f32],
    logprobs: &[S],
    ref_logprobs: &[S],
    coefficient: f64,
) -> Result<Vec<f32>> {
    not_negative("coefficient", coefficient)?;
    check_rewards(rewards)?;
    check_sequences(rewards, logprobs)?;
    let gaps = gaps(logprobs, ref_logprobs)?;
    let less = rewards.iter().zip(&gaps).map(|(&r, gap)| f64::from(r) - coefficient * gap.iter().sum::<f64>());
    let missing = |i: usize| rewards[i].is_nan();
    let mut out = narrowed("difference to its KL term", less.map(|r| if r.is_nan() { 0.0 } else { r }), rewards)?;
    out.iter_mut().enumerate().filter(|(i, _)| missing(*i)).for_each(|(_, value)| *value = f32::NAN);
    Ok(out)
}

/// Whether the advantages of all tokens are brought to mean 0 and variance 1.
///
/// # Example
/// ```
/// use vr1_grpo::{ReinforceConfig, Whitening, reinforce_advantages};
/// let logprobs = [vec![-1f32; 3], vec![-1.0]];
/// let run = |whitening| {
///     let config = ReinforceConfig { whitening, ..Default::default() };
///     reinforce_advantages(&[1.0, -3.0], &[1, 1], &logprobs, None, &config)
/// };
/// assert_eq!(run(Whitening::None)?, [vec![1.0; 3], vec![-3.0]]);
/// assert!((run(Whitening::Tokens)?[1][0] + 1.5).abs() < 1e-6); // mean 0, variance 4
/// # Ok::<(), vr1_grpo::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Whitening {
    /// Over all tokens of the batch, as [`whiten_by_tokens`](crate::whiten_by_tokens) does.
    #[default]
    Tokens,
    /// Not at all.
    None,
}

/// The settings of [`reinforce_advantages`]. `Default` is REINFORCE++ without its KL term.
///
/// # Example
/// ```
/// use vr1_grpo::{Baseline, ReinforceConfig};
/// let config = ReinforceConfig { kl_coefficient: 0.01, ..Default::default() };
/// assert_eq!((config.baseline, ReinforceConfig::WITH_BASELINE.baseline), (Baseline::None, Baseline::GroupMean));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
pub struct ReinforceConfig {
    /// What is subtracted from a completion's reward. Default: nothing.
    pub baseline: Baseline,
    /// β, the weight of the KL term in the rewards of tokens. Default: 0, no reference policy.
    pub kl_coefficient: f64,
    /// γ, what a reward is worth a token earlier. Default: 1.
    pub gamma: f64,
    /// What is done over the batch. Default: whitening over tokens.
    pub whitening: Whitening,
}

impl Default for ReinforceConfig {
    fn default() -> Self {
        Self { baseline: Baseline::None, kl_coefficient: 0.0, gamma: 1.0, whitening: Whitening::Tokens }
    }
}

impl ReinforceConfig {
    /// REINFORCE++-baseline: the mean of its group is subtracted from a reward, and the KL term, if any, is the loss's (k2).
    pub const WITH_BASELINE: Self =
        Self { baseline: Baseline::GroupMean, kl_coefficient: 0.0, gamma: 1.0, whitening: Whitening::Tokens };

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Setting`] names the field and its range.
    ///
    /// # Example
    /// ```
    /// let config = vr1_grpo::ReinforceConfig { gamma: 1.5, ..Default::default() };
    /// assert_eq!(config.validate().unwrap_err().to_string(), "`gamma` must be in [0, 1], but it is 1.5");
    /// ```
    pub fn validate(&self) -> Result<()> {
        not_negative("kl_coefficient", self.kl_coefficient)?;
        within("gamma", "in [0, 1]", self.gamma, (0.0..=1.0).contains(&self.gamma))
    }
}

/// The advantage of every token, from rewards of completions and a KL term of tokens (REINFORCE++ and its variant with a baseline).
///
/// ```text
/// r_{i,t} = [t = T_i]·(r_i − baseline_i) − β·(log π(y_{i,t}) − log π_ref(y_{i,t}))
/// R_{i,t} = r_{i,t} + γ·R_{i,t+1}
/// A_{i,t} = (R_{i,t} − mean R) / √(var R + 1e-8)     over the tokens of the batch
/// ```
///
/// Paper: [arXiv:2501.03262](https://arxiv.org/abs/2501.03262). π is the policy that sampled. A completion with a NaN reward takes part in
/// nothing, and its tokens get 0. Under a baseline of its group, a group of equal rewards gets exactly 0 (unless the KL term tells its
/// tokens apart): the whitening would move it by the mean of the batch, which the lengths of completions keep from being 0.
///
/// # Shapes
/// `rewards [B]`; `sizes`, completions a prompt, which add up to `B`; `logprobs` and `ref_logprobs` `B` slices of one value a trained
/// token → `B` vectors of these lengths.
///
/// # Errors
/// Those of [`advantages_by_group`]; [`Error::Length`] or [`Error::SequenceLength`] if lengths do not go together; [`Error::Missing`] for a
/// KL term without `ref_logprobs`; [`Error::NonFinite`]; [`Error::Setting`] for fewer than two tokens to whiten over.
///
/// # Example
/// γ = ½, and a token that the policy finds likelier than its reference by 1 nat costs β = 0.1:
/// ```
/// use vr1_grpo::{ReinforceConfig, Whitening, reinforce_advantages};
/// let config = ReinforceConfig { kl_coefficient: 0.1, gamma: 0.5, whitening: Whitening::None, ..Default::default() };
/// let advantages = reinforce_advantages(&[1.0], &[1], &[[-1.0, -1.0]], Some(&[[-2.0, -1.0]]), &config)?;
/// assert_eq!(advantages, [[-0.1 + 0.5 * 1.0, 1.0]]);
/// # Ok::<(), vr1_grpo::Error>(())
/// ```
pub fn reinforce_advantages<S: AsRef<[f32]>>(
    rewards: &[f32],
    sizes: &[usize],
    logprobs: &[S],
    ref_logprobs: Option<&[S]>,
    config: &ReinforceConfig,
) -> Result<Vec<Vec<f32>>> {
    config.validate()?;
    let centring = AdvantageConfig { baseline: config.baseline, scale: Scale::None, ..AdvantageConfig::default() };
    let centred = advantages_by_group(rewards, sizes, &centring)?;
    check_sequences(rewards, logprobs)?;
    let beta = config.kl_coefficient;
    let mut rows: Vec<Vec<f64>> = if beta == 0.0 {
        logprobs.iter().map(|sequence| vec![0.0; sequence.as_ref().len()]).collect()
    } else {
        let reason = "`kl_coefficient` is not 0";
        gaps(logprobs, ref_logprobs.ok_or(Error::Missing { name: "ref_logprobs", reason })?)?
    };
    for (index, row) in rows.iter_mut().enumerate() {
        row.iter_mut().for_each(|value| *value *= -beta);
        if let Some(last) = row.last_mut() {
            *last += f64::from(centred[index]);
        }
        accumulate(row.iter_mut(), config.gamma);
        if rewards[index].is_nan() {
            row.fill(0.0);
        }
        if row.iter().any(|&value| !(value as f32).is_finite()) {
            return Err(Error::TooLarge { name: "return", index, reward: rewards[index] });
        }
    }
    let lengths: Vec<usize> = rows.iter().map(Vec::len).collect();
    let mut out: Vec<f32> = rows.iter().flatten().map(|&value| value as f32).collect();
    if config.whitening == Whitening::Tokens {
        let counted = rewards.iter().zip(&lengths);
        let counts: Vec<usize> =
            counted.flat_map(|(reward, &tokens)| repeat_n(usize::from(!reward.is_nan()), tokens)).collect();
        out = whiten_by_tokens(&out, &counts)?;
    }
    let mut out: Vec<Vec<f32>> = split(&out, &lengths, 1).map(<[f32]>::to_vec).collect();
    if matches!(config.baseline, Baseline::GroupMean | Baseline::LeaveOneOut) {
        let mut rest = out.as_mut_slice();
        for group in split(&rows, sizes, 1) {
            let (advantages, after) = rest.split_at_mut(group.len());
            rest = after;
            if group.iter().flatten().all(|&value| value == 0.0) {
                advantages.iter_mut().for_each(|row| row.fill(0.0));
            }
        }
    }
    Ok(out)
}

/// Log-probabilities of one sequence a reward.
fn check_sequences<S>(rewards: &[f32], logprobs: &[S]) -> Result<()> {
    if logprobs.len() == rewards.len() {
        return Ok(());
    }
    Err(Error::Length { name: "logprobs", with: "rewards", expected: rewards.len(), got: logprobs.len() })
}

/// `log π − log π_ref` of every token.
fn gaps<S: AsRef<[f32]>>(logprobs: &[S], ref_logprobs: &[S]) -> Result<Vec<Vec<f64>>> {
    if ref_logprobs.len() != logprobs.len() {
        let (expected, got) = (logprobs.len(), ref_logprobs.len());
        return Err(Error::Length { name: "ref_logprobs", with: "logprobs", expected, got });
    }
    let pairs = || logprobs.iter().zip(ref_logprobs).map(|(a, b)| (a.as_ref(), b.as_ref()));
    if let Some((sequence, (a, b))) = pairs().enumerate().find(|(_, (a, b))| a.len() != b.len()) {
        let (name, with) = ("ref_logprobs", "logprobs");
        return Err(Error::SequenceLength { name, with, sequence, expected: a.len(), got: b.len() });
    }
    check_finite("logprobs", pairs().flat_map(|(a, _)| a).copied())?;
    check_finite("ref_logprobs", pairs().flat_map(|(_, b)| b).copied())?;
    Ok(pairs().map(|(a, b)| a.iter().zip(b).map(|(&a, &b)| f64::from(a) - f64::from(b)).collect()).collect())
}

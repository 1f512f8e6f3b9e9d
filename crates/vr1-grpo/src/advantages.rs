use crate::groups::{Moments, check_rewards, check_sizes, equal_sizes, is_flat, narrowed, split};
use crate::range::not_negative;
use crate::{Error, Result};

/// By what a centred reward is divided.
///
/// # Example
/// Two groups of two, with means 1 and 5, σ = √2 each, and σ = √(20/3) of all four:
/// ```
/// use vr1_grpo::{Scale, group_advantages};
/// for (scale, divisor) in [(Scale::Group, 2f64.sqrt() + 1e-4), (Scale::Batch, (20f64 / 3.0).sqrt() + 1e-4), (Scale::None, 1.0)] {
///     let advantages = group_advantages(&[0.0, 2.0, 4.0, 6.0], 2, scale)?;
///     assert!((f64::from(advantages[1]) - 1.0 / divisor).abs() < 1e-7);
/// }
/// # Ok::<(), vr1_grpo::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Scale {
    /// By σ + ε of its own group (GRPO, [arXiv:2402.03300](https://arxiv.org/abs/2402.03300)).
    #[default]
    Group,
    /// By σ + ε of all rewards of the batch ([arXiv:2508.08221](https://arxiv.org/abs/2508.08221)).
    Batch,
    /// By nothing (Dr. GRPO, [arXiv:2503.20783](https://arxiv.org/abs/2503.20783)).
    None,
}

/// What is subtracted from a reward.
///
/// # Example
/// The first of two groups of two has mean 1, the other of its second completion is 0, all four have mean 3:
/// ```
/// use vr1_grpo::{AdvantageConfig, Baseline, Scale, advantages};
/// for (baseline, expected) in
///     [(Baseline::GroupMean, 1.0), (Baseline::LeaveOneOut, 2.0), (Baseline::BatchMean, -1.0), (Baseline::None, 2.0)]
/// {
///     let config = AdvantageConfig { baseline, scale: Scale::None, ..Default::default() };
///     assert_eq!(advantages(&[0.0, 2.0, 4.0, 6.0], 2, &config)?[1], expected);
/// }
/// # Ok::<(), vr1_grpo::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Baseline {
    /// The mean of its group (GRPO).
    #[default]
    GroupMean,
    /// The mean of the other completions of its group (RLOO, [arXiv:2402.14740](https://arxiv.org/abs/2402.14740)).
    LeaveOneOut,
    /// The mean of the batch (REINFORCE with a global baseline).
    BatchMean,
    /// Nothing (REINFORCE).
    None,
}

/// What a group of one completion gets.
///
/// # Example
/// ```
/// use vr1_grpo::{AdvantageConfig, GroupOfOne, advantages};
/// let refused = advantages(&[0.5], 1, &AdvantageConfig::default()).unwrap_err().to_string();
/// assert!(refused.starts_with("group_size = 1, but `Scale::Group` divides by the spread of a group"));
/// let raw = AdvantageConfig { group_of_one: GroupOfOne::RawReward, ..Default::default() };
/// assert_eq!(advantages(&[0.5], 1, &raw)?, [0.5]);
/// # Ok::<(), vr1_grpo::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum GroupOfOne {
    /// An error, where a spread or another completion is needed.
    #[default]
    Refused,
    /// Its reward, unchanged (verl takes mean 0 and σ 1).
    RawReward,
}

/// How rewards become advantages; see [`advantages`]. `Default` is GRPO as TRL has it.
///
/// # Example
/// Leave-one-out (RLOO) as a departure from it:
/// ```
/// use vr1_grpo::{AdvantageConfig, Baseline, Scale};
/// let rloo = AdvantageConfig { baseline: Baseline::LeaveOneOut, scale: Scale::None, ..Default::default() };
/// assert_eq!(rloo.epsilon, 1e-4);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields, rename_all = "snake_case")
)]
pub struct AdvantageConfig {
    /// What is subtracted. Default: the group's mean.
    pub baseline: Baseline,
    /// By what the difference is divided. Default: the group's σ.
    pub scale: Scale,
    /// ε, added to σ. Default: 1e-4, as TRL and the systems derived from it; verl and EasyR1 take 1e-6.
    pub epsilon: f64,
    /// What a group of one gets. Default: refused.
    pub group_of_one: GroupOfOne,
}

impl Default for AdvantageConfig {
    fn default() -> Self {
        Self { baseline: Baseline::GroupMean, scale: Scale::Group, epsilon: 1e-4, group_of_one: GroupOfOne::Refused }
    }
}

impl AdvantageConfig {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Setting`] names the field and its range.
    ///
    /// # Example
    /// ```
    /// let config = vr1_grpo::AdvantageConfig { epsilon: -1.0, ..Default::default() };
    /// assert_eq!(config.validate().unwrap_err().to_string(), "`epsilon` must be a finite number ≥ 0, but it is -1");
    /// ```
    pub fn validate(&self) -> Result<()> {
        not_negative("epsilon", self.epsilon)
    }

    /// What of these settings needs a second completion in a group.
    fn needs_company(&self) -> Option<&'static str> {
        match (self.group_of_one, self.scale, self.baseline) {
            (GroupOfOne::RawReward, ..) => None,
            (_, Scale::Group, _) => Some("`Scale::Group` divides by the spread of a group"),
            (_, _, Baseline::LeaveOneOut) => Some("`Baseline::LeaveOneOut` compares with the others of a group"),
            _ => None,
        }
    }
}

/// The advantage of every completion over its group.
///
/// ```text
/// A_i = (r_i − mean(r)) / (σ(r) + 1e-4)
/// ```
///
/// with σ of the group (ddof = 1), of the batch, or no division. Rewards of one prompt stand side by side. A group whose
/// rewards are all equal gets exactly 0, decided before any arithmetic: a mean of equal floats rounds, and dividing the
/// residue by a tiny σ would push all completions of the group in one direction. A NaN reward says that none applies: it
/// takes part in no mean or σ, and its advantage is 0.
///
/// Sums are taken in f64. Paper: DeepSeekMath, [arXiv:2402.03300](https://arxiv.org/abs/2402.03300), section 4.1.
///
/// # Shapes
/// `rewards [B]` with `B = prompts · group_size` → `[B]`.
///
/// # Errors
/// [`Error::GroupSize`] if the groups do not divide the rewards, [`Error::GroupOfOne`] if `group_size` is 1 with
/// [`Scale::Group`], [`Error::InfiniteReward`], [`Error::TooLarge`].
///
/// # Example
/// The first group has mean ½ and σ = √(1/3) = 0.577 35; the second is all equal.
/// ```
/// use vr1_grpo::{Scale, group_advantages};
/// let rewards = [1.0, 1.0, 0.0, 0.0, 0.9, 0.9, 0.9, 0.9];
/// let advantages = group_advantages(&rewards, 4, Scale::Group)?;
/// assert!((advantages[0] - 0.5 / (0.577_35 + 1e-4)).abs() < 1e-5);
/// assert_eq!(advantages[2], -advantages[0]);
/// assert_eq!(advantages[4..], [0.0; 4]);
/// assert_eq!(group_advantages(&rewards, 4, Scale::None)?[..4], [0.5, 0.5, -0.5, -0.5]);
/// # Ok::<(), vr1_grpo::Error>(())
/// ```
pub fn group_advantages(rewards: &[f32], group_size: usize, scale: Scale) -> Result<Vec<f32>> {
    advantages(rewards, group_size, &AdvantageConfig { scale, ..AdvantageConfig::default() })
}

/// Advantages under any baseline and scale.
///
/// ```text
/// A_i = (r_i − baseline_i) / (σ + ε)
/// ```
///
/// The rules for equal groups, NaN rewards and σ are those of [`group_advantages`]. With [`Baseline::BatchMean`] or
/// [`Baseline::None`] a group of equal rewards still differs from the baseline, so it does get an advantage; there only a
/// batch that is equal throughout is 0 ([`Baseline::BatchMean`]), or nothing is ([`Baseline::None`]).
///
/// # Shapes
/// `rewards [B]` → `[B]`.
///
/// # Errors
/// As [`group_advantages`]; [`Error::GroupOfOne`] also for [`Baseline::LeaveOneOut`]; a setting out of range.
///
/// # Example
/// Leave-one-out: the other three of the first completion have mean 1.
/// ```
/// use vr1_grpo::{AdvantageConfig, Baseline, Scale, advantages};
/// let config = AdvantageConfig { baseline: Baseline::LeaveOneOut, scale: Scale::None, ..Default::default() };
/// assert_eq!(advantages(&[4.0, 0.0, 1.0, 2.0], 4, &config)?[0], 3.0);
/// # Ok::<(), vr1_grpo::Error>(())
/// ```
pub fn advantages(rewards: &[f32], group_size: usize, config: &AdvantageConfig) -> Result<Vec<f32>> {
    config.validate()?;
    let sizes = equal_sizes(rewards.len(), group_size)?;
    check_rewards(rewards)?;
    match config.needs_company() {
        Some(needs) if group_size == 1 => Err(Error::GroupOfOne { needs }),
        _ => over_groups(rewards, &sizes, config),
    }
}

/// [`advantages`] of groups that need not be of one size: `sizes` says how many completions each prompt has.
///
/// ```text
/// A_i = (r_i − baseline_i) / (σ + ε)
/// ```
///
/// A group of one, which a failed rollout may leave, is what [`AdvantageConfig::group_of_one`] says.
///
/// # Shapes
/// `rewards [B]`, the completions of a prompt side by side; `sizes`, which add up to `B` → `[B]`.
///
/// # Errors
/// [`Error::EmptyGroup`], [`Error::GroupSizes`], [`Error::LoneCompletion`] for a group of one that is refused,
/// [`Error::InfiniteReward`], [`Error::TooLarge`]; a setting out of range.
///
/// # Example
/// A group of three with mean 1 and a group of two with mean ½:
/// ```
/// use vr1_grpo::{AdvantageConfig, Scale, advantages_by_group};
/// let config = AdvantageConfig { scale: Scale::None, ..Default::default() };
/// assert_eq!(advantages_by_group(&[3.0, 0.0, 0.0, 1.0, 0.0], &[3, 2], &config)?, [2.0, -1.0, -1.0, 0.5, -0.5]);
/// # Ok::<(), vr1_grpo::Error>(())
/// ```
pub fn advantages_by_group(rewards: &[f32], sizes: &[usize], config: &AdvantageConfig) -> Result<Vec<f32>> {
    config.validate()?;
    check_sizes(rewards.len(), sizes)?;
    check_rewards(rewards)?;
    match (config.needs_company(), sizes.iter().position(|&size| size == 1)) {
        (Some(needs), Some(group)) => Err(Error::LoneCompletion { group, needs }),
        _ => over_groups(rewards, sizes, config),
    }
}

/// Advantages of rewards and groups that have been checked.
fn over_groups(rewards: &[f32], sizes: &[usize], config: &AdvantageConfig) -> Result<Vec<f32>> {
    let batch = Moments::of(rewards);
    let groups = split(rewards, sizes, 1).flat_map(|group| {
        let moments = Moments::of(group);
        let raw = group.len() == 1 && config.group_of_one == GroupOfOne::RawReward;
        let flat = match config.baseline {
            _ if raw => false,
            Baseline::GroupMean | Baseline::LeaveOneOut => moments.flat,
            Baseline::BatchMean => batch.flat,
            Baseline::None => false,
        };
        let divisor = match config.scale {
            _ if raw => 1.0,
            Scale::Group => moments.deviation + config.epsilon,
            Scale::Batch => batch.deviation + config.epsilon,
            Scale::None => 1.0,
        };
        group.iter().map(move |&reward| {
            // With ε = 0, a σ of 0 belongs to rewards that are all equal.
            if flat || reward.is_nan() || divisor == 0.0 {
                return 0.0;
            }
            let reward = f64::from(reward);
            let centred = match config.baseline {
                _ if raw => reward,
                Baseline::GroupMean => reward - moments.mean,
                Baseline::LeaveOneOut => (reward - moments.mean) * moments.count / (moments.count - 1.0),
                Baseline::BatchMean => reward - batch.mean,
                Baseline::None => reward,
            };
            centred / divisor
        })
    });
    narrowed("advantage", groups, rewards)
}

/// Whether a group can teach nothing: all its rewards are equal, or none applies.
///
/// ```text
/// max r = min r   over the rewards that are not NaN
/// ```
///
/// It is the very predicate by which [`group_advantages`] gives zeros, so a filter that drops such groups (DAPO's dynamic
/// sampling, [arXiv:2503.14476](https://arxiv.org/abs/2503.14476)) never keeps a group without a gradient.
///
/// # Example
/// ```
/// use vr1_grpo::teaches_nothing;
/// assert!(teaches_nothing(&[0.9; 8]));
/// assert!(teaches_nothing(&[f32::NAN, 1.0]));
/// assert!(!teaches_nothing(&[0.0, 1.0]));
/// ```
pub fn teaches_nothing(group: &[f32]) -> bool {
    is_flat(group)
}

use crate::range::{not_negative, within};
use crate::{Error, Result};

/// Two completions of one group, by their places in the flat list of completions; see [`preference_pairs`].
///
/// # Example
/// ```
/// use vr1_dpo::{Pair, PairRule, preference_pairs};
/// let pairs = preference_pairs(&[0.25, 1.0], 2, 0.0, PairRule::BestWorst)?;
/// assert_eq!(pairs, [Pair { chosen: 1, rejected: 0, margin: 0.75 }]);
/// # Ok::<(), vr1_dpo::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// The better one.
    pub chosen: usize,
    /// The worse one.
    pub rejected: usize,
    /// By how much its score is better.
    pub margin: f32,
}

/// Which pairs a group gives.
///
/// # Example
/// ```
/// use vr1_dpo::{PairRule, preference_pairs};
/// let pairs = |rule| preference_pairs(&[0.0, 1.0, 0.5], 3, 0.0, rule).map(|pairs| pairs.len());
/// assert_eq!((pairs(PairRule::BestWorst)?, pairs(PairRule::All)?), (1, 3));
/// # Ok::<(), vr1_dpo::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum PairRule {
    /// The best against the worst; of equals the first.
    #[default]
    BestWorst,
    /// Every two completions whose scores differ.
    All,
}

/// Pairs of preference out of scored groups: what an iteration of iterative DPO trains on.
///
/// ```text
/// chosen = argmax score,   rejected = argmin score,   kept if max − min ≥ margin and max ≠ min
/// ```
///
/// Ties never make a pair, whatever the margin. A NaN score says that there is none; such a completion is in no pair. Insight-V
/// ([arXiv:2411.14432](https://arxiv.org/abs/2411.14432)) trains three rounds so, each on samples of the model before.
///
/// # Shapes
/// `scores [prompts · group_size]`, the completions of a prompt side by side → at most one pair a group ([`PairRule::BestWorst`]).
///
/// # Errors
/// [`Error::Setting`] for a group size that is 0 or does not divide the scores, a margin that is negative or not finite, an infinite score.
///
/// # Example
/// ```
/// use vr1_dpo::{Pair, PairRule, preference_pairs};
/// let scores = [0.0, 1.0, 0.5, 1.0, 1.0, 1.0, 0.2, f32::NAN, 0.3];
/// let pairs = preference_pairs(&scores, 3, 0.25, PairRule::BestWorst)?;
/// assert_eq!(pairs, [Pair { chosen: 1, rejected: 0, margin: 1.0 }]); // a tie and a margin of 0.1 are dropped
/// assert_eq!(preference_pairs(&scores, 3, 0.25, PairRule::All)?.len(), 3);
/// # Ok::<(), vr1_dpo::Error>(())
/// ```
pub fn preference_pairs(scores: &[f32], group_size: usize, margin: f32, rule: PairRule) -> Result<Vec<Pair>> {
    let divides = group_size > 0 && scores.len().is_multiple_of(group_size);
    within("group_size", "a positive divisor of the number of scores", group_size as f64, divides)?;
    preference_pairs_by_group(scores, &vec![group_size; scores.len() / group_size], margin, rule)
}

/// [`preference_pairs`] of groups that need not be of one size: `sizes` says how many completions each prompt has. A group of one makes no
/// pair.
///
/// # Shapes
/// `scores [B]`, the completions of a prompt side by side; `sizes`, which add up to `B` → pairs by their places in `scores`.
///
/// # Errors
/// [`Error::EmptyGroup`], [`Error::GroupSizes`]; [`Error::Setting`] for a margin that is negative or not finite, an infinite score.
///
/// # Example
/// ```
/// use vr1_dpo::{Pair, PairRule, preference_pairs_by_group};
/// let pairs = preference_pairs_by_group(&[0.0, 1.0, 0.5, 0.25, 0.75, 0.5], &[2, 1, 3], 0.0, PairRule::BestWorst)?;
/// assert_eq!(pairs, [Pair { chosen: 1, rejected: 0, margin: 1.0 }, Pair { chosen: 4, rejected: 3, margin: 0.5 }]);
/// # Ok::<(), vr1_dpo::Error>(())
/// ```
pub fn preference_pairs_by_group(scores: &[f32], sizes: &[usize], margin: f32, rule: PairRule) -> Result<Vec<Pair>> {
    if let Some(group) = sizes.iter().position(|&size| size == 0) {
        return Err(Error::EmptyGroup { group });
    }
    let total = sizes.iter().fold(0usize, |total, &size| total.saturating_add(size));
    if total != scores.len() {
        return Err(Error::GroupSizes { scores: scores.len(), groups: sizes.len(), total });
    }
    not_negative("margin", f64::from(margin))?;
    if let Some(&score) = scores.iter().find(|score| score.is_infinite()) {
        let expected = "finite, or NaN where there is none";
        return Err(Error::Setting { field: "scores", expected, got: f64::from(score) });
    }
    let mut pairs = Vec::new();
    let mut push = |a: usize, b: usize| {
        let (chosen, rejected) = if scores[a] >= scores[b] { (a, b) } else { (b, a) };
        let gap = scores[chosen] - scores[rejected];
        if scores[chosen] > scores[rejected] && gap >= margin {
            pairs.push(Pair { chosen, rejected, margin: gap });
        }
    };
    let mut start = 0;
    for &size in sizes {
        let valid: Vec<usize> = (start..start + size).filter(|&i| !scores[i].is_nan()).collect();
        start += size;
        match rule {
            PairRule::BestWorst => {
                let best = valid.iter().copied().reduce(|a, b| if scores[b] > scores[a] { b } else { a });
                let worst = valid.iter().copied().reduce(|a, b| if scores[b] < scores[a] { b } else { a });
                if let (Some(best), Some(worst)) = (best, worst) {
                    push(best, worst);
                }
            }
            PairRule::All => {
                for (place, &a) in valid.iter().enumerate() {
                    valid[place + 1..].iter().for_each(|&b| push(a, b));
                }
            }
        }
    }
    Ok(pairs)
}

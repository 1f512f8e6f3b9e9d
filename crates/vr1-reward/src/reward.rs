use crate::{Error, Result};

/// A sample's own JSON object: whatever the dataset's row holds beside question and solution.
pub type Fields = serde_json::Map<String, serde_json::Value>;

/// What a reward sees of one completion.
#[derive(Debug, Clone, Copy)]
pub struct Rollout<'a> {
    /// The question, as the user wrote it.
    pub prompt: &'a str,
    /// What the model answered, special tokens removed.
    pub completion: &'a str,
    /// The sample's reference answer.
    pub solution: &'a str,
    /// The completion's length in tokens.
    pub tokens: usize,
    /// Whether the model ended it, rather than the length limit.
    pub finished: bool,
    /// The sample's own fields.
    pub fields: &'a Fields,
}

/// Says how good a completion is.
///
/// # Example
/// ```
/// use vr1_reward::{Fields, Result, Reward, Rollout};
///
/// struct Short;
///
/// impl Reward for Short {
///     fn name(&self) -> &str {
///         "short"
///     }
///     fn score(&self, rollout: &Rollout<'_>) -> Result<f32> {
///         Ok(1.0 / (1.0 + rollout.tokens as f32))
///     }
/// }
///
/// let fields = Fields::new();
/// let rollout =
///     Rollout { prompt: "2+2?", completion: "4", solution: "4", tokens: 1, finished: true, fields: &fields };
/// assert_eq!(Short.score(&rollout), Ok(0.5));
/// ```
pub trait Reward: Send + Sync {
    /// The name under which the reward is logged.
    fn name(&self) -> &str;

    /// The reward of one completion.
    ///
    /// # Errors
    /// Where the completion cannot be judged. A wrong answer is a low reward and no error.
    fn score(&self, rollout: &Rollout<'_>) -> Result<f32>;

    /// The rewards of a group, which is every completion of one prompt: one by one, unless the reward compares them.
    ///
    /// # Errors
    /// Where a completion cannot be judged.
    fn score_group(&self, group: &[Rollout<'_>]) -> Result<Vec<f32>> {
        group.iter().map(|rollout| self.score(rollout)).collect()
    }
}

impl<R: Reward + ?Sized> Reward for Box<R> {
    fn name(&self) -> &str {
        (**self).name()
    }
    fn score(&self, rollout: &Rollout<'_>) -> Result<f32> {
        (**self).score(rollout)
    }
    fn score_group(&self, group: &[Rollout<'_>]) -> Result<Vec<f32>> {
        (**self).score_group(group)
    }
}

impl<R: Reward + ?Sized> Reward for std::sync::Arc<R> {
    fn name(&self) -> &str {
        (**self).name()
    }
    fn score(&self, rollout: &Rollout<'_>) -> Result<f32> {
        (**self).score(rollout)
    }
    fn score_group(&self, group: &[Rollout<'_>]) -> Result<Vec<f32>> {
        (**self).score_group(group)
    }
}

/// A reward made of a function, by [`from_fn`].
pub struct FromFn<F> {
    name: String,
    function: F,
}

impl<F> std::fmt::Debug for FromFn<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FromFn").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Makes a reward of a function of one rollout.
///
/// # Example
/// ```
/// use vr1_reward::{from_fn, Fields, Reward, Rollout};
///
/// let finished = from_fn("finished", |rollout| Ok(if rollout.finished { 1.0 } else { 0.0 }));
/// let fields = Fields::new();
/// let rollout = Rollout { prompt: "", completion: "", solution: "", tokens: 0, finished: true, fields: &fields };
/// assert_eq!(finished.score(&rollout), Ok(1.0));
/// ```
pub fn from_fn<F>(name: impl Into<String>, function: F) -> FromFn<F>
where
    F: Fn(&Rollout<'_>) -> Result<f32> + Send + Sync,
{
    FromFn { name: name.into(), function }
}

impl<F: Fn(&Rollout<'_>) -> Result<f32> + Send + Sync> Reward for FromFn<F> {
    fn name(&self) -> &str {
        &self.name
    }
    fn score(&self, rollout: &Rollout<'_>) -> Result<f32> {
        (self.function)(rollout)
    }
}

/// The weighted sum of rewards: `total = Σ wᵢ·rᵢ`.
///
/// # Example
/// ```
/// use vr1_reward::{from_fn, Fields, Reward, Rollout, WeightedSum};
///
/// let one = from_fn("one", |_| Ok(1.0));
/// let tokens = from_fn("tokens", |rollout| Ok(rollout.tokens as f32));
/// let total = WeightedSum::new("total").with(1.0, one).with(0.5, tokens);
/// let fields = Fields::new();
/// let rollout = Rollout { prompt: "", completion: "", solution: "", tokens: 4, finished: true, fields: &fields };
/// assert_eq!(total.score(&rollout), Ok(3.0));
/// ```
pub struct WeightedSum {
    name: String,
    parts: Vec<(f32, Box<dyn Reward>)>,
}

impl std::fmt::Debug for WeightedSum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts: Vec<_> = self.parts.iter().map(|(weight, reward)| (weight, reward.name())).collect();
        f.debug_struct("WeightedSum").field("name", &self.name).field("parts", &parts).finish()
    }
}

impl WeightedSum {
    /// The empty sum, which is 0.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), parts: Vec::new() }
    }

    /// The sum with one more part.
    #[must_use]
    pub fn with(mut self, weight: f32, reward: impl Reward + 'static) -> Self {
        self.parts.push((weight, Box::new(reward)));
        self
    }
}

impl Reward for WeightedSum {
    fn name(&self) -> &str {
        &self.name
    }

    fn score(&self, rollout: &Rollout<'_>) -> Result<f32> {
        self.parts.iter().try_fold(0.0, |sum, (weight, reward)| Ok(sum + weight * reward.score(rollout)?))
    }

    fn score_group(&self, group: &[Rollout<'_>]) -> Result<Vec<f32>> {
        let mut totals = vec![0.0; group.len()];
        for (weight, reward) in &self.parts {
            let scores = reward.score_group(group)?;
            if scores.len() != group.len() {
                let reason = format!("{} scores for a group of {}", scores.len(), group.len());
                return Err(Error::verifier(reward.name(), reason));
            }
            totals.iter_mut().zip(scores).for_each(|(total, score)| *total += weight * score);
        }
        Ok(totals)
    }
}

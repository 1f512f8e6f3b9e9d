use crate::steps::fraction;
use crate::{Curriculum, Error, Result, State};

/// Most weight on the stages whose solved rate is near a target.
///
/// A group whose completions are all right or all wrong has no advantages and teaches nothing; at one half its rewards
/// differ most. With `s` the running solved rate of a stage:
///
/// `w ∝ floor + exp(−(s − target)² / (2·width²))`, `s ← s + (solved − s) / min(seen, memory)`
///
/// A stage not seen yet counts as if it were at the target, so every stage is tried.
///
/// # Example
/// ```
/// use vr1_curriculum::{Adaptive, Curriculum};
/// let mut adaptive = Adaptive::new(3, Adaptive::DEFAULT)?;
/// for _ in 0..100 {
///     adaptive.observe(0, 1.0);
///     adaptive.observe(1, 0.5);
///     adaptive.observe(2, 0.0);
/// }
/// let weights = adaptive.weights(100);
/// assert!(weights[1] > 3.0 * weights[0] && weights[1] > 3.0 * weights[2]);
/// # Ok::<(), vr1_curriculum::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Adaptive {
    settings: AdaptiveSettings,
    solved: Vec<f64>,
    seen: Vec<u64>,
}

/// The settings of [`Adaptive`], as [`crate::Schedule::Adaptive`] names them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdaptiveSettings {
    /// The solved rate that gets most weight.
    pub target: f64,
    /// How far from the target a stage still gets weight, as a standard deviation.
    pub width: f64,
    /// The least share of a stage's greatest weight, so that none is forgotten.
    pub floor: f64,
    /// How many groups the running rate remembers.
    pub memory: u64,
}

impl Adaptive {
    /// Target 0.5, width 0.25, floor 0.05, memory 32 groups.
    pub const DEFAULT: AdaptiveSettings = AdaptiveSettings { target: 0.5, width: 0.25, floor: 0.05, memory: 32 };

    /// A schedule of `stages` stages, none seen yet.
    ///
    /// # Errors
    /// Where a setting is out of its range, or there is no stage.
    pub fn new(stages: usize, settings: AdaptiveSettings) -> Result<Self> {
        let AdaptiveSettings { target, width, floor, memory } = settings;
        fraction("target", target)?;
        fraction("floor", floor)?;
        if !(width > 0.0 && width.is_finite()) {
            return Err(Error::Setting { setting: "width", reason: format!("is {width}; it is above 0") });
        }
        if memory == 0 {
            return Err(Error::Setting { setting: "memory", reason: "is 0; at least one group is remembered".into() });
        }
        if stages == 0 {
            return Err(Error::Stages { setting: "stages", found: 0, stages: 0 });
        }
        Ok(Self { settings, solved: vec![target; stages], seen: vec![0; stages] })
    }

    /// The running solved rate of each stage; the target for one not seen yet.
    #[must_use]
    pub fn solved(&self) -> &[f64] {
        &self.solved
    }
}

impl Curriculum for Adaptive {
    fn weights(&mut self, _step: u64) -> Vec<f64> {
        let AdaptiveSettings { target, width, floor, .. } = self.settings;
        let bell = |solved: f64| (-(solved - target).powi(2) / (2.0 * width * width)).exp();
        // A narrow bell may be 0 everywhere; then every stage counts the same.
        let raw: Vec<f64> = self.solved.iter().map(|solved| f64::MIN_POSITIVE + floor + bell(*solved)).collect();
        let sum: f64 = raw.iter().sum();
        raw.into_iter().map(|weight| weight / sum).collect()
    }

    fn observe(&mut self, stage: usize, solved: f64) {
        if stage >= self.solved.len() || !solved.is_finite() {
            return;
        }
        self.seen[stage] = self.seen[stage].saturating_add(1);
        let rate = 1.0 / self.seen[stage].min(self.settings.memory) as f64;
        self.solved[stage] += rate * (solved.clamp(0.0, 1.0) - self.solved[stage]);
    }

    fn state(&self) -> State {
        State { kind: "adaptive".into(), solved: self.solved.clone(), seen: self.seen.clone() }
    }

    fn restore(&mut self, state: &State) -> Result<()> {
        let stages = self.solved.len();
        let sound = state.solved.iter().all(|solved| (0.0..=1.0).contains(solved));
        if state.kind != "adaptive" || state.solved.len() != stages || state.seen.len() != stages || !sound {
            let found_stages = state.solved.len();
            return Err(Error::State { found: state.kind.clone(), found_stages, kind: "adaptive", stages });
        }
        self.solved.clone_from(&state.solved);
        self.seen.clone_from(&state.seen);
        Ok(())
    }
}

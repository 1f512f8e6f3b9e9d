use serde::{Deserialize, Serialize};

/// How the learning rate goes from step to step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// Straight down to zero: the default of Hugging Face's trainers, and so of the systems built on them.
    #[default]
    Linear,
    /// Half a cosine down to zero.
    Cosine,
    /// Always the same.
    Constant,
}

impl Schedule {
    /// What the learning rate is multiplied by at `step` (from 0) of `steps`, after `warmup_steps` of linear warm-up.
    ///
    /// # Example
    /// ```
    /// use vr1_learn::Schedule;
    /// let factors: Vec<f64> = (0..4).map(|step| Schedule::Linear.factor(step, 4, 2)).collect();
    /// assert_eq!(factors, [0.0, 0.5, 1.0, 0.5]);
    /// ```
    pub fn factor(self, step: u64, steps: u64, warmup_steps: u64) -> f64 {
        if step < warmup_steps {
            return step as f64 / warmup_steps as f64;
        }
        let done = (step - warmup_steps) as f64 / (steps.saturating_sub(warmup_steps)).max(1) as f64;
        match self {
            Self::Linear => (1.0 - done).max(0.0),
            Self::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * done.min(1.0)).cos()),
            Self::Constant => 1.0,
        }
    }
}

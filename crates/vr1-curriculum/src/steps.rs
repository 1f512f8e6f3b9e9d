//! Schedules that depend on the step alone.

use crate::{Curriculum, Error, Result};

/// `w / Σw`.
pub(crate) fn normalised(setting: &'static str, weights: &[f64], stages: usize) -> Result<Vec<f64>> {
    if weights.len() != stages {
        return Err(Error::Stages { setting, found: weights.len(), stages });
    }
    if let Some(wrong) = weights.iter().find(|w| !(w.is_finite() && **w >= 0.0)) {
        return Err(Error::Setting { setting, reason: format!("holds {wrong}; a weight is at least 0 and finite") });
    }
    let sum: f64 = weights.iter().sum();
    if !(sum > 0.0 && sum.is_finite()) {
        return Err(Error::Setting { setting, reason: "gives no stage any weight".into() });
    }
    Ok(weights.iter().map(|w| w / sum).collect())
}

pub(crate) fn fraction(setting: &'static str, value: f64) -> Result<f64> {
    if (0.0..=1.0).contains(&value) {
        return Ok(value);
    }
    Err(Error::Setting { setting, reason: format!("is {value}; it is a fraction of the run, from 0 to 1") })
}

/// How much of the run lies behind `step`: `step / steps`, at most 1.
fn progress(step: u64, steps: u64) -> f64 {
    (step as f64 / steps.max(1) as f64).min(1.0)
}

/// The same weights for ever.
#[derive(Debug, Clone, PartialEq)]
pub struct Fixed {
    weights: Vec<f64>,
}

impl Fixed {
    /// Weights in any unit; they are divided by their sum.
    ///
    /// # Errors
    /// Where a weight is negative or not finite, or all are 0.
    ///
    /// # Example
    /// ```
    /// use vr1_curriculum::{Curriculum, Fixed};
    /// assert_eq!(Fixed::new(&[1.0, 3.0])?.weights(9), [0.25, 0.75]);
    /// # Ok::<(), vr1_curriculum::Error>(())
    /// ```
    pub fn new(weights: &[f64]) -> Result<Self> {
        Ok(Self { weights: normalised("weights", weights, weights.len())? })
    }
}

impl Curriculum for Fixed {
    fn weights(&mut self, _step: u64) -> Vec<f64> {
        self.weights.clone()
    }
}

/// One stage after the other: stage `i` from the fraction `starts[i]` of the run on.
///
/// With `blend` > 0 the change from one stage to the next takes that fraction of the run, in a straight line that ends
/// where the next stage starts fully: `w_next = (p − start + blend) / blend` while `start − blend < p < start`.
#[derive(Debug, Clone, PartialEq)]
pub struct Staged {
    starts: Vec<f64>,
    blend: f64,
    steps: u64,
}

impl Staged {
    /// A run of `steps` steps.
    ///
    /// # Errors
    /// Where `starts` does not begin at 0 and rise, or lies outside [0, 1]; where `blend` is longer than a stage.
    ///
    /// # Example
    /// ```
    /// use vr1_curriculum::{Curriculum, Staged};
    /// let mut staged = Staged::new(&[0.0, 0.5], 0.5, 100)?;
    /// assert_eq!(staged.weights(0), [1.0, 0.0]);
    /// assert_eq!(staged.weights(25), [0.5, 0.5]);
    /// assert_eq!(staged.weights(50), [0.0, 1.0]);
    /// # Ok::<(), vr1_curriculum::Error>(())
    /// ```
    pub fn new(starts: &[f64], blend: f64, steps: u64) -> Result<Self> {
        fraction("blend", blend)?;
        if starts.first() != Some(&0.0) {
            return Err(Error::Setting { setting: "starts", reason: "begins with 0, where the run does".into() });
        }
        for pair in starts.windows(2) {
            fraction("starts", pair[1])?;
            if pair[1] <= pair[0] {
                let reason = format!("goes from {} to {}; each stage starts after the one before", pair[0], pair[1]);
                return Err(Error::Setting { setting: "starts", reason });
            }
            // Rounding of decimal fractions aside.
            if blend > pair[1] - pair[0] + 1e-9 {
                let reason = format!("is {blend}, longer than the stage from {} to {}", pair[0], pair[1]);
                return Err(Error::Setting { setting: "blend", reason });
            }
        }
        Ok(Self { starts: starts.to_vec(), blend, steps })
    }
}

impl Curriculum for Staged {
    fn weights(&mut self, step: u64) -> Vec<f64> {
        let at = progress(step, self.steps);
        // The first start is 0, so one is always reached.
        let stage = self.starts.iter().rposition(|start| *start <= at).unwrap_or(0);
        let mut weights = vec![0.0; self.starts.len()];
        weights[stage] = 1.0;
        if let Some(next) = self.starts.get(stage + 1)
            && self.blend > 0.0
        {
            let share = ((at - next + self.blend) / self.blend).clamp(0.0, 1.0);
            weights[stage] = 1.0 - share;
            weights[stage + 1] = share;
        }
        weights
    }
}

/// From one set of weights to another: `w(p) = (1 − p)·from + p·to`, with `p = step / over`, at most 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Linear {
    from: Vec<f64>,
    to: Vec<f64>,
    over: u64,
}

impl Linear {
    /// The change takes `over` steps, from step 0 on.
    ///
    /// # Errors
    /// Where a weight is negative or not finite, all are 0, or the lists differ in length.
    ///
    /// # Example
    /// ```
    /// use vr1_curriculum::{Curriculum, Linear};
    /// let mut linear = Linear::new(&[1.0, 0.0], &[0.0, 1.0], 100)?;
    /// assert_eq!(linear.weights(25), [0.75, 0.25]);
    /// assert_eq!(linear.weights(400), [0.0, 1.0]);
    /// # Ok::<(), vr1_curriculum::Error>(())
    /// ```
    pub fn new(from: &[f64], to: &[f64], over: u64) -> Result<Self> {
        Ok(Self { from: normalised("from", from, from.len())?, to: normalised("to", to, from.len())?, over })
    }
}

impl Curriculum for Linear {
    fn weights(&mut self, step: u64) -> Vec<f64> {
        let p = progress(step, self.over);
        self.from.iter().zip(&self.to).map(|(from, to)| (1.0 - p) * from + p * to).collect()
    }
}

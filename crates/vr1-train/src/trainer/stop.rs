//! The end of a run whose held-out score gets no better.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::recipe::{Better, Recipe, StopConfig};

/// What is known of a score of which a recipe says when it ends the run; it goes with checkpoints.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Patience {
    /// The step of the best evaluation, and its score.
    best: Option<(u64, f64)>,
    /// Evaluations since then.
    waited: u64,
    /// Why the run has ended, and with which scores.
    ended: Option<Ended>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ended {
    why: String,
    scores: BTreeMap<String, f64>,
}

impl Patience {
    /// Looks at an evaluation after `step`.
    pub(super) fn observe(&mut self, config: &StopConfig, step: u64, scores: &BTreeMap<String, f64>) {
        let Some(&score) = scores.get(&config.metric).filter(|score| !score.is_nan()) else { return };
        match self.best {
            Some((at, best)) if !config.mode.beats(score, best, config.min_delta) => {
                self.waited += 1;
                if self.waited >= config.patience {
                    let StopConfig { metric, patience, min_delta, mode } = config;
                    let way = if *mode == Better::Max { "above" } else { "below" };
                    let by = if *min_delta > 0.0 { format!(" by more than {min_delta}") } else { String::new() };
                    let in_a_row = match patience {
                        1 => "an evaluation".to_owned(),
                        several => format!("{several} evaluations in a row"),
                    };
                    let why = format!(
                        "stopped after step {step}: {in_a_row} did not bring {metric} {way} the {best} of step {at}{by}"
                    );
                    self.ended = Some(Ended { why, scores: scores.clone() });
                }
            }
            _ => (self.best, self.waited) = (Some((step, score)), 0),
        }
    }

    /// Why the run has ended.
    pub(super) fn why(&self) -> Option<&str> {
        self.ended.as_ref().map(|ended| ended.why.as_str())
    }

    /// The scores that it ended with.
    pub(super) fn scores(&self) -> Option<&BTreeMap<String, f64>> {
        self.ended.as_ref().map(|ended| &ended.scores)
    }
}

impl Recipe {
    /// The score whose best step is kept, and which way it is better.
    pub(super) fn kept(&self) -> Option<(&str, Better)> {
        let stop = self.stop.as_ref().map(|stop| (stop.metric.as_str(), stop.mode));
        stop.or_else(|| Some((self.keep_best.as_deref()?, Better::Max)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The evaluation that ends a run of these scores, from 1.
    fn ended(config: &StopConfig, scores: &[f64]) -> Option<u64> {
        let mut patience = Patience::default();
        for (step, score) in (1..).zip(scores) {
            patience.observe(config, step, &BTreeMap::from([("accuracy".to_owned(), *score)]));
            if patience.why().is_some() {
                return Some(step);
            }
        }
        None
    }

    fn config(patience: u64, min_delta: f64, mode: Better) -> StopConfig {
        StopConfig { metric: "accuracy".to_owned(), patience, min_delta, mode }
    }

    #[test]
    fn a_run_ends_when_so_many_evaluations_in_a_row_were_no_better_than_the_best() {
        let up = config(2, 0.0, Better::Max);
        assert_eq!(ended(&up, &[0.1, 0.2, 0.1, 0.3, 0.3, 0.2, 0.9]), Some(6));
        assert_eq!(ended(&up, &[0.1, 0.1, 0.2, 0.2, 0.3]), None);
        // No score is no evaluation.
        assert_eq!(ended(&up, &[0.5, f64::NAN, 0.4, f64::NAN, 0.4]), Some(5));
        assert_eq!(ended(&config(1, 0.0, Better::Min), &[3.0, 2.0, 2.0]), Some(3));
    }

    #[test]
    fn small_betterments_count_for_nothing_and_do_not_add_up_unseen() {
        let slow = config(3, 0.1, Better::Max);
        assert_eq!(ended(&slow, &[0.0, 0.06, 0.09, 0.1]), Some(4));
        assert_eq!(ended(&slow, &[0.0, 0.06, 0.12, 0.18, 0.24, 0.3]), None);
        assert_eq!(ended(&config(2, 0.5, Better::Min), &[3.0, 2.6, 2.4, 2.0, 1.95]), Some(5));
    }
}

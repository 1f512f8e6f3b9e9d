//! Steps that teach nothing, and why.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use vr1_run::StepMetrics;

use crate::Rollout;
use crate::run::SKIPPED;

/// What is known of the steps that taught nothing; it goes with checkpoints.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Idle {
    /// How many the last steps were, in a row, and those of them that were passed over.
    in_a_row: u64,
    passed_over: u64,
    /// By reason: the first of them, and how many there were.
    known: BTreeMap<String, (u64, u64)>,
}

impl Idle {
    /// Looks at a step that was taken. What to tell, where it taught nothing: at once, and ever more seldom while that goes on.
    pub(super) fn observe(&mut self, step: &StepMetrics, rollouts: &[Rollout]) -> Option<String> {
        self.passed_over = if step.get(SKIPPED).is_some() { self.passed_over + 1 } else { 0 };
        let Some(reason) = reason(step, rollouts) else {
            self.in_a_row = 0;
            return None;
        };
        self.in_a_row += 1;
        let (_, count) = self.known.entry(reason.to_owned()).or_insert((step.step, 0));
        *count += 1;
        let new = *count == 1 || self.in_a_row.is_power_of_two();
        let in_a_row = match self.in_a_row {
            1 => String::new(),
            several => format!(" ({several} steps in a row)"),
        };
        new.then(|| format!("step {}: {reason}; it teaches nothing{in_a_row}", step.step))
    }

    /// How many steps in a row were passed over.
    pub(super) fn passed_over(&self) -> u64 {
        self.passed_over
    }

    /// Why the run ends, where so many steps in a row end it; 0 is never.
    pub(super) fn why(&self, most: u64) -> Option<String> {
        let over = most > 0 && self.in_a_row >= most;
        let steps = if self.in_a_row == 1 { "a step" } else { &format!("{} steps in a row", self.in_a_row) };
        over.then(|| format!("{steps} taught nothing: {}", self.told().join("; ")))
    }

    /// What there is to tell of the whole run.
    pub(super) fn told(&self) -> Vec<String> {
        let told = |(reason, (first, count)): (&String, &(u64, u64))| match count {
            1 => format!("in step {first} {reason}"),
            count => format!("in {count} steps, the first of them step {first}, {reason}"),
        };
        self.known.iter().map(told).collect()
    }
}

/// Why a step teaches nothing, where it does not.
fn reason(step: &StepMetrics, rollouts: &[Rollout]) -> Option<&'static str> {
    if step.get(SKIPPED).is_some() {
        return Some("a number was not finite and the step was passed over");
    }
    let alike = |group: &[Rollout]| group.windows(2).all(|pair| pair[0].ids == pair[1].ids);
    let mut groups = rollouts.chunk_by(|a, b| a.group == b.group).filter(|group| group.len() > 1).peekable();
    if groups.peek().is_some() && groups.all(alike) {
        return Some("all completions of each prompt are the same: the temperature samples one answer");
    }
    if step.get("groups_of_equals") == Some(1.0) {
        return Some("every group's rewards are equal");
    }
    if step.get("idle").is_some() {
        return Some("there is nothing to learn from");
    }
    (step.get("grad_norm") == Some(0.0)).then_some("the gradient is 0")
}

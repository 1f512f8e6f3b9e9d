//! What a run writes down of its steps: rollouts, answers, and small pictures of what samples show.

use std::{collections::BTreeSet, path::PathBuf};

use serde::Serialize;

use crate::{
    disk::{make, write_aside},
    metrics::read_metrics,
    rollouts::{steps_of_rows, write_rows},
    run::{ANSWERS, METRICS, ROLLOUTS, RunFolder, SHOWN},
    run_error::RunError,
};

impl RunFolder {
    /// Writes `rollouts/step-N.jsonl.zst`, one line a rollout.
    ///
    /// # Errors
    /// A rollout has no JSON form, or the file cannot be written.
    pub fn write_rollouts(
        &self,
        step: u64,
        rollouts: impl IntoIterator<Item = impl Serialize>,
    ) -> Result<PathBuf, RunError> {
        self.check_there()?;
        write_rows(&self.dir.join(ROLLOUTS), step, rollouts).map_err(|error| self.or_gone(error))
    }

    /// Writes `evaluations/step-N.jsonl.zst`, one line an answer to a held-out sample.
    ///
    /// # Errors
    /// As [`write_rollouts`](Self::write_rollouts).
    pub fn write_answers(
        &self,
        step: u64,
        answers: impl IntoIterator<Item = impl Serialize>,
    ) -> Result<PathBuf, RunError> {
        self.check_there()?;
        write_rows(&self.dir.join(ANSWERS), step, answers).map_err(|error| self.or_gone(error))
    }

    /// Where the answers to a benchmark after `step` stand, `evaluations/step-N/NAME`.
    #[must_use]
    pub fn benchmark(&self, step: u64, name: &str) -> PathBuf {
        self.dir.join(ANSWERS).join(format!("step-{step}")).join(name)
    }

    /// Where the file `name` of what samples show stands, `rollouts/media/NAME`.
    #[must_use]
    pub fn shown(&self, name: &str) -> PathBuf {
        self.dir.join(ROLLOUTS).join(SHOWN).join(name)
    }

    /// Writes `rollouts/media/NAME`: something that samples show, once for all of them.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_shown(&self, name: &str, bytes: &[u8]) -> Result<(), RunError> {
        self.check_there()?;
        let rollouts = self.dir.join(ROLLOUTS);
        let made = make(&rollouts).and_then(|()| make(&rollouts.join(SHOWN)));
        made.and_then(|()| write_aside(&self.shown(name), bytes)).map_err(|error| self.or_gone(error))
    }

    /// What is lacking of the records of the first `steps` steps: rows of `metrics.jsonl`, and files of rollouts of steps that sampled.
    ///
    /// # Errors
    /// The metrics or the folder cannot be read.
    pub fn lacking(&self, steps: u64) -> Result<Vec<String>, RunError> {
        let rows = read_metrics(&self.dir.join(METRICS))?;
        let known: BTreeSet<u64> = rows.iter().map(|row| row.step).collect();
        let sampled = rows.iter().filter(|row| row.step <= steps && row.get("completion_length").is_some());
        let files = steps_of_rows(&self.dir.join(ROLLOUTS))?;
        let gone = sampled.map(|row| row.step).filter(|step| files.iter().all(|(found, _)| found != step));
        let lists = [
            (format!("{METRICS}: no rows of"), (1..=steps).filter(|step| !known.contains(step)).collect::<Vec<_>>()),
            (format!("{ROLLOUTS}: no file of"), gone.collect()),
        ];
        let told = lists.into_iter().filter(|(_, steps)| !steps.is_empty());
        Ok(told.map(|(what, steps)| format!("{what} {}", spans(&steps))).collect())
    }
}

/// Rising steps as words: `steps 1 to 3, 7`.
fn spans(steps: &[u64]) -> String {
    let span = |run: &[u64]| match run {
        [only] => only.to_string(),
        [first, .., last] => format!("{first} to {last}"),
        [] => String::new(),
    };
    let word = if steps.len() == 1 { "step" } else { "steps" };
    let runs: Vec<String> = steps.chunk_by(|a, b| a + 1 == *b).map(span).collect();
    format!("{word} {}", runs.join(", "))
}

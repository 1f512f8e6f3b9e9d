use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use vr1_run::{before_after_table, read_metrics, stage_table, summary_rows};
use vr1_train::{ObjectiveConfig, Trainer};

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// What to tell the person who waits: a table of scores before and after, and one of what each stage brought where there
    /// are several.
    pub told: String,
    /// Whether it was stopped before its last step.
    pub early: bool,
}

impl Ended {
    /// 0, and [`STOPPED_EARLY`] where it was stopped before its last step.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        if self.early { ExitCode::from(STOPPED_EARLY) } else { ExitCode::SUCCESS }
    }
}

/// The exit status of a run that was stopped before its last step and can be gone on with (`EX_TEMPFAIL` of `sysexits.h`).
pub const STOPPED_EARLY: u8 = 75;

/// Runs `trainer` to its end.
///
/// With `smoke` the run must have shown that it learns: in its last stage reward rose, or the loss fell, from the first
/// quarter to the last.
///
/// # Errors
/// If a step fails, or a smoke run shows nothing.
pub fn run(trainer: Trainer, smoke: bool) -> Result<Ended> {
    let (recipe, folder) = (trainer.recipe(), trainer.folder().to_owned());
    let (steps, title) = (recipe.all_steps(), format!("{}, seed {}", recipe.system, recipe.seed));
    let stages = recipe.all_stages();
    let (metric, sign, wanted) = match stages.last().map(|stage| &stage.objective) {
        Some(ObjectiveConfig::Grpo(_)) => ("reward", 1.0, "rise"),
        Some(ObjectiveConfig::Dpo(_)) => ("rewards/margins", 1.0, "rise"),
        _ => ("loss", -1.0, "fall"),
    };

    let tells = trainer.is_first();
    let summary = trainer.run()?;
    if !tells {
        let early = summary.steps < steps && summary.stopped.is_none();
        return Ok(Ended { told: String::new(), early });
    }
    let mut told = before_after_table(&title, &summary_rows(&summary));
    if !summary.stages.is_empty() {
        told += &format!("\n{}\n", stage_table(&summary));
    }
    told.extend(summary.stopped.iter().chain(&summary.warnings).map(|line| format!("{line}\n")));
    let early = summary.steps < steps && summary.stopped.is_none();
    if early {
        let out = folder.display();
        told +=
            &format!("stopped after {} of {steps} steps; the same command with `--out {out}` goes on\n", summary.steps);
    }
    let page = folder.join("report.html");
    told += &format!("{} steps in {:.0} s; see {}\n", summary.steps, summary.seconds, page.display());
    if smoke && !early {
        let (first, last) = first_and_last(&folder, metric, stages.len())?;
        ensure!(sign * (last - first) > 0.0, "{metric} did not {wanted}: {first:.3} at first, {last:.3} at last");
        told += &format!("smoke: {metric} went from {first:.3} to {last:.3}\n");
    }
    Ok(Ended { told, early })
}

/// Mean of a metric over the first and over the last quarter of a run's last stage, of so many.
fn first_and_last(run: &Path, metric: &str, stages: usize) -> Result<(f64, f64)> {
    let mut rows = read_metrics(&run.join("metrics.jsonl"))?;
    rows.retain(|row| row.get("stage").is_none_or(|stage| stage == stages as f64));
    let values: Vec<f64> = rows.iter().filter_map(|row| row.get(metric)).collect();
    ensure!(values.len() >= 2, "{}: fewer than two steps have a {metric:?}", run.display());
    let quarter = values.len().div_ceil(4);
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    Ok((mean(&values[..quarter]), mean(&values[values.len() - quarter..])))
}

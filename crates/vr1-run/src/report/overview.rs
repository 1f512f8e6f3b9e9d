//! What a page says of a run besides its rollouts.

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Serialize};

use crate::{
    disk::entries,
    metrics::{StepMetrics, Summary, read_json},
    report::{
        curves::{Curves, curves},
        settings::{Judge, Reward, Settings},
    },
    run::BEGUN,
    run_error::RunError,
    table::{Unit, stage_cells, summary_rows},
};

/// A run in numbers.
#[derive(Debug, Serialize)]
pub(crate) struct Overview {
    pub(crate) title: String,
    /// How far it is.
    status: String,
    /// What a person should know of it.
    warnings: Vec<String>,
    /// What it is, as lines of two cells.
    facts: Vec<(&'static str, String)>,
    /// When it began, in seconds since 1970, where a file says so.
    begun: Option<u64>,
    step: u64,
    of: Option<u64>,
    finished: bool,
    /// Seconds that the steps ahead take at the pace of the last ones.
    left: Option<f64>,
    scores: Vec<Score>,
    /// The scores of each stage, the head first.
    stages: Vec<Vec<String>>,
    charts: Vec<Curves>,
    judge: Judge,
    reward: Option<Reward>,
    recipe: String,
}

/// A score before and after, and whether that is better.
#[derive(Debug, Serialize)]
struct Score {
    cells: [String; 4],
    change: &'static str,
}

/// What the files of a run say.
///
/// # Errors
/// The folder cannot be read.
pub(crate) fn overview(
    run_dir: &Path,
    settings: &Settings,
    metrics: &[StepMetrics],
    summary: Option<&Summary>,
) -> Result<Overview, RunError> {
    let step = metrics.last().map_or(0, |row| row.step).max(summary.map_or(0, |summary| summary.steps));
    let of = settings.steps();
    let begun_with = if summary.is_none() { before(run_dir)? } else { None };
    let known = summary.or(begun_with.as_ref());
    let finished = summary.is_some_and(|summary| summary.stopped.is_some() || of.is_none_or(|of| summary.steps >= of));
    Ok(Overview {
        title: title(run_dir),
        status: status(summary, step, of, finished),
        warnings: summary.map(|summary| summary.warnings.clone()).unwrap_or_default(),
        facts: facts(settings),
        begun: begun(run_dir)?,
        step,
        of,
        finished,
        left: of.filter(|_| !finished).and_then(|of| left(metrics, of.saturating_sub(step))),
        scores: known.map(scores).unwrap_or_default(),
        stages: summary.map(stage_cells).unwrap_or_default(),
        charts: curves(metrics, known),
        judge: settings.judge(),
        reward: settings.reward(),
        recipe: settings.text.clone(),
    })
}

/// The scores before the first step of a run that has no summary yet.
fn before(run_dir: &Path) -> Result<Option<Summary>, RunError> {
    let begun: Option<Begun> = read_json(&run_dir.join(BEGUN), "not a beginning")?;
    Ok(begun
        .filter(|begun| !begun.before.is_empty())
        .map(|begun| Summary { before: begun.before, ..Summary::default() }))
}

/// What a page reads of `begun.json`.
#[derive(Deserialize)]
struct Begun {
    #[serde(default)]
    before: BTreeMap<String, f64>,
}

/// The name of a run's folder.
pub(crate) fn title(run_dir: &Path) -> String {
    let full = run_dir.canonicalize().unwrap_or_else(|_| run_dir.to_owned());
    full.file_name().map_or_else(|| "run".into(), |name| name.to_string_lossy().into_owned())
}

fn status(summary: Option<&Summary>, step: u64, of: Option<u64>, finished: bool) -> String {
    let of = of.map(|of| format!(" of {of}")).unwrap_or_default();
    let why = summary.and_then(|summary| summary.stopped.as_ref()).map(|why| format!("; {why}")).unwrap_or_default();
    match summary {
        Some(summary) if finished => format!("{} steps in {}{why}", summary.steps, time(summary.seconds)),
        Some(summary) => format!("stopped after {}{of} steps in {}", summary.steps, time(summary.seconds)),
        None => format!("not finished: {step}{of} steps recorded, no scores on held-out samples after them yet"),
    }
}

/// Seconds as a person says them.
pub(crate) fn time(seconds: f64) -> String {
    let whole = seconds.max(0.0) as u64;
    match whole {
        0..120 => format!("{seconds:.0} s"),
        120..7200 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole / 60 % 60),
    }
}

fn facts(settings: &Settings) -> Vec<(&'static str, String)> {
    let word = |keys: &[&str]| settings.word(keys);
    let facts = [
        ("system", word(&["system"])),
        ("model", word(&["model"])),
        ("objective", Some(settings.objectives()).filter(|kinds| !kinds.is_empty())),
        ("steps", settings.steps().map(|steps| steps.to_string())),
        ("prompts a step", word(&["objective", "prompts_per_step"])),
        ("group size", word(&["objective", "group_size"])),
        ("learning rate", word(&["optimizer", "learning_rate"])),
        ("seed", word(&["seed"])),
    ];
    facts.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// The time in the name of the first file of events.
fn begun(run_dir: &Path) -> Result<Option<u64>, RunError> {
    let time = |name: &str| name.strip_prefix("events.out.tfevents.")?.split('.').next()?.parse().ok();
    Ok(entries(run_dir)?.iter().filter_map(|(name, _)| time(name)).min())
}

fn left(metrics: &[StepMetrics], steps: u64) -> Option<f64> {
    let last: Vec<f64> = metrics.iter().rev().take(20).filter_map(|row| row.get("seconds")).collect();
    let mean = last.iter().sum::<f64>() / last.len() as f64;
    (mean.is_finite()).then_some(mean * steps as f64)
}

fn scores(summary: &Summary) -> Vec<Score> {
    let score = |row: crate::table::Row| {
        let change = row.after - row.before;
        // Of a plain number nobody here knows whether more is better.
        let change = match row.unit {
            Unit::Percent if change > 0.0 => "up",
            Unit::Percent if change < 0.0 => "down",
            _ => "",
        };
        Score { cells: row.cells(), change }
    };
    summary_rows(summary).into_iter().map(score).collect()
}

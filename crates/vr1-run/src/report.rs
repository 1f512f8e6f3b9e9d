//! A run on one page that needs nothing else: no network, no files beside it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use minijinja::{Environment, value::Serde};
use serde::Serialize;
use serde_json::Value;

use crate::{
    charts::charts,
    disk::write_aside,
    metrics::{Summary, read_metrics, read_summary},
    rollouts::{read_rows, rollout_steps},
    run::{CONFIG, METRICS, SUMMARY},
    run_error::RunError,
    table::{Row, Unit, stage_cells, summary_rows},
};

/// Writes `report.html` into a run's folder: its recipe, its scores before and after, its curves and some of its
/// rollouts, those of the first, the middle and the last step recorded. A run that was interrupted has no scores yet,
/// and the page says so.
///
/// # Errors
/// The folder holds no run, one of its files is broken, or the page cannot be written.
pub fn report(run_dir: &Path) -> Result<PathBuf, RunError> {
    let config = run_dir.join(CONFIG);
    if !config.is_file() {
        return Err(RunError::NoRun(run_dir.to_owned()));
    }
    let config = fs::read_to_string(&config).map_err(RunError::io("read", config))?;
    let metrics = read_metrics(&run_dir.join(METRICS))?;
    let summary = read_summary(&run_dir.join(SUMMARY))?;
    let plots = charts(&metrics, summary.as_ref()).iter().map(|chart| chart.svg()).collect::<Result<Vec<_>, _>>()?;
    let path = run_dir.join("report.html");
    // The name decides that values are escaped.
    let page = Environment::new().render_named_str(
        "report.html",
        include_str!("report.html"),
        Serde(Page {
            title: title(run_dir),
            subtitle: subtitle(summary.as_ref(), metrics.last().map_or(0, |row| row.step)),
            rows: summary.as_ref().map(rows).unwrap_or_default(),
            stages: summary.as_ref().map(stage_cells).unwrap_or_default(),
            plots,
            rollouts: rollouts(run_dir)?,
            config,
        }),
    );
    let page = page.map_err(|error| RunError::Encode { path: path.clone(), reason: error.to_string() })?;
    write_aside(&path, page.as_bytes())?;
    Ok(path)
}

fn title(run_dir: &Path) -> String {
    let full = run_dir.canonicalize().unwrap_or_else(|_| run_dir.to_owned());
    full.file_name().map_or_else(|| "run".into(), |name| name.to_string_lossy().into_owned())
}

fn subtitle(summary: Option<&Summary>, last: u64) -> String {
    match summary {
        Some(summary) => {
            let why = summary.stopped.iter().map(|why| format!("; {why}"));
            format!("{} steps in {:.0} s", summary.steps, summary.seconds) + &why.collect::<String>()
        }
        None => format!("not finished: {last} steps recorded, no scores on held-out samples yet"),
    }
}

/// What the template is filled with.
#[derive(Serialize)]
struct Page {
    title: String,
    subtitle: String,
    rows: Vec<ScoreRow>,
    /// The head first.
    stages: Vec<Vec<String>>,
    plots: Vec<String>,
    rollouts: Vec<StepRollouts>,
    config: String,
}

#[derive(Serialize)]
struct ScoreRow {
    cells: [String; 4],
    class: &'static str,
}

fn rows(summary: &Summary) -> Vec<ScoreRow> {
    let row = |row: Row| {
        let change = row.after - row.before;
        // Of a plain number nobody here knows whether more is better.
        let class = match row.unit {
            Unit::Percent if change > 0.0 => "up",
            Unit::Percent if change < 0.0 => "down",
            _ => "",
        };
        ScoreRow { cells: row.cells(), class }
    };
    summary_rows(summary).into_iter().map(row).collect()
}

#[derive(Serialize)]
struct StepRollouts {
    step: u64,
    rollouts: Vec<Shown>,
}

#[derive(Serialize)]
struct Shown {
    prompt: String,
    completion: String,
    solution: String,
    reward: String,
    terms: Vec<(String, String)>,
}

/// Rollouts shown of one step.
const SHOWN: usize = 8;

fn rollouts(run_dir: &Path) -> Result<Vec<StepRollouts>, RunError> {
    let files = rollout_steps(run_dir)?;
    let mut chosen: Vec<usize> = [0, files.len() / 2, files.len().saturating_sub(1)].into();
    chosen.dedup();
    let step = |(step, path): &(u64, PathBuf)| {
        let rollouts = read_rows(path)?.take(SHOWN).map(|row| Ok(shown(&row?))).collect::<Result<_, RunError>>()?;
        Ok(StepRollouts { step: *step, rollouts })
    };
    chosen.into_iter().filter_map(|index| files.get(index)).map(step).collect()
}

fn shown(row: &Value) -> Shown {
    let text = |name: &str| match row.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    };
    let number = |value: &Value| value.as_f64().map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"));
    let terms = row.get("terms").and_then(Value::as_object);
    Shown {
        prompt: text("prompt"),
        completion: text("completion"),
        solution: text("solution"),
        reward: row.get("total").or_else(|| row.get("reward")).map(number).unwrap_or_default(),
        terms: terms.into_iter().flatten().map(|(name, value)| (name.clone(), number(value))).collect(),
    }
}

//! Which curves a run is judged by.

use std::path::{Path, PathBuf};

use crate::{
    disk::{make, write_aside},
    metrics::{StepMetrics, Summary, read_metrics, read_summary},
    plot::{Series, Stroke, plot_svg},
    run::{METRICS, SUMMARY},
    run_error::RunError,
};

/// Writes `plots/reward.svg`, `plots/accuracy.svg`, `plots/response_length.svg` and one plot for each other metric
/// of a run, as far as there are numbers for it; returns their paths.
///
/// # Errors
/// The run's metrics or summary cannot be read, or a plot cannot be written.
pub fn write_plots(run_dir: &Path) -> Result<Vec<PathBuf>, RunError> {
    let metrics = read_metrics(&run_dir.join(METRICS))?;
    let summary = read_summary(&run_dir.join(SUMMARY))?;
    let folder = run_dir.join("plots");
    make(&folder)?;
    let write = |chart: Chart| {
        let path = folder.join(format!("{}.svg", chart.name));
        write_aside(&path, chart.svg()?.as_bytes())?;
        Ok(path)
    };
    charts(&metrics, summary.as_ref()).into_iter().map(write).collect()
}

/// A plot to be drawn.
struct Chart {
    name: String,
    title: String,
    y_label: String,
    series: Vec<Series>,
}

impl Chart {
    fn svg(&self) -> Result<String, RunError> {
        plot_svg(&self.series, &self.title, "step", &self.y_label)
    }
}

/// The three that matter first, then the rest by name.
fn charts(metrics: &[StepMetrics], summary: Option<&Summary>) -> Vec<Chart> {
    let mut names: Vec<&str> = metrics.iter().flat_map(|row| row.values.keys().map(String::as_str)).collect();
    names.sort_unstable();
    names.dedup();
    // Which stage a step is of is a label, no curve.
    names.retain(|name| *name != "stage");
    let curve = |name: &&str| Series {
        name: name.strip_prefix("rewards/").unwrap_or(name).to_owned(),
        points: metrics.iter().filter_map(|row| Some((row.step as f64, row.get(name)?))).collect(),
        stroke: Stroke::Smoothed,
    };
    let take = |names: &mut Vec<&str>, test: &dyn Fn(&str) -> bool| -> Vec<Series> {
        let taken = names.iter().filter(|name| test(name)).map(curve).collect();
        names.retain(|name| !test(name));
        taken
    };
    let accuracy_term: Vec<Series> = names.iter().filter(|name| **name == "rewards/accuracy").map(curve).collect();
    let reward = take(&mut names, &|name| name == "reward" || name.starts_with("rewards/"));
    let mut accuracy = take(&mut names, &|name| name.contains("accuracy"));
    accuracy.extend(accuracy_term.into_iter().map(|one| Series { name: "accuracy while training".into(), ..one }));
    accuracy.extend(summary.into_iter().flat_map(held_out));
    let length = take(&mut names, &|name| name.starts_with("completion_length"));
    let mut charts = vec![
        Chart { name: "reward".into(), title: "Reward".into(), y_label: "mean reward".into(), series: reward },
        Chart { name: "accuracy".into(), title: "Accuracy".into(), y_label: "share right".into(), series: accuracy },
        Chart {
            name: "response_length".into(),
            title: "Response length".into(),
            y_label: "tokens".into(),
            series: length,
        },
    ];
    charts.extend(names.iter().map(|name| Chart {
        name: name.replace(['/', '\\'], "_"),
        title: (*name).to_owned(),
        y_label: String::new(),
        series: vec![curve(name)],
    }));
    charts.retain(|chart| chart.series.iter().any(|one| one.points.iter().any(|(_, y)| y.is_finite())));
    charts
}

/// Held-out accuracies before the first step and after the last.
fn held_out(summary: &Summary) -> Vec<Series> {
    let score = |name: &str| Series {
        name: format!("{name}, held out"),
        points: [(0, &summary.before), (summary.steps, &summary.after)]
            .into_iter()
            .filter_map(|(step, scores)| Some((step as f64, *scores.get(name)?)))
            .collect(),
        stroke: Stroke::Points,
    };
    summary.names().into_iter().filter(|name| name.contains("accuracy")).map(score).collect()
}

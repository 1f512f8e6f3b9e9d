//! Several runs beside each other: what differs in their recipes, what they came to, and their curves. Runs that differ in
//! nothing but the seed are one thing measured several times.

mod curves;
mod statistics;
mod told;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use serde::Serialize;
use serde_yaml::Value;

pub(crate) use self::statistics::Measured;
pub(crate) use self::told::{change, shown};
use crate::{
    disk::write_aside,
    metrics::{StepMetrics, Summary, read_metrics, read_summary},
    report::{Settings, scalar, title},
    run::{METRICS, SUMMARY},
    run_error::RunError,
};

/// Runs beside each other, as [`compare`] found them. As JSON it is `runs`, `groups` and `differences`.
///
/// # Example
/// ```
/// # let folder = tempfile::tempdir().unwrap();
/// # let dirs = ["a", "b"].map(|name| folder.path().join(name));
/// for (seed, dir) in dirs.iter().enumerate() {
///     let run = vr1_run::RunFolder::create(dir)?;
///     run.write_config(&serde_json::json!({"seed": seed, "steps": 2}))?;
///     let scores = |accuracy| [("accuracy".to_owned(), accuracy)].into();
///     run.write_summary(&vr1_run::Summary {
///         before: scores(0.2),
///         after: scores(0.5 + 0.2 * seed as f64),
///         steps: 2,
///         ..vr1_run::Summary::default()
///     })?;
/// }
/// let told = vr1_run::compare(&dirs)?.told();
/// // The standard error of 0.5 and 0.7 is 0.1.
/// assert!(told.contains("60.0 ± 10.0 %"));
/// # Ok::<(), vr1_run::RunError>(())
/// ```
#[derive(Debug, Serialize)]
pub struct Comparison {
    runs: Vec<Run>,
    groups: Vec<Together>,
    differences: Vec<Difference>,
}

/// One run.
#[derive(Debug, Serialize)]
struct Run {
    /// Its folder's name, or its whole path where two have the same.
    name: String,
    path: PathBuf,
    /// Which of the groups it is of.
    group: usize,
    seed: Option<String>,
    steps: u64,
    of: Option<u64>,
    seconds: Option<f64>,
    before: BTreeMap<String, f64>,
    after: BTreeMap<String, f64>,
    #[serde(skip)]
    metrics: Vec<StepMetrics>,
    #[serde(skip)]
    summary: Option<Summary>,
    #[serde(skip)]
    keys: BTreeMap<String, String>,
}

/// Runs that differ in nothing but the seed.
#[derive(Debug, Serialize)]
struct Together {
    name: String,
    /// By their places among all.
    runs: Vec<usize>,
    scores: BTreeMap<String, Score>,
}

/// A score of a group: mean and standard error over its runs.
#[derive(Debug, Serialize)]
struct Score {
    before: Measured,
    after: Measured,
    /// Of the runs that have both.
    change: Measured,
}

/// A key of the recipe, and what each group has there; none where it has no such key.
#[derive(Debug, Serialize)]
struct Difference {
    key: String,
    values: Vec<Option<String>>,
}

/// Looks at several runs together. They may be of different lengths, and unfinished.
///
/// # Errors
/// One of the folders holds no run, or a file of it is broken.
pub fn compare(dirs: &[PathBuf]) -> Result<Comparison, RunError> {
    let mut runs = dirs.iter().map(|dir| read(dir)).collect::<Result<Vec<_>, _>>()?;
    let names: Vec<String> = runs.iter().map(|run| run.name.clone()).collect();
    for run in &mut runs {
        if names.iter().filter(|name| **name == run.name).count() > 1 {
            run.name = run.path.display().to_string();
        }
    }
    let mut members: Vec<Vec<usize>> = Vec::new();
    for index in 0..runs.len() {
        match members.iter().position(|group| runs[group[0]].keys == runs[index].keys) {
            Some(group) => members[group].push(index),
            None => members.push(vec![index]),
        }
    }
    for (group, of) in members.iter().enumerate() {
        of.iter().for_each(|&run| runs[run].group = group);
    }
    let differences = differences(&runs, &members);
    let named = |(group, of): (usize, &Vec<usize>)| Together {
        name: name(group, of, &runs, &differences),
        scores: scores(of, &runs),
        runs: of.clone(),
    };
    let groups = members.iter().enumerate().map(named).collect();
    Ok(Comparison { runs, groups, differences })
}

impl Comparison {
    /// Writes it as one HTML page that needs nothing else.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_page(&self, path: &Path) -> Result<(), RunError> {
        write_aside(path, self.page()?.as_bytes())
    }
}

fn read(dir: &Path) -> Result<Run, RunError> {
    let settings = Settings::read(dir)?;
    let metrics = read_metrics(&dir.join(METRICS))?;
    let summary = read_summary(&dir.join(SUMMARY))?;
    let mut keys = BTreeMap::new();
    flatten(&settings.yaml, String::new(), &mut keys);
    let seed = keys.remove("seed");
    let (before, after) = summary.as_ref().map(|found| (found.before.clone(), found.after.clone())).unwrap_or_default();
    Ok(Run {
        name: title(dir),
        path: dir.to_owned(),
        group: 0,
        seed,
        steps: metrics.last().map_or(0, |row| row.step).max(summary.as_ref().map_or(0, |found| found.steps)),
        of: settings.steps(),
        seconds: summary.as_ref().map(|found| found.seconds),
        before,
        after,
        metrics,
        summary,
        keys,
    })
}

/// Every value of a recipe by its key: `optimizer.learning_rate`, `stages.0.steps`.
fn flatten(value: &Value, key: String, into: &mut BTreeMap<String, String>) {
    let below = |name: &str| if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") };
    match value {
        Value::Mapping(values) if !values.is_empty() => {
            values.iter().for_each(|(name, value)| flatten(value, below(&scalar(name).unwrap_or_default()), into));
        }
        Value::Sequence(values) if !values.is_empty() => {
            values.iter().enumerate().for_each(|(index, value)| flatten(value, below(&index.to_string()), into));
        }
        value => {
            let plain = || serde_yaml::to_string(value).unwrap_or_default().trim_end().to_owned();
            into.insert(key, scalar(value).unwrap_or_else(plain));
        }
    }
}

fn differences(runs: &[Run], members: &[Vec<usize>]) -> Vec<Difference> {
    let keys: BTreeSet<&String> = runs.iter().flat_map(|run| run.keys.keys()).collect();
    let values = |key: &String| members.iter().map(|of| runs[of[0]].keys.get(key).cloned()).collect::<Vec<_>>();
    let all = keys.into_iter().map(|key| Difference { key: key.clone(), values: values(key) });
    all.filter(|one| one.values.iter().any(|value| *value != one.values[0])).collect()
}

/// A group's name: its run's, what its runs' names have before their seeds, or what sets it apart where that is one or two values; and how many seeds it has.
fn name(group: usize, of: &[usize], runs: &[Run], differences: &[Difference]) -> String {
    let [first, _, ..] = of else { return runs[of[0]].name.clone() };
    let value = |one: &Difference| {
        let key = one.key.rsplit('.').next().unwrap_or_default();
        format!("{key} {}", one.values[group].as_deref().unwrap_or("–"))
    };
    let apart = match (stem(of, runs), differences) {
        (Some(stem), _) => stem.to_owned(),
        (None, [] | [_, _, _, ..]) => runs[*first].name.clone(),
        (None, few) => few.iter().map(value).collect::<Vec<_>>().join(", "),
    };
    let short: String = apart.chars().take(60).collect();
    format!("{short} ({} runs)", of.len())
}

/// What the names of these runs have before their seeds, where all have the same.
fn stem<'r>(of: &[usize], runs: &'r [Run]) -> Option<&'r str> {
    let of_run = |&run: &usize| runs[run].name.strip_suffix(runs[run].seed.as_deref()?)?.strip_suffix(['-', '_']);
    let stem = of_run(of.first()?).filter(|stem| !stem.is_empty())?;
    of.iter().all(|run| of_run(run) == Some(stem)).then_some(stem)
}

fn scores(of: &[usize], runs: &[Run]) -> BTreeMap<String, Score> {
    let names: BTreeSet<&str> =
        of.iter().filter_map(|&run| runs[run].summary.as_ref()).flat_map(Summary::names).collect();
    let measured = |value: &dyn Fn(&Run) -> Option<f64>| Measured::of(of.iter().filter_map(|&run| value(&runs[run])));
    let score = |name: &str| Score {
        before: measured(&|run| run.before.get(name).copied()),
        after: measured(&|run| run.after.get(name).copied()),
        change: measured(&|run| Some(run.after.get(name)? - run.before.get(name)?)),
    };
    names.into_iter().map(|name| (name.to_owned(), score(name))).collect()
}

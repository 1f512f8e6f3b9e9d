//! A run on one page that needs nothing else: no network, no files beside it.

mod choose;
mod curves;
mod explained;
mod groups;
mod overview;
mod page;
mod pairs;
mod phases;
mod points;
mod rows;
mod settings;
mod texts;
mod thumbnails;

use std::path::{Path, PathBuf};

use serde::Serialize;

pub(crate) use self::{
    choose::step,
    curves::{Curve, Curves, in_order},
    explained::{CARDS, explained},
    overview::{Overview, overview, time, title},
    page::page,
    pairs::{ends, pairs},
    points::{Band, POINTS, Point, thinned},
    rows::is_thumbnail,
    settings::{Settings, scalar},
    thumbnails::jpeg,
};
use self::{
    choose::{Browse, browse},
    pairs::Pairs,
    thumbnails::Thumbnails,
};
use crate::{
    disk::write_aside,
    metrics::{read_metrics, read_summary},
    rollouts::rollout_steps,
    run::{METRICS, ROLLOUTS, SUMMARY},
    run_error::RunError,
};

/// Writes `report.html` into a run's folder: its recipe and reward, its scores before and after, its curves, some of its
/// rollouts with their pictures, and the same held-out samples answered before and after. A run that was interrupted has
/// no scores yet, and one that samples nothing no rollouts; the page says so, and it says which rollouts it leaves out: it
/// stays below some megabytes, however long the run was.
///
/// # Errors
/// The folder holds no run, one of its files is broken, or the page cannot be written.
pub fn report(run_dir: &Path) -> Result<PathBuf, RunError> {
    let settings = Settings::read(run_dir)?;
    let metrics = read_metrics(&run_dir.join(METRICS))?;
    let summary = read_summary(&run_dir.join(SUMMARY))?;
    let judge = settings.judge();
    let mut media = Thumbnails::new(media(run_dir));
    let run = overview(run_dir, &settings, &metrics, summary.as_ref())?;
    let pairs = pairs(run_dir, &judge, Some(&mut media))?;
    let browse = browse(&rollout_steps(run_dir)?, &metrics, &judge, &mut media)?;
    let title = run.title.clone();
    let path = run_dir.join("report.html");
    write_aside(&path, page(&title, &Data { kind: "run", run, browse, pairs, media })?.as_bytes())?;
    Ok(path)
}

/// The folder of thumbnails.
pub(crate) fn media(run_dir: &Path) -> PathBuf {
    run_dir.join(ROLLOUTS).join("media")
}

/// What the page's script is given.
#[derive(Serialize)]
struct Data {
    kind: &'static str,
    run: Overview,
    browse: Browse,
    pairs: Option<Pairs>,
    media: Thumbnails,
}

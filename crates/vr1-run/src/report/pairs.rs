//! The same held-out samples, answered before the first step and after the last.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::{
    report::{
        rows::{Answer, Asked, rows},
        settings::Judge,
        texts::plain,
        thumbnails::Thumbnails,
    },
    rollouts::steps_of_rows,
    run_error::RunError,
};

/// Answers side by side.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Pairs {
    /// The steps after which the two answers were given.
    before: u64,
    after: u64,
    pub(crate) pairs: Vec<Pair>,
    /// How many of all pairs became right, became wrong, stayed right, stayed wrong; those that cannot be judged are in none.
    counts: [usize; 4],
    told: String,
}

/// A sample and its two answers.
#[derive(Debug, Serialize)]
pub(crate) struct Pair {
    set: String,
    asked: Asked,
    first: Answer,
    last: Answer,
    /// `became_right`, `became_wrong`, `stayed_right`, `stayed_wrong`; none where either was not judged.
    change: Option<&'static str>,
}

const CHANGES: [&str; 4] = ["became_right", "became_wrong", "stayed_right", "stayed_wrong"];

/// Pairs of each change, and those that were not judged; the bytes of all.
const MOST: [usize; 5] = [100, 100, 60, 60, 60];
const BYTES: usize = 1_000_000;

/// The folder of answers to held-out samples.
pub(crate) const ANSWERS: &str = "evaluations";

/// The first and the last evaluation whose answers a run keeps; none where there are not two.
///
/// # Errors
/// The folder cannot be read.
pub(crate) fn ends(run_dir: &Path) -> Result<Option<[(u64, PathBuf); 2]>, RunError> {
    let mut files = steps_of_rows(&run_dir.join(ANSWERS))?.into_iter();
    Ok(files.next().zip(files.next_back()).map(|(first, last)| [first, last]))
}

/// The pairs that a page shows.
///
/// # Errors
/// A file cannot be read, or a line of it is no answer.
pub(crate) fn pairs(
    run_dir: &Path,
    judge: &Judge,
    mut thumbnails: Option<&mut Thumbnails>,
) -> Result<Option<Pairs>, RunError> {
    let Some([(before, first), (after, last)]) = ends(run_dir)? else { return Ok(None) };
    // A sample that a set has twice is met twice in both.
    let mut met: BTreeMap<(String, String), usize> = BTreeMap::new();
    let mut firsts: BTreeMap<(String, String, usize), Answer> = BTreeMap::new();
    for row in rows(&first)? {
        let row = row?;
        let key = (plain(&row.set), plain(&row.sample));
        let times = met.entry(key.clone()).or_default();
        firsts.insert((key.0, key.1, *times), row.answer(judge, 0));
        *times += 1;
    }
    met.clear();
    let mut all = Pairs { before, after, ..Pairs::default() };
    let (mut taken, mut left, mut of) = ([0; 5], BYTES, 0);
    for row in rows(&last)? {
        let row = row?;
        let key = (plain(&row.set), plain(&row.sample));
        let times = met.entry(key.clone()).or_default();
        let first = firsts.remove(&(key.0.clone(), key.1, *times));
        *times += 1;
        let Some(first) = first else { continue };
        of += 1;
        let answer = row.answer(judge, 0);
        let change = first.right.zip(answer.right).map(|(first, last)| match (first, last) {
            (false, true) => 0,
            (true, false) => 1,
            (true, true) => 2,
            (false, false) => 3,
        });
        if let Some(change) = change {
            all.counts[change] += 1;
        }
        let kind = change.unwrap_or(4);
        let mut asked = row.asked();
        let bytes = asked.bytes() + first.bytes() + answer.bytes();
        if taken[kind] < MOST[kind] && bytes <= left {
            taken[kind] += 1;
            left -= bytes;
            if let Some(thumbnails) = thumbnails.as_deref_mut() {
                asked.media.iter_mut().for_each(|picture| thumbnails.take(picture));
            }
            let change = change.map(|change| CHANGES[change]);
            all.pairs.push(Pair { set: key.0, asked, first, last: answer, change });
        }
    }
    let shown = all.pairs.len();
    all.told = match shown == of {
        true => format!("All {of} held-out samples that were answered both times."),
        false => format!("{shown} of {of} held-out samples that were answered both times; the others are left out."),
    };
    Ok(Some(all))
}

//! Which files of a folder hold the rows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::listing::{self, is_listing};
use crate::{Error, Result, Take};

/// How a file holds rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Parquet,
    Text,
}

/// A file of rows, and how many of them are taken.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) path: PathBuf,
    pub(crate) kind: Kind,
    pub(crate) take: Take,
}

/// Words in the names of files that say which split of a data set they hold.
const SPLITS: [&str; 8] = ["train", "training", "test", "testing", "validation", "valid", "val", "dev"];

/// What says something of a data set and holds none of its rows.
const ABOUT: [&str; 4] = ["dataset_infos.json", "dataset_info.json", "dataset_dict.json", "state.json"];

/// The files of rows at a path: itself, those that it lists, or those in a folder, in the order of their names.
///
/// # Errors
/// As [`choose`] says, and when the folder cannot be read.
pub(crate) fn find(path: &Path, files: Option<&str>) -> Result<Vec<Found>> {
    let fault = |reason: String| Error::Rows { faults: vec![format!("{}: {reason}", path.display())] };
    let found = |path: PathBuf, take| Found { kind: kind(&path).unwrap_or(Kind::Text), path, take };
    if path.is_dir() {
        let mut names = vec![];
        walk(path, "", &mut names)?;
        let chosen = choose(&names, files).map_err(fault)?;
        return Ok(chosen.into_iter().map(|name| found(path.join(name), Take::All)).collect());
    }
    match files {
        Some(files) if path.exists() => Err(fault(format!("a file; files: {files:?} are looked for in a folder"))),
        _ if is_listing(path) => Ok(listing::read(path)?.into_iter().map(|(path, take)| found(path, take)).collect()),
        _ => Ok(vec![found(path.to_owned(), Take::All)]),
    }
}

/// Which of the files of a folder, by their names, hold the rows.
///
/// # Errors
/// When none do, `files` is not given and they are of several splits, or a part of a numbered series is missing.
pub(crate) fn choose<'a>(names: &'a [String], files: Option<&str>) -> Result<Vec<&'a str>, String> {
    let holds = |name: &&str| kind(Path::new(name)).is_some() && !ABOUT.iter().any(|about| name.ends_with(about));
    let holding = || names.iter().map(String::as_str).filter(holds);
    let chosen: Vec<&str> = match files {
        Some(pattern) => holding().filter(|name| matches(pattern, name)).collect(),
        None => {
            // A folder of parquet has its card and its settings as JSON beside it.
            let of = |end: &str| holding().filter(|name| name.ends_with(end)).collect();
            [".parquet", ".jsonl", ".json"].into_iter().map(of).find(|n: &Vec<_>| !n.is_empty()).unwrap_or_default()
        }
    };
    if chosen.is_empty() {
        let arrow = names.iter().find(|name| name.ends_with(".arrow"));
        return Err(match (files, arrow) {
            (Some(files), _) => format!("no file of rows that is named {files:?}; it has {}", some(names)),
            (None, Some(arrow)) => format!("{arrow}: written by save_to_disk; write the set with to_parquet instead"),
            (None, None) => format!("no .parquet, .jsonl or .json in this folder; it has {}", some(names)),
        });
    }
    let splits: BTreeSet<&str> = chosen.iter().filter_map(|name| split(name)).collect();
    if files.is_none() && splits.len() > 1 {
        let splits: Vec<_> = splits.into_iter().collect();
        return Err(format!("files of several splits ({}); say which by `files`", splits.join(", ")));
    }
    match missing(&chosen) {
        Some(missing) => Err(format!("{missing} is missing")),
        None => Ok(chosen),
    }
}

/// The files below a folder, by their names from there on, in order; what begins with a dot is none.
pub(crate) fn walk(folder: &Path, before: &str, into: &mut Vec<String>) -> Result<()> {
    let io = |e| Error::io(folder, e);
    let mut entries = std::fs::read_dir(folder).map_err(io)?.collect::<std::io::Result<Vec<_>>>().map_err(io)?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = entry.path();
        if name.starts_with('.') {
            continue;
        }
        let name = format!("{before}{name}");
        // A link to a folder may lead round in a circle; a link to a file is what a cache of the Hub is made of.
        if entry.file_type().map_err(io)?.is_dir() {
            walk(&path, &format!("{name}/"), into)?;
        } else if path.is_file() {
            into.push(name);
        }
    }
    Ok(())
}

fn kind(path: &Path) -> Option<Kind> {
    let ending = path.extension()?.to_str()?.to_ascii_lowercase();
    match ending.as_str() {
        "parquet" => Some(Kind::Parquet),
        "jsonl" | "json" => Some(Kind::Text),
        _ => None,
    }
}

/// Whether a name is of a pattern in which `*` stands for anything but `/`.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((before, after)) => name.strip_prefix(before).is_some_and(|rest| {
            let within = rest.find('/').unwrap_or(rest.len());
            (0..=within).filter(|&at| rest.is_char_boundary(at)).any(|at| matches(after, &rest[at..]))
        }),
    }
}

/// The split that a name tells of, in its folders or at its beginning.
fn split(name: &str) -> Option<&'static str> {
    let words = |part: &str| part.split(['-', '_', '.']).map(str::to_ascii_lowercase).collect::<Vec<_>>();
    name.rsplit('/').flat_map(words).find_map(|word| SPLITS.into_iter().find(|split| *split == word))
}

/// The first part that a numbered series, `NAME-00001-of-00005.ENDING`, lacks.
fn missing(names: &[&str]) -> Option<String> {
    let mut series: BTreeMap<(&str, &str, &str), BTreeSet<usize>> = BTreeMap::new();
    for name in names {
        let Some((head, rest)) = name.split_once("-of-") else { continue };
        let (Some((head, number)), Some((count, ending))) = (head.rsplit_once('-'), rest.split_once('.')) else {
            continue;
        };
        if let Ok(number) = number.parse() {
            series.entry((head, count, ending)).or_default().insert(number);
        }
    }
    series.into_iter().find_map(|((head, count, ending), parts)| {
        let gone = (0..count.parse().ok()?).find(|part| !parts.contains(part))?;
        Some(format!("{head}-{gone:0width$}-of-{count}.{ending}", width = count.len()))
    })
}

fn some(names: &[String]) -> String {
    let listed: Vec<_> = names.iter().take(8).map(String::as_str).collect();
    match names.len() {
        0 => "nothing".to_owned(),
        count if count > listed.len() => format!("{}, … ({count} files)", listed.join(", ")),
        _ => listed.join(", "),
    }
}

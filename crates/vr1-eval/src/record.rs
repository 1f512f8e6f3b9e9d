//! The folder of an evaluation: what it was asked with, a line for each answer, and at the end the summary.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::extraction::How;
use crate::{Error, Item, Mark, Result, Summary};

/// An answer to a question, as a line of `samples.jsonl` says it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The question's place in the benchmark, from 0.
    pub index: usize,
    /// The question's name.
    pub id: String,
    /// What it is counted under.
    pub groups: BTreeMap<String, Vec<String>>,
    /// The prompt as text.
    pub prompt: String,
    /// What the model said.
    pub completion: String,
    /// Its length in tokens.
    pub tokens: usize,
    /// Whether it ended by itself.
    pub finished: bool,
    /// Width and height in pixels of what the model saw of the first picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<[u32; 2]>,
    /// The right answer.
    pub solution: String,
    /// The answer that was read.
    pub answer: Option<String>,
    /// Where it stood.
    pub how: Option<How>,
    /// How right it is, by metric.
    pub marks: BTreeMap<String, f64>,
    /// Why there is no verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
    /// What a judge said of it, and which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judged: Option<Map<String, Value>>,
}

impl Record {
    pub(crate) fn marked(&mut self, item: &Item, mark: &Mark) {
        let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
        item.groups.iter().for_each(|(by, name)| groups.entry(by.clone()).or_default().push(name.clone()));
        self.groups = groups;
        self.solution = item.gold.said();
        (self.answer, self.how, self.marks) = (mark.answer.clone(), mark.how, mark.marks.clone());
        self.missing = mark.missing.clone();
    }
}

/// A folder that an evaluation is kept in.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    samples: File,
}

const SETTINGS: &str = "evaluation.json";
const SAMPLES: &str = "samples.jsonl";
const SUMMARY: &str = "summary.json";

impl Folder {
    /// Opens the folder for an evaluation with these settings, and gives the answers that are there already. A line that was
    /// being written when an evaluation was interrupted is dropped.
    pub(crate) fn open(path: &Path, settings: &Map<String, Value>, items: &[Item]) -> Result<(Self, Vec<Record>)> {
        std::fs::create_dir_all(path).map_err(|e| io(path, e))?;
        check_settings(&path.join(SETTINGS), settings)?;
        let file = path.join(SAMPLES);
        let (records, sound) = if file.exists() { read(&file, items)? } else { (Vec::new(), 0) };
        let samples = OpenOptions::new().create(true).append(true).open(&file).map_err(|e| io(&file, e))?;
        samples.set_len(sound).map_err(|e| io(&file, e))?;
        Ok((Self { path: path.to_owned(), samples }, records))
    }

    /// From here on the folder's summary is not that of its answers.
    pub(crate) fn unfinished(&self) -> Result<()> {
        let path = self.path.join(SUMMARY);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io(&path, error)),
            _ => Ok(()),
        }
    }

    pub(crate) fn append<'a>(&mut self, records: impl Iterator<Item = &'a Record>) -> Result<()> {
        let path = self.path.join(SAMPLES);
        let text = lines(records, &path)?;
        self.samples.write_all(&text).and_then(|()| self.samples.sync_data()).map_err(|e| io(&path, e))
    }

    /// Writes all answers in their order and then the summary, each beside its place first.
    pub(crate) fn finish<'a>(&self, records: impl Iterator<Item = &'a Record>, summary: &Summary) -> Result<()> {
        let path = self.path.join(SAMPLES);
        replace(&path, &lines(records, &path)?)?;
        let path = self.path.join(SUMMARY);
        let mut text = serde_json::to_vec_pretty(summary).map_err(|e| io(&path, e.into()))?;
        text.push(b'\n');
        replace(&path, &text)
    }
}

fn check_settings(path: &Path, settings: &Map<String, Value>) -> Result<()> {
    if !path.exists() {
        let text = serde_json::to_vec_pretty(settings).map_err(|e| io(path, e.into()))?;
        return replace(path, &text);
    }
    let text = std::fs::read_to_string(path).map_err(|e| io(path, e))?;
    let there: Map<String, Value> = serde_json::from_str(&text)
        .map_err(|e| Error::row(format!("{}: not an evaluation's settings: {e}", path.display())))?;
    let names = settings.keys().chain(there.keys());
    let other = names.map(|name| (name, there.get(name), settings.get(name))).find(|(_, a, b)| a != b);
    let said = |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), Value::to_string);
    match other {
        None => Ok(()),
        Some((name, a, b)) => {
            Err(Error::OtherSettings { path: path.to_owned(), setting: name.clone(), there: said(a), asked: said(b) })
        }
    }
}

/// The records of a file, and up to which byte they go.
fn read(path: &Path, items: &[Item]) -> Result<(Vec<Record>, u64)> {
    let bytes = std::fs::read(path).map_err(|e| io(path, e))?;
    let (mut records, mut seen, mut sound) = (Vec::new(), vec![false; items.len()], 0);
    for (number, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        if !line.ends_with(b"\n") {
            break; // an interruption
        }
        let fault = |reason: String| Error::row(format!("{}:{}: {reason}", path.display(), number + 1));
        let record: Record = serde_json::from_slice(line).map_err(|e| fault(format!("not a recorded answer: {e}")))?;
        let item =
            items.get(record.index).ok_or_else(|| fault(format!("index: there is no question {}", record.index)))?;
        if item.sample.id != record.id {
            return Err(fault(format!(
                "id: question {} is {:?}, and not {:?}",
                record.index, item.sample.id, record.id
            )));
        }
        if !std::mem::replace(&mut seen[record.index], true) {
            records.push(record);
        }
        sound += line.len() as u64;
    }
    Ok((records, sound))
}

fn lines<'a>(records: impl Iterator<Item = &'a Record>, path: &Path) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    for record in records {
        serde_json::to_writer(&mut text, record).map_err(|e| io(path, e.into()))?;
        text.push(b'\n');
    }
    Ok(text)
}

fn replace(path: &Path, text: &[u8]) -> Result<()> {
    let aside = path.with_extension("part");
    std::fs::write(&aside, text).and_then(|()| std::fs::rename(&aside, path)).map_err(|e| io(path, e))
}

fn io(path: &Path, source: std::io::Error) -> Error {
    Error::Io { path: path.to_owned(), source }
}

//! What was sampled: a zstd file a step, a JSON object a line.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;

use crate::{disk::steps_in, run::ROLLOUTS, run_error::RunError};

/// How files of rows end; those of runs that were begun before they were compressed.
pub(crate) const ENDINGS: [&str; 2] = [".jsonl.zst", ".jsonl"];

/// The files of a run's rollouts by step, the latest last. A run that samples nothing has none.
///
/// # Errors
/// The folder cannot be read.
pub fn rollout_steps(run_dir: &Path) -> Result<Vec<(u64, PathBuf)>, RunError> {
    steps_of_rows(&run_dir.join(ROLLOUTS))
}

/// The files of rows in a folder, by step.
pub(crate) fn steps_of_rows(folder: &Path) -> Result<Vec<(u64, PathBuf)>, RunError> {
    let mut files = Vec::new();
    for ending in ENDINGS {
        files.extend(steps_in(folder, ending)?);
    }
    files.sort();
    Ok(files)
}

/// The rows of a file of rollouts or answers, one by one; whether it is compressed its first bytes say.
///
/// # Errors
/// The file cannot be opened. A row is an error where the file ends within it, or it is not what is asked for: with its line.
pub fn read_rows<T: DeserializeOwned>(path: &Path) -> Result<impl Iterator<Item = Result<T, RunError>>, RunError> {
    let own = path.to_owned();
    Ok(lines(path)?.enumerate().filter_map(move |(index, line)| {
        let broken = |reason: String| RunError::Broken { path: own.clone(), line: index + 1, reason };
        let line = match line {
            Ok(line) if line.trim_ascii().is_empty() => return None,
            line => line.map_err(|error| broken(error.to_string())),
        };
        Some(line.and_then(|line| serde_json::from_slice(&line).map_err(|error| broken(error.to_string()))))
    }))
}

/// The lines of a file that may be compressed; whether it is its first bytes say.
///
/// # Errors
/// The file cannot be opened.
pub fn lines(path: &Path) -> Result<impl Iterator<Item = std::io::Result<Vec<u8>>> + use<>, RunError> {
    let open = || -> std::io::Result<Box<dyn Read + Send>> {
        let mut reader = BufReader::new(File::open(path)?);
        let compressed = reader.fill_buf()?.starts_with(&MAGIC);
        Ok(if compressed { Box::new(zstd::Decoder::with_buffer(reader)?) } else { Box::new(reader) })
    };
    Ok(BufReader::new(open().map_err(RunError::io("read", path))?).split(b'\n'))
}

/// What a zstd frame begins with.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

//! What was sampled: a zstd file a step, a JSON object a line.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    disk::{encode, make, steps_in, write_aside},
    run::ROLLOUTS,
    run_error::RunError,
};

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
///
/// # Example
/// ```
/// # let folder = tempfile::tempdir().unwrap();
/// # let dir = folder.path().join("run");
/// let run = vr1_run::RunFolder::create(&dir)?;
/// let path = run.write_rollouts(1, [serde_json::json!({"completion": "3"})])?;
/// let rows = vr1_run::read_rows::<serde_json::Value>(&path)?.collect::<Result<Vec<_>, _>>()?;
/// assert_eq!(rows[0]["completion"], "3");
/// # Ok::<(), vr1_run::RunError>(())
/// ```
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

/// Writes `step-N.jsonl.zst` into `folder`, a line a row.
pub(crate) fn write_rows(
    folder: &Path,
    step: u64,
    rows: impl IntoIterator<Item = impl Serialize>,
) -> Result<PathBuf, RunError> {
    let path = folder.join(format!("step-{step}{}", ENDINGS[0]));
    make(folder)?;
    let mut encoder = zstd::Encoder::new(Vec::new(), 0).map_err(RunError::io("write", &path))?;
    // One bit that falls over is noticed where it is read.
    encoder.include_checksum(true).map_err(RunError::io("write", &path))?;
    for row in rows {
        serde_json::to_writer(&mut encoder, &row).map_err(encode(&path))?;
        encoder.write_all(b"\n").map_err(RunError::io("write", &path))?;
    }
    let bytes = encoder.finish().map_err(RunError::io("write", &path))?;
    write_aside(&path, &bytes)?;
    Ok(path)
}

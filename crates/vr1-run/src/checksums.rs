//! Checksums of a checkpoint's files, so that what is read is what was written.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::disk::{encode, entries};
use crate::run_error::RunError;

const CHECKSUMS: &str = "checksums.json";

/// Writes `checksums.json` into `dir`: the BLAKE3 hash of every other file below it.
pub(crate) fn seal(dir: &Path) -> Result<(), RunError> {
    let mut sums = BTreeMap::new();
    for file in files(dir)? {
        sums.insert(name(dir, &file), sum(&file)?);
    }
    let path = dir.join(CHECKSUMS);
    let text = serde_json::to_vec_pretty(&sums).map_err(encode(&path))?;
    fs::write(&path, text).map_err(RunError::io("write", path))
}

/// Checks that the checkpoint `dir` holds what was written: every file that its `checksums.json` names, to the last bit.
/// A checkpoint without one, which is older or of another program, has nothing to be held to.
///
/// # Errors
/// A file is absent or another; it is named.
pub fn verify(dir: &Path) -> Result<(), RunError> {
    let path = dir.join(CHECKSUMS);
    if !path.is_file() {
        return Ok(());
    }
    let damaged = |path: PathBuf, reason: String| RunError::Damaged { path, reason };
    let text = fs::read(&path).map_err(RunError::io("read", &path))?;
    let sums: BTreeMap<String, String> =
        serde_json::from_slice(&text).map_err(|error| damaged(path.clone(), error.to_string()))?;
    for (name, expected) in sums {
        let file = dir.join(name);
        if !file.is_file() {
            return Err(damaged(file, "the checkpoint was written with it, and it is gone".to_owned()));
        }
        if sum(&file)? != expected {
            return Err(damaged(file, "it is not what was written: its checksum differs".to_owned()));
        }
    }
    Ok(())
}

fn sum(path: &Path) -> Result<String, RunError> {
    let mut hasher = blake3::Hasher::new();
    let read = File::open(path).and_then(|file| hasher.update_reader(file).map(|hasher| hasher.finalize()));
    Ok(read.map_err(RunError::io("read", path))?.to_hex().to_string())
}

/// A file's place below `dir`, with `/` between folders on every system.
fn name(dir: &Path, file: &Path) -> String {
    let below = file.strip_prefix(dir).unwrap_or(file);
    below.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/")
}

fn files(dir: &Path) -> Result<Vec<PathBuf>, RunError> {
    let mut found = Vec::new();
    for (_, path) in entries(dir)? {
        if path.is_dir() { found.extend(files(&path)?) } else { found.push(path) }
    }
    Ok(found)
}

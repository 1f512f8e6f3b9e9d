//! Files that are there whole or not at all, and errors that name them.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use crate::run_error::RunError;

/// A file that is there whole or not at all.
pub(crate) fn write_aside(path: &Path, bytes: &[u8]) -> Result<(), RunError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let aside = path.with_file_name(format!(".{name}.tmp"));
    let write = || {
        let mut file = File::create(&aside)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(RunError::io("write", path))?;
    rename(&aside, path)
}

/// Makes a folder within one that is there: what was removed meanwhile is not made again.
pub(crate) fn make(dir: &Path) -> Result<(), RunError> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.map_err(RunError::io("create the folder", dir)),
    }
}

/// The `step-N` entries of a folder that may not be there, by step.
pub(crate) fn steps_in(folder: &Path, suffix: &str) -> Result<Vec<(u64, PathBuf)>, RunError> {
    let step = |name: &str| name.strip_prefix("step-")?.strip_suffix(suffix)?.parse().ok();
    let mut found: Vec<_> =
        entries(folder)?.into_iter().filter_map(|(name, path)| Some((step(&name)?, path))).collect();
    found.sort();
    Ok(found)
}

pub(crate) fn entries(folder: &Path) -> Result<Vec<(String, PathBuf)>, RunError> {
    let list = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        list => list.and_then(Iterator::collect::<io::Result<Vec<_>>>).map_err(RunError::io("read", folder))?,
    };
    Ok(list.into_iter().map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path())).collect())
}

pub(crate) fn remove(path: &Path) -> Result<(), RunError> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(RunError::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Renames, and brings the new name itself to disk.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), RunError> {
    let parent = to.parent().unwrap_or(to);
    fs::rename(from, to).and_then(|()| File::open(parent)?.sync_all()).map_err(RunError::io("rename a file to", to))
}

/// Brings a folder and all in it to disk.
pub(crate) fn sync(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            sync(&entry?.path())?;
        }
    }
    File::open(path)?.sync_all()
}

pub(crate) fn encode<E: std::fmt::Display>(path: &Path) -> impl FnOnce(E) -> RunError {
    let path = path.to_owned();
    move |error| RunError::Encode { path, reason: error.to_string() }
}

//! A private environment in the user's cache directory, which pip fills with torch.

use std::env;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::libtorch::{self, VERSION};
use crate::pip;
use crate::process;
use crate::python::Python;

/// What pip takes at its peak, the downloads and the unpacked libraries side by side: 7.4 GB measured; 4.6 GB stay.
const NEEDED_GB: f64 = 8.0;

/// The torch folder of the private environment, which is made if it is not there or not whole.
pub(crate) fn torch(python: Option<Python>) -> Result<PathBuf> {
    let home = cache()?.join("vr1");
    let place = home.join(format!("libtorch-{VERSION}"));
    let torch = place.join("torch");
    if libtorch::inspect(&torch).is_ok() {
        return Ok(torch);
    }
    let python = python.with_context(|| {
        format!(
            "no python3 that starts, and libtorch {VERSION} comes through its pip: install Python with pip (Debian, \
             Ubuntu: sudo apt install python3-pip), or set LIBTORCH to a libtorch {VERSION} of your own"
        )
    })?;
    fs::create_dir_all(&home)
        .with_context(|| format!("cannot write to {}: set XDG_CACHE_HOME to a folder you can write", home.display()))?;
    let _lock = lock(&home.join(format!("libtorch-{VERSION}.lock")))?;
    if libtorch::inspect(&torch).is_ok() {
        return Ok(torch);
    }
    // Installed aside and renamed when whole, so that whatever stands at `place` was finished.
    let aside = home.join(format!("libtorch-{VERSION}.part"));
    remove(&aside)?;
    room(&home)?;
    eprintln!("installing libtorch {VERSION} into {} (3 GB to download, once)", place.display());
    let done = fill(python, &aside, &place);
    remove(&aside)?;
    done.map(|()| torch)
}

fn fill(python: Python, aside: &Path, place: &Path) -> Result<()> {
    pip::install(python, &[&format!("torch=={VERSION}")], aside)?;
    let site = aside.join("site");
    libtorch::inspect(&site.join("torch")).context("what pip installed")?;
    remove(place)?;
    fs::rename(&site, place).with_context(|| format!("cannot write {}", place.display()))
}

/// XDG_CACHE_HOME, or `.cache` in the home directory.
pub(crate) fn cache() -> Result<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .context("neither HOME nor XDG_CACHE_HOME names a folder: set XDG_CACHE_HOME to one with 8 GB free")
}

/// Waits while another set-up fills the same cache; the lock ends with the process, however that ends.
pub(crate) fn lock(path: &Path) -> Result<File> {
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            eprintln!("another set-up is under way; waiting for it");
            file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
        }
        Err(TryLockError::Error(error)) => bail!("cannot lock {}: {error}", path.display()),
    }
    Ok(file)
}

pub(crate) fn remove(path: &Path) -> Result<()> {
    if path.exists() {
        fs::remove_dir_all(path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

/// Fails where `df` says that there is too little room; where it says nothing, pip will find out.
fn room(home: &Path) -> Result<()> {
    let Ok(table) = process::output(Command::new("df").arg("-Pk").arg(home)) else { return Ok(()) };
    let free = table.lines().nth(1).and_then(|line| line.split_whitespace().nth(3)?.parse::<f64>().ok());
    match free.map(|kibibytes| kibibytes * 1024.0 / 1e9) {
        Some(free) if free < NEEDED_GB => bail!(
            "installing libtorch {VERSION} needs {NEEDED_GB} GB, and {} has {free:.1} GB free: free some room, or set \
             XDG_CACHE_HOME to a folder on a larger disk",
            home.display()
        ),
        _ => Ok(()),
    }
}

//! pip, with its progress shown and its failures told in one line.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow};

use crate::process;
use crate::python::Python;

/// Has pip put `wanted` and what it needs into the new folder `aside/site`, by way of `aside/tmp`.
///
/// `--target` asks nothing of the Python that runs pip: neither a virtual environment nor leave to write to its own.
pub(crate) fn install(python: Python, wanted: &[&str], aside: &Path) -> Result<()> {
    let (site, tmp) = (aside.join("site"), aside.join("tmp"));
    fs::create_dir_all(&tmp).with_context(|| format!("cannot write to {}", tmp.display()))?;
    let python = python.with_pip(&aside.join("pip"))?;
    let mut command =
        python.command(["-m", "pip", "install", "--no-cache-dir", "--no-compile", "--only-binary", ":all:"]);
    command.arg("--target").arg(&site).args(wanted);
    command.env("TMPDIR", &tmp).env("PIP_USER", "0").env("PIP_REQUIRE_VIRTUALENV", "0");
    command.env("PIP_ROOT_USER_ACTION", "ignore").env("PIP_DISABLE_PIP_VERSION_CHECK", "1");
    process::watched(&mut command)?.map_err(|told| anyhow!(explain(&told, aside)))
}

/// What is published as source alone, and needed: num2words asks for it.
const SOURCES: &str = "docopt";

/// Has the pip of `python`, a virtual environment at `place`, install `wanted` and what it needs there.
pub(crate) fn into(python: &Python, wanted: &[&str], place: &Path) -> Result<()> {
    let mut command = python.command(["-m", "pip", "install", "--no-cache-dir", "--only-binary", ":all:"]);
    command.args(["--no-binary", SOURCES]).args(wanted).env("PIP_USER", "0").env("PIP_DISABLE_PIP_VERSION_CHECK", "1");
    process::watched(&mut command)?.map_err(|told| anyhow!(explain(&told, place)))
}

/// One line from what pip wrote to standard error.
fn explain(told: &str, aside: &Path) -> String {
    let has = |marks: &[&str]| marks.iter().any(|mark| told.contains(mark));
    if has(&["No space left on device", "Disk quota exceeded"]) {
        format!("the disk of {} is full: free some room, then run the command again", aside.display())
    } else if has(&["DO NOT MATCH THE HASHES"]) {
        "what pip downloaded is not the file that vr1 knows: its sha256 differs, and it was not used".into()
    } else if has(&["Retrying (", "Max retries exceeded", "NewConnectionError", "name resolution", "timed out"]) {
        "pip cannot reach its package index: check the network (or pip's own proxy and index settings), \
         then run the command again"
            .into()
    } else if has(&["No matching distribution found"]) {
        "pip finds no build for this Python and system: use another python3 (torch needs CPython 3.10 to 3.14 and, \
         on Linux, glibc)"
            .into()
    } else {
        let last = told.lines().rev().find(|line| line.starts_with("ERROR:"));
        format!("pip failed: {}", last.or(told.lines().last()).unwrap_or("it did not say why"))
    }
}

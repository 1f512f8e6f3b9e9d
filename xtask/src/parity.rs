//! vr1 beside transformers and peft on the same random checkpoints: `tests/parity/parity.py`, in an environment of its own.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::checkout::Checkout;
use crate::python::Python;
use crate::{install, pip, process, setup};

/// What it is compared with; torch is libtorch's own where pip installed that.
const PEERS: [&str; 6] = [
    "torch==2.11.0",
    "torchvision==0.26.0",
    "transformers==5.24.0",
    "peft==0.21.2",
    "accelerate==1.15.0",
    "pillow==13.0.0",
];

/// Builds the program and runs the comparison with `args`.
pub(crate) fn parity(checkout: &Checkout, args: &[&str]) -> Result<()> {
    setup::setup(checkout)?;
    let python = environment(checkout)?;
    process::run(&mut process::cargo(checkout, ["build", "--release", "-p", "vr1"]))?;
    let program = process::target(checkout).join("release/vr1");
    let mut compare = python.command(["tests/parity/parity.py", "--vr1"]);
    process::find_libtorch(&mut compare, checkout);
    process::run(compare.arg(program).args(args))
}

/// A Python with the peers, in the user's cache directory; made if it is not there or not whole.
fn environment(checkout: &Checkout) -> Result<Python> {
    let home = install::cache()?.join("vr1");
    let place = home.join("parity-1");
    let (python, done) = (Python::at(place.join("bin/python"), checkout), place.join("done"));
    let wanted = PEERS.join("\n");
    if fs::read_to_string(&done).is_ok_and(|found| found == wanted) {
        return Ok(python);
    }
    fs::create_dir_all(&home).with_context(|| format!("cannot write to {}", home.display()))?;
    let _lock = install::lock(&home.join("parity-1.lock"))?;
    if fs::read_to_string(&done).is_ok_and(|found| found == wanted) {
        return Ok(python);
    }
    let base = Python::find(checkout).context("no python3 that starts, and transformers needs one: install Python")?;
    install::remove(&place)?;
    eprintln!("installing transformers and peft into {} (once)", place.display());
    base.venv(&place)?;
    if let Some(torch) = python_torch(checkout) {
        // The torch that is there already counts as installed.
        let line = format!("{}\n", torch.display());
        let site = python.site()?.join("libtorch.pth");
        fs::write(&site, line).with_context(|| format!("cannot write {}", site.display()))?;
    }
    pip::into(&python, &PEERS, &place)?;
    fs::write(&done, wanted).with_context(|| format!("cannot write {}", done.display()))?;
    Ok(python)
}

/// The folder from which Python can import the torch that `.libtorch` is, if it is a Python package.
fn python_torch(checkout: &Checkout) -> Option<PathBuf> {
    let torch = checkout.link().canonicalize().ok()?;
    let (name, site) = (torch.file_name()?, torch.parent()?);
    let is_package = name == Path::new("torch") && torch.join("__init__.py").is_file();
    is_package.then(|| site.to_owned())
}

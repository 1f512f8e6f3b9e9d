//! Pythons with other people's programs in them, each in the user's cache directory.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::checkout::Checkout;
use crate::python::Python;
use crate::{install, pip};

/// The Python of the environment `name`, which holds what pip makes of `packages`; made if it is not there or not whole.
pub(crate) fn python(checkout: &Checkout, name: &str, packages: &[&str]) -> Result<Python> {
    let home = install::cache()?.join("vr1");
    let place = home.join(name);
    let (python, done) = (Python::at(place.join("bin/python"), checkout), place.join("done"));
    let wanted = packages.join("\n");
    if fs::read_to_string(&done).is_ok_and(|found| found == wanted) {
        return Ok(python);
    }
    fs::create_dir_all(&home).with_context(|| format!("cannot write to {}", home.display()))?;
    let _lock = install::lock(&home.join(format!("{name}.lock")))?;
    if fs::read_to_string(&done).is_ok_and(|found| found == wanted) {
        return Ok(python);
    }
    let base = Python::find(checkout).context("no python3 that starts, and transformers needs one: install Python")?;
    install::remove(&place)?;
    eprintln!("installing {} into {} (once)", packages.join(", "), place.display());
    base.venv(&place)?;
    if let Some(torch) = python_torch(checkout) {
        // The torch that is there already counts as installed.
        let line = format!("{}\n", torch.display());
        let site = python.site()?.join("libtorch.pth");
        fs::write(&site, line).with_context(|| format!("cannot write {}", site.display()))?;
    }
    pip::into(&python, packages, &place)?;
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

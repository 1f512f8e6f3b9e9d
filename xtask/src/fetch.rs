//! Published data sets that a package registry carries, into `data/`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::checkout::Checkout;
use crate::pip;
use crate::python::Python;

/// The wheel of easy-VQA 1.0 (MIT), as a line of pip's requirements: pip refuses a file with another sha256.
const EASY_VQA: &str = "easy-vqa==1.0 --hash=sha256:fcb51b309b78c7b00f97b64cdbcbcf5c105f94da1b39c0796cee5a787c4f650f\n";

/// Puts easy-VQA into `data/easy-vqa/`: `answers.txt`, `{train,test}/questions.json`, `{train,test}/images/`.
pub(crate) fn easy_vqa(checkout: &Checkout) -> Result<()> {
    let data = checkout.root().join("data");
    let place = data.join("easy-vqa");
    if place.is_dir() {
        eprintln!("easy-VQA is already in {}", place.display());
        return Ok(());
    }
    let python = Python::find(checkout)
        .context("no python3 that starts, and easy-VQA comes through its pip: install Python with pip")?;
    let aside = data.join("easy-vqa.part");
    if aside.exists() {
        fs::remove_dir_all(&aside).with_context(|| format!("cannot remove {}", aside.display()))?;
    }
    let done = fill(python, &aside, &place);
    if aside.exists() {
        fs::remove_dir_all(&aside).with_context(|| format!("cannot remove {}", aside.display()))?;
    }
    done?;
    eprintln!("easy-VQA is in {}", place.display());
    Ok(())
}

fn fill(python: Python, aside: &Path, place: &Path) -> Result<()> {
    fs::create_dir_all(aside).with_context(|| format!("cannot write to {}", aside.display()))?;
    let wanted = aside.join("requirements.txt");
    fs::write(&wanted, EASY_VQA).with_context(|| format!("cannot write {}", wanted.display()))?;
    let file = wanted.display().to_string();
    pip::install(python, &["--no-deps", "--require-hashes", "--requirement", &file], aside)?;
    let site = aside.join("site");
    let data = site.join("easy_vqa/data");
    fs::copy(site.join("easy_vqa-1.0.dist-info/LICENSE"), data.join("LICENSE")).context("easy-VQA has no licence")?;
    fs::rename(&data, place).with_context(|| format!("cannot write {}", place.display()))
}

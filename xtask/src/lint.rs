//! What CI holds the code to, beside its tests.

use anyhow::{Result, bail, ensure};

use crate::checkout::Checkout;
use crate::{arrows, process, setup};

type Step = fn(&Checkout) -> Result<()>;

/// The steps in the order of their cost; each can be run alone.
const STEPS: [(&str, Step); 6] = [
    ("fmt", formatted),
    ("arrows", arrows::arrows),
    ("package", package),
    ("clippy", clippy),
    ("doc", doc),
    ("deny", deny),
];

/// Runs `steps`, or all of them; one that fails does not hide the ones after it.
pub(crate) fn lint(checkout: &Checkout, steps: &[&str]) -> Result<()> {
    let names = STEPS.map(|(name, _)| name);
    if let Some(unknown) = steps.iter().find(|step| !names.contains(step)) {
        bail!("`{unknown}` is no step of lint; these are: {}", names.join(", "));
    }
    let mut failed = Vec::new();
    for (name, step) in STEPS.iter().filter(|(name, _)| steps.is_empty() || steps.contains(name)) {
        if let Err(error) = step(checkout) {
            failed.push(format!("{name}: {error:#}"));
        }
    }
    ensure!(failed.is_empty(), "{}", failed.join("\n       "));
    Ok(())
}

/// Formats the code.
pub(crate) fn fmt(checkout: &Checkout) -> Result<()> {
    process::run(&mut process::cargo(checkout, ["fmt", "--all"]))
}

fn formatted(checkout: &Checkout) -> Result<()> {
    process::run(&mut process::cargo(checkout, ["fmt", "--all", "--check"]))
}

fn clippy(checkout: &Checkout) -> Result<()> {
    setup::setup(checkout)?;
    let clippy = ["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"];
    process::run(&mut process::cargo(checkout, clippy))
}

fn doc(checkout: &Checkout) -> Result<()> {
    setup::setup(checkout)?;
    let mut doc = process::cargo(checkout, ["doc", "--locked", "--workspace", "--no-deps"]);
    process::run(doc.env("RUSTDOCFLAGS", "-D warnings"))
}

/// Whether each crate can be packed for a registry: its description, licence and readme, and the files that it includes.
fn package(checkout: &Checkout) -> Result<()> {
    let package =
        ["package", "--workspace", "--exclude", "xtask", "--locked", "--no-verify", "--allow-dirty", "--quiet"];
    process::run(&mut process::cargo(checkout, package))
}

/// Licences, sources and known faults of what we depend on, where cargo-deny is installed.
fn deny(checkout: &Checkout) -> Result<()> {
    let deny = |rest: &[&str]| {
        let mut command = process::cargo(checkout, ["deny", "--all-features"]);
        command.args(rest);
        command
    };
    if process::output(&mut deny(&["--version"])).is_err() {
        eprintln!("deny: skipped, cargo-deny is not installed (cargo install --locked cargo-deny)");
        return Ok(());
    }
    process::run(&mut deny(&["check", "bans", "licenses", "sources"]))?;
    match process::watched(&mut deny(&["check", "advisories"]))? {
        Err(told) if told.contains("failed to fetch advisory database") => {
            eprintln!("deny: known faults not looked up, their list cannot be reached");
            Ok(())
        }
        Err(_) => bail!("cargo deny found a known fault in what we depend on"),
        Ok(()) => Ok(()),
    }
}

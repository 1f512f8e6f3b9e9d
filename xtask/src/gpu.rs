//! What a card makes of vr1: a folder that needs neither Rust nor a network there (`benches/gpu`), run here where a card is.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::checkout::Checkout;
use crate::{bench, build, parity, process, setup};

/// Packs into the folder that `--pack` names, or into `target/gpu-check`; runs it where there is a card and no `--pack`.
pub(crate) fn check(checkout: &Checkout, args: &[&str]) -> Result<()> {
    let (out, stages) = match args {
        ["--pack", out] => (checkout.root().join(out), None),
        ["--pack", ..] => bail!("--pack takes a folder and nothing else: stages are named where the pack is run"),
        stages => (process::target(checkout).join("gpu-check"), Some(stages)),
    };
    setup::setup(checkout)?;
    pack(checkout, &out)?;
    let Some(stages) = stages else { return Ok(()) };
    if process::output(Command::new("nvidia-smi").arg("-L")).is_err() {
        eprintln!("no card here (nvidia-smi does not start): take {} to one", out.display());
        return Ok(());
    }
    let python = bench::environment(checkout)?;
    let mut run = Command::new("bash");
    // The pack takes the first python3.
    let mut path = vec![python.folder()];
    path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    process::run(run.env("PATH", std::env::join_paths(path)?).arg(out.join("run.sh")).args(stages))
}

fn pack(checkout: &Checkout, out: &Path) -> Result<()> {
    let tests = tests(checkout)?;
    // In one go: cargo builds what they share once.
    let mut build = vec!["build", "--release", "-p", "vr1", "-p", "vr1-torch", "--bin", "vr1", "--bench", "peers"];
    build.extend(tests.iter().flat_map(|test| ["--test", test]));
    let mut pack = parity::peers(checkout)?.command(["benches/gpu/pack.py"]);
    process::find_libtorch(&mut pack, checkout);
    pack.arg(out);
    let inside = ["test", "--no-run", "--release", "-p", "vr1-torch", "--lib"];
    let programs = build::programs(checkout, &build)?.into_iter().chain(build::programs(checkout, &inside)?);
    for (name, program) in programs {
        let option =
            if tests.contains(&name) || name == "vr1_torch" { "--test".to_owned() } else { format!("--{name}") };
        pack.arg(option).arg(program);
    }
    process::run(&mut pack)
}

/// The tests of vr1-torch.
fn tests(checkout: &Checkout) -> Result<Vec<String>> {
    let folder = checkout.root().join("crates/vr1-torch/tests");
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let paths = entries.flatten().map(|entry| entry.path());
    let tests = paths.filter(|path| path.extension().is_some_and(|end| end == "rs") || path.join("main.rs").is_file());
    Ok(tests.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect())
}

//! What a card makes of vr1: a folder that needs neither Rust nor a network there (`benches/gpu`), run here where a card is.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::checkout::Checkout;
use crate::{bench, build, process, setup};

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
    process::run(&mut process::cargo(checkout, ["build", "--release", "-p", "vr1"]))?;
    let peers = bench::bench(checkout, "peers")?;
    let tests = build::programs(checkout, &["test", "--release", "--no-run", "-p", "vr1-torch"])?;
    let mut pack = bench::environment(checkout)?.command(["benches/gpu/pack.py"]);
    process::find_libtorch(&mut pack, checkout);
    pack.arg(out).arg("--vr1").arg(process::target(checkout).join("release/vr1")).arg("--peers").arg(peers);
    for (_, test) in tests {
        pack.args([OsString::from("--test"), test.into()]);
    }
    process::run(&mut pack)
}

//! vr1 beside TRL and transformers on the same work (`benches/peers.py`), and how a step grows (`benches/growth.rs`).

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::checkout::Checkout;
use crate::python::Python;
use crate::{build, environment, process, setup};

/// What it is compared with; torch is libtorch's own where pip installed that.
const PEERS: [&str; 8] = [
    "torch==2.11.0",
    "torchvision==0.26.0",
    "transformers==5.24.0",
    "trl==1.16.0",
    "datasets==5.2.0",
    "accelerate==1.15.0",
    "pillow==13.0.0",
    "numpy",
];

/// Runs `benches/peers.py` with `args`, or with `growth` first the bench of that name.
pub(crate) fn peers(checkout: &Checkout, args: &[&str]) -> Result<()> {
    setup::setup(checkout)?;
    let python = environment(checkout)?;
    if let ["growth", rest @ ..] = args {
        let model = process::target(checkout).join("bench-models/7.7M");
        if !model.join("model.safetensors").is_file() {
            process::run(python.command(["benches/random_models.py", "7.7M"]).arg(&model))?;
        }
        return process::run(process::command(&bench(checkout, "growth")?, checkout).arg(&model).args(rest));
    }
    let program = bench(checkout, "peers")?;
    let mut compare = python.command(["benches/peers.py", "--vr1"]);
    process::find_libtorch(&mut compare, checkout);
    process::run(compare.arg(program).args(args))
}

/// The Python with the peers.
pub(crate) fn environment(checkout: &Checkout) -> Result<Python> {
    environment::python(checkout, "peers-1", &PEERS)
}

/// A bench of the crate vr1, built.
pub(crate) fn bench(checkout: &Checkout, name: &str) -> Result<PathBuf> {
    let built = build::programs(checkout, &["bench", "--no-run", "-p", "vr1", "--bench", name])?;
    built.into_iter().next().map(|(_, path)| path).with_context(|| format!("cargo built no bench {name}"))
}

//! vr1 beside what others make of the same things, in an environment of its own: transformers and peft of random checkpoints
//! (`tests/parity/parity.py`), Math-Verify of drawn answers, Pillow of drawn pictures, transformers' processors of drawn
//! conversations.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

use crate::checkout::Checkout;
use crate::python::Python;
use crate::{environment, process, setup};

/// What it is compared with; torch is libtorch's own where pip installed that.
const PEERS: [&str; 9] = [
    "torch==2.11.0",
    "torchvision==0.26.0",
    "transformers==5.24.0",
    "peft==0.21.2",
    "accelerate==1.15.0",
    "pillow==13.0.0",
    "numpy",
    "math-verify[antlr4_13_2]==0.9.0",
    "num2words==0.5.14",
];

/// What is drawn anew from a seed and compared by tests of its crate: name, what draws it, crate and the tests' module.
const DRAWN: [(&str, &str, &str, &str); 3] = [
    ("answers", "crates/vr1-reward/tests/fixtures/generate.py", "vr1-reward", "math_field_cases"),
    ("pictures", "crates/vr1-data/tests/fixtures/drawn/generate.py", "vr1-data", "drawn_pictures"),
    ("processors", "crates/vr1-processor/tests/fixtures/families/generate.py", "vr1-processor", "families"),
];

/// Compares everything; with `args`, checkpoints alone as they say, or the one thing drawn that they name, with its seed.
pub(crate) fn parity(checkout: &Checkout, args: &[&str]) -> Result<()> {
    setup::setup(checkout)?;
    let python = peers(checkout)?;
    let named = DRAWN.iter().find(|(name, ..)| args.first() == Some(name));
    if let Some(drawn) = named {
        let seed = args.get(1).map(|seed| seed.parse().with_context(|| format!("{seed:?} is no seed"))).transpose()?;
        return compare_drawn(checkout, &python, drawn, seed.unwrap_or_else(fresh));
    }
    process::run(&mut process::cargo(checkout, ["build", "--release", "-p", "vr1"]))?;
    let program = process::target(checkout).join("release/vr1");
    let mut compare = python.command(["tests/parity/parity.py", "--vr1"]);
    process::find_libtorch(&mut compare, checkout);
    process::run(compare.arg(program).args(args))?;
    if args.is_empty() {
        for drawn in &DRAWN {
            compare_drawn(checkout, &python, drawn, fresh())?;
        }
    }
    Ok(())
}

/// The environment of what vr1 is compared with.
pub(crate) fn peers(checkout: &Checkout) -> Result<Python> {
    environment::python(checkout, "parity-2", &PEERS)
}

fn compare_drawn(checkout: &Checkout, python: &Python, drawn: &(&str, &str, &str, &str), seed: u32) -> Result<()> {
    let (name, generator, package, module) = *drawn;
    eprintln!("{name} of seed {seed}");
    let folder = process::target(checkout).join("parity").join(name);
    fs::create_dir_all(&folder).with_context(|| format!("cannot write to {}", folder.display()))?;
    process::run(python.command([generator, "--seed", &seed.to_string(), "--out"]).arg(&folder))?;
    let tests = ["test", "--quiet", "-p", package, "--test", "suite", &format!("{module}::")];
    process::run(process::cargo(checkout, tests).env("VR1_DRAWN", &folder))
}

/// A seed that nobody chose.
fn fresh() -> u32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.subsec_micros()
}

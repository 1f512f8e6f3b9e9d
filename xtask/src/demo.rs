//! The main job.

use anyhow::Result;

use crate::checkout::Checkout;
use crate::{process, setup};

/// Sets up, then runs `visualthinker_sat` with `args`.
pub(crate) fn demo(checkout: &Checkout, args: &[&str]) -> Result<()> {
    setup::setup(checkout)?;
    let mut run = process::cargo(checkout, ["run", "--release", "-p", "vr1", "--example", "visualthinker_sat"]);
    if !args.is_empty() {
        run.arg("--").args(args);
    }
    process::run(&mut run)
}

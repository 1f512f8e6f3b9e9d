use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use vr1::SweepArgs;

#[derive(Args)]
pub(crate) struct Sweeps {
    /// Arms, seeds, values and claims.
    #[arg(value_name = "SWEEP.yaml")]
    sweep: PathBuf,
    #[command(flatten)]
    args: SweepArgs,
    /// `cpu`, `cuda` or `cuda:N`.
    #[arg(long, default_value = "cpu")]
    device: String,
    /// The kind of number that parameters are: `f32`, `bf16` or `f16`.
    #[arg(long, default_value = "f32")]
    dtype: String,
}

impl Sweeps {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let program = std::env::current_exe().context("the path of this program")?;
        let train = |recipe: Option<&Path>| {
            let recipe = recipe.context("every arm needs a `recipe`")?;
            let words: [OsString; 7] = [
                program.clone().into(),
                "train".into(),
                recipe.into(),
                "--device".into(),
                self.device.clone().into(),
                "--dtype".into(),
                self.dtype.clone().into(),
            ];
            Ok(words.into())
        };
        vr1::sweep(&self.sweep, &self.args, train)
    }
}

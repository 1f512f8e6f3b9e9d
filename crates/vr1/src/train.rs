use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use vr1::RunArgs;

use crate::say;

#[derive(Args)]
pub(crate) struct Train {
    /// What to train, on what, and how.
    #[arg(value_name = "RECIPE.yaml")]
    recipe: PathBuf,
    #[command(flatten)]
    run: RunArgs,
}

impl Train {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let name = self.recipe.file_stem().map_or_else(|| "run".into(), |stem| stem.to_string_lossy());
        let trainer = self.run.trainer(&self.recipe, &name)?;
        let ended = vr1::run(trainer, self.run.smoke)?;
        say(&ended.told);
        Ok(ended.exit_code())
    }
}

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use vr1::RunArgs;
use vr1_train::Derivation;

use crate::say;

#[derive(Args)]
pub(crate) struct Train {
    /// What to train, on what, and how.
    #[arg(value_name = "RECIPE.yaml")]
    recipe: PathBuf,
    /// Say what the recipe comes to, and do none of it.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    run: RunArgs,
}

impl Train {
    pub(crate) fn run(self) -> Result<ExitCode> {
        if self.dry_run {
            say(Derivation::of(&self.run.recipe(&self.recipe)?, &vr1::registry()?)?);
            return Ok(ExitCode::SUCCESS);
        }
        let name = self.recipe.file_stem().map_or_else(|| "run".into(), |stem| stem.to_string_lossy());
        let trainer = self.run.trainer(&self.recipe, &name)?;
        let ended = vr1::run(trainer, self.run.smoke)?;
        say(&ended.told);
        Ok(ended.exit_code())
    }
}

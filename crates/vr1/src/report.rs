use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::say;

#[derive(Args)]
pub(crate) struct Report {
    /// A run's folder.
    #[arg(value_name = "RUN_DIR")]
    run: PathBuf,
}

impl Report {
    pub(crate) fn run(self) -> Result<()> {
        say(vr1_run::report(&self.run)?.display());
        Ok(())
    }
}

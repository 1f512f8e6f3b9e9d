use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Args;
use vr1_run::{Dashboard, RunFolder};

use crate::say;

#[derive(Args)]
pub(crate) struct Report {
    /// A run's folder.
    #[arg(value_name = "RUN_DIR")]
    run: PathBuf,
    /// Serve the page until Ctrl-C, and write none: a run that is under way elsewhere is shown live, and every step's
    /// rollouts can be browsed. A port is one of this machine's loopback, and 0 takes one that is free.
    #[arg(long, value_name = "[HOST:]PORT")]
    serve: Option<String>,
    /// Who asks has to say this; drawn and told where it is not given and HOST is not loopback.
    #[arg(long, requires = "serve")]
    token: Option<String>,
}

impl Report {
    pub(crate) fn run(self) -> Result<()> {
        let Some(address) = &self.serve else {
            say(vr1_run::report(&self.run)?.display());
            return Ok(());
        };
        ensure!(RunFolder::holds_run(&self.run), "{} holds no run", self.run.display());
        let dashboard = Dashboard::bind(address, self.token.as_deref())?;
        let url = dashboard.url();
        let _serving = dashboard.serve(&self.run)?;
        say(format_args!("{url}; Ctrl-C ends it"));
        loop {
            std::thread::park();
        }
    }
}

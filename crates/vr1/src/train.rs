use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use vr1::RunArgs;
use vr1_run::Dashboard;
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
    /// Serve the run's page while it trains. A port is one of this machine's loopback, and 0 takes one that is free.
    #[arg(long, value_name = "[HOST:]PORT")]
    dashboard: Option<String>,
    /// Who asks for the page has to say this; drawn and told where it is not given and HOST is not loopback.
    #[arg(long, requires = "dashboard")]
    dashboard_token: Option<String>,
}

impl Train {
    pub(crate) fn run(self) -> Result<ExitCode> {
        if self.dry_run {
            say(Derivation::of(&self.run.recipe(&self.recipe)?, &vr1::registry()?)?);
            return Ok(ExitCode::SUCCESS);
        }
        let name = self.recipe.file_stem().map_or_else(|| "run".into(), |stem| stem.to_string_lossy());
        // An address that cannot be had is told before a model is loaded.
        let token = self.dashboard_token.as_deref();
        let dashboard = self.dashboard.as_deref().map(|address| Dashboard::bind(address, token)).transpose()?;
        let trainer = self.run.trainer(&self.recipe, &name)?;
        let serve = |dashboard: Dashboard| {
            say(format_args!("dashboard: {}", dashboard.url()));
            dashboard.serve(trainer.folder())
        };
        let _serving = dashboard.map(serve).transpose()?;
        let ended = vr1::run(trainer, self.run.smoke)?;
        say(&ended.told);
        Ok(ended.exit_code())
    }
}

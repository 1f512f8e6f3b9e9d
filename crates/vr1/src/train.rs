use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use vr1::RunArgs;
use vr1_learn::{Launch, World};
use vr1_run::Dashboard;
use vr1_train::{Derivation, Machine, Plan, Recipe};

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
            let recipe = self.run.recipe(&self.recipe)?;
            say(Derivation::of(&recipe, &vr1::registry()?)?);
            let launch = Launch::read(|name| std::env::var(name).ok())?;
            self.say_memory(&recipe, launch.map_or(1, |launch| launch.size))?;
            return Ok(ExitCode::SUCCESS);
        }
        let name = self.recipe.file_stem().map_or_else(|| "run".into(), |stem| stem.to_string_lossy());
        // An address that cannot be had is told before a model is loaded.
        let token = self.dashboard_token.as_deref();
        let world = World::from_environment()?;
        let dashboard = self.dashboard.as_deref().filter(|_| world.is_first());
        let dashboard = dashboard.map(|address| Dashboard::bind(address, token)).transpose()?;
        let trainer = self.run.trainer_in(&world, &self.recipe, &name)?;
        let serve = |dashboard: Dashboard| {
            say(format_args!("dashboard: {}", dashboard.url()));
            dashboard.serve(trainer.folder())
        };
        if !self.run.quiet && world.is_first() {
            self.say_memory(trainer.recipe(), world.size())?;
        }
        let _serving = dashboard.map(serve).transpose()?;
        let ended = vr1::run(trainer, self.run.smoke)?;
        if world.is_first() {
            say(&ended.told);
        }
        Ok(ended.exit_code())
    }

    /// Says how much memory the recipe is planned to take in each of so many processes, where that can be planned.
    fn say_memory(&self, recipe: &Recipe, ranks: usize) -> Result<()> {
        let (device, kind) = (vr1_torch::device(&self.run.device)?, vr1::kind(&self.run.dtype)?);
        let memory = vr1_torch::device_memory(device).map(|memory| memory.free + memory.used);
        if let Ok(plan) = Plan::new(recipe, &Machine { device, kind, memory, rates: None, ranks }) {
            let peak = plan.peak() as f64 / 1e9;
            let enough = if plan.fits() == Some(false) { "more than there is; " } else { "" };
            let each = if ranks > 1 { " in each process" } else { "" };
            say(format_args!(
                "  memory: about {peak:.2} GB of tensors at the fullest{each}, {enough}`vr1 plan` has the parts"
            ));
        }
        Ok(())
    }
}

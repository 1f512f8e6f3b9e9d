use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Args;
use vr1::{RunArgs, first_and_last};
use vr1_train::{Objective, Trainer, before_after_table, summary_rows};

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
    pub(crate) fn run(self) -> Result<()> {
        let recipe = self.run.recipe(&self.recipe)?;
        let name = self.recipe.file_stem().map_or_else(|| "run".into(), |stem| stem.to_string_lossy());
        let options = self.run.options(&name)?;
        let folder = options.out.clone();
        let (steps, title) = (recipe.steps, format!("{}, seed {}", recipe.system, recipe.seed));
        let sign = match &recipe.objective {
            Objective::Grpo(_) => ("reward", 1.0, "rise"),
            Objective::Sft(_) => ("loss", -1.0, "fall"),
        };

        let summary = Trainer::new(recipe, options)?.run()?;
        say(before_after_table(&title, &summary_rows(&summary)));
        if summary.steps < steps {
            say(format_args!("stopped after {} of {steps} steps", summary.steps));
        }
        say(format_args!(
            "{} steps in {:.0} s; see {}",
            summary.steps,
            summary.seconds,
            folder.join("report.html").display()
        ));
        if self.run.smoke {
            let (metric, sign, wanted) = sign;
            let (first, last) = first_and_last(&folder, metric)?;
            ensure!(sign * (last - first) > 0.0, "{metric} did not {wanted}: {first:.3} at first, {last:.3} at last");
        }
        Ok(())
    }
}

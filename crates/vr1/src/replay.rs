use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use vr1_train::{Replay as Replayed, RunOptions, Trainer};

use crate::{print, print_json};

#[derive(Args)]
pub(crate) struct Replay {
    /// The run's folder; nothing in it is changed.
    run: PathBuf,
    /// The step, from 1.
    step: u64,
    /// Where tensors live: `cpu`, `cuda` or `cuda:N`. The same bits come of the same kind of processor alone.
    #[arg(long, default_value = "cpu")]
    device: String,
    /// The kind of number that parameters are: `f32` or `bf16`, as in the run.
    #[arg(long, default_value = "f32")]
    dtype: String,
    /// Go on though data, model or program are not what the run was begun with.
    #[arg(long)]
    accept_changes: bool,
    /// Print a line of JSON to stdout.
    #[arg(long)]
    json: bool,
}

impl Replay {
    pub(crate) fn run(self) -> Result<()> {
        let options = RunOptions {
            device: vr1_torch::device(&self.device)?,
            kind: vr1::kind(&self.dtype)?,
            accept_changes: self.accept_changes,
            registry: vr1::registry()?,
            ..RunOptions::new(&self.run)
        };
        let replayed = Trainer::replay(&self.run, self.step, &options)?;
        if self.json {
            print_json(&replayed)?;
        } else {
            print(&told(&replayed))?;
        }
        if !replayed.is_same() {
            bail!("step {}: it is not what was recorded", self.step);
        }
        Ok(())
    }
}

/// Differences that are shown.
const SHOWN: usize = 10;

fn told(replayed: &Replayed) -> String {
    let Replayed { step, from_step, completions, compared, differences, .. } = replayed;
    let from = match from_step {
        0 => "from the run's beginning".to_owned(),
        from => format!("from the checkpoint of step {from}"),
    };
    let mut text = format!("step {step}, {from}: {completions} recorded completions, {compared} numbers compared\n");
    match differences.len() {
        0 => text += "all are the same, bit for bit\n",
        count => text += &format!("{count} are not the same\n"),
    }
    for difference in differences.iter().take(SHOWN) {
        text += &format!("  {}: recorded {}, now {}\n", difference.name, difference.recorded, difference.now);
    }
    text += &format!("weights before {}\nweights after  {}\n", replayed.weights_before, replayed.weights_after);
    match &replayed.weights_recorded {
        None => {}
        Some(own) if *own == replayed.weights_after => text += "the checkpoint of this step has the same\n",
        Some(own) => text += &format!("the checkpoint of this step has {own}\n"),
    }
    text
}

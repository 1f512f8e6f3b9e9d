use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use vr1_run::read_metrics;
use vr1_train::{Machine, Plan, Rates, Recipe};

use crate::{print_json, say};

#[derive(Args)]
pub(crate) struct Plans {
    /// What is to be trained, on what, and how.
    #[arg(value_name = "RECIPE.yaml")]
    recipe: PathBuf,
    /// Another value for a key of the recipe: `steps=10`, `recompute=layers`.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// A model directory or a Hub id, instead of the recipe's; its weights need not be there.
    #[arg(long)]
    model: Option<String>,
    /// `cpu`, `cuda` or `cuda:N`, which need not be there where `--memory` says how much it has.
    #[arg(long, default_value = "cpu")]
    device: String,
    /// The kind of number that parameters are: `f32`, `bf16` or `f16`.
    #[arg(long, default_value = "f32")]
    dtype: String,
    /// Memory of the device in GB (10⁹ bytes); without it what the device has free now.
    #[arg(long, value_name = "GB")]
    memory: Option<f64>,
    /// Take the time of a step from this run's metrics, and not from a probe of this machine.
    #[arg(long, value_name = "RUN_DIR")]
    from_run: Option<PathBuf>,
    /// Processes that train together, each with such a device: what one of them holds is planned.
    #[arg(long, value_name = "N", default_value_t = 1)]
    ranks: usize,
    /// Print a line of JSON to stdout instead of a table.
    #[arg(long)]
    json: bool,
}

impl Plans {
    pub(crate) fn run(self) -> Result<()> {
        let mut overrides = self.set.clone();
        overrides.extend(self.model.as_ref().map(|model| format!("model={}", serde_json::json!(model))));
        let recipe = Recipe::load(&self.recipe, &overrides)?;
        let kind = vr1::kind(&self.dtype)?;
        ensure!(kind != tch::Kind::Half, "--dtype f16: a model of f16 is not trained, its gradients overflow");
        let memory = match self.memory {
            Some(gb) => {
                ensure!(gb > 0.0 && gb.is_finite(), "--memory is {gb}, and must be above 0");
                Some((gb * 1e9) as u64)
            }
            None => None,
        };
        // A device that is not there can be planned for, and not measured.
        let there = vr1_torch::device(&self.device);
        let device = match (&there, self.device.split_once(':').map_or(&*self.device, |(kind, _)| kind), memory) {
            (Ok(device), ..) => *device,
            (Err(_), "cuda", Some(_)) => tch::Device::Cuda(0),
            (Err(error), ..) => bail!("{error}; `--memory GB` plans for a device that is not there"),
        };
        let free = there.as_ref().ok().and_then(|device| vr1_torch::device_memory(*device)).map(|memory| memory.free);
        let step = self.from_run.as_ref().map(|run| seconds_of(run)).transpose()?;
        let rates = match (&step, there) {
            (None, Ok(device)) => Some(Rates::probe(device, kind)?),
            _ => None,
        };
        ensure!((1..=65_536).contains(&self.ranks), "--ranks is {}, and must be from 1 to 65536", self.ranks);
        let machine = Machine { device, kind, memory: memory.or(free), rates, ranks: self.ranks };
        let plan = Plan::new(&recipe, &machine)?;
        if self.json {
            let mut json = plan.json();
            json["seconds_a_step_of_run"] = step.into();
            json["rates"] = serde_json::to_value(rates)?;
            return print_json(&json);
        }
        say(plan.told().trim_end());
        if let Some(step) = step {
            let hours = step * recipe.all_steps() as f64 / 3600.0;
            say(format_args!("a step took {step:.1} s in that run; {} steps, {hours:.1} hours", recipe.all_steps()));
        }
        Ok(())
    }
}

/// The median of a run's steps, the first two aside.
fn seconds_of(run: &std::path::Path) -> Result<f64> {
    let rows = read_metrics(&run.join("metrics.jsonl")).with_context(|| run.display().to_string())?;
    let mut seconds: Vec<f64> = rows.iter().skip(2).filter_map(|row| row.get("seconds")).collect();
    seconds.sort_by(f64::total_cmp);
    seconds.get(seconds.len() / 2).copied().with_context(|| format!("{}: fewer than three steps", run.display()))
}

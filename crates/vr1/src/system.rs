use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser};

use crate::{RunArgs, SweepArgs, run, spin_briefly, sweep};

/// The arguments of an example that runs a recipe.
#[derive(Debug, Clone, Args)]
pub struct SystemArgs {
    /// How it runs.
    #[command(flatten)]
    pub run: RunArgs,
    /// Another recipe than the example's own.
    #[arg(long, value_name = "FILE.yaml")]
    pub recipe: Option<PathBuf>,
    /// Show the system's finding: every arm of its sweep at every seed, mean ± standard error, and whether it holds.
    #[arg(long)]
    pub sweep: bool,
    /// Runs of the sweep side by side; as many as there are cores where it is not given.
    #[arg(long, requires = "sweep")]
    pub jobs: Option<usize>,
    /// Other seeds than the sweep's.
    #[arg(long, requires = "sweep", value_delimiter = ',')]
    pub seeds: Vec<u64>,
}

#[derive(Parser)]
struct Example {
    #[command(flatten)]
    args: SystemArgs,
}

/// The example named `name`: a run of `examples/NAME.yaml` as its arguments say, or the sweep in `examples/NAME.sweep.yaml`.
///
/// # Errors
/// If an argument, the recipe or the sweep is wrong, or a run fails.
pub fn system(name: &str) -> Result<ExitCode> {
    spin_briefly();
    let SystemArgs { run: args, recipe, .. } = match Example::parse().args {
        args if args.sweep => return args.sweep(name),
        args => args,
    };
    // The recipe names model, data, prompt, reward, objective and optimizer; the trainer joins what they name.
    let trainer = args.trainer(&recipe.unwrap_or_else(|| beside(&format!("{name}.yaml"))), name)?;
    let ended = run(trainer, args.smoke)?;
    print!("{}", ended.told);
    Ok(ended.exit_code())
}

impl SystemArgs {
    /// Runs the example's sweep, each run a process of this program.
    ///
    /// # Errors
    /// As [`sweep`](fn@sweep).
    pub fn sweep(self, name: &str) -> Result<ExitCode> {
        let Self { run, jobs, seeds, .. } = self;
        ensure!(!run.smoke && run.seed.is_none(), "--sweep has seeds of its own: `--seeds 1,2` for others");
        let program = std::env::current_exe().context("the path of this program")?;
        let shared = passed_on(&run);
        let command = |recipe: Option<&Path>| {
            let own = recipe.into_iter().flat_map(|recipe| ["--recipe".into(), OsString::from(recipe)]);
            Ok(std::iter::once(program.clone().into()).chain(shared.clone()).chain(own).collect())
        };
        sweep(&beside(&format!("{name}.sweep.yaml")), &SweepArgs { out: run.out, jobs, seeds, set: run.set }, command)
    }
}

/// What of a run's arguments holds for every run of a sweep.
fn passed_on(run: &RunArgs) -> Vec<OsString> {
    let mut args: Vec<OsString> = ["--device", &run.device, "--dtype", &run.dtype].map(Into::into).into();
    args.extend(run.model.iter().flat_map(|model| ["--model".into(), OsString::from(model)]));
    args.extend(run.data.iter().flat_map(|data| ["--data".into(), OsString::from(data)]));
    args
}

fn beside(file: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples")).join(file)
}

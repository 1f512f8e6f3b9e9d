//! R1-V: counting, with a reward that anyone can check.
//!
//! Chen et al., 2025, <https://github.com/StarsfieldAI/R1-V>. Group relative policy optimisation on questions after a number
//! (CLEVR), with a reward for the number and one for the format, summed.
//!
//! ```text
//! cargo run --release --example r1v_counting
//! cargo run --release --example r1v_counting -- --model Qwen/Qwen2-VL-2B-Instruct --data clevr.jsonl --device cuda
//! ```

use std::path::Path;

use anyhow::{Result, ensure};
use clap::Parser;
use vr1::{RunArgs, first_and_last};
use vr1_train::{Trainer, before_after_table, summary_rows};

const RECIPE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/r1v_counting.yaml");

#[derive(Parser)]
#[command(about = "R1-V on counting")]
struct Args {
    #[command(flatten)]
    run: RunArgs,
}

fn main() -> Result<()> {
    let args = Args::parse().run;
    // The recipe names model, data, prompt, reward, objective and optimizer; the trainer joins what they name.
    let recipe = args.recipe(Path::new(RECIPE))?;
    let options = args.options("r1v_counting")?;
    let folder = options.out.clone();
    let title = format!("{}, seed {}", recipe.system, recipe.seed);

    let summary = Trainer::new(recipe, options)?.run()?;
    println!("{}", before_after_table(&title, &summary_rows(&summary)));
    println!("{} steps in {:.0} s; see {}", summary.steps, summary.seconds, folder.join("report.html").display());
    if args.smoke {
        let (first, last) = first_and_last(&folder, "reward")?;
        ensure!(last > first, "reward did not rise: {first:.3} at first, {last:.3} at last");
        println!("smoke: reward rose from {first:.3} to {last:.3}");
    }
    Ok(())
}

//! VisualThinker-R1-Zero: reasoning that emerges from a base model's own guesses.
//!
//! Zhou et al., 2025, <https://arxiv.org/abs/2503.05132>. Group relative policy optimisation from a base model, without any
//! supervised step, on spatial multiple-choice questions (SAT), with a reward for the answer and one for the format.
//!
//! ```text
//! cargo run --release --example visualthinker_sat
//! cargo run --release --example visualthinker_sat -- --data data/easy-vqa
//! cargo run --release --example visualthinker_sat -- --model Qwen/Qwen2-VL-2B --data SAT.jsonl --device cuda --dtype bf16
//! ```

use std::path::Path;

use anyhow::{Result, ensure};
use clap::Parser;
use vr1::{RunArgs, first_and_last};
use vr1_train::{Trainer, before_after_table, summary_rows};

const RECIPE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/visualthinker_sat.yaml");

#[derive(Parser)]
#[command(about = "VisualThinker-R1-Zero on spatial questions")]
struct Args {
    #[command(flatten)]
    run: RunArgs,
}

fn main() -> Result<()> {
    let args = Args::parse().run;
    // The recipe names model, data, prompt, reward, objective and optimizer; the trainer joins what they name.
    let recipe = args.recipe(Path::new(RECIPE))?;
    let options = args.options("visualthinker_sat")?;
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

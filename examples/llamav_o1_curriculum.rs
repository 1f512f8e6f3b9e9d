//! LlamaV-o1: a curriculum from seeing to reasoning, then an answer in four turns.
//!
//! Thawakar et al., 2025, <https://arxiv.org/abs/2501.06186>. Imitation in two stages, first of summaries and captions, then of
//! reasoning and conclusions; at inference four turns, each the best of a beam search.
//!
//! ```text
//! cargo run --release --example llamav_o1_curriculum
//! cargo run --release --example llamav_o1_curriculum -- --set evaluation.stage_beams=1
//! ```

use std::path::Path;

use anyhow::{Result, ensure};
use clap::Parser;
use vr1::{RunArgs, first_and_last};
use vr1_train::{Trainer, before_after_table, summary_rows};

const RECIPE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/llamav_o1_curriculum.yaml");

#[derive(Parser)]
#[command(about = "LlamaV-o1: curriculum and four-turn answers")]
struct Args {
    #[command(flatten)]
    run: RunArgs,
}

fn main() -> Result<()> {
    let args = Args::parse().run;
    // The recipe names model, data, prompt, reward, objective and optimizer; the trainer joins what they name.
    let recipe = args.recipe(Path::new(RECIPE))?;
    let options = args.options("llamav_o1_curriculum")?;
    let folder = options.out.clone();
    let title = format!("{}, seed {}", recipe.system, recipe.seed);

    let summary = Trainer::new(recipe, options)?.run()?;
    println!("{}", before_after_table(&title, &summary_rows(&summary)));
    println!("{} steps in {:.0} s; see {}", summary.steps, summary.seconds, folder.join("report.html").display());
    if args.smoke {
        let (first, last) = first_and_last(&folder, "loss")?;
        ensure!(last < first, "loss did not fall: {first:.3} at first, {last:.3} at last");
        println!("smoke: loss fell from {first:.3} to {last:.3}");
    }
    Ok(())
}

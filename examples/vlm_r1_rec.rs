//! VLM-R1: referring expressions learnt from the overlap of boxes.
//!
//! Shen et al., 2025, <https://arxiv.org/abs/2504.07615>. Group relative policy optimisation with a reward for the overlap
//! (IoU) of the first box of the answer with the truth, and one for an answer in JSON.
//!
//! ```text
//! cargo run --release --example vlm_r1_rec
//! cargo run --release --example vlm_r1_rec -- --model Qwen/Qwen2-VL-2B-Instruct --data refcoco_train.jsonl --device cuda
//! ```

use std::path::Path;

use anyhow::{Result, ensure};
use clap::Parser;
use vr1::{RunArgs, first_and_last};
use vr1_train::{Trainer, before_after_table, summary_rows};

const RECIPE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/vlm_r1_rec.yaml");

#[derive(Parser)]
#[command(about = "VLM-R1 on referring expressions")]
struct Args {
    #[command(flatten)]
    run: RunArgs,
}

fn main() -> Result<()> {
    let args = Args::parse().run;
    // The recipe names model, data, prompt, reward, objective and optimizer; the trainer joins what they name.
    let recipe = args.recipe(Path::new(RECIPE))?;
    let options = args.options("vlm_r1_rec")?;
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

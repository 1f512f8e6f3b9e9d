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
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use vr1::RunArgs;

const RECIPE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/llamav_o1_curriculum.yaml");

#[derive(Parser)]
#[command(about = "LlamaV-o1: curriculum and four-turn answers")]
struct Args {
    #[command(flatten)]
    run: RunArgs,
}

fn main() -> Result<ExitCode> {
    vr1::spin_briefly();
    let args = Args::parse().run;
    // The recipe names model, data, prompt, reward, objective and optimizer; the trainer joins what they name.
    let trainer = args.trainer(Path::new(RECIPE), "llamav_o1_curriculum")?;
    let ended = vr1::run(trainer, args.smoke)?;
    print!("{}", ended.told);
    Ok(ended.exit_code())
}

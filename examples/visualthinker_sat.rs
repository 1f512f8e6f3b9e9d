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
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use vr1::RunArgs;

const RECIPE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/visualthinker_sat.yaml");

#[derive(Parser)]
#[command(about = "VisualThinker-R1-Zero on spatial questions")]
struct Args {
    #[command(flatten)]
    run: RunArgs,
}

fn main() -> Result<ExitCode> {
    vr1::spin_briefly();
    let args = Args::parse().run;
    // The recipe names model, data, prompt, reward, objective and optimizer; the trainer joins what they name.
    let trainer = args.trainer(Path::new(RECIPE), "visualthinker_sat")?;
    let ended = vr1::run(trainer, args.smoke)?;
    print!("{}", ended.told);
    Ok(ended.exit_code())
}

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
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use vr1::RunArgs;

const RECIPE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/r1v_counting.yaml");

#[derive(Parser)]
#[command(about = "R1-V on counting")]
struct Args {
    #[command(flatten)]
    run: RunArgs,
}

fn main() -> Result<ExitCode> {
    vr1::spin_briefly();
    let args = Args::parse().run;
    // The recipe names model, data, prompt, reward, objective and optimizer; the trainer joins what they name.
    let trainer = args.trainer(Path::new(RECIPE), "r1v_counting")?;
    let ended = vr1::run(trainer, args.smoke)?;
    print!("{}", ended.told);
    Ok(ended.exit_code())
}

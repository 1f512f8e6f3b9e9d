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
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use vr1::RunArgs;

const RECIPE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/vlm_r1_rec.yaml");

#[derive(Parser)]
#[command(about = "VLM-R1 on referring expressions")]
struct Args {
    #[command(flatten)]
    run: RunArgs,
}

fn main() -> Result<ExitCode> {
    vr1::spin_briefly();
    let args = Args::parse().run;
    // The recipe names model, data, prompt, reward, objective and optimizer; the trainer joins what they name.
    let trainer = args.trainer(Path::new(RECIPE), "vlm_r1_rec")?;
    let ended = vr1::run(trainer, args.smoke)?;
    print!("{}", ended.told);
    Ok(ended.exit_code())
}

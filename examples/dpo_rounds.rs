//! Iterative DPO: in each round the model learns from pairs of its own answers, the best against the worst.
//!
//! Rafailov et al., 2023, <https://arxiv.org/abs/2305.18290>; in rounds as Insight-V (Dong et al., 2024,
//! <https://arxiv.org/abs/2411.14432>) does it. Each round is compared with the model at its start.
//!
//! ```text
//! cargo run --release --example dpo_rounds
//! cargo run --release --example dpo_rounds -- --seed 1
//! ```

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use vr1::RunArgs;

const RECIPE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/dpo_rounds.yaml");

#[derive(Parser)]
#[command(about = "Iterative DPO on spatial questions")]
struct Args {
    #[command(flatten)]
    run: RunArgs,
}

fn main() -> Result<ExitCode> {
    vr1::spin_briefly();
    let args = Args::parse().run;
    // The recipe says where pairs come from, how many rounds there are and what each is compared with.
    let trainer = args.trainer(Path::new(RECIPE), "dpo_rounds")?;
    let ended = vr1::run(trainer, args.smoke)?;
    print!("{}", ended.told);
    Ok(ended.exit_code())
}

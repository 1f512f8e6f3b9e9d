//! Iterative DPO: in each round the model learns from pairs of its own answers, the best against the worst.
//!
//! Rafailov et al., 2023, <https://arxiv.org/abs/2305.18290>; in rounds as Insight-V (Dong et al., 2024,
//! <https://arxiv.org/abs/2411.14432>) does it. Each round is compared with the model at its start.
//!
//! ```text
//! cargo run --release --example dpo_rounds
//! cargo run --release --example dpo_rounds -- --seed 1
//! ```

use std::process::ExitCode;

fn main() -> anyhow::Result<ExitCode> {
    vr1::system("dpo_rounds")
}

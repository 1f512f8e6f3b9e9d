//! R1-Onevision: imitation of formal reasoning, then reinforcement.
//!
//! Yang et al., 2025, <https://arxiv.org/abs/2503.10615>. Two stages of one run, each from the weights of the last.
//!
//! ```text
//! cargo run --release --example r1_onevision
//! cargo run --release --example r1_onevision -- --sweep          # the finding, over five seeds
//! vr1 train examples/r1_onevision.published.yaml               # at published size
//! ```

use std::process::ExitCode;

fn main() -> anyhow::Result<ExitCode> {
    vr1::system("r1_onevision")
}

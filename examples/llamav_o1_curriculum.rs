//! LlamaV-o1: a curriculum from seeing to reasoning, then an answer in four turns.
//!
//! Thawakar et al., 2025, <https://arxiv.org/abs/2501.06186>. Imitation in two stages, first of summaries and captions, then of
//! reasoning and conclusions; at inference four turns, each the best of a beam search.
//!
//! ```text
//! cargo run --release --example llamav_o1_curriculum
//! cargo run --release --example llamav_o1_curriculum -- --set evaluation.stage_beams=1
//! ```

use std::process::ExitCode;

fn main() -> anyhow::Result<ExitCode> {
    vr1::system("llamav_o1_curriculum")
}

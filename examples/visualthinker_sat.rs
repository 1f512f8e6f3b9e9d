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

use std::process::ExitCode;

fn main() -> anyhow::Result<ExitCode> {
    vr1::system("visualthinker_sat")
}

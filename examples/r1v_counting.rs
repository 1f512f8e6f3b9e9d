//! R1-V: counting, with a reward that anyone can check.
//!
//! Chen et al., 2025, <https://github.com/StarsfieldAI/R1-V>. Group relative policy optimisation on questions after a number
//! (CLEVR), with a reward for the number and one for the format, summed.
//!
//! ```text
//! cargo run --release --example r1v_counting
//! cargo run --release --example r1v_counting -- --model Qwen/Qwen2-VL-2B-Instruct --data clevr.jsonl --device cuda
//! ```

use std::process::ExitCode;

fn main() -> anyhow::Result<ExitCode> {
    vr1::system("r1v_counting")
}

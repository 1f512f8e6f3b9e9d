//! VLM-R1: referring expressions learnt from the overlap of boxes.
//!
//! Shen et al., 2025, <https://arxiv.org/abs/2504.07615>. Group relative policy optimisation with a reward for the overlap
//! (IoU) of the first box of the answer with the truth, and one for an answer in JSON.
//!
//! ```text
//! cargo run --release --example vlm_r1_rec
//! cargo run --release --example vlm_r1_rec -- --model Qwen/Qwen2-VL-2B-Instruct --data refcoco_train.jsonl --device cuda
//! ```

use std::process::ExitCode;

fn main() -> anyhow::Result<ExitCode> {
    vr1::system("vlm_r1_rec")
}

//! VLM-R1: detection of whatever is named, learnt from mean average precision.
//!
//! Shen et al., 2025, <https://arxiv.org/abs/2504.07615>. Group relative policy optimisation with the system's reward for lists of
//! boxes, which is COCO's mean average precision, less for more boxes than there are.
//!
//! ```text
//! cargo run --release --example vlm_r1_ovd
//! cargo run --release --example vlm_r1_ovd -- --sweep          # the finding, over five seeds
//! vr1 train examples/vlm_r1_ovd.published.yaml               # at published size
//! ```

use std::process::ExitCode;

fn main() -> anyhow::Result<ExitCode> {
    vr1::system("vlm_r1_ovd")
}

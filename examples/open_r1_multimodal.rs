//! open-r1-multimodal: mathematics with pictures.
//!
//! EvolvingLMMs-Lab, 2025, <https://github.com/EvolvingLMMs-Lab/open-r1-multimodal>. Group relative policy optimisation with a
//! reward for what Math-Verify finds equal and one for the format.
//!
//! ```text
//! cargo run --release --example open_r1_multimodal
//! cargo run --release --example open_r1_multimodal -- --sweep          # the finding, over five seeds
//! vr1 train examples/open_r1_multimodal.published.yaml               # at published size
//! ```

use std::process::ExitCode;

fn main() -> anyhow::Result<ExitCode> {
    vr1::system("open_r1_multimodal")
}

//! Open-R1-Video: questions about videos, learnt from the answers alone.
//!
//! Wang and Peng, 2025, <https://github.com/Wang-Xiaodong1899/Open-R1-Video>. Group relative policy optimisation on sixteen frames of
//! each video, with a reward for the answer.
//!
//! ```text
//! cargo run --release --example open_r1_video
//! cargo run --release --example open_r1_video -- --sweep          # the finding, over five seeds
//! vr1 train examples/open_r1_video.published.yaml               # at published size
//! ```

use std::process::ExitCode;

fn main() -> anyhow::Result<ExitCode> {
    vr1::system("open_r1_video")
}

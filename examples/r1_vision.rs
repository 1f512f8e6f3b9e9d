//! R1-Vision: thoughts that begin with a caption, and questions that are pictures of their text.
//!
//! yuyq96, 2025, <https://github.com/yuyq96/R1-Vision>. Imitation of a teacher that never saw the image; a question that is
//! rendered into a picture has the answer of the typed one.
//!
//! ```text
//! cargo run --release --example r1_vision
//! cargo run --release --example r1_vision -- --sweep          # the finding, over five seeds
//! vr1 train examples/r1_vision.published.yaml               # at published size
//! ```

use std::process::ExitCode;

fn main() -> anyhow::Result<ExitCode> {
    vr1::system("r1_vision")
}

//! R1-V on geometry: figures with one number as the answer.
//!
//! Chen et al., 2025, <https://github.com/StarsfieldAI/R1-V>. Group relative policy optimisation with a reward for the number and one
//! for the format.
//!
//! ```text
//! cargo run --release --example r1v_geoqa
//! cargo run --release --example r1v_geoqa -- --sweep          # the finding, over five seeds
//! vr1 train examples/r1v_geoqa.published.yaml               # at published size
//! ```

use std::process::ExitCode;

fn main() -> anyhow::Result<ExitCode> {
    vr1::system("r1v_geoqa")
}

#![doc = include_str!("../README.md")]

mod charts;
mod checksums;
mod compare;
mod dashboard;
mod disk;
mod fingerprint;
mod interrupt;
mod metrics;
mod plot;
mod progress;
mod records;
mod report;
mod rollouts;
mod run;
mod run_error;
mod sweep;
mod table;
mod tensorboard;
mod yaml;

pub use charts::write_plots;
pub use checksums::verify;
pub use compare::{Comparison, compare};
pub use dashboard::{Dashboard, Serving};
pub use fingerprint::fingerprint;
pub use interrupt::Interrupt;
pub use metrics::{StageScores, StepMetrics, Summary, read_metrics};
pub use plot::{Series, Stroke, plot, plot_svg};
pub use progress::{Progress, Show};
pub use report::report;
pub use rollouts::{lines, read_rows, rollout_steps};
pub use run::{RunFolder, WholeCheckpoint};
pub use run_error::RunError;
pub use sweep::{Arm, Claim, Measurement, Sweep, SweepError, Swept, Verdict};
pub use table::{Row, Unit, before_after_table, stage_table, summary_rows};
pub use tensorboard::EventWriter;
pub use yaml::{Document, Place, YamlError, from_str, load};

//! Rows that a model makes: each sample is asked about, the answers are read, judged, filtered and chosen from, and what is
//! kept becomes rows.
//!
//! Every call has a name within its question, and every answer is written down under it before anything is made of it. So a
//! run that was ended anywhere is gone on with by doing it again: what was answered is not asked again, and what is made
//! depends on the answers alone.

mod answer;
mod call;
mod chain;
mod drive;
mod engine;
mod journal;
mod making;
mod paths;
mod question;
mod server;
mod tally;

pub use call::{Call, Failure, Replied, Reply, Teacher};
pub use chain::StepWords;
pub use drive::make;
pub use engine::EngineTeacher;
pub use journal::Journal;
pub use making::{Choose, Deduplicate, Filtering, Judging, Keep, Kept, Making, Prompted, Scoring, Wanted, Wording};
pub use server::ServerTeacher;
pub use tally::{Dropped, Tally};

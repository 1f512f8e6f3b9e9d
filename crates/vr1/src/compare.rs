use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::{print, print_json, say};

#[derive(Args)]
pub(crate) struct Compare {
    /// Folders of runs. Those that differ in nothing but the seed are one thing measured several times.
    #[arg(value_name = "RUN_DIR", required = true, num_args = 2..)]
    runs: Vec<PathBuf>,
    /// Write one self-contained HTML page with the curves over each other, too.
    #[arg(long, value_name = "FILE.html")]
    out: Option<PathBuf>,
    /// Write runs, groups and differences as JSON, and no tables.
    #[arg(long)]
    json: bool,
}

impl Compare {
    pub(crate) fn run(self) -> Result<()> {
        let comparison = vr1_run::compare(&self.runs)?;
        if let Some(out) = &self.out {
            comparison.write_page(out)?;
            say(out.display());
        }
        if self.json { print_json(&comparison) } else { print(&comparison.told()) }
    }
}

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;
use vr1_train::{ImportOptions, System, import};

use crate::{print, say};

#[derive(Args)]
pub(crate) struct Import {
    /// A configuration of TRL, VLM-R1, R1-V or EasyR1: YAML, JSON, a file of arguments, or a shell script.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where the recipe is written; to stdout where it is not given.
    #[arg(long, value_name = "RECIPE.yaml")]
    out: Option<PathBuf>,
    /// Whose it is, where that cannot be told: `trl-grpo`, `trl-dpo`, `trl-sft`, `vlm-r1`, `r1-v`, `easy-r1`.
    #[arg(long, value_parser = system)]
    system: Option<System>,
    /// Processes that it ran in, one a GPU, where it does not say.
    #[arg(long, value_name = "N")]
    processes: Option<u64>,
    /// Rows that it was trained on: epochs become steps by it.
    #[arg(long, value_name = "N")]
    samples: Option<u64>,
}

fn system(name: &str) -> Result<System, String> {
    let found = System::ALL.iter().find(|(word, _)| *word == name);
    let words = System::ALL.map(|(word, _)| word).join(", ");
    found.map(|(_, system)| *system).ok_or_else(|| format!("expected one of {words}"))
}

impl Import {
    pub(crate) fn run(self) -> Result<()> {
        let options = ImportOptions { system: self.system, processes: self.processes, samples: self.samples };
        let imported = import(&self.file, &options)?;
        match &self.out {
            None => print(&imported.yaml)?,
            Some(out) => {
                ensure!(!out.exists(), "{}: it is there already, and is not overwritten", out.display());
                fs::write(out, &imported.yaml).with_context(|| out.display().to_string())?;
            }
        }
        say(&imported);
        Ok(())
    }
}

//! Configurations of other systems as recipes, and what becomes of each of their keys.

mod draft;
mod easy_r1;
mod easy_r1_loss;
mod easy_r1_rest;
mod fate;
mod hugging_face;
mod hugging_face_rest;
mod prompts;
mod said;
mod sheet;
mod shell;
mod steps;
mod trl;
mod trl_dpo;
mod trl_grpo;
mod trl_sft;
mod vlm_r1;

use std::path::Path;

pub use fate::{Fate, Finding};
use said::Said;
use sheet::Sheet;

use crate::recipe::Recipe;
use crate::{Error, Result};

/// What a configuration does not say of its own run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImportOptions {
    /// The system it is of, where it cannot be told from its keys.
    pub system: Option<System>,
    /// Processes that the run had, one a GPU.
    pub processes: Option<u64>,
    /// Rows that it was trained on.
    pub samples: Option<u64>,
}

/// Whose configuration it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum System {
    /// TRL's GRPO: `GRPOConfig`, `ModelConfig` and the script's own arguments.
    TrlGrpo,
    /// TRL's DPO.
    TrlDpo,
    /// TRL's SFT.
    TrlSft,
    /// VLM-R1's GRPO.
    VlmR1,
    /// R1-V's.
    R1V,
    /// EasyR1's.
    EasyR1,
}

impl System {
    /// All there are, by the word that the command line has for each.
    pub const ALL: [(&'static str, Self); 6] = [
        ("trl-grpo", Self::TrlGrpo),
        ("trl-dpo", Self::TrlDpo),
        ("trl-sft", Self::TrlSft),
        ("vlm-r1", Self::VlmR1),
        ("r1-v", Self::R1V),
        ("easy-r1", Self::EasyR1),
    ];

    fn name(self) -> &'static str {
        match self {
            Self::TrlGrpo => "TRL (GRPO)",
            Self::TrlDpo => "TRL (DPO)",
            Self::TrlSft => "TRL (SFT)",
            Self::VlmR1 => "VLM-R1",
            Self::R1V => "R1-V",
            Self::EasyR1 => "EasyR1",
        }
    }
}

/// A configuration made into a recipe.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    /// Whose it was.
    pub system: System,
    /// The recipe as YAML; what the source cannot say is marked in comments.
    pub yaml: String,
    /// What became of every key that the source says, and of those whose defaults were carried over or cannot be.
    pub findings: Vec<Finding>,
    /// What the recipe leaves to be filled in, by its keys.
    pub placeholders: Vec<String>,
}

/// Makes a recipe of TRL's, VLM-R1's, R1-V's or EasyR1's configuration: YAML, JSON, or a shell script that runs it.
///
/// # Errors
/// If the file cannot be read, is none of these, or holds a value that no recipe can have.
pub fn import(path: &Path, options: &ImportOptions) -> Result<Imported> {
    let said = Said::read(path)?;
    let system = options.system.map_or_else(|| said.system(), Ok)?;
    let mut sheet = Sheet::new(&said, options);
    match system {
        System::TrlGrpo => trl_grpo::grpo(&mut sheet),
        System::TrlDpo => trl_dpo::dpo(&mut sheet),
        System::TrlSft => trl_sft::sft(&mut sheet),
        System::VlmR1 => vlm_r1::grpo(&mut sheet),
        System::R1V => vlm_r1::r1v(&mut sheet),
        System::EasyR1 => easy_r1::grpo(&mut sheet),
    }
    .map_err(|reason| Error::Recipe(format!("{}: {reason}", path.display())))?;
    let (draft, findings) = sheet.finish();
    let file = path.file_name().map_or_else(|| path.to_string_lossy(), |name| name.to_string_lossy());
    let yaml = draft.yaml(&format!("Imported from {}, {file}.", system.name()));
    // Whatever it says, it is a recipe, or there is none.
    Recipe::read(&format!("the recipe of {}", path.display()), &yaml)?;
    Ok(Imported { system, placeholders: draft.placeholders(), yaml, findings })
}

impl std::fmt::Display for Imported {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.system.name())?;
        for (title, of) in Fate::KINDS {
            let these: Vec<&Finding> = self.findings.iter().filter(|finding| finding.fate.kind() == of).collect();
            if !these.is_empty() {
                writeln!(f, "{title}:")?;
                these.into_iter().try_for_each(|finding| writeln!(f, "  {finding}"))?;
            }
        }
        if !self.placeholders.is_empty() {
            writeln!(f, "to be filled in: {}", self.placeholders.join(", "))?;
        }
        Ok(())
    }
}

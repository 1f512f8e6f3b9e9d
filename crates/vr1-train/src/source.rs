use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vr1_data::{
    Dataset, EasyVqa, EasyVqaSplit, Lettering, Rendered, RowSource, SampleSet, Scenes, Split, Task, Typesetter,
};

use crate::Result;

/// Where samples come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Source {
    /// Scenes that are drawn, with exact answers.
    Scenes {
        /// What is asked about them.
        task: Task,
        /// Which of the disjoint streams.
        split: Split,
        /// How many there are; a million, more than a run gets through, unless it is said.
        #[serde(default = "many")]
        samples: usize,
        /// Width and height of the images in pixels.
        #[serde(default = "scene_size")]
        size: u32,
    },
    /// Rows of a file or a folder; `jsonl` means the same.
    #[serde(alias = "jsonl")]
    Rows(RowSource),
    /// The published easy-VQA set, as `cargo xtask fetch easy-vqa` unpacks it.
    EasyVqa {
        /// Its folder.
        path: PathBuf,
        /// Its own split.
        split: EasyVqaSplit,
    },
    /// Samples of another source, their questions drawn as pictures.
    Rendered {
        /// The other source.
        of: Box<Self>,
        /// The share of samples whose question is drawn.
        #[serde(default = "all")]
        share: f64,
        /// What is asked in words instead.
        #[serde(default = "read_it")]
        question: String,
        /// What the letters look like.
        #[serde(default)]
        lettering: Lettering,
    },
}

fn all() -> f64 {
    1.0
}

fn read_it() -> String {
    "Answer the question in the image.".to_owned()
}

fn many() -> usize {
    1_000_000
}

/// Of as many the order is drawn, which is held.
const MOST_SAMPLES: usize = 100_000_000;

fn scene_size() -> u32 {
    112
}

impl Source {
    /// Where the samples themselves come from, whatever is made of their questions.
    pub(crate) fn innermost(&self) -> &Self {
        match self {
            Self::Rendered { of, .. } => of.innermost(),
            Self::Scenes { .. } | Self::Rows(_) | Self::EasyVqa { .. } => self,
        }
    }

    /// The same of other samples.
    pub(crate) fn with_samples_of(&self, other: &Self) -> Self {
        match self {
            Self::Rendered { of, share, question, lettering } => Self::Rendered {
                of: Box::new(of.with_samples_of(other)),
                share: *share,
                question: question.clone(),
                lettering: lettering.clone(),
            },
            Self::Scenes { .. } | Self::Rows(_) | Self::EasyVqa { .. } => other.clone(),
        }
    }

    /// Whether its samples are drawn, and nobody said how many.
    pub(crate) fn is_endless(&self) -> bool {
        matches!(self.innermost(), Self::Scenes { samples, .. } if *samples == many())
    }

    /// Why it cannot be drawn, if it cannot.
    pub(crate) fn check(&self) -> Result<(), String> {
        match self {
            Self::Scenes { samples, .. } if *samples > MOST_SAMPLES => {
                Err(format!("`samples` is {samples}, and must be at most {MOST_SAMPLES}"))
            }
            Self::Rendered { share, .. } if !(0.0..=1.0).contains(share) => {
                Err(format!("`share` is {share}, and must be from 0 to 1"))
            }
            Self::Rendered { question, .. } if question.trim().is_empty() => Err("`question` is empty".to_owned()),
            Self::Rendered { of, lettering, .. } => {
                lettering.validate().map_err(|error| error.to_string())?;
                of.check()
            }
            Self::Scenes { .. } | Self::Rows(_) | Self::EasyVqa { .. } => Ok(()),
        }
    }

    /// The files that its rows are read from, and those of typefaces.
    ///
    /// # Errors
    /// If it cannot be said which.
    pub(crate) fn files(&self) -> Result<Vec<PathBuf>> {
        Ok(match self {
            Self::Scenes { .. } => Vec::new(),
            Self::Rows(rows) => rows.rows_files()?,
            Self::EasyVqa { path, split } => EasyVqa::rows_files(path, *split),
            Self::Rendered { of, lettering, .. } => [of.files()?, lettering.fonts.clone()].concat(),
        })
    }

    /// Opens the samples; drawn ones are a function of `seed`.
    ///
    /// # Errors
    /// If a file is missing, or a row or a typeface broken.
    pub fn open(&self, seed: u64) -> Result<Arc<dyn Dataset>> {
        Ok(match self {
            Self::Scenes { task, split, samples, size } => {
                Arc::new(Scenes { size: *size, ..Scenes::new(*task, *split, seed, *samples) })
            }
            Self::Rows(rows) => Arc::new(SampleSet::of(rows)?),
            Self::EasyVqa { path, split } => Arc::new(EasyVqa::open(path, *split)?),
            Self::Rendered { of, share, question, lettering } => Arc::new(Rendered {
                of: of.open(seed)?,
                typesetter: Typesetter::new(lettering)?,
                question: question.clone(),
                share: *share,
                seed,
            }),
        })
    }
}

use std::path::Path;

use crate::benchmarks::ALL;
use crate::extraction::Extraction;
use crate::gold::ToPixels;
use crate::item::Item;
use crate::mark::Mark;
use crate::questions::Questions;
use crate::row::ToItem;
use crate::rows::{Files, Rows};
use crate::summary::Summary;
use crate::{Error, Result};

/// What is known of a benchmark: how its files are laid out, and how its answers are read and counted.
pub(crate) struct Spec {
    pub(crate) name: &'static str,
    /// What it measures, and where it comes from.
    pub(crate) about: &'static str,
    pub(crate) layout: Layout,
    /// Which of the metrics is its score.
    pub(crate) headline: &'static str,
    /// How its own program reads and marks a completion.
    pub(crate) published: fn(&Item, &str, ToPixels) -> Mark,
    /// What it counts beyond the means of all metrics.
    pub(crate) summarise: Option<fn(&[Judged<'_>], &mut Summary)>,
    /// Whether a language model judges, and what.
    pub(crate) judging: Judging,
    /// How long answers may be, in tokens, where nothing else is asked for.
    pub(crate) max_tokens: usize,
}

/// Where a benchmark's questions come from.
pub(crate) enum Layout {
    /// Rows of files; of several layouts the first of which there are files counts.
    Rows { files: &'static [Files], item: ToItem },
    /// Files of a kind of their own; pictures may be in another folder.
    Own(fn(&Path, Option<&Path>) -> Result<Vec<Item>>),
}

/// What a language model does for a benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Judging {
    /// Nothing.
    None,
    /// Where one is asked for, it finds the answer in the completion.
    Extract,
    /// Where one is asked for, it finds the answer, and says whether it is right.
    ExtractAndScore,
    /// Where one is asked for, it says whether the completion is right.
    Score,
    /// It rates the steps and says whether the final answer is right; nothing else does.
    Steps,
}

/// A question with what came of it.
pub(crate) struct Judged<'a> {
    pub(crate) item: &'a Item,
    pub(crate) mark: &'a Mark,
}

/// A published benchmark, or a file of one's own.
#[derive(Clone, Copy)]
pub struct Benchmark(pub(crate) &'static Spec);

impl std::fmt::Debug for Benchmark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Benchmark").field(&self.name()).finish()
    }
}

impl Benchmark {
    /// The benchmark of this name.
    ///
    /// # Errors
    /// Where there is none; the error names those there are.
    ///
    /// # Example
    /// ```
    /// use vr1_eval::Benchmark;
    /// assert_eq!(Benchmark::named("mmstar")?.name(), "mmstar");
    /// assert!(Benchmark::named("mmster").unwrap_err().to_string().contains("mmstar"));
    /// # Ok::<(), vr1_eval::Error>(())
    /// ```
    pub fn named(name: &str) -> Result<Self> {
        let known = || Self::all().map(|benchmark| benchmark.name()).collect::<Vec<_>>().join(", ");
        Self::all()
            .find(|benchmark| benchmark.name() == name)
            .ok_or_else(|| Error::Benchmark { name: name.to_owned(), known: known() })
    }

    /// All there are.
    pub fn all() -> impl Iterator<Item = Self> {
        ALL.iter().map(|spec| Self(spec))
    }

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// What it measures, and where it comes from.
    #[must_use]
    pub fn about(self) -> &'static str {
        self.0.about
    }

    /// The metric that is its score.
    #[must_use]
    pub fn headline(self) -> &'static str {
        self.0.headline
    }

    /// Whether nothing but a language model can score it.
    #[must_use]
    pub fn needs_judge(self) -> bool {
        self.0.judging == Judging::Steps
    }

    /// How long its answers may be, in tokens, where nothing else is asked for.
    #[must_use]
    pub fn max_completion_tokens(self) -> usize {
        self.0.max_tokens
    }

    /// The questions at `path`: a file, or the folder it is published as. Paths of pictures are relative to `images`, or
    /// without it to where the benchmark puts them.
    ///
    /// # Errors
    /// Where files cannot be read, or rows are not as they are published: each by its file, row and column.
    pub fn open(self, path: &Path, images: Option<&Path>) -> Result<Questions> {
        match &self.0.layout {
            Layout::Own(open) => Questions::of(self, open(path, images)?),
            Layout::Rows { files, item } => Questions::read(self, Rows::open(path, files, images)?, *item),
        }
    }

    /// Reads a completion and marks it; `scale` makes pixels of the picture of what boxes are written in.
    pub(crate) fn mark(self, item: &Item, completion: &str, extraction: Extraction, scale: ToPixels) -> Mark {
        match extraction {
            Extraction::Robust => item.gold.mark(completion, scale),
            Extraction::Published => (self.0.published)(item, completion, scale),
        }
    }
}

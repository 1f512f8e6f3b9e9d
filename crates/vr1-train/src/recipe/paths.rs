use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use vr1_data::{EasyVqaSplit, RowSource};

use super::{EvaluationConfig, ObjectiveConfig, PairSource, Recipe};
use crate::{Error, Result, Source};

impl Recipe {
    /// Every file that rows are learnt from or evaluated on.
    ///
    /// # Errors
    /// If it cannot be said which.
    pub(crate) fn rows_files(&self) -> Result<BTreeSet<PathBuf>> {
        let objectives = self.objective.iter().chain(self.stages.iter().map(|stage| &stage.objective));
        let evaluations = self.stages.iter().filter_map(|stage| stage.evaluation.as_ref()).chain([&self.evaluation]);
        let mut files = BTreeSet::new();
        for objective in objectives {
            match objective {
                ObjectiveConfig::Grpo(grpo) => {
                    for source in grpo.train.iter().chain(grpo.sources.iter().map(|source| &source.source)) {
                        files.extend(source.files()?);
                    }
                }
                ObjectiveConfig::Sft(sft) => {
                    for document in &sft.documents {
                        files.extend(document.source.files()?);
                    }
                }
                ObjectiveConfig::Dpo(dpo) => files.extend(rows_of_pairs(&dpo.pairs)?),
                ObjectiveConfig::Kto(kto) => files.extend([kto.path.clone()]),
            }
        }
        for evaluation in evaluations {
            for source in evaluation.sets.values() {
                files.extend(source.files()?);
            }
            for pairs in evaluation.preferences.values() {
                files.extend(rows_of_pairs(pairs)?);
            }
        }
        Ok(files)
    }

    /// Paths that exist relative to the recipe's own folder are taken from there; an empty one is none.
    pub(crate) fn resolve(&mut self, folder: &Path) {
        let near = |path: &Path| {
            let near = folder.join(path);
            if near.exists() && !path.as_os_str().is_empty() { near } else { path.to_owned() }
        };
        self.model = near(Path::new(&self.model)).to_string_lossy().into_owned();
        for path in self.files() {
            *path = near(path);
        }
    }

    /// Every file and folder of samples that the recipe names, and the typefaces that these are drawn with.
    fn files(&mut self) -> Vec<&mut PathBuf> {
        let mut paths = Vec::new();
        paths.extend(of_evaluation(&mut self.evaluation));
        for objective in self.objective.iter_mut() {
            paths.extend(of_objective(objective));
        }
        for stage in &mut self.stages {
            paths.extend(of_objective(&mut stage.objective));
            paths.extend(stage.evaluation.iter_mut().flat_map(of_evaluation));
        }
        paths
    }

    /// Trains and evaluates on real data instead: a folder of easy-VQA with its own splits, or a file of rows with a
    /// held-out file `test` of the same ending beside it. Every document of an SFT recipe is made from it, so rows must hold
    /// what the documents ask for: staged conversations where these have `turns`. Where the recipe draws questions, it draws
    /// these: of several GRPO sources as the first says, and its sets that are drawn stay beside `test`.
    ///
    /// # Errors
    /// If the folder or the file is not there, or a stage learns from pairs or judged answers, which have files of their
    /// own.
    pub fn use_data(&mut self, path: &Path) -> Result<()> {
        if !path.exists() {
            return Err(Error::Recipe(format!(
                "--data: there is no {:?} on this machine, and nothing is fetched",
                path.display()
            )));
        }
        let (train, test) = if path.is_dir() {
            let set = |split| Source::EasyVqa { path: path.to_owned(), split };
            (set(EasyVqaSplit::Train), set(EasyVqaSplit::Test))
        } else {
            let test = Path::new("test").with_extension(path.extension().unwrap_or_default());
            let set = |path: PathBuf| Source::Rows(RowSource::all(path));
            (set(path.to_owned()), set(path.with_file_name(test)))
        };
        for objective in self.objective.iter_mut().chain(self.stages.iter_mut().map(|stage| &mut stage.objective)) {
            match objective {
                ObjectiveConfig::Grpo(grpo) => {
                    let first = grpo.train.iter().chain(grpo.sources.iter().map(|source| &source.source)).next();
                    let train = first.map_or_else(|| train.clone(), |first| first.with_samples_of(&train));
                    (grpo.train, grpo.sources) = (Some(train), Vec::new());
                }
                ObjectiveConfig::Sft(sft) => {
                    sft.documents.iter_mut().for_each(|d| d.source = d.source.with_samples_of(&train));
                }
                ObjectiveConfig::Dpo(dpo) => match &mut dpo.pairs {
                    PairSource::Sampled { train: samples, .. } | PairSource::Written { source: samples, .. } => {
                        *samples = samples.with_samples_of(&train);
                    }
                    PairSource::Rows(_) => return Err(own_files("pairs")),
                },
                ObjectiveConfig::Kto(_) => return Err(own_files("judged answers")),
            }
        }
        let stages = self.stages.iter_mut().filter_map(|stage| stage.evaluation.as_mut());
        for evaluation in std::iter::once(&mut self.evaluation).chain(stages) {
            evaluation.sets.retain(|_, set| matches!(set, Source::Rendered { .. }));
            evaluation.sets.values_mut().for_each(|set| *set = set.with_samples_of(&test));
            evaluation.sets.entry("test".to_owned()).or_insert_with(|| test.clone());
        }
        Ok(())
    }
}

fn own_files(what: &str) -> Error {
    Error::Recipe(format!("--data: the recipe learns from {what}, which its own keys name"))
}

fn rows_of_pairs(pairs: &PairSource) -> Result<Vec<PathBuf>> {
    match pairs {
        PairSource::Rows(rows) => Ok(rows.rows_files()?),
        PairSource::Written { source, .. } | PairSource::Sampled { train: source, .. } => source.files(),
    }
}

fn of_rows(rows: &mut RowSource) -> Vec<&mut PathBuf> {
    std::iter::once(&mut rows.path).chain(&mut rows.images).collect()
}

pub(crate) fn of_source(source: &mut Source) -> Vec<&mut PathBuf> {
    match source {
        Source::Rows(rows) => of_rows(rows),
        Source::EasyVqa { path, .. } => vec![path],
        Source::Scenes { .. } => vec![],
        Source::Rendered { of, lettering, .. } => of_source(of).into_iter().chain(&mut lettering.fonts).collect(),
    }
}

fn of_pairs(pairs: &mut PairSource) -> Vec<&mut PathBuf> {
    match pairs {
        PairSource::Rows(rows) => of_rows(rows),
        PairSource::Written { source, .. } | PairSource::Sampled { train: source, .. } => of_source(source),
    }
}

fn of_objective(objective: &mut ObjectiveConfig) -> Vec<&mut PathBuf> {
    match objective {
        ObjectiveConfig::Grpo(grpo) => {
            let sources = grpo.sources.iter_mut().map(|source| &mut source.source);
            grpo.train.iter_mut().chain(sources).flat_map(of_source).collect()
        }
        ObjectiveConfig::Sft(sft) => sft.documents.iter_mut().flat_map(|d| of_source(&mut d.source)).collect(),
        ObjectiveConfig::Dpo(dpo) => of_pairs(&mut dpo.pairs),
        ObjectiveConfig::Kto(kto) => std::iter::once(&mut kto.path).chain(&mut kto.images).collect(),
    }
}

fn of_evaluation(evaluation: &mut EvaluationConfig) -> Vec<&mut PathBuf> {
    let sets = evaluation.sets.values_mut().flat_map(of_source);
    let benchmarks = evaluation.benchmarks.values_mut();
    let benchmarks = benchmarks.flat_map(|benchmark| std::iter::once(&mut benchmark.path).chain(&mut benchmark.images));
    sets.chain(evaluation.preferences.values_mut().flat_map(of_pairs)).chain(benchmarks).collect()
}

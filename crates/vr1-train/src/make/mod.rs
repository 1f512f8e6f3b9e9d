//! Rows that a model makes, as a YAML file says it.

mod check;
mod config;
mod row;
mod words;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

pub use config::{
    AskConfig, Count, DeduplicateConfig, FilterConfig, KeepConfig, RewardConfig, ScoreConfig, ShowMedia, TeacherConfig,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use vr1_agent::{Journal, Judging, Keep, Making, Prompted, Scoring, StepWords, Tally, Teacher, Wording, make};
use vr1_data::{Dataset, Fields, RowWriter};
use vr1_processor::{Part, Role};
use vr1_reward::Registry;
use vr1_rollout::Sampling;
use vr1_run::Document as Yaml;

use crate::recipe::{first_difference, of_source};
use crate::{Error, Result, Source};
use row::Row;
use words::Words;

/// Rows that a model makes of samples: how they are asked about, which answers are kept, and what is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MakeRecipe {
    /// The system whose rows these are, or a name.
    pub system: String,
    /// Where it departs from that system, and why.
    #[serde(default)]
    pub differences: Vec<String>,
    /// The samples that are asked about.
    pub source: Source,
    /// How many of them, the first.
    #[serde(default)]
    pub samples: Count,
    /// Everything random follows from it.
    #[serde(default = "forty_two")]
    pub seed: u64,
    /// Who is asked.
    pub model: TeacherConfig,
    /// How.
    pub ask: AskConfig,
    /// How tokens are picked.
    #[serde(default)]
    pub sampling: Sampling,
    /// Answers to each question.
    #[serde(default = "one")]
    pub completions: usize,
    /// Answers step by step instead, each step a call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<StepWords>,
    /// Pieces of an answer by name: a pattern whose first group is the piece. An answer that lacks one is dropped.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub read: BTreeMap<String, String>,
    /// What judges answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reward: Option<RewardConfig>,
    /// What of an answer is judged, a template; all of it where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judged: Option<String>,
    /// What answers must say, and must not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filter: Vec<FilterConfig>,
    /// How those that are left are graded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<ScoreConfig>,
    /// Which are kept.
    #[serde(default)]
    pub keep: KeepConfig,
    /// What may not come twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deduplicate: Option<DeduplicateConfig>,
    /// What is written: values are templates, `media` stands for what the sample shows.
    pub row: Fields,
    /// The file of rows, JSONL or parquet, relative to the recipe's folder.
    pub out: PathBuf,
    /// The recipe as it was written.
    #[serde(skip)]
    said: Value,
}

fn forty_two() -> u64 {
    42
}

fn one() -> usize {
    1
}

/// What may be another when rows are gone on with: where a model is asked, and how fast; and where rows go, which is where they
/// are looked for.
const FREE: [&str; 7] =
    ["url", "key_env", "at_once", "requests_per_minute", "deadline_seconds", "timeout_seconds", "device"];

impl MakeRecipe {
    /// Reads a recipe and applies overrides, each `dotted.key=value`. Paths that exist relative to its folder are taken from there.
    ///
    /// # Errors
    /// An unknown, missing or mistyped key, or a value out of its range, with its place and the nearest right name.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self> {
        let yaml = Yaml::read(path, overrides)?;
        let mut recipe: Self = yaml.parse()?;
        recipe.check().map_err(|(key, reason)| yaml.error(&key, reason))?;
        recipe.said = recipe.fixed();
        recipe.resolve(path.parent().unwrap_or(Path::new(".")));
        Ok(recipe)
    }

    /// What decides which rows are made.
    fn fixed(&self) -> Value {
        let mut said = serde_json::to_value(self).unwrap_or_default();
        if let Some(said) = said.as_object_mut() {
            ["system", "differences", "out"].iter().for_each(|key| drop(said.remove(*key)));
            if let Some(model) = said.get_mut("model").and_then(Value::as_object_mut) {
                FREE.iter().for_each(|key| drop(model.remove(*key)));
            }
        }
        said
    }

    fn resolve(&mut self, folder: &Path) {
        let near = |path: &Path| {
            let near = folder.join(path);
            if near.exists() && !path.as_os_str().is_empty() { near } else { path.to_owned() }
        };
        if let TeacherConfig::Local { path, .. } = &mut self.model {
            *path = near(path);
        }
        of_source(&mut self.source).into_iter().for_each(|path| *path = near(path));
        self.out = folder.join(&self.out);
    }

    /// In 16 letters what decides which rows are made.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        blake3::hash(self.said.to_string().as_bytes()).to_hex()[..16].to_owned()
    }

    /// The samples, and how many of them are asked about.
    fn samples(&self) -> Result<(std::sync::Arc<dyn Dataset>, usize)> {
        let samples = self.source.open(self.seed)?;
        let count = self.samples.limit().unwrap_or(usize::MAX).min(samples.len());
        Ok((samples, count))
    }

    /// What is asked about the first sample, as text.
    ///
    /// # Errors
    /// If it cannot be read, or has not what the words ask for.
    pub fn first_prompt(&self) -> Result<String> {
        let sample = self.samples()?.0.get(0)?;
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| Error::Recipe(source.to_string());
        let Prompted { messages, prefill } = Words::new(self)?.ask(&sample).map_err(failed)?;
        let mut text = String::new();
        for message in messages {
            let role = match message.role {
                Role::System => "system",
                Role::User => "user",
                _ => "assistant",
            };
            text += &format!("[{role}]\n");
            for part in message.parts {
                match part {
                    Part::Text(words) => text += &words,
                    _ => text += "[what sample shows]",
                }
            }
            text += "\n";
        }
        text += &format!("[assistant]\n{prefill}");
        Ok(text.replace("[what sample shows]", &format!("[what `{}` shows]", sample.id)))
    }

    /// Makes the rows; `told` hears how it goes. What was answered before, by a run that was ended, is not asked again.
    ///
    /// Beside the file of rows a folder `FILE.made` has every answer. A file that is made is whole, and the same however often
    /// its run was ended.
    ///
    /// # Errors
    /// If samples cannot be read or asked about, the folder is of another recipe, which names what differs, the model cannot be
    /// asked, or a row cannot be written.
    pub fn make(&self, registry: &Registry, teacher: &mut dyn Teacher, told: &mut dyn FnMut(&Tally)) -> Result<Tally> {
        let words = Words::new(self)?;
        let program = self.reward.as_ref().map(|reward| reward.program(registry)).transpose()?;
        let judging = program.as_ref().map(|program| Judging {
            program,
            term: self.keep.term.as_deref(),
            at_least: self.keep.at_least,
        });
        self.check_term(program.as_ref())?;
        let making = Making {
            wording: &words,
            sampling: Sampling { seed: self.seed, ..self.sampling.clone() },
            completions: self.completions,
            steps: self.steps.clone(),
            read: self.patterns()?,
            judging,
            filters: self.filters()?,
            scoring: self.score.as_ref().map(|score| Scoring { from: score.from, to: score.to, tries: score.tries }),
            keep: Keep { per_question: self.keep.per_question.limit(), choose: self.keep.choose },
            deduplicate: self.deduplicate.as_ref().map(DeduplicateConfig::what),
        };
        let (samples, count) = self.samples()?;
        let folder = self.folder();
        self.begin(&folder)?;
        let mut journal = Journal::open(&folder.join("answers.jsonl"))?;
        let mut writer = RowWriter::create(&self.out, &folder)?;
        let (row, model, recipe) = (Row::new(&self.row)?, teacher.name().to_owned(), self.fingerprint());
        let mut write = |kept: vr1_agent::Kept| -> vr1_agent::Result<()> {
            let sample = words::told(&kept.sample);
            let made = json!({
                "source": sample.id, "model": model, "seed": self.seed, "attempt": kept.attempt, "recipe": recipe,
            });
            let failed = |source: Error| vr1_agent::Error::Sample { sample: sample.id.clone(), source: source.into() };
            Ok(writer.write(row.of(&sample, made).map_err(failed)?)?)
        };
        let tally = make(&making, samples.as_ref(), count, teacher, &mut journal, &mut write, told)?;
        writer.finish()?;
        Ok(tally)
    }

    /// The folder of answers beside the rows.
    fn folder(&self) -> PathBuf {
        let mut name = self.out.file_name().unwrap_or_default().to_owned();
        name.push(".made");
        self.out.with_file_name(name)
    }

    /// Writes down what decides the rows, or checks that it is the same.
    fn begin(&self, folder: &Path) -> Result<()> {
        let path = folder.join("recipe.json");
        let failed = |reason: String| Error::State { path: path.clone(), reason };
        fs::create_dir_all(folder).map_err(|error| failed(error.to_string()))?;
        if !path.exists() {
            // Written aside: half of it would be another recipe.
            let part = path.with_extension("part");
            let text = serde_json::to_string_pretty(&self.said).unwrap_or_default();
            let written = fs::write(&part, text).and_then(|()| fs::rename(&part, &path));
            return written.map_err(|error| failed(error.to_string()));
        }
        let text = fs::read_to_string(&path).map_err(|error| failed(error.to_string()))?;
        let theirs: Value = serde_json::from_str(&text).map_err(|error| failed(error.to_string()))?;
        match first_difference(&self.said, &theirs) {
            None => Ok(()),
            Some((key, mine, theirs)) => Err(failed(format!(
                "the answers here are of another recipe: `{key}` is {mine} now and was {theirs}; make rows of it elsewhere \
                 (`--out`), or remove the folder"
            ))),
        }
    }
}

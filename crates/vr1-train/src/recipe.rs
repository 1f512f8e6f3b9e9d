use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use vr1_curriculum::Schedule as CurriculumSchedule;
use vr1_data::EasyVqaSplit;
use vr1_grpo::{GrpoConfig, Scale};
use vr1_processor::Layout;
use vr1_reward::ProgramSource;
use vr1_rollout::Sampling;
use vr1_run::Document as Yaml;

use crate::{DocumentConfig, Error, LoraRecipe, OptimizerConfig, Result, Source};

/// A run, as a YAML file says it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The system that it reproduces, or the name of the run.
    pub system: String,
    /// Where it departs from that system, and why.
    #[serde(default)]
    pub differences: Vec<String>,
    /// A directory (relative to the recipe's own, or to where the program runs) or a Hub id.
    pub model: String,
    /// Everything random follows from it.
    #[serde(default = "forty_two")]
    pub seed: u64,
    /// Updates of the parameters.
    pub steps: u64,
    /// What is not trained: `tower`, `merger`, `language`, or places in the tree of names such as `model.embed_tokens`.
    #[serde(default)]
    pub freeze: Vec<String>,
    /// Adapters that are trained instead of the model's own parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora: Option<LoraRecipe>,
    /// What the update is made of.
    pub objective: Objective,
    /// How a sample becomes a prompt.
    pub prompt: PromptConfig,
    /// What is good: a reward program.
    pub reward: ProgramSource,
    /// AdamW and its schedule.
    #[serde(default)]
    pub optimizer: OptimizerConfig,
    /// Held-out samples and how they are scored.
    pub evaluation: EvaluationConfig,
    /// Steps between checkpoints; 0 keeps the last step's alone.
    #[serde(default)]
    pub save_every_steps: u64,
}

fn forty_two() -> u64 {
    42
}

/// What the update is made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Objective {
    /// Group relative policy optimisation.
    Grpo(Box<GrpoObjective>),
    /// Imitation.
    Sft(SftObjective),
}

/// Group relative policy optimisation: [`vr1_grpo`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrpoObjective {
    /// The samples that are asked.
    pub train: Source,
    /// Prompts in an update.
    pub prompts_per_step: usize,
    /// Completions of each prompt, G.
    pub group_size: usize,
    /// Prompts whose gradients are computed at once; the gradient does not depend on it. 0: all of them.
    #[serde(default)]
    pub prompts_per_micro_batch: usize,
    /// Updates made from one set of completions, μ.
    #[serde(default = "one")]
    pub iterations: u64,
    /// How completions are sampled; the seed is the run's.
    #[serde(default)]
    pub sampling: Sampling,
    /// What advantages are divided by.
    #[serde(default = "group")]
    pub scale: Scale,
    /// The loss.
    #[serde(default)]
    pub loss: GrpoConfig,
}

fn one() -> u64 {
    1
}

fn group() -> Scale {
    Scale::Group
}

/// Imitation: [`vr1_sft`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SftObjective {
    /// What is imitated.
    pub documents: Vec<DocumentConfig>,
    /// Documents in an update.
    pub documents_per_step: usize,
    /// Documents whose gradients are computed at once. 0: all of them.
    #[serde(default)]
    pub documents_per_micro_batch: usize,
    /// How the documents' stages follow each other.
    #[serde(default)]
    pub curriculum: CurriculumSchedule,
}

/// How a sample becomes a prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromptConfig {
    /// By the chat template, or as it is.
    #[serde(default)]
    pub layout: Layout,
    /// A template of the user's words: `{{ question }}` and the sample's own fields.
    pub text: String,
    /// Words put into the assistant's mouth.
    #[serde(default)]
    pub prefill: String,
}

/// Held-out samples and how they are scored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationConfig {
    /// The sets by name.
    pub sets: BTreeMap<String, Source>,
    /// How many samples of each set are used, from its start; 0 uses all.
    #[serde(default = "two_hundred")]
    pub samples: usize,
    /// The term of the reward that counts as accuracy.
    #[serde(default = "accuracy")]
    pub metric: String,
    /// A sample counts as right where that term is above this.
    #[serde(default = "half")]
    pub threshold: f64,
    /// The longest answer, in tokens.
    pub max_completion_tokens: usize,
    /// Steps between evaluations during training; 0 has none.
    #[serde(default)]
    pub every_steps: u64,
    /// Answers in stages, each the best of this many beams; the last stage's answer is scored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage_beams: Option<usize>,
}

fn two_hundred() -> usize {
    200
}

fn accuracy() -> String {
    "accuracy".to_owned()
}

fn half() -> f64 {
    0.5
}

impl Recipe {
    /// Reads a recipe and applies overrides, each `dotted.key=value`.
    ///
    /// # Errors
    /// An unknown, missing or mistyped key, or a value out of its range, with its place and the nearest right name.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self> {
        let yaml = Yaml::read(path, overrides)?;
        let mut recipe: Self = yaml.parse()?;
        recipe.check().map_err(|(key, reason)| yaml.error(key, reason))?;
        recipe.resolve(path.parent().unwrap_or(Path::new(".")));
        Ok(recipe)
    }

    /// What a second look finds: the key and the reason.
    fn check(&self) -> std::result::Result<(), (&'static str, String)> {
        let positive = |key: &'static str, value: usize| {
            if value == 0 { Err((key, "must be at least 1".to_owned())) } else { Ok(()) }
        };
        positive("steps", self.steps as usize)?;
        positive("evaluation.max_completion_tokens", self.evaluation.max_completion_tokens)?;
        match &self.objective {
            Objective::Grpo(grpo) => {
                positive("objective.prompts_per_step", grpo.prompts_per_step)?;
                positive("objective.iterations", grpo.iterations as usize)?;
                if grpo.group_size < 2 {
                    return Err(("objective.group_size", "must be at least 2: an advantage compares".to_owned()));
                }
                grpo.sampling.validate().map_err(|e| ("objective.sampling", e.to_string()))?;
                grpo.loss.validate().map_err(|e| ("objective.loss", e.to_string()))?;
            }
            Objective::Sft(sft) => {
                positive("objective.documents_per_step", sft.documents_per_step)?;
                positive("objective.documents", sft.documents.len())?;
            }
        }
        if let Some(lora) = &self.lora {
            lora.config().validate().map_err(|e| ("lora", e.to_string()))?;
        }
        self.optimizer.validate().map_err(|e| ("optimizer", e.to_string()))
    }

    /// Whether the update is held near the model that the run began with.
    pub(crate) fn compares_with_a_reference(&self) -> bool {
        matches!(&self.objective, Objective::Grpo(grpo) if grpo.loss.beta != 0.0)
    }

    /// Checks that a run's `config.yaml` says the same.
    ///
    /// # Errors
    /// If the file cannot be read, or a key differs; the first such key is named with both values.
    pub(crate) fn check_same(&self, config: &Path) -> Result<()> {
        let value = |recipe: &Self| serde_json::to_value(recipe).unwrap_or_default();
        let (mine, theirs) = (value(self), value(&Yaml::read(config, &[])?.parse()?));
        match first_difference(&mine, &theirs) {
            None => Ok(()),
            Some((key, mine, theirs)) => Err(Error::Recipe(format!(
                "a resumed run goes on as it began, but `{key}` is {mine} here and {theirs} in {}",
                config.display()
            ))),
        }
    }

    /// Paths that exist relative to the recipe's own folder are taken from there.
    fn resolve(&mut self, folder: &Path) {
        let near = |path: &Path| {
            let near = folder.join(path);
            if near.exists() { near } else { path.to_owned() }
        };
        self.model = near(Path::new(&self.model)).to_string_lossy().into_owned();
        let mut sources: Vec<&mut Source> = self.evaluation.sets.values_mut().collect();
        match &mut self.objective {
            Objective::Grpo(grpo) => sources.push(&mut grpo.train),
            Objective::Sft(sft) => sources.extend(sft.documents.iter_mut().map(|d| &mut d.source)),
        }
        for source in sources {
            if let Source::Jsonl { path, .. } | Source::EasyVqa { path, .. } = source {
                *path = near(path);
            }
        }
    }

    /// Trains and evaluates on real data instead: a folder of easy-VQA with its own splits, or a JSONL file of VLM-R1's
    /// rows with a held-out file `test.jsonl` beside it. Every document of an SFT recipe is made from it, so rows must hold
    /// what the documents ask for: staged conversations where these have `turns`.
    ///
    /// # Errors
    /// If the folder or the file is not there.
    pub fn use_data(&mut self, path: &Path) -> Result<()> {
        if !path.exists() {
            return Err(Error::Recipe(format!("--data: there is no {}", path.display())));
        }
        let (train, test) = if path.is_dir() {
            let set = |split| Source::EasyVqa { path: path.to_owned(), split };
            (set(EasyVqaSplit::Train), set(EasyVqaSplit::Test))
        } else {
            let set = |path: PathBuf| Source::Jsonl { path, images: None };
            (set(path.to_owned()), set(path.with_file_name("test.jsonl")))
        };
        match &mut self.objective {
            Objective::Grpo(grpo) => grpo.train = train,
            Objective::Sft(sft) => sft.documents.iter_mut().for_each(|d| d.source = train.clone()),
        }
        self.evaluation.sets = BTreeMap::from([("test".to_owned(), test)]);
        Ok(())
    }
}

/// The dotted name of the first key in which two values differ, and what each has there.
fn first_difference(a: &Value, b: &Value) -> Option<(String, Value, Value)> {
    let join = |key: &str, (below, a, b): (String, Value, Value)| {
        (if below.is_empty() { key.to_owned() } else { format!("{key}.{below}") }, a, b)
    };
    match (a, b) {
        (Value::Object(x), Value::Object(y)) => x.keys().chain(y.keys()).find_map(|key| {
            let side = |map: &serde_json::Map<String, Value>| map.get(key).cloned().unwrap_or_default();
            first_difference(&side(x), &side(y)).map(|found| join(key, found))
        }),
        (Value::Array(x), Value::Array(y)) if x.len() == y.len() => {
            let mut pairs = x.iter().zip(y).enumerate();
            pairs.find_map(|(i, (x, y))| first_difference(x, y).map(|found| join(&i.to_string(), found)))
        }
        _ => (a != b).then(|| (String::new(), a.clone(), b.clone())),
    }
}

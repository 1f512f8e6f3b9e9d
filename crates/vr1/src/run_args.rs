use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, ensure};
use clap::Args;
use vr1_eval::{Ask, Judge};
use vr1_learn::World;
use vr1_reward::Registry;
use vr1_run::Show;
use vr1_train::{ObjectiveConfig, PairSource, Recipe, RunOptions, Source, Trainer};

/// The arguments of a run.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Everything random follows from it; the recipe's own where it is not given.
    #[arg(long)]
    pub seed: Option<u64>,
    /// The run's folder; a new one under `runs/` where it is not given. A run of the same recipe in it is gone on with.
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// `cpu`, `cuda` or `cuda:N`; of several processes on a machine, `cuda` is a card for each.
    #[arg(long, default_value = "cpu")]
    pub device: String,
    /// The kind of number that parameters are: `f32`, `bf16` or `f16`.
    #[arg(long, default_value = "f32")]
    pub dtype: String,
    /// A model directory or a Hub id, instead of the recipe's.
    #[arg(long)]
    pub model: Option<String>,
    /// Real samples instead of the recipe's: a JSONL file of VLM-R1's rows, or a folder of easy-VQA.
    #[arg(long)]
    pub data: Option<PathBuf>,
    /// Another value for a key of the recipe: `steps=10`, `optimizer.learning_rate=1e-4`.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Go on with the run in `--out`, which must not be a run of another recipe; where there is none, it begins.
    #[arg(long, requires = "out")]
    pub resume: bool,
    /// Go on from this step's checkpoint, and not from the latest that is whole.
    #[arg(long, requires = "out", value_name = "step-N")]
    pub from: Option<String>,
    /// Go on though the data, the model or this program are no longer what the run was begun with.
    #[arg(long, requires = "out")]
    pub accept_changes: bool,
    /// Refuse weights that are not finite before the first step, those that are not trained too.
    #[arg(long)]
    pub check_weights: bool,
    /// A run of under a minute that fails unless reward rose, or loss fell.
    #[arg(long)]
    pub smoke: bool,
    /// Show no progress.
    #[arg(long)]
    pub quiet: bool,
}

impl RunArgs {
    /// The recipe in `path` with these arguments applied.
    ///
    /// # Errors
    /// If the recipe cannot be read, a key is unknown, or the data is not there.
    pub fn recipe(&self, path: &Path) -> Result<Recipe> {
        let mut overrides = if self.smoke { short(path)? } else { Vec::new() };
        overrides.extend(self.set.clone());
        overrides.extend(self.seed.map(|seed| format!("seed={seed}")));
        overrides.extend(self.model.as_ref().map(|model| format!("model={}", serde_json::json!(model))));
        let mut recipe = Recipe::load(path, &overrides)?;
        if let Some(data) = &self.data {
            recipe.use_data(data)?;
        }
        Ok(recipe)
    }

    /// The run of the recipe in `path`: a new one, or the one in `--out`, taken up again. Where torchrun or srun started several
    /// processes, it is made by all of them.
    ///
    /// # Errors
    /// As [`recipe`](Self::recipe), [`options`](Self::options), [`World::from_environment`] and [`Trainer::open`].
    pub fn trainer(&self, path: &Path, name: &str) -> Result<Trainer> {
        self.trainer_in(&World::from_environment()?, path, name)
    }

    /// The same made by the processes of `world`.
    ///
    /// # Errors
    /// As [`recipe`](Self::recipe), [`options`](Self::options) and [`Trainer::open`].
    pub fn trainer_in(&self, world: &World, path: &Path, name: &str) -> Result<Trainer> {
        let prepared = || -> Result<(Recipe, RunOptions)> {
            let again = std::env::var("TORCHELASTIC_MAX_RESTARTS").is_ok_and(|restarts| restarts != "0");
            ensure!(
                world.is_alone() || !again || self.out.is_some(),
                "torchrun --max-restarts starts the run again, which goes on only where `--out` says which it is"
            );
            let options = RunOptions {
                world: world.clone(),
                ..self.options_on(name, (!world.is_alone()).then(|| world.local_rank()))?
            };
            Ok((self.recipe(path)?, options))
        };
        let (recipe, options) = prepared().map_err(|error| {
            world.fail(&format!("{error:#}"));
            if world.is_alone() { error } else { error.context(format!("rank {}", world.rank())) }
        })?;
        Ok(Trainer::open(recipe, options)?)
    }

    /// Where and on what the run named `name` runs.
    ///
    /// # Errors
    /// If the device or the kind of number is unknown or absent.
    pub fn options(&self, name: &str) -> Result<RunOptions> {
        self.options_on(name, None)
    }

    /// The same on the GPU of that number, where there is one for each process and none is named.
    fn options_on(&self, name: &str, gpu: Option<usize>) -> Result<RunOptions> {
        let kind = kind(&self.dtype)?;
        let device = match (self.device.as_str(), gpu) {
            ("cuda", Some(gpu)) => vr1_torch::device(&format!("cuda:{gpu}"))?,
            (named, _) => vr1_torch::device(named)?,
        };
        let show = if self.quiet { Show::Quiet } else { Show::Auto };
        let out = self.out.clone().unwrap_or_else(|| free_folder(name));
        let from = self.from.as_deref().map(step).transpose()?;
        let (accept_changes, check_weights) = (self.accept_changes, self.check_weights);
        let (registry, judge) = (registry()?, named_judge()?.map(|judge| Arc::new(judge) as Arc<dyn Ask>));
        let options = RunOptions { from, accept_changes, check_weights, device, kind, show, ..RunOptions::new(out) };
        Ok(RunOptions { registry, judge, ..options })
    }
}

/// What makes the recipe in `path` a run of under a minute that shows whether it learns: sixteen steps, of each stage where
/// there are several, and twenty-four of GRPO alone. Where answers to drawn scenes are sampled it asks the same few prompts at each step,
/// because rewards and margins of ever new prompts differ by more than so few steps bring; four of them are enough for GRPO.
fn short(path: &Path) -> Result<Vec<String>> {
    let recipe = Recipe::load(path, &[])?;
    let mut settings = vec!["evaluation.samples=16".to_owned()];
    if let Some(objective) = &recipe.objective {
        let same = same_prompts(objective, "objective");
        settings.extend(match objective {
            ObjectiveConfig::Grpo(_) if !same.is_empty() => {
                vec!["steps=24".to_owned(), "optimizer.schedule=constant".to_owned()]
            }
            _ => vec!["steps=16".to_owned()],
        });
        settings.extend(same);
    }
    for (stage, config) in recipe.stages.iter().enumerate() {
        settings.push(format!("stages.{stage}.steps=16"));
        settings.extend(config.evaluation.is_some().then(|| format!("stages.{stage}.evaluation.samples=16")));
        settings.extend(same_prompts(&config.objective, &format!("stages.{stage}.objective")));
    }
    Ok(settings)
}

/// The settings by which the objective at `key` asks the same prompts in each of its steps, where it samples answers to drawn scenes.
fn same_prompts(objective: &ObjectiveConfig, key: &str) -> Vec<String> {
    match objective {
        ObjectiveConfig::Grpo(grpo) => {
            let scenes = grpo.train.as_ref().and_then(|train| scenes_at(train, &format!("{key}.train")));
            let each = grpo.prompts_per_step.min(4);
            scenes
                .map(|scenes| vec![format!("{key}.prompts_per_step={each}"), format!("{scenes}.samples={each}")])
                .unwrap_or_default()
        }
        ObjectiveConfig::Dpo(dpo) => match &dpo.pairs {
            PairSource::Sampled { train, .. } => {
                let scenes = scenes_at(train, &format!("{key}.pairs.train"));
                scenes.map(|scenes| format!("{scenes}.samples={}", dpo.pairs_per_step)).into_iter().collect()
            }
            PairSource::Written { .. } | PairSource::Rows(_) => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// The key of the drawn scenes that a source at `key` is, or draws the questions of.
fn scenes_at(source: &Source, key: &str) -> Option<String> {
    match source {
        Source::Scenes { .. } => Some(key.to_owned()),
        Source::Rendered { of, .. } => scenes_at(of, &format!("{key}.of")),
        Source::Rows(_) | Source::EasyVqa { .. } => None,
    }
}

/// Every verifier of `vr1-reward`, and `judge` where `VR1_JUDGE_URL` and `VR1_JUDGE_MODEL` name a model behind an
/// OpenAI-compatible server; `VR1_JUDGE_KEY` is the server's key, if it wants one.
///
/// # Errors
/// If one of the two is missing.
pub fn registry() -> Result<Registry> {
    let mut registry = Registry::default();
    if let Some(judge) = named_judge()? {
        judge.register(&mut registry);
    }
    Ok(registry)
}

/// The [`judge`], where the environment says anything of one.
fn named_judge() -> Result<Option<Judge>> {
    let said = ["VR1_JUDGE_URL", "VR1_JUDGE_MODEL"].iter().any(|name| std::env::var_os(name).is_some());
    said.then(judge).transpose()
}

/// The judge that `VR1_JUDGE_URL` and `VR1_JUDGE_MODEL` name, with `VR1_JUDGE_KEY` as the server's key, if there is one.
///
/// # Errors
/// If one of the two is missing.
pub fn judge() -> Result<Judge> {
    let [url, model, key] = ["URL", "MODEL", "KEY"].map(|name| std::env::var(format!("VR1_JUDGE_{name}")).ok());
    match (url, model) {
        (Some(url), Some(model)) => {
            let judge = Judge::new(&url, &model);
            Ok(key.into_iter().fold(judge, |judge, key| judge.with_key(&key)))
        }
        _ => anyhow::bail!("a judge needs both VR1_JUDGE_URL and VR1_JUDGE_MODEL"),
    }
}

/// The step of a checkpoint named `step-N`, or `N`.
fn step(name: &str) -> Result<u64> {
    let number = name.strip_prefix("step-").unwrap_or(name).parse().ok();
    number.ok_or_else(|| anyhow::anyhow!("--from: {name:?} is no checkpoint: expected `step-N`"))
}

/// The kind of number that `name` says: `f32`, `bf16` or `f16`.
///
/// # Errors
/// If it is another word.
pub fn kind(name: &str) -> Result<tch::Kind> {
    Ok(match name {
        "f32" => tch::Kind::Float,
        "bf16" => tch::Kind::BFloat16,
        "f16" => tch::Kind::Half,
        other => anyhow::bail!("unknown dtype {other:?}: expected `f32`, `bf16` or `f16`"),
    })
}

/// `runs/NAME-1`, or the first number that no run has.
pub(crate) fn free_folder(name: &str) -> PathBuf {
    let folder = |n: u32| Path::new("runs").join(format!("{name}-{n}"));
    (1..).map(folder).find(|path| !path.exists()).unwrap_or_else(|| folder(0))
}

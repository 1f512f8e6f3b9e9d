use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::System;
use super::shell;
use crate::{Error, Result};

/// What a configuration says.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// Its keys and values, in order; those of sections as `section.key`.
    pub(super) values: Map<String, Value>,
    /// What is said to the launcher.
    pub(super) launcher: Vec<(String, Value)>,
    /// The script that is run, where one is.
    program: String,
    /// How many values are said by flags.
    flags: usize,
    /// Where it stands.
    pub(super) folder: PathBuf,
}

/// The words by which each system is known.
const KNOWN: [(System, &[&str]); 5] = [
    (
        System::EasyR1,
        &["worker.actor.model.model_path", "algorithm.adv_estimator", "data.rollout_batch_size", "worker.rollout.n"],
    ),
    (System::VlmR1, &["data_file_paths", "image_folders", "is_reward_customized_from_vlm_module"]),
    (System::TrlGrpo, &["num_generations", "max_completion_length", "reward_funcs", "scale_rewards", "num_iterations"]),
    (System::TrlDpo, &["precompute_ref_log_probs", "f_divergence_type", "loss_weights", "ld_alpha"]),
    (System::TrlSft, &["packing", "dataset_text_field", "completion_only_loss", "assistant_only_loss"]),
];

impl Said {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let broken = |reason: String| Error::Recipe(format!("{}: {reason}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| broken(error.to_string()))?;
        let folder = path.parent().unwrap_or(Path::new(".")).to_owned();
        let mut said = Self { folder, ..Self::default() };
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default();
        if !["yaml", "yml", "json"].contains(&ending.as_str()) {
            let (run, arguments) = (shell::run(&text), shell::arguments(&text));
            let flags = match run {
                Some(run) => {
                    said.program = run.program;
                    said.launcher = run.launcher.into_iter().map(|(key, words)| (key, value(&words))).collect();
                    run.flags
                }
                None => arguments,
            };
            if !flags.is_empty() {
                said.take_flags(flags).map_err(broken)?;
                return Ok(said);
            }
            if ending == "sh" {
                return Err(broken(
                    "no command that runs a trainer: looked for a Python script, a module or `trl`, and `--key value` behind it".into(),
                ));
            }
        }
        said.values = mapping(&text).map_err(broken)?;
        Ok(said)
    }

    /// A file that flags name stands under them.
    fn take_flags(&mut self, flags: Vec<(String, Vec<String>)>) -> std::result::Result<(), String> {
        if let Some((_, words)) = flags.iter().find(|(key, _)| key == "config")
            && let Some(name) = words.first()
        {
            let file = [self.folder.join(name), self.folder.join("..").join(name), PathBuf::from(name)];
            let file = file.iter().find(|file| file.is_file());
            let file = file.ok_or_else(|| format!("the configuration {name:?} that it names is not there"))?;
            let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
            self.values = mapping(&text).map_err(|reason| format!("{}: {reason}", file.display()))?;
        }
        let named = self.values.len();
        self.values
            .extend(flags.iter().filter(|(key, _)| key != "config").map(|(key, words)| (key.clone(), value(words))));
        self.flags = self.values.len() - named;
        Ok(())
    }

    /// Whose configuration it is.
    pub(super) fn system(&self) -> Result<System> {
        let script = self.program.rsplit('/').next().unwrap_or_default();
        let by_script = match script {
            "grpo.py" if self.is_r1v() => Some(System::R1V),
            "trl grpo" | "grpo.py" | "grpo_vlm.py" => Some(System::TrlGrpo),
            "trl dpo" | "dpo.py" | "dpo_vlm.py" => Some(System::TrlDpo),
            "trl sft" | "sft.py" | "sft_vlm.py" => Some(System::TrlSft),
            "grpo_jsonl.py" | "grpo_rec.py" => Some(System::VlmR1),
            _ => None,
        };
        let says = |keys: &&[&str]| keys.iter().any(|key| self.values.contains_key(*key));
        let by_keys = KNOWN.iter().find(|(_, keys)| says(keys)).map(|(system, _)| *system);
        match (by_keys, by_script) {
            // What a script is called says less than keys that nobody else has.
            (Some(system @ (System::EasyR1 | System::VlmR1)), _) | (_, Some(system)) | (Some(system), None) => {
                Ok(system)
            }
            (None, None) => {
                let looked = KNOWN.map(|(system, keys)| format!("{}'s `{}`", system.name(), keys.join("`, `")));
                let found: Vec<&str> = self.values.keys().map(String::as_str).take(12).collect();
                Err(Error::Recipe(format!(
                    "no configuration that is known: looked for {}; its keys are {}; `--system` says whose it is",
                    looked.join("; "),
                    if found.is_empty() { "none".to_owned() } else { found.join(", ") },
                )))
            }
        }
    }

    /// Whether it is R1-V's script: those of Open R1, of which it came, have a file of settings.
    fn is_r1v(&self) -> bool {
        self.program.ends_with("open_r1/grpo.py") && self.values.len() == self.flags
    }

    /// Processes that the launcher is told of.
    pub(super) fn processes(&self) -> Option<u64> {
        let said = |key: &str| self.launcher.iter().find(|(name, _)| name == key).and_then(|(_, value)| value.as_u64());
        let each = said("nproc_per_node").map(|each| each.saturating_mul(said("nnodes").unwrap_or(1)));
        each.or_else(|| said("num_processes")).or_else(|| said("num_gpus"))
    }
}

fn mapping(text: &str) -> std::result::Result<Map<String, Value>, String> {
    let read = vr1_run::from_str("line", text, &[]);
    let value: Value = read.map_err(|error| format!("neither YAML nor JSON, nor a command: {error}"))?;
    let Value::Object(values) = value else { return Err("a configuration is a mapping of keys to values".to_owned()) };
    // Sections, as verl has them.
    let sections = ["data", "algorithm", "worker", "trainer"];
    if !sections.iter().any(|key| values.get(*key).is_some_and(Value::is_object)) {
        return Ok(values);
    }
    let mut flat = Map::new();
    values.into_iter().for_each(|(key, value)| flatten(key, value, &mut flat));
    Ok(flat)
}

fn flatten(key: String, value: Value, flat: &mut Map<String, Value>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            map.into_iter().for_each(|(below, value)| flatten(format!("{key}.{below}"), value, flat));
        }
        value => drop(flat.insert(key, value)),
    }
}

/// What words on a command line say.
fn value(words: &[String]) -> Value {
    let one = |word: &String| match word.to_lowercase().as_str() {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        "none" | "null" => Value::Null,
        _ => {
            let read = serde_json::from_str(word).ok().filter(|value: &Value| !value.is_string());
            let number = || word.parse::<f64>().ok().filter(|number| number.is_finite()).map(Value::from);
            read.or_else(number).unwrap_or_else(|| Value::from(word.as_str()))
        }
    };
    match words {
        [] => Value::Bool(true),
        [word] => one(word),
        words => words.iter().map(one).collect(),
    }
}

use vr1_grpo::{Baseline, GroupOfOne, GrpoConfig, SamplerCorrection, Scale};
use vr1_learn::ReferenceConfig;
use vr1_processor::Layout;
use vr1_remote::{EngineConfig, ServerKind};
use vr1_rollout::Sampling;
use vr1_sft::SftConfig;

use super::{
    Advantages, Better, DpoObjective, GrpoObjective, ObjectiveConfig, PairLossConfig, PairSource, Recipe, StageConfig,
    ToolsConfig,
};
use crate::Source;

/// A key and what is wrong with its value.
pub(super) type Fault = (String, String);

impl Recipe {
    /// What a second look finds: the key and the reason.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        let alone = self.stages.is_empty();
        let both = |key: &str| fault(key, "a recipe of `stages` has it in each of them");
        match (alone, &self.objective, self.steps) {
            (true, None, _) => return fault("objective", "missing, and there are no `stages` either"),
            (true, _, None) => return fault("steps", "missing, and there are no `stages` either"),
            (false, Some(_), _) => return both("objective"),
            (false, _, Some(_)) => return both("steps"),
            _ => {}
        }
        count("stages", self.stages.len().max(1), ROUNDS)?;
        let stages = self.all_stages();
        for (i, stage) in stages.iter().enumerate() {
            // What a stage does not say itself stands at the top.
            let said = |key: &str| self.stages.get(i).is_some_and(|stage| stage.says(key));
            let at = |key: String| if alone || !said(&key) { key } else { format!("stages.{i}.{key}") };
            check_stage(stage).map_err(|(key, reason)| (at(key), reason))?;
            let compares = stage.objective.compares();
            if self.stages.get(i).is_some_and(|stage| stage.reference.is_some()) && !compares {
                return fault(&format!("stages.{i}.reference"), "the stage's loss compares with none");
            }
        }
        if self.reference != ReferenceConfig::default() && !stages.iter().any(|stage| stage.objective.compares()) {
            return fault("reference", "no loss compares with one");
        }
        if let Some(gb) = self.rollout.memory_gb.filter(|gb| !(gb.is_finite() && *gb > 0.0)) {
            return fault("rollout.memory_gb", format!("is {gb}, and must be above 0 and finite"));
        }
        self.check_engines(&stages)?;
        self.check_sharding(&stages)?;
        if let Some(lora) = &self.lora {
            lora.config(&[]).validate().map_err(|e| ("lora".to_owned(), e.to_string()))?;
        }
        if !(self.save_every_minutes >= 0.0 && self.save_every_minutes.is_finite()) {
            return fault("save_every_minutes", "must be 0 or more");
        }
        if !(self.watchdog_minutes >= 0.0 && self.watchdog_minutes <= 1e6) {
            return fault("watchdog_minutes", "must be 0 or more, and at most 1000000");
        }
        count("rewards_at_once", self.rewards_at_once, ROUNDS)?;
        let evaluates = |stage: &StageConfig| stage.evaluation.as_ref().is_some_and(|e| e.every_steps > 0);
        if self.keep_best.is_some() && !stages.iter().any(evaluates) {
            return fault("keep_best", "needs evaluations during training: `evaluation.every_steps`");
        }
        if let Some(stop) = &self.stop {
            if !stages.last().is_some_and(evaluates) {
                return fault("stop", "needs evaluations during the last stage: `evaluation.every_steps`");
            }
            count("stop.patience", stop.patience, MANY)?;
            if !(stop.min_delta >= 0.0 && stop.min_delta.is_finite()) {
                return fault("stop.min_delta", "must be 0 or more and finite");
            }
            let same = |kept: &String| *kept == stop.metric && stop.mode == Better::Max;
            if !self.keep_best.as_ref().is_none_or(same) {
                return fault("keep_best", "has no place beside `stop`, whose own best is kept");
            }
        }
        Ok(())
    }
}

impl Recipe {
    /// What servers are asked for is theirs to do.
    fn check_engines(&self, stages: &[StageConfig]) -> Result<(), Fault> {
        let stale = self.rollout.max_staleness_steps;
        if let Some(engine) = &self.rollout.engine {
            check_engine("rollout.engine", engine)?;
        }
        for engine in stages.iter().filter_map(|stage| stage.evaluation.as_ref()?.engine.as_ref()) {
            check_engine("evaluation.engine", engine)?;
        }
        if let Some(tools) = &self.rollout.tools {
            self.check_tools(tools, stages)?;
        }
        if stale > 1 {
            return fault("rollout.max_staleness_steps", format!("is {stale}, and must be 0 or 1"));
        }
        for objective in stages.iter().map(|stage| &stage.objective) {
            let ObjectiveConfig::Grpo(grpo) = objective else { continue };
            if grpo.grounding.every_steps > 0 && self.rollout.engine.is_some() {
                return fault("objective.grounding", "servers cannot be shown other pictures than the prompt's");
            }
            if stale > 0 && grpo.loss.sampler_correction == SamplerCorrection::None {
                let reason = "completions of older weights are corrected for: choose one, such as `{kind: token_truncate, max: 2.0}`";
                return fault("objective.loss.sampler_correction", reason);
            }
        }
        if stale > 0 && self.rollout.engine.is_none() {
            return fault(
                "rollout.max_staleness_steps",
                "needs `rollout.engine`: this process cannot sample while it learns",
            );
        }
        Ok(())
    }
}

impl Recipe {
    /// Tools answer in turns.
    fn check_tools(&self, tools: &ToolsConfig, stages: &[StageConfig]) -> Result<(), Fault> {
        if tools.kinds.is_empty() {
            return fault("rollout.tools.kinds", "names no tool");
        }
        if !(1..=64).contains(&tools.max_calls) {
            return fault("rollout.tools.max_calls", format!("is {}, and must be 1 to 64", tools.max_calls));
        }
        if self.rollout.max_staleness_steps > 0 {
            return fault(
                "rollout.max_staleness_steps",
                "goes without `rollout.tools`: a later turn would be of other weights",
            );
        }
        for stage in stages {
            let prompt = stage.prompt.as_ref().unwrap_or(&self.prompt);
            match &stage.objective {
                ObjectiveConfig::Grpo(_) if prompt.layout != Layout::Chat => {
                    return fault("prompt.layout", "tools answer in turns, which only `chat` has");
                }
                ObjectiveConfig::Grpo(grpo) if grpo.grounding.every_steps > 0 => {
                    return fault("objective.grounding", "does not know which of a tool's pictures to replace");
                }
                ObjectiveConfig::Grpo(_) => {}
                _ => return fault("rollout.tools", "is for GRPO: other objectives learn from answers of one turn"),
            }
        }
        Ok(())
    }
}

fn check_engine(key: &str, engine: &EngineConfig) -> Result<(), Fault> {
    if engine.kind == ServerKind::Openai {
        return fault(&format!("{key}.kind"), "a server of kind `openai` takes no weights: use `vllm` or `sglang`");
    }
    valid(key, engine.validate())
}

pub(super) fn fault<T>(key: &str, reason: impl Into<String>) -> Result<T, Fault> {
    Err((key.to_owned(), reason.into()))
}

/// The most steps of a run, and the most samples of an evaluation.
const MANY: u64 = 1_000_000_000;
/// The most of anything that a step is made of.
const IN_A_STEP: u64 = 1_000_000;
/// The most completions of a prompt, and beams.
const ABREAST: u64 = 65_536;
/// The most rounds of anything within a step.
const ROUNDS: u64 = 10_000;
/// The most tokens of a completion.
const TOKENS: u64 = 1 << 24;

/// A count, which is at least 1 and at most so much.
fn count(key: &str, value: impl TryInto<u64>, most: u64) -> Result<(), Fault> {
    match value.try_into().unwrap_or(u64::MAX) {
        0 => fault(key, "must be at least 1"),
        value if value > most => fault(key, format!("is {value}, and must be at most {most}")),
        _ => Ok(()),
    }
}

fn check_stage(stage: &StageConfig) -> Result<(), Fault> {
    count("steps", stage.steps, MANY)?;
    match &stage.objective {
        ObjectiveConfig::Grpo(grpo) => check_grpo(grpo)?,
        ObjectiveConfig::Sft(sft) => {
            count("objective.documents_per_step", sft.documents_per_step, IN_A_STEP)?;
            count("objective.documents", sft.documents.len(), ABREAST)?;
            for document in &sft.documents {
                weight("objective.documents", document.weight)?;
                stage_number("objective.documents", document.stage)?;
                document.source.check().or_else(|reason| fault("objective.documents", reason))?;
            }
            valid("objective.loss", sft.loss.validate())?;
            let SftConfig { alignment, normalizer, .. } = SftConfig::default();
            own("objective.loss.alignment", sft.loss.alignment == alignment)?;
            own("objective.loss.normalizer", sft.loss.normalizer == normalizer)?;
        }
        ObjectiveConfig::Dpo(dpo) => check_dpo(dpo, stage.steps)?,
        ObjectiveConfig::Kto(kto) => {
            count("objective.answers_per_step", kto.answers_per_step, IN_A_STEP)?;
            valid("objective.loss", kto.loss.validate())?;
            own("objective.loss.completions", kto.loss.completions.is_none())?;
        }
    }
    if let Some(reference) = stage.reference {
        valid("reference", reference.validate())?;
    }
    if let Some(evaluation) = &stage.evaluation {
        count("evaluation.max_completion_tokens", evaluation.max_completion_tokens, TOKENS)?;
        valid("evaluation", evaluation.sampling().validate())?;
        count("evaluation.samples", evaluation.samples.max(1), MANY)?;
        count("evaluation.stage_beams", evaluation.stage_beams.unwrap_or(1), ABREAST)?;
        if let Some(name) = evaluation.prompts.keys().find(|name| !evaluation.sets.contains_key(*name)) {
            return fault(&format!("evaluation.prompts.{name}"), "there is no set of this name");
        }
        for (name, source) in &evaluation.sets {
            source.check().or_else(|reason| fault(&format!("evaluation.sets.{name}"), reason))?;
        }
        for (name, benchmark) in &evaluation.benchmarks {
            benchmark.check().or_else(|reason| fault(&format!("evaluation.benchmarks.{name}"), reason))?;
            count(&format!("evaluation.benchmarks.{name}.num_beams"), benchmark.num_beams as u64, ABREAST)?;
        }
        let sampled = |pairs: &PairSource| matches!(pairs, PairSource::Sampled { .. });
        if let Some((name, _)) = evaluation.preferences.iter().find(|(_, pairs)| sampled(pairs)) {
            let reason = "held-out pairs are rows or written, not sampled";
            return fault(&format!("evaluation.preferences.{name}"), reason);
        }
    }
    stage.optimizer.as_ref().map_or(Ok(()), |optimizer| valid("optimizer", optimizer.validate()))
}

fn valid<E: ToString>(key: &str, checked: Result<(), E>) -> Result<(), Fault> {
    checked.or_else(|error| fault(key, error.to_string()))
}

/// A key that losses have for who calls them by hand; here the step says it.
fn own(key: &str, unsaid: bool) -> Result<(), Fault> {
    if unsaid { Ok(()) } else { fault(key, "is set by the step itself, not by a recipe") }
}

fn weight(key: &str, weight: f64) -> Result<(), Fault> {
    match weight.is_finite() && weight > 0.0 {
        true => Ok(()),
        false => fault(key, format!("a `weight` is {weight}, and must be above 0 and finite")),
    }
}

/// The number of a stage of a curriculum, from 0.
fn stage_number(key: &str, stage: usize) -> Result<(), Fault> {
    match stage as u64 {
        0..ROUNDS => Ok(()),
        stage => fault(key, format!("a `stage` is {stage}, and must be below {ROUNDS}")),
    }
}

fn check_sampling(key: &str, sampling: &Sampling) -> Result<(), Fault> {
    valid(key, sampling.validate())?;
    count(&format!("{key}.max_completion_tokens"), sampling.max_completion_tokens, TOKENS)?;
    match sampling.seed {
        0 => Ok(()),
        _ => fault(&format!("{key}.seed"), "is the run's own, the recipe's `seed`"),
    }
}

fn check_grpo(grpo: &GrpoObjective) -> Result<(), Fault> {
    count("objective.prompts_per_step", grpo.prompts_per_step, IN_A_STEP)?;
    count("objective.group_size", grpo.group_size, ABREAST)?;
    count("objective.iterations", grpo.iterations, ROUNDS)?;
    if grpo.grounding.every_steps > 0 {
        count("objective.grounding.prompts", grpo.grounding.prompts, IN_A_STEP)?;
    }
    count("objective.refill_rounds", grpo.refill_rounds.max(1), ROUNDS)?;
    let completions = (grpo.prompts_per_step as u64).saturating_mul(grpo.group_size as u64);
    if completions > 10 * IN_A_STEP {
        let most = 10 * IN_A_STEP;
        return fault(
            "objective.group_size",
            format!("makes {completions} completions a step, and {most} are the most"),
        );
    }
    if grpo.train.is_some() != grpo.sources.is_empty() {
        return fault("objective.train", "either `train` or `sources`, one of the two");
    }
    for source in &grpo.sources {
        weight("objective.sources", source.weight)?;
        stage_number("objective.sources", source.stage)?;
        source.source.check().or_else(|reason| fault("objective.sources", reason))?;
    }
    grpo.train.as_ref().map_or(Ok(()), Source::check).or_else(|reason| fault("objective.train", reason))?;
    if !(grpo.kl_in_reward.is_finite() && grpo.kl_in_reward >= 0.0) {
        return fault("objective.kl_in_reward", "must be 0 or more and finite");
    }
    check_sampling("objective.sampling", &grpo.sampling)?;
    check_advantages(grpo)?;
    valid("objective.loss", grpo.loss.validate())?;
    check_beta(grpo)?;
    own("objective.loss.normalizer", grpo.loss.normalizer == GrpoConfig::default().normalizer)?;
    own("objective.loss.entropy_tokens", grpo.loss.entropy_tokens.is_none())
}

fn check_beta(grpo: &GrpoObjective) -> Result<(), Fault> {
    let key = match (grpo.kl_control, grpo.beta_schedule) {
        (None, None) => return Ok(()),
        (Some(_), Some(_)) => return fault("objective.beta_schedule", "has no place beside `kl_control`"),
        (Some(control), None) => {
            if let Some((setting, reason)) = control.fault(grpo.prompts_per_step * grpo.group_size) {
                return fault(&format!("objective.kl_control.{setting}"), reason);
            }
            "objective.kl_control"
        }
        (None, Some(schedule)) => {
            valid("objective.beta_schedule", schedule.validate())?;
            "objective.beta_schedule"
        }
    };
    match (grpo.loss.beta != 0.0, grpo.kl_in_reward > 0.0) {
        (false, false) => fault(key, "needs a β to move: `loss.beta` or `kl_in_reward`"),
        (true, true) => fault(key, "there are two β, `loss.beta` and `kl_in_reward`"),
        _ => Ok(()),
    }
}

fn check_advantages(grpo: &GrpoObjective) -> Result<(), Fault> {
    let in_groups = |baseline: Baseline| matches!(baseline, Baseline::GroupMean | Baseline::LeaveOneOut);
    // Whether a completion needs others in its group, and whether a group of equals teaches nothing.
    let (company, idle) = match &grpo.advantages {
        Advantages::Group(config) => {
            valid("objective.advantages", config.validate())?;
            if config.group_of_one == GroupOfOne::RawReward && grpo.group_size > 1 {
                return fault("objective.advantages.group_of_one", "no group is of one here");
            }
            let raw = config.group_of_one == GroupOfOne::RawReward;
            (!raw && (in_groups(config.baseline) || config.scale == Scale::Group), in_groups(config.baseline))
        }
        Advantages::Reinforce(config) => {
            valid("objective.advantages", config.validate())?;
            (in_groups(config.baseline), in_groups(config.baseline))
        }
        Advantages::PerReward { weights, epsilon } => {
            if weights.is_empty() || weights.values().any(|weight| !weight.is_finite()) {
                return fault("objective.advantages.weights", "must be at least one term, each with a finite weight");
            }
            if !(epsilon.is_finite() && *epsilon >= 0.0) {
                return fault("objective.advantages.epsilon", "must be 0 or more and finite");
            }
            if grpo.kl_in_reward > 0.0 {
                return fault("objective.kl_in_reward", "has no place among advantages of each reward by itself");
            }
            (true, true)
        }
    };
    if company && grpo.group_size < 2 {
        return fault("objective.group_size", "must be at least 2: an advantage compares");
    }
    if grpo.refill_rounds > 0 && !(idle && grpo.group_size > 1) {
        return fault("objective.refill_rounds", "groups of equal rewards teach something with these advantages");
    }
    Ok(())
}

fn check_dpo(dpo: &DpoObjective, steps: u64) -> Result<(), Fault> {
    count("objective.pairs_per_step", dpo.pairs_per_step, IN_A_STEP)?;
    if dpo.rounds == 0 || dpo.rounds > steps {
        return fault("objective.rounds", format!("must be from 1 to the {steps} steps"));
    }
    if !(0.0..=1.0).contains(&dpo.length_desensitisation) {
        return fault("objective.length_desensitisation", "must be in [0, 1]");
    }
    if let PairLossConfig::ReferenceFree(config) = &dpo.loss {
        own("objective.loss.whole", config.whole.is_none())?;
    }
    if let Some(reason) = dpo.fault() {
        return fault("objective.loss", reason);
    }
    if let PairSource::Sampled { group_size, sampling, margin, .. } = &dpo.pairs {
        if *group_size < 2 {
            return fault("objective.pairs.group_size", "must be at least 2: the best against the worst");
        }
        count("objective.pairs.group_size", *group_size, ABREAST)?;
        if !(margin.is_finite() && *margin >= 0.0) {
            return fault("objective.pairs.margin", "must be 0 or more and finite");
        }
        check_sampling("objective.pairs.sampling", sampling)?;
    }
    Ok(())
}

use super::{Advantages, DpoObjective, ObjectiveConfig, PairSource, Recipe, StageConfig};

/// A key and what is wrong with its value.
type Fault = (String, String);

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
        positive("evaluation.max_completion_tokens", self.evaluation.max_completion_tokens)?;
        for (i, stage) in self.all_stages().iter().enumerate() {
            let at = |key: &str| if alone { key.to_owned() } else { format!("stages.{i}.{key}") };
            check_stage(stage).map_err(|(key, reason)| (at(&key), reason))?;
        }
        if let Some(lora) = &self.lora {
            lora.config().validate().map_err(|e| ("lora".to_owned(), e.to_string()))?;
        }
        if self.keep_best.is_some() && self.evaluation.every_steps == 0 {
            return fault("keep_best", "needs evaluations during training: `evaluation.every_steps`");
        }
        Ok(())
    }
}

fn fault<T>(key: &str, reason: impl Into<String>) -> Result<T, Fault> {
    Err((key.to_owned(), reason.into()))
}

fn positive(key: &str, value: usize) -> Result<(), Fault> {
    if value == 0 { fault(key, "must be at least 1") } else { Ok(()) }
}

fn check_stage(stage: &StageConfig) -> Result<(), Fault> {
    let invalid = |key: &str, error: String| fault(key, error);
    positive("steps", usize::try_from(stage.steps).unwrap_or(usize::MAX))?;
    match &stage.objective {
        ObjectiveConfig::Grpo(grpo) => {
            positive("objective.prompts_per_step", grpo.prompts_per_step)?;
            positive("objective.iterations", usize::try_from(grpo.iterations).unwrap_or(usize::MAX))?;
            if grpo.train.is_some() != grpo.sources.is_empty() {
                return fault("objective.train", "either `train` or `sources`, one of the two");
            }
            for source in &grpo.sources {
                weight("objective.sources", source.weight)?;
            }
            // What a single completion is compared with is not its group.
            let compares = !matches!(&grpo.advantages, Advantages::Reinforce(_));
            if grpo.group_size < 1 || (compares && grpo.group_size < 2) {
                return fault("objective.group_size", "must be at least 2: an advantage compares");
            }
            if !(grpo.kl_in_reward.is_finite() && grpo.kl_in_reward >= 0.0) {
                return fault("objective.kl_in_reward", "must be 0 or more and finite");
            }
            grpo.sampling.validate().or_else(|e| invalid("objective.sampling", e.to_string()))?;
            grpo.loss.validate().or_else(|e| invalid("objective.loss", e.to_string()))?;
            match &grpo.advantages {
                Advantages::Group(config) => config.validate().map_err(|e| e.to_string()),
                Advantages::Reinforce(config) => config.validate().map_err(|e| e.to_string()),
                Advantages::PerReward { weights, .. } => match weights.is_empty() {
                    true => Err("`weights`: at least one term".to_owned()),
                    false => Ok(()),
                },
            }
            .or_else(|reason| invalid("objective.advantages", reason))?;
        }
        ObjectiveConfig::Sft(sft) => {
            positive("objective.documents_per_step", sft.documents_per_step)?;
            positive("objective.documents", sft.documents.len())?;
            for document in &sft.documents {
                weight("objective.documents", document.weight)?;
            }
            sft.loss.validate().or_else(|e| invalid("objective.loss", e.to_string()))?;
        }
        ObjectiveConfig::Dpo(dpo) => check_dpo(dpo, stage.steps)?,
        ObjectiveConfig::Kto(kto) => {
            positive("objective.answers_per_step", kto.answers_per_step)?;
            kto.loss.validate().or_else(|e| invalid("objective.loss", e.to_string()))?;
        }
    }
    if let Some(reference) = stage.reference {
        reference.validate().or_else(|e| invalid("reference", e.to_string()))?;
    }
    for (name, pairs) in stage.evaluation.iter().flat_map(|evaluation| &evaluation.preferences) {
        if matches!(pairs, PairSource::Sampled { .. }) {
            return fault(&format!("evaluation.preferences.{name}"), "held-out pairs are rows or written, not sampled");
        }
    }
    let optimizer = stage.optimizer.as_ref().map_or(Ok(()), |optimizer| optimizer.validate());
    optimizer.or_else(|e| invalid("optimizer", e.to_string()))
}

fn weight(key: &str, weight: f64) -> Result<(), Fault> {
    match weight.is_finite() && weight > 0.0 {
        true => Ok(()),
        false => fault(key, format!("a `weight` is {weight}, and must be above 0 and finite")),
    }
}

fn check_dpo(dpo: &DpoObjective, steps: u64) -> Result<(), Fault> {
    positive("objective.pairs_per_step", dpo.pairs_per_step)?;
    if dpo.rounds == 0 || dpo.rounds > steps {
        return fault("objective.rounds", format!("must be from 1 to the {steps} steps"));
    }
    if !(0.0..=1.0).contains(&dpo.length_desensitisation) {
        return fault("objective.length_desensitisation", "must be in [0, 1]");
    }
    if let Some(reason) = dpo.fault() {
        return fault("objective.loss", reason);
    }
    if let PairSource::Sampled { group_size, sampling, margin, .. } = &dpo.pairs {
        if *group_size < 2 {
            return fault("objective.pairs.group_size", "must be at least 2: the best against the worst");
        }
        if !(margin.is_finite() && *margin >= 0.0) {
            return fault("objective.pairs.margin", "must be 0 or more and finite");
        }
        sampling.validate().or_else(|e| fault("objective.pairs.sampling", e.to_string()))?;
    }
    Ok(())
}

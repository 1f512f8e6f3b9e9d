//! TRL's GRPO.

use serde_json::{Value, json};

use super::hugging_face::evaluation;
use super::prompts::{rows, term, total, unknown_reward};
use super::sheet::{Read, Rest, Sheet};
use super::steps::{batch, guessed, steps};
use super::trl::{UNSAID, common, data, idle_reference, reference};

/// GRPO.
pub(super) fn grpo(sheet: &mut Sheet<'_>) -> Read<()> {
    common(sheet, 1e-6)?;
    sheet.draft.set("objective.kind", "grpo");
    match data(sheet)? {
        Some(source) => sheet.draft.set("objective.train", source),
        None => sheet.draft.placeholder("objective.train", rows("train.jsonl", None, None), UNSAID),
    }
    let group = sheet.carry_count("num_generations", 8, "objective.group_size")?.max(1);
    let completions = batch(sheet, "objective.prompts_per_step")?;
    let prompts = (completions / group).max(1);
    match guessed(sheet) {
        true => sheet.draft.placeholder(
            "objective.prompts_per_step",
            prompts,
            &format!("{completions} completions of a process, {group} of each prompt; times the processes"),
        ),
        false => sheet.draft.set("objective.prompts_per_step", prompts),
    }
    generations(sheet, completions)?;
    steps(sheet, ["max_steps", "num_train_epochs"], 3.0, prompts, 1)?;
    let iterations = sheet.carry_count("num_iterations", 1, "objective.iterations")?;
    if iterations == 0 {
        return Err("num_iterations: is 0".to_owned());
    }
    let longest = sheet.carry_count("max_completion_length", 512, "objective.sampling.max_completion_tokens")?;
    sampling(sheet)?;
    loss(sheet, longest)?;
    rewards(sheet)?;
    sheet.draft.set("evaluation.max_completion_tokens", longest);
    evaluation(sheet)?;
    sheet.rest(GRPO);
    Ok(())
}

/// A generation batch that is learnt from in several updates.
fn generations(sheet: &mut Sheet<'_>, completions: u64) -> Read<()> {
    let accumulated = sheet.count("gradient_accumulation_steps", 1)?;
    let several =
        "completions are sampled for each update; theirs are learnt from in several, the later ones off-policy";
    if let Some(generated) = sheet.maybe_count("steps_per_generation")? {
        match generated > accumulated {
            true => sheet.not_supported("steps_per_generation", several),
            false => sheet.not_needed("steps_per_generation", "the completions of an update are sampled before it"),
        }
    }
    if let Some(generated) = sheet.maybe_count("generation_batch_size")? {
        match generated > completions {
            true => sheet.not_supported("generation_batch_size", several),
            false => sheet.not_needed("generation_batch_size", "the completions of an update are sampled before it"),
        }
    }
    Ok(())
}

fn sampling(sheet: &mut Sheet<'_>) -> Read<()> {
    sheet.carry_number("temperature", 1.0, "objective.sampling.temperature")?;
    sheet.carry_number("top_p", 1.0, "objective.sampling.top_p")?;
    sheet.carry_number("repetition_penalty", 1.0, "objective.sampling.repetition_penalty")?;
    let top_k = sheet.maybe_count("top_k")?.unwrap_or(0);
    sheet.draft.set("objective.sampling.top_k", top_k);
    sheet.taken("top_k", "objective.sampling.top_k");
    if let Some(min_p) = sheet.maybe_number("min_p")? {
        sheet.draft.set("objective.sampling.min_p", min_p);
        sheet.taken("min_p", "objective.sampling.min_p");
    }
    Ok(())
}

fn loss(sheet: &mut Sheet<'_>, longest: u64) -> Read<()> {
    let kind = sheet.text("loss_type", "dapo")?;
    let epsilon = sheet.carry_number("epsilon", 0.2, "objective.loss.epsilon")?;
    let high = sheet.maybe_number("epsilon_high")?;
    let aggregation = match kind.as_str() {
        "grpo" | "sapo" => json!({ "kind": "sequence" }),
        "dapo" | "bnpo" | "cispo" | "vespo" => json!({ "kind": "token" }),
        "dr_grpo" => json!({ "kind": "constant", "tokens": longest }),
        "luspo" => json!({ "kind": "sequence_sum" }),
        other => {
            return Err(format!(
                "loss_type: {other:?} is none of grpo, dapo, bnpo, dr_grpo, luspo, cispo, sapo, vespo"
            ));
        }
    };
    sheet.draft.set("objective.loss.aggregation", aggregation);
    match kind.as_str() {
        "cispo" => sheet.draft.set("objective.loss.objective", json!({ "kind": "cispo", "cap": "absolute" })),
        "sapo" => {
            let [positive, negative] =
                [("sapo_temperature_pos", 1.0), ("sapo_temperature_neg", 1.05)].map(|(key, default)| {
                    sheet.number(key, default).inspect(|_| sheet.taken(key, "objective.loss.objective"))
                });
            let value = json!({ "kind": "sapo", "temperature_positive": positive?, "temperature_negative": negative? });
            sheet.draft.set("objective.loss.objective", value);
        }
        "vespo" => {
            let mut value = json!({ "kind": "vespo" });
            for (theirs, ours, default) in [
                ("vespo_k_pos", "k_positive", 2.0),
                ("vespo_lambda_pos", "lambda_positive", 3.0),
                ("vespo_k_neg", "k_negative", 3.0),
                ("vespo_lambda_neg", "lambda_negative", 2.0),
            ] {
                value[ours] = sheet.number(theirs, default)?.into();
                sheet.taken(theirs, "objective.loss.objective");
            }
            sheet.draft.set("objective.loss.objective", value);
        }
        _ => {}
    }
    match kind.as_str() {
        "bnpo" => {
            let but = "theirs is over the tokens of a micro-batch, this over those of the step";
            sheet.taken_but("loss_type", "objective.loss.aggregation", but);
        }
        _ => sheet.taken("loss_type", "objective.loss.aggregation"),
    }
    if let Some(high) = high.or((kind == "cispo").then_some(epsilon)) {
        sheet.draft.set("objective.loss.epsilon_high", high);
        sheet.taken("epsilon_high", "objective.loss.epsilon_high");
    }
    if let Some(delta) = sheet.maybe_number("delta")? {
        sheet.draft.set("objective.loss.delta", delta);
        sheet.taken("delta", "objective.loss.delta");
    }
    let importance = sheet.text("importance_sampling_level", "token")?;
    sheet.draft.set("objective.loss.importance", importance);
    sheet.taken("importance_sampling_level", "objective.loss.importance");
    divergence(sheet)?;
    let quantile = sheet.number("top_entropy_quantile", 1.0)?;
    if quantile < 1.0 {
        sheet.draft.set("objective.loss.entropy_mask", json!({ "kind": "top", "value": quantile }));
        sheet.taken("top_entropy_quantile", "objective.loss.entropy_mask");
    } else {
        sheet.same("top_entropy_quantile");
    }
    sheet.carry_number("entropy_coef", 0.0, "objective.loss.entropy_bonus")?;
    if let Some(threshold) = sheet.maybe_number("off_policy_mask_threshold")? {
        sheet.draft.set("objective.loss.off_policy_threshold", threshold);
        sheet.taken("off_policy_mask_threshold", "objective.loss.off_policy_threshold");
    }
    if sheet.flag("mask_truncated_completions", false)? {
        sheet.draft.set("objective.truncated", "masked");
        sheet.taken("mask_truncated_completions", "objective.truncated");
    } else {
        sheet.same("mask_truncated_completions");
    }
    Ok(())
}

fn divergence(sheet: &mut Sheet<'_>) -> Read<()> {
    let beta = sheet.carry_number("beta", 0.0, "objective.loss.beta")?;
    let corrected = sheet.flag("use_bias_correction_kl", true)?;
    match (beta != 0.0, corrected) {
        (true, true) => {
            sheet.draft.set("objective.loss.kl_weight", "ratio");
            sheet.taken("use_bias_correction_kl", "objective.loss.kl_weight");
        }
        (true, false) => sheet.same("use_bias_correction_kl"),
        (false, _) => sheet.not_needed("use_bias_correction_kl", "there is no divergence at a `beta` of 0"),
    }
    if beta != 0.0 { reference(sheet) } else { idle_reference(sheet, "there is no reference at a `beta` of 0") }
}

fn rewards(sheet: &mut Sheet<'_>) -> Read<()> {
    let names: Vec<String> =
        sheet.list("reward_funcs").iter().filter_map(|name| Some(name.as_str()?.to_owned())).collect();
    let weights = sheet.list("reward_weights");
    let mut terms: Vec<(String, f64)> = Vec::new();
    for (place, name) in names.iter().enumerate() {
        let weight = weights.get(place).and_then(Value::as_f64).unwrap_or(1.0);
        let (term, expression) = match name.as_str() {
            "accuracy_reward" | "reasoning_accuracy_reward" => {
                ("accuracy".to_owned(), Some("math(completion, solution, within='prose')"))
            }
            "think_format_reward" => {
                ("format".to_owned(), Some(r"matches(completion, '(?s)^(<think>)?.*?</think>.*$')"))
            }
            _ => (term(name), None),
        };
        match expression {
            Some(expression) => sheet.draft.set(&format!("reward.terms.{term}"), expression),
            None => unknown_reward(
                &mut sheet.draft,
                &term,
                &format!("{name:?} is code of its own: write it in the reward language"),
            ),
        }
        terms.push((term, weight));
    }
    if terms.is_empty() {
        unknown_reward(&mut sheet.draft, "accuracy", "the source does not say what is rewarded");
        terms.push(("accuracy".to_owned(), 1.0));
    }
    sheet.draft.set("reward.total", total(&terms));
    if terms[0].0 != "accuracy" {
        sheet.draft.set("evaluation.metric", terms[0].0.as_str());
    }
    sheet.taken("reward_funcs", "reward.terms");
    sheet.taken("reward_weights", "reward.total");
    if let Some(model) = sheet.maybe_text("reward_model_name_or_path")? {
        sheet.not_supported(
            "reward_model_name_or_path",
            &format!("a reward is a program or a verifier; {model} would have to be a `judge`"),
        );
    }
    let scale = match sheet.or_scale() {
        Value::Bool(false) => "none".to_owned(),
        Value::String(word) => word,
        _ => "group".to_owned(),
    };
    let normalised = sheet.text("multi_objective_aggregation", "sum_then_normalize")?;
    match normalised.as_str() {
        "normalize_then_sum" => {
            let weights: serde_json::Map<String, Value> =
                terms.into_iter().map(|(term, weight)| (term, json!(weight))).collect();
            sheet.draft.set("objective.advantages", json!({ "kind": "per_reward", "weights": weights }));
            sheet.taken("multi_objective_aggregation", "objective.advantages");
            sheet.not_needed("scale_rewards", "each reward is normalised in its group");
        }
        _ => {
            sheet.draft.set("objective.advantages", json!({ "kind": "group", "scale": scale, "epsilon": 1e-4 }));
            sheet.same("multi_objective_aggregation");
            sheet.taken("scale_rewards", "objective.advantages.scale");
        }
    }
    Ok(())
}

impl Sheet<'_> {
    /// How rewards are scaled: a word, and before that a truth.
    fn or_scale(&mut self) -> Value {
        let _ = self.text("scale_rewards", "group");
        self.said("scale_rewards").cloned().unwrap_or(json!("group"))
    }
}

const VLLM: &str = "this process samples, by the weights that it trains, or the servers of `rollout.engine`; `sampler_kl` says how far both are apart";

const GRPO: &[(&str, Rest)] = &[
    ("use_vllm", Rest::Idle(VLLM)),
    ("vllm_mode", Rest::Idle(VLLM)),
    ("vllm_model_impl", Rest::Idle(VLLM)),
    ("vllm_enable_sleep_mode", Rest::Idle(VLLM)),
    ("vllm_structured_outputs_regex", Rest::Off("null", "completions are not held to a pattern")),
    ("vllm_guided_decoding_regex", Rest::Off("null", "completions are not held to a pattern")),
    ("vllm_server_base_url", Rest::Idle(VLLM)),
    ("vllm_server_host", Rest::Idle(VLLM)),
    ("vllm_server_port", Rest::Idle(VLLM)),
    ("vllm_server_timeout", Rest::Idle(VLLM)),
    ("vllm_group_port", Rest::Idle(VLLM)),
    ("vllm_gpu_memory_utilization", Rest::Idle("`rollout.memory_gb` says how much memory sampling takes")),
    ("vllm_max_model_length", Rest::Idle(VLLM)),
    ("vllm_max_model_len", Rest::Idle(VLLM)),
    ("vllm_tensor_parallel_size", Rest::Idle(VLLM)),
    ("vllm_importance_sampling_correction", Rest::Idle(VLLM)),
    ("vllm_importance_sampling_mode", Rest::Idle(VLLM)),
    ("vllm_importance_sampling_clip_max", Rest::Idle(VLLM)),
    ("vllm_importance_sampling_clip_min", Rest::Idle(VLLM)),
    ("vllm_importance_sampling_cap", Rest::Idle(VLLM)),
    ("use_transformers_continuous_batching", Rest::Idle("rows leave as they end, and others enter")),
    ("transformers_continuous_batching_config", Rest::Idle("rows leave as they end, and others enter")),
    ("use_transformers_paged", Rest::Idle("rows leave as they end, and others enter")),
    ("cache_implementation", Rest::Idle("keys and values are its own")),
    ("generation_kwargs", Rest::Off("null", "sampling knows `objective.sampling` alone")),
    ("ds3_gather_for_generation", Rest::Idle("who samples has the weights whole")),
    ("cast_lm_head_to_fp32", Rest::Idle("log-probabilities are summed in f32")),
    ("shuffle_dataset", Rest::Off("true", "samples are drawn in a random order")),
    ("num_generations_eval", Rest::Off("null", "evaluation answers once, greedily")),
    ("use_adaptive_entropy", Rest::Off("false", "the entropy bonus stays as it is")),
    ("entropy_coef_min", Rest::Idle("the entropy bonus stays as it is")),
    ("entropy_coef_max", Rest::Idle("the entropy bonus stays as it is")),
    ("entropy_coef_delta", Rest::Idle("the entropy bonus stays as it is")),
    ("entropy_target", Rest::Idle("the entropy bonus stays as it is")),
    ("sapo_temperature_neg", Rest::Idle("the loss is another")),
    ("sapo_temperature_pos", Rest::Idle("the loss is another")),
    ("vespo_k_pos", Rest::Idle("the loss is another")),
    ("vespo_lambda_pos", Rest::Idle("the loss is another")),
    ("vespo_k_neg", Rest::Idle("the loss is another")),
    ("vespo_lambda_neg", Rest::Idle("the loss is another")),
    ("max_tool_calling_iterations", Rest::Off("null", "completions of training call no tools")),
    ("log_completions", Rest::Idle("every completion is in rollouts/")),
    ("log_multimodal", Rest::Idle("every completion is in rollouts/")),
    ("num_completions_to_print", Rest::Idle("every completion is in rollouts/")),
    ("log_unique_prompts", Rest::Idle("every completion is in rollouts/")),
    ("log_completions_hub_repo", Rest::Idle("every completion is in rollouts/")),
];

//! How EasyR1 samples, rewards and learns.

use serde_json::json;

use super::prompts::{term, unknown_reward};
use super::sheet::{Read, Sheet};

pub(super) fn sampling(sheet: &mut Sheet<'_>) -> Read<()> {
    let longest = sheet.carry_count("data.max_response_length", 512, "objective.sampling.max_completion_tokens")?;
    sheet.draft.set("evaluation.max_completion_tokens", longest);
    sheet.carry_number("worker.rollout.temperature", 1.0, "objective.sampling.temperature")?;
    sheet.carry_number("worker.rollout.top_p", 1.0, "objective.sampling.top_p")?;
    if let Some(top_k) = sheet.maybe_count("worker.rollout.top_k")? {
        sheet.draft.set("objective.sampling.top_k", top_k);
    }
    sheet.taken("worker.rollout.top_k", "objective.sampling.top_k");
    Ok(())
}

pub(super) fn advantages(sheet: &mut Sheet<'_>) -> Read<()> {
    let kind = sheet.text("algorithm.adv_estimator", "grpo")?;
    let (advantages, told) = match kind.as_str() {
        "grpo" => (json!({ "kind": "group", "scale": "group", "epsilon": 1e-6 }), None),
        "rloo" => (json!({ "kind": "group", "baseline": "leave_one_out", "scale": "none" }), None),
        "reinforce_plus_plus" => (json!({ "kind": "reinforce" }), None),
        "gae" => (json!({ "kind": "group" }), Some("there is no critic; this compares within groups")),
        "remax" => (json!({ "kind": "group" }), Some("no greedy answer is compared with; this compares within groups")),
        _ => (json!({ "kind": "group" }), Some("not known; this compares within groups")),
    };
    sheet.draft.set("objective.advantages", advantages);
    match told {
        None => sheet.taken("algorithm.adv_estimator", "objective.advantages"),
        Some(why) => sheet.not_supported("algorithm.adv_estimator", why),
    }
    let filters = sheet.flag("algorithm.online_filtering", false)?;
    for key in ["filter_key", "filter_low", "filter_high"] {
        let key = format!("algorithm.{key}");
        let why = if filters {
            "groups whose rewards are all equal are replaced, whatever they are"
        } else {
            "nothing is filtered"
        };
        if sheet.said(&key).is_some() {
            sheet.not_needed(&key, why);
        }
    }
    let tries = sheet.number("trainer.max_try_make_batch", 20.0)?;
    if filters {
        // Without a limit it goes on for ever.
        sheet.draft.set("objective.refill_rounds", if tries > 0.0 { tries as u64 } else { 100 });
        sheet.taken_but(
            "algorithm.online_filtering",
            "objective.refill_rounds",
            "theirs leaves out groups by their mean reward, this those of equal rewards",
        );
        sheet.taken("trainer.max_try_make_batch", "objective.refill_rounds");
    } else {
        sheet.same("algorithm.online_filtering");
        sheet.not_needed("trainer.max_try_make_batch", "nothing is filtered");
    }
    Ok(())
}

pub(super) fn divergence(sheet: &mut Sheet<'_>) -> Read<()> {
    let (off, in_loss) = (sheet.flag("algorithm.disable_kl", false)?, sheet.flag("algorithm.use_kl_loss", false)?);
    let coefficient = sheet.number("algorithm.kl_coef", 1e-3)?;
    let estimator = sheet.text("algorithm.kl_penalty", "kl")?;
    let controller = sheet.text("algorithm.kl_type", "fixed")?;
    let all = ["use_kl_loss", "kl_coef", "kl_penalty", "kl_type", "kl_horizon", "kl_target"];
    if off || coefficient == 0.0 {
        sheet.draft.set("objective.loss.beta", 0.0);
        sheet.taken("algorithm.disable_kl", "objective.loss.beta");
        for key in all.map(|key| format!("algorithm.{key}")) {
            sheet.not_needed(&key, "there is no divergence");
        }
        return Ok(());
    }
    let to = if in_loss { "objective.loss.beta" } else { "objective.kl_in_reward" };
    sheet.draft.set("objective.loss.beta", if in_loss { coefficient } else { 0.0 });
    if !in_loss {
        sheet.draft.set("objective.kl_in_reward", coefficient);
    }
    sheet.same("algorithm.disable_kl");
    sheet.taken("algorithm.kl_coef", to);
    sheet.taken("algorithm.use_kl_loss", to);
    let ours = match estimator.as_str() {
        "kl" => "k1",
        "abs" => "absolute",
        "mse" => "k2",
        _ => "k3",
    };
    match (in_loss, estimator.as_str()) {
        (true, "kl" | "abs" | "mse" | "low_var_kl") => {
            sheet.draft.set("objective.loss.kl", ours);
            if ours == "k3" {
                sheet.draft.set("objective.loss.kl_log_ratio_bound", 20.0);
                sheet.draft.set("objective.loss.kl_bound", 10.0);
            }
            sheet.taken("algorithm.kl_penalty", "objective.loss.kl");
        }
        (false, "kl") => sheet.same("algorithm.kl_penalty"),
        (false, _) => sheet.not_supported("algorithm.kl_penalty", "in rewards the divergence is `log π − log π_ref`"),
        (true, _) => sheet.not_supported("algorithm.kl_penalty", "no divergence over the whole vocabulary; this is k3"),
    }
    let (horizon, target) =
        (sheet.number("algorithm.kl_horizon", 10_000.0)?, sheet.number("algorithm.kl_target", 0.1)?);
    if controller == "adaptive" {
        sheet.draft.set("objective.kl_control", json!({ "target": target, "horizon": horizon, "per": "token" }));
        for key in ["kl_type", "kl_horizon", "kl_target"] {
            sheet.taken(&format!("algorithm.{key}"), "objective.kl_control");
        }
    } else {
        sheet.same("algorithm.kl_type");
        for key in ["kl_horizon", "kl_target"] {
            sheet.not_needed(&format!("algorithm.{key}"), "β stays as it is");
        }
    }
    Ok(())
}

pub(super) fn loss(sheet: &mut Sheet<'_>) -> Read<()> {
    sheet.draft.set_with("objective.loss.log_ratio_bound", 20.0, "as in its code");
    sheet.carry_number("worker.actor.clip_ratio_low", 0.2, "objective.loss.epsilon")?;
    sheet.carry_number("worker.actor.clip_ratio_high", 0.3, "objective.loss.epsilon_high")?;
    let kind = sheet.text("worker.actor.loss_type", "default")?;
    let [positive, negative] = [("worker.actor.tau_positive", 1.0), ("worker.actor.tau_negative", 1.05)]
        .map(|(key, default)| sheet.number(key, default));
    let (positive, negative) = (positive?, negative?);
    match kind.as_str() {
        "default" => {}
        "gspo" => sheet.draft.set("objective.loss.importance", "sequence"),
        "gspo_token" => sheet.draft.set("objective.loss.importance", "sequence_token"),
        "cispo" => sheet.draft.set("objective.loss.objective", json!({ "kind": "cispo", "cap": "around" })),
        "sapo" => {
            let value = json!({ "kind": "sapo", "temperature_positive": positive, "temperature_negative": negative });
            sheet.draft.set("objective.loss.objective", value);
        }
        other => {
            return Err(format!("worker.actor.loss_type: {other:?} is none of default, gspo, gspo_token, cispo, sapo"));
        }
    }
    sheet.taken("worker.actor.loss_type", "objective.loss");
    for key in ["worker.actor.tau_positive", "worker.actor.tau_negative"] {
        if kind == "sapo" {
            sheet.taken(key, "objective.loss.objective")
        } else {
            sheet.not_needed(key, "the loss is another")
        }
    }
    match kind.as_str() {
        "cispo" | "sapo" => sheet.not_needed("worker.actor.clip_ratio_dual", "the loss has no clip"),
        _ => drop(sheet.carry_number("worker.actor.clip_ratio_dual", 3.0, "objective.loss.dual_clip")?),
    }
    let aggregation = match sheet.text("worker.actor.loss_avg_mode", "token")?.as_str() {
        "token" => "token",
        "seq" => "sequence",
        other => return Err(format!("worker.actor.loss_avg_mode: {other:?} is neither token nor seq")),
    };
    sheet.draft.set("objective.loss.aggregation", json!({ "kind": aggregation }));
    sheet.taken("worker.actor.loss_avg_mode", "objective.loss.aggregation");
    Ok(())
}

pub(super) fn rewards(sheet: &mut Sheet<'_>) -> Read<()> {
    let Some(function) = sheet.maybe_text("worker.reward.reward_function")? else {
        unknown_reward(&mut sheet.draft, "accuracy", "the source does not say what is rewarded");
        sheet.draft.set("reward.total", "accuracy");
        return Ok(());
    };
    let file = function.rsplit('/').next().unwrap_or_default().split(':').next().unwrap_or_default().to_owned();
    let weight = sheet.maybe_number("worker.reward.reward_function_kwargs.format_weight")?;
    let (terms, weight): (&[(&str, &str)], f64) = match file.as_str() {
        "math.py" => (
            &[
                ("accuracy", r"math(completion, solution)"),
                ("format", r"fullmatch(completion, '(?s)<think>.*</think>.*\\boxed\{.*\}.*')"),
            ],
            weight.unwrap_or(0.1),
        ),
        "r1v.py" => (
            &[
                (
                    "accuracy",
                    "math(capture(completion, '<answer>(?<text>.*?)</answer>', 'text') ?? completion, solution)",
                ),
                ("format", "format(completion)"),
            ],
            weight.unwrap_or(0.5),
        ),
        _ => (&[], 0.0),
    };
    if terms.is_empty() {
        let name = term(file.trim_end_matches(".py"));
        unknown_reward(
            &mut sheet.draft,
            &name,
            &format!("{function:?} is code of its own: write it in the reward language"),
        );
        sheet.draft.set("reward.total", name.as_str());
        sheet.draft.set("evaluation.metric", name);
        sheet.taken_but(
            "worker.reward.reward_function",
            "reward",
            "code of its own is to be written in the reward language",
        );
        return Ok(());
    }
    for (name, expression) in terms {
        sheet.draft.set(&format!("reward.terms.{name}"), *expression);
    }
    // Of two terms that are 0 or 1.
    sheet.draft.set("reward.total", format!("{} * accuracy + {weight} * format", 1.0 - weight));
    sheet.taken_but("worker.reward.reward_function", "reward", "answers are compared by `math`, theirs by mathruler");
    sheet.taken("worker.reward.reward_function_kwargs.format_weight", "reward.total");
    Ok(())
}

//! What all trainers on Hugging Face's have in common: `TrainingArguments`, and TRL's `ModelConfig`. Defaults are those of transformers 5.24 and TRL
//! 1.16.

use serde_json::{Value, json};

use super::hugging_face_rest::{MODEL, REST};
use super::sheet::{Read, Rest, Sheet};

/// The defaults in which trainers differ.
pub(super) struct Defaults {
    pub(super) learning_rate: f64,
    pub(super) gradient_checkpointing: bool,
}

/// The optimizer, its schedule, the seed and what is saved.
pub(super) fn trainer(sheet: &mut Sheet<'_>, defaults: &Defaults) -> Read<()> {
    let seed = sheet.carry_count("seed", 42, "seed")?;
    if sheet.said("data_seed").is_some_and(|said| *said == json!(seed)) {
        sheet.same("data_seed");
    }
    let recompute = sheet.flag("gradient_checkpointing", defaults.gradient_checkpointing)?;
    sheet.draft.set("recompute", if recompute { "layers" } else { "none" });
    sheet.taken("gradient_checkpointing", "recompute");
    optimizer(sheet)?;
    schedule(sheet, defaults.learning_rate)?;
    saving(sheet)?;
    sheet.rest(REST);
    Ok(())
}

fn optimizer(sheet: &mut Sheet<'_>) -> Read<()> {
    let name = sheet.text("optim", "adamw_torch_fused")?;
    match name.as_str() {
        "adamw_torch" | "adamw_torch_fused" | "adamw_hf" | "adamw_apex_fused" | "adamw_anyprecision" => {
            sheet.same("optim")
        }
        "adamw_8bit" | "adamw_bnb_8bit" | "paged_adamw_8bit" => {
            sheet.draft.set("optimizer.moments", "blockwise_8bit");
            sheet.taken("optim", "optimizer.moments");
        }
        "paged_adamw" | "paged_adamw_32bit" => {
            sheet.draft.set("optimizer.offload", true);
            sheet.taken("optim", "optimizer.offload");
        }
        _ => sheet.not_supported("optim", "the optimizers are AdamW and Muon; this is AdamW"),
    }
    sheet.carry_number("adam_beta1", 0.9, "optimizer.beta1")?;
    sheet.carry_number("adam_beta2", 0.999, "optimizer.beta2")?;
    sheet.carry_number("adam_epsilon", 1e-8, "optimizer.epsilon")?;
    sheet.carry_number("max_grad_norm", 1.0, "optimizer.max_grad_norm")?;
    let decay = sheet.carry_number("weight_decay", 0.0, "optimizer.weight_decay")?;
    if decay != 0.0 {
        let but = "theirs is on all but biases and norms, this on what has more than one dimension";
        sheet.taken_but("weight_decay", "optimizer.weight_decay", but);
    }
    Ok(())
}

fn schedule(sheet: &mut Sheet<'_>, learning_rate: f64) -> Read<()> {
    let highest = sheet.carry_number("learning_rate", learning_rate, "optimizer.learning_rate")?;
    // Since transformers 5 a number below 1 is a share.
    let (steps, ratio) = (sheet.number("warmup_steps", 0.0)?, sheet.maybe_number("warmup_ratio")?.unwrap_or(0.0));
    let kind = sheet.text("lr_scheduler_type", "linear")?;
    let warms = kind != "constant";
    for (key, value) in [("warmup_steps", steps), ("warmup_ratio", ratio)] {
        if !warms && value != 0.0 {
            sheet.not_needed(key, "their `constant` has no warm-up");
        } else if (key == "warmup_ratio" && steps > 0.0) || value == 0.0 {
            sheet.same(key);
        } else if value < 1.0 {
            sheet.draft.set("optimizer.warmup_ratio", value);
            sheet.taken(key, "optimizer.warmup_ratio");
        } else {
            sheet.draft.set("optimizer.warmup_steps", value.ceil() as u64);
            sheet.taken(key, "optimizer.warmup_steps");
        }
    }
    let (keyed, said) = arguments(sheet.said("lr_scheduler_kwargs"))?;
    let of = |key: &str| said.get(key).filter(|value| !value.is_null()).cloned();
    let number = |key: &str, default: f64| of(key).as_ref().and_then(Value::as_f64).unwrap_or(default);
    let least = of("min_lr").and_then(|least| Some(least.as_f64()? / highest));
    let cosine = |least: f64| match number("num_cycles", 0.5) {
        0.5 if least == 0.0 => json!("cosine"),
        cycles => json!({ "kind": "cosine", "cycles": cycles, "min_lr_ratio": least }),
    };
    let (value, known) = match kind.as_str() {
        "linear" => (json!("linear"), vec![]),
        "constant" | "constant_with_warmup" => (json!("constant"), vec![]),
        "cosine" => (cosine(0.0), vec!["num_cycles"]),
        "cosine_with_min_lr" | "cosine_warmup_with_min_lr" => {
            (cosine(least.unwrap_or(number("min_lr_rate", 0.0))), vec!["num_cycles", "min_lr", "min_lr_rate"])
        }
        "cosine_with_restarts" => {
            (json!({ "kind": "cosine_with_restarts", "cycles": number("num_cycles", 1.0) as u64 }), vec!["num_cycles"])
        }
        "polynomial" => {
            let ratio = number("lr_end", 1e-7) / highest;
            (
                json!({ "kind": "polynomial", "power": number("power", 1.0), "min_lr_ratio": ratio }),
                vec!["lr_end", "power"],
            )
        }
        "inverse_sqrt" => match of("timescale") {
            Some(timescale) => (json!({ "kind": "inverse_sqrt", "timescale": timescale }), vec!["timescale"]),
            None => (json!("inverse_sqrt"), vec!["timescale"]),
        },
        "warmup_stable_decay" => {
            let mut wsd = json!({ "kind": "wsd", "decay_shape": of("decay_type").unwrap_or("cosine".into()) });
            for (theirs, ours) in [
                ("num_decay_steps", "decay_steps"),
                ("num_stable_steps", "stable_steps"),
                ("warmup_type", "warmup_shape"),
                ("min_lr_ratio", "min_lr_ratio"),
            ] {
                of(theirs).into_iter().for_each(|value| wsd[ours] = value);
            }
            (wsd, vec!["decay_type", "num_decay_steps", "num_stable_steps", "warmup_type", "min_lr_ratio"])
        }
        _ => (json!("linear"), vec![]),
    };
    sheet.draft.set("optimizer.schedule", value);
    match kind.as_str() {
        "reduce_lr_on_plateau" | "greedy" => {
            sheet.not_supported("lr_scheduler_type", "no schedule looks at scores; this is linear");
        }
        "cosine_warmup_with_min_lr" => {
            sheet.taken_but(
                "lr_scheduler_type",
                "optimizer.schedule",
                "its warm-up begins at 0, and not a step further",
            );
        }
        _ => sheet.taken("lr_scheduler_type", "optimizer.schedule"),
    }
    if let Some(unknown) = said.keys().find(|key| !known.contains(&key.as_str())) {
        sheet.not_supported("lr_scheduler_kwargs", &format!("`{unknown}` has no place in {kind}"));
    } else if keyed {
        sheet.taken("lr_scheduler_kwargs", "optimizer.schedule");
    }
    Ok(())
}

/// Arguments as a mapping, or as the JSON of one.
fn arguments(said: Option<&Value>) -> Read<(bool, serde_json::Map<String, Value>)> {
    match said {
        None => Ok((false, serde_json::Map::new())),
        Some(Value::Object(map)) => Ok((true, map.clone())),
        Some(Value::String(text)) => match serde_json::from_str(text) {
            Ok(map) => Ok((true, map)),
            Err(error) => Err(format!("lr_scheduler_kwargs: {error}")),
        },
        Some(value) => Err(format!("lr_scheduler_kwargs: {value} is no mapping")),
    }
}

fn saving(sheet: &mut Sheet<'_>) -> Read<()> {
    let strategy = sheet.text("save_strategy", "steps")?;
    let every = sheet.number("save_steps", 500.0)?;
    match strategy.as_str() {
        "steps" if every >= 1.0 => {
            sheet.draft.set("save_every_steps", every as u64);
            sheet.taken("save_steps", "save_every_steps");
            sheet.same("save_strategy");
        }
        "steps" => sheet.not_supported("save_steps", "a share of the steps; say how many: `save_every_steps`"),
        "no" => sheet.not_needed("save_strategy", "checkpoints go by the clock, and the last step has one"),
        _ => sheet.not_supported("save_strategy", "checkpoints go by steps or by the clock: `save_every_steps`"),
    }
    sheet.draft.set("keep_checkpoints", sheet.said("save_total_limit").cloned().unwrap_or(json!(0)));
    sheet.or_null("save_total_limit");
    sheet.taken("save_total_limit", "keep_checkpoints");
    Ok(())
}

/// Evaluation during training, `with` what stands there already.
pub(super) fn evaluation(sheet: &mut Sheet<'_>) -> Read<()> {
    let strategy = sheet.maybe_text("eval_strategy")?.or(sheet.maybe_text("evaluation_strategy")?);
    let logged = sheet.maybe_count("logging_steps")?;
    match (strategy.as_deref(), sheet.maybe_number("eval_steps")?) {
        (Some("steps"), Some(every)) if every >= 1.0 => {
            sheet.draft.set("evaluation.every_steps", every as u64);
            sheet.taken("eval_steps", "evaluation.every_steps");
        }
        // Without a number of its own it is that of logging.
        (Some("steps"), None) if logged.is_some() => {
            sheet.draft.set("evaluation.every_steps", logged);
            sheet.taken("logging_steps", "evaluation.every_steps");
        }
        (Some("steps" | "epoch"), _) => {
            sheet.draft.placeholder("evaluation.every_steps", 100, "how many steps lie between evaluations");
        }
        _ => sheet.not_needed("eval_steps", "there is no evaluation on the way"),
    }
    for key in ["eval_strategy", "evaluation_strategy"] {
        match strategy.as_deref() {
            Some("no") => sheet.same(key),
            _ => sheet.taken(key, "evaluation.every_steps"),
        }
    }
    let best = sheet.said("load_best_model_at_end").is_some_and(|said| *said == json!(true));
    if best {
        sheet.taken_but(
            "load_best_model_at_end",
            "keep_best",
            "the best checkpoint is kept; the run ends with the last",
        );
        if sheet.draft.has("evaluation.every_steps") {
            sheet.draft.placeholder("keep_best", "held_out/accuracy", "which score is the best by");
        }
    }
    if let Some(metric) = sheet.maybe_text("metric_for_best_model")? {
        sheet.not_supported("metric_for_best_model", &format!("{metric} is no score here: say one in `keep_best`"));
    }
    Ok(())
}

/// The model, and an adapter.
pub(super) fn model(sheet: &mut Sheet<'_>, target_modules: Option<&[&str]>) -> Read<()> {
    match sheet.maybe_text("model_name_or_path")? {
        Some(name) => {
            sheet.draft.set("model", name);
            sheet.taken("model_name_or_path", "model");
        }
        None => sheet.draft.placeholder("model", "MODEL", "a directory or a Hub id"),
    }
    if sheet.flag("use_peft", false)? {
        sheet.carry_count("lora_r", 16, "lora.rank")?;
        sheet.carry_number("lora_alpha", 32.0, "lora.alpha")?;
        sheet.carry_number("lora_dropout", 0.05, "lora.dropout")?;
        if sheet.flag("use_rslora", false)? {
            sheet.draft.set("lora.rslora", true);
            sheet.taken("use_rslora", "lora.rslora");
        }
        sheet.taken("use_peft", "lora");
        let modules = sheet.list("lora_target_modules");
        match (modules.as_slice(), target_modules) {
            ([Value::String(word)], _) if word == "all-linear" => sheet.draft.set("lora.target_modules", word.as_str()),
            ([_, ..], _) => sheet.draft.set("lora.target_modules", modules.clone()),
            ([], Some(usual)) => {
                let comment = "what PEFT takes for most families where nothing is said";
                sheet.draft.set_with("lora.target_modules", json!(usual), comment);
            }
            ([], None) => sheet.draft.set("lora.target_modules", "all-linear"),
        }
        sheet.taken("lora_target_modules", "lora.target_modules");
        sheet.rest(&[("lora_task_type", Rest::Off("\"CAUSAL_LM\"", "adapters are of language models"))]);
    } else {
        sheet.same("use_peft");
        for key in ["lora_r", "lora_alpha", "lora_dropout", "lora_target_modules", "lora_task_type", "use_rslora"] {
            if sheet.said(key).is_some() {
                sheet.not_needed(key, "there is no adapter without `use_peft`");
            }
        }
    }
    sheet.rest(MODEL);
    Ok(())
}

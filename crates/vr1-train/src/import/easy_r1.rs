//! EasyR1's configuration, which is verl's: sections `data`, `algorithm`, `worker` and `trainer`.

use serde_json::{Value, json};

use super::easy_r1_loss::{advantages, divergence, loss, rewards, sampling};
use super::easy_r1_rest::REST;
use super::prompts::rows;
use super::sheet::{Read, Sheet};
use super::steps::steps;

pub(super) fn grpo(sheet: &mut Sheet<'_>) -> Read<()> {
    let name = sheet.text("trainer.experiment_name", "EasyR1")?;
    sheet.draft.set("system", name);
    sheet.taken("trainer.experiment_name", "system");
    sheet.draft.set("objective.kind", "grpo");
    model(sheet)?;
    data(sheet)?;
    let times = batches(sheet)?;
    optimizer(sheet)?;
    sampling(sheet)?;
    advantages(sheet)?;
    divergence(sheet)?;
    loss(sheet)?;
    rewards(sheet)?;
    running(sheet, times)?;
    sheet.rest(REST);
    Ok(())
}

fn model(sheet: &mut Sheet<'_>) -> Read<()> {
    match sheet.maybe_text("worker.actor.model.model_path")? {
        Some(path) => {
            sheet.draft.set("model", path);
            sheet.taken("worker.actor.model.model_path", "model");
        }
        None => sheet.draft.placeholder("model", "MODEL", "a directory or a Hub id"),
    }
    let rank = sheet.count("worker.actor.model.lora.rank", 0)?;
    let frozen = sheet.flag("worker.actor.model.freeze_vision_tower", false)?;
    if rank > 0 {
        sheet.carry_count("worker.actor.model.lora.rank", 0, "lora.rank")?;
        sheet.carry_number("worker.actor.model.lora.alpha", 16.0, "lora.alpha")?;
        let modules = sheet.or("worker.actor.model.lora.target_modules", "all-linear");
        let modules = match modules.as_str() {
            Some(text) if text.contains(',') => text.split(',').map(|name| Value::from(name.trim())).collect(),
            _ => modules,
        };
        sheet.draft.set("lora.target_modules", modules);
        sheet.taken("worker.actor.model.lora.target_modules", "lora.target_modules");
        let visual = sheet.maybe_text("worker.actor.model.lora.exclude_modules")?;
        match visual.as_deref() {
            None => sheet.draft.set("lora.parts", "all"),
            Some(text) if text.contains("visual") => {
                sheet.taken("worker.actor.model.lora.exclude_modules", "lora.parts")
            }
            Some(_) => sheet.not_supported(
                "worker.actor.model.lora.exclude_modules",
                "adapters leave out tower and merger, or nothing: `lora.parts`",
            ),
        }
        sheet.not_needed("worker.actor.model.freeze_vision_tower", "all but adapters is frozen");
    } else {
        sheet.same("worker.actor.model.lora.rank");
        for key in ["alpha", "target_modules", "exclude_modules"] {
            let key = format!("worker.actor.model.lora.{key}");
            if sheet.said(&key).is_some() {
                sheet.not_needed(&key, "there is no adapter at a rank of 0");
            }
        }
        match frozen {
            true => {
                sheet.draft.set("freeze", json!(["tower", "merger"]));
                sheet.taken("worker.actor.model.freeze_vision_tower", "freeze");
            }
            false => sheet.same("worker.actor.model.freeze_vision_tower"),
        }
    }
    let recompute = sheet.flag("worker.actor.model.enable_gradient_checkpointing", true)?;
    sheet.draft.set("recompute", if recompute { "layers" } else { "none" });
    sheet.taken("worker.actor.model.enable_gradient_checkpointing", "recompute");
    Ok(())
}

fn data(sheet: &mut Sheet<'_>) -> Read<()> {
    sheet.carry_count("data.seed", 1, "seed")?;
    let mut columns = serde_json::Map::new();
    for (theirs, ours, default) in [
        ("prompt_key", "problem", "prompt"),
        ("answer_key", "answer", "answer"),
        ("image_key", "images", "images"),
        ("video_key", "videos", "videos"),
    ] {
        let key = format!("data.{theirs}");
        let column = sheet.text(&key, default)?;
        // Names that are read in any case need no word.
        let known = [ours, "prompt", "question", "image", "video"].contains(&column.as_str());
        if known {
            sheet.same(&key);
        } else {
            columns.insert(ours.to_owned(), column.into());
            sheet.taken(&key, "columns");
        }
    }
    let images = sheet.maybe_text("data.image_dir")?;
    let source = |files: &str| {
        // `PATH@SPLIT` is a split of a data set.
        let (path, split) = files.split_once('@').map_or((files, None), |(path, split)| (path, Some(split)));
        let mut source = rows(path, None, split);
        if !columns.is_empty() {
            source["columns"] = columns.clone().into();
        }
        images.iter().for_each(|folder| source["images"] = folder.as_str().into());
        source
    };
    let (train, val) = (sheet.maybe_text("data.train_files")?, sheet.maybe_text("data.val_files")?);
    let split = "of PATH@SPLIT the files data/SPLIT-* are read";
    match train {
        Some(files) => {
            sheet.draft.set("objective.train", source(&files));
            sheet.taken_as("data.train_files", "objective.train", split);
        }
        None => sheet.draft.placeholder("objective.train", source("train.jsonl"), "which rows"),
    }
    match val {
        Some(files) => {
            sheet.draft.set("evaluation.sets.held_out", source(&files));
            sheet.taken_as("data.val_files", "evaluation.sets.held_out", split);
        }
        None => sheet.draft.set("evaluation.sets", json!({})),
    }
    sheet.taken("data.image_dir", "images");
    for (key, pixels) in [("data.min_pixels", 262_144_u64), ("data.max_pixels", 4_194_304)] {
        if sheet.said.values.get(key) == Some(&Value::Null) {
            sheet.same(key);
            continue;
        }
        let (pixels, to) = (sheet.count(key, pixels)?, key.replace("data.", "media."));
        sheet.draft.set(&to, pixels);
        sheet.taken_but(key, &to, "a picture is resized once, by the checkpoint's processor; there it is twice");
    }
    prompt(sheet)
}

fn prompt(sheet: &mut Sheet<'_>) -> Read<()> {
    let Some(file) = sheet.maybe_text("data.format_prompt")? else {
        sheet.draft.set("prompt.text", "{{ question }}");
        return Ok(());
    };
    let folder = &sheet.said.folder;
    let places = [folder.join(&file), folder.join("..").join(&file), file.clone().into()];
    let text = places.iter().find_map(|place| std::fs::read_to_string(place).ok());
    match text {
        Some(text) => {
            // What they call the question.
            sheet.draft.set("prompt.text", text.trim_end().replace("content", "question"));
            sheet.taken("data.format_prompt", "prompt.text");
        }
        None => {
            sheet.draft.placeholder("prompt.text", "{{ question }}", &format!("the template {file} is not there"));
            sheet.taken_but("data.format_prompt", "prompt.text", "the file is not there: its words are to be put in");
        }
    }
    Ok(())
}

/// The prompts of an update, and how many updates a step of theirs makes.
fn batches(sheet: &mut Sheet<'_>) -> Read<u64> {
    let (rollout, update) =
        (sheet.count("data.rollout_batch_size", 512)?, sheet.count("worker.actor.global_batch_size", 256)?);
    if update == 0 || rollout < update || !rollout.is_multiple_of(update) {
        return Err(format!(
            "data.rollout_batch_size: {rollout} prompts are not updates of {update} (worker.actor.global_batch_size)"
        ));
    }
    let times = rollout / update;
    sheet.draft.set("objective.prompts_per_step", update);
    sheet.taken("worker.actor.global_batch_size", "objective.prompts_per_step");
    match times {
        1 => sheet.taken("data.rollout_batch_size", "objective.prompts_per_step"),
        _ => {
            let but = format!(
                "theirs are learnt from in {times} updates, the later ones off-policy; here each update has completions of its own, and steps count updates"
            );
            sheet.taken_but("data.rollout_batch_size", "objective.prompts_per_step", &but);
        }
    }
    sheet.carry_count("worker.actor.ppo_epochs", 1, "objective.iterations")?;
    sheet.carry_count("worker.rollout.n", 1, "objective.group_size")?;
    steps(sheet, ["trainer.max_steps", "trainer.total_epochs"], 15.0, update, times)?;
    Ok(times)
}

fn optimizer(sheet: &mut Sheet<'_>) -> Read<()> {
    let of = |key: &str| format!("worker.actor.optim.{key}");
    sheet.carry_number(&of("lr"), 1e-6, "optimizer.learning_rate")?;
    // Theirs is on all parameters.
    let decay = sheet.number(&of("weight_decay"), 1e-2)?;
    sheet.draft.set("optimizer.groups", json!([{ "match": "*", "weight_decay": decay }]));
    sheet.taken(&of("weight_decay"), "optimizer.groups");
    let betas = sheet.or(&of("betas"), json!([0.9, 0.999]));
    if let [Some(first), Some(second)] = [0, 1].map(|place| betas.get(place).and_then(Value::as_f64)) {
        sheet.draft.set("optimizer.beta1", first);
        sheet.draft.set("optimizer.beta2", second);
        sheet.taken(&of("betas"), "optimizer.beta1, optimizer.beta2");
    }
    sheet.carry_number("worker.actor.max_grad_norm", 1.0, "optimizer.max_grad_norm")?;
    match sheet.text(&of("strategy"), "adamw")?.as_str() {
        "adamw" => sheet.same(&of("strategy")),
        _ => sheet
            .not_supported(&of("strategy"), "masters and moments are f32, or moments of 8 bits: `optimizer.moments`"),
    }
    let ratio = sheet.number(&of("lr_warmup_ratio"), 0.0)?;
    match sheet.maybe_count(&of("lr_warmup_steps"))? {
        Some(steps) => {
            sheet.draft.set("optimizer.warmup_steps", steps);
            sheet.taken(&of("lr_warmup_steps"), "optimizer.warmup_steps");
            sheet.not_needed(&of("lr_warmup_ratio"), "`lr_warmup_steps` says it");
        }
        None if ratio > 0.0 => {
            sheet.draft.set("optimizer.warmup_ratio", ratio);
            sheet.taken(&of("lr_warmup_ratio"), "optimizer.warmup_ratio");
        }
        None => sheet.same(&of("lr_warmup_ratio")),
    }
    let least = sheet.maybe_number(&of("min_lr_ratio"))?.unwrap_or(0.0);
    let kind = sheet.text(&of("lr_scheduler_type"), "constant")?;
    let schedule = match kind.as_str() {
        "constant" => json!("constant"),
        "cosine" => json!({ "kind": "cosine", "min_lr_ratio": least }),
        other => return Err(format!("worker.actor.optim.lr_scheduler_type: {other:?} is neither constant nor cosine")),
    };
    sheet.draft.set("optimizer.schedule", schedule);
    sheet.taken(&of("lr_scheduler_type"), "optimizer.schedule");
    match kind.as_str() {
        "constant" => sheet.not_needed(&of("min_lr_ratio"), "the learning rate stays as it is"),
        _ => sheet.taken(&of("min_lr_ratio"), "optimizer.schedule"),
    }
    Ok(())
}

fn running(sheet: &mut Sheet<'_>, times: u64) -> Read<()> {
    let each = if times == 1 { String::new() } else { format!("each of theirs makes {times} updates") };
    for (key, to) in [("trainer.val_freq", "evaluation.every_steps"), ("trainer.save_freq", "save_every_steps")] {
        let every = sheet.number(key, -1.0)?;
        if every >= 1.0 {
            sheet.draft.set(to, (every as u64).saturating_mul(times));
            if times == 1 { sheet.taken(key, to) } else { sheet.taken_as(key, to, &each) }
        } else {
            sheet.same(key);
        }
    }
    let kept = sheet.number("trainer.save_limit", -1.0)?;
    sheet.draft.set("keep_checkpoints", if kept >= 1.0 { kept as u64 } else { 0 });
    sheet.taken("trainer.save_limit", "keep_checkpoints");
    let overrides: Vec<String> =
        sheet.said.values.keys().filter(|key| key.starts_with("worker.rollout.val_override_config")).cloned().collect();
    for key in overrides {
        sheet.not_supported(&key, "evaluation answers once, greedily: scores are not those of sampled answers");
    }
    Ok(())
}

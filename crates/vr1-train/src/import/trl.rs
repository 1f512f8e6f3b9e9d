//! What TRL's trainers have in common. Names and defaults are those of TRL 1.16.

use serde_json::{Value, json};

use super::hugging_face::{Defaults, evaluation, model, trainer};
use super::prompts::{rows, unknown_reward};
use super::sheet::{Read, Rest, Sheet};
use super::steps::{batch, guessed, steps};

/// What PEFT adapts of Qwen's and Llama's where nothing is said.
const USUAL: &[&str] = &["q_proj", "v_proj"];

pub(super) fn common(sheet: &mut Sheet<'_>, learning_rate: f64) -> Read<()> {
    let name = sheet.maybe_text("run_name")?.unwrap_or_else(|| "TRL".to_owned());
    sheet.draft.set("system", name);
    sheet.taken("run_name", "system");
    model(sheet, Some(USUAL))?;
    trainer(sheet, &Defaults { learning_rate, gradient_checkpointing: true })?;
    let coefficient = sheet.maybe_number("router_aux_loss_coef")?;
    if let Some(coefficient) = coefficient {
        sheet.draft.set("optimizer.router_aux_loss_coef", coefficient);
        sheet.taken("router_aux_loss_coef", "optimizer.router_aux_loss_coef");
    }
    sheet.rest(SHARED);
    Ok(())
}

/// The source of the training split; the split that is held out, where it is evaluated on.
pub(super) fn data(sheet: &mut Sheet<'_>) -> Read<Option<Value>> {
    let folder = sheet.maybe_text("dataset_config")?;
    let split = sheet.text("dataset_train_split", "train")?;
    let held_out = sheet.text("dataset_test_split", "test")?;
    sheet.draft.set("prompt.text", "{{ question }}");
    let evaluates = sheet.said("eval_strategy").is_some_and(|said| *said != json!("no"));
    let Some(name) = sheet.maybe_text("dataset_name")? else {
        sheet.draft.set("evaluation.sets", json!({}));
        return Ok(None);
    };
    let source = rows(&name, folder.as_deref(), Some(&split));
    let files = match source.get("files") {
        Some(files) => format!("the files of a split are named: {files}"),
        None => "all its rows".to_owned(),
    };
    sheet.taken_as("dataset_name", "path", &files);
    for key in ["dataset_config", "dataset_train_split"] {
        sheet.taken(key, "files");
    }
    let sets = match evaluates {
        true => json!({ "held_out": rows(&name, folder.as_deref(), Some(&held_out)) }),
        false => json!({}),
    };
    sheet.draft.set("evaluation.sets", sets);
    match evaluates {
        true => sheet.taken("dataset_test_split", "evaluation.sets"),
        false => sheet.not_needed("dataset_test_split", "nothing is held out"),
    }
    Ok(Some(source))
}

pub(super) const UNSAID: &str = "which rows: a file, a folder, or a Hub id with `files`";

pub(super) fn reference(sheet: &mut Sheet<'_>) -> Read<()> {
    if !sheet.flag("sync_ref_model", false)? {
        return idle_reference(sheet, "the reference stays as it is");
    }
    let every = sheet.count("ref_model_sync_steps", 512)?;
    let mixup = sheet.number("ref_model_mixup_alpha", 0.6)?;
    sheet.draft.set("reference", json!({ "kind": "synced", "every_steps": every, "mixup": mixup }));
    for key in ["sync_ref_model", "ref_model_sync_steps", "ref_model_mixup_alpha"] {
        sheet.taken(key, "reference");
    }
    Ok(())
}

pub(super) fn idle_reference(sheet: &mut Sheet<'_>, why: &str) -> Read<()> {
    for key in ["sync_ref_model", "ref_model_sync_steps", "ref_model_mixup_alpha"] {
        if sheet.said(key).is_some() {
            sheet.not_needed(key, why);
        }
    }
    Ok(())
}

pub(super) fn per_step(sheet: &mut Sheet<'_>, to: &str) -> Read<()> {
    let count = batch(sheet, to)?.max(1);
    match guessed(sheet) {
        true => sheet.draft.placeholder(to, count, "those of a process; times the processes"),
        false => sheet.draft.set(to, count),
    }
    steps(sheet, ["max_steps", "num_train_epochs"], 3.0, count, 1)
}

/// What learns from written answers needs of a recipe beside its objective.
pub(super) fn written(sheet: &mut Sheet<'_>) -> Read<()> {
    let longest = sheet.count("max_length", 1024)?;
    if sheet.said("max_length").is_some() || !sheet.said.values.contains_key("max_length") {
        let why = format!(
            "theirs are cut at {longest} tokens; nothing is cut here, and what does not fit the model is an error"
        );
        sheet.not_supported("max_length", &why);
    }
    unknown_reward(&mut sheet.draft, "accuracy", "what counts in evaluation");
    sheet.draft.set("reward.total", "accuracy");
    sheet.draft.placeholder("evaluation.max_completion_tokens", 256, "the longest answer in evaluation");
    evaluation(sheet)
}

pub(super) const CUT: &str = "nothing is cut";
pub(super) const PACKED: &str = "sequences lie side by side without padding in any case";

const SHARED: &[(&str, Rest)] = &[
    ("dataset_streaming", Rest::Idle("a row is read from its file when it is asked for")),
    ("ignore_bias_buffers", Rest::Idle("buffers are no parameters")),
    ("config", Rest::Idle("it was read")),
    ("truncation_mode", Rest::Idle(CUT)),
    (
        "max_prompt_length",
        Rest::Off("null", "prompts are not cut: one that does not fit is an error, and `filters` leave rows out"),
    ),
    ("padding_free", Rest::Idle(PACKED)),
    ("pad_to_multiple_of", Rest::Idle(PACKED)),
    ("pad_token", Rest::Idle(PACKED)),
    ("disable_dropout", Rest::Idle("models have no dropout; an adapter has the one that is said")),
    ("chat_template_kwargs", Rest::Off("null", "a chat template is rendered without further arguments")),
];

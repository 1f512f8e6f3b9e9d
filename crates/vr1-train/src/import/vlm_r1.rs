//! VLM-R1's GRPO (`grpo_jsonl.py`) and R1-V's (`grpo.py`), whose trainer is a copy of TRL's of early 2025 with settings that nothing reads.

use serde_json::{Value, json};

use super::hugging_face::{Defaults, evaluation, model, trainer};
use super::prompts::{rows, terms_of, total, unknown_reward};
use super::sheet::{Read, Rest, Sheet};
use super::steps::{batch, guessed, steps};

const THINK: &str = "{{ question }} First output the thinking process in <think> </think> tags and then output the final answer in <answer> </answer> tags.";
const THINK_IN_MIND: &str = "First thinks about the reasoning process in the mind and then provides the user with the answer. The reasoning process and answer \
                             are enclosed within <think> </think> and <answer> </answer> tags, respectively, i.e., <think> reasoning process here </think><answer>";

/// VLM-R1.
pub(super) fn grpo(sheet: &mut Sheet<'_>) -> Read<()> {
    let longest = begin(sheet, "VLM-R1")?;
    data(sheet)?;
    sheet.carry_count("num_iterations", 1, "objective.iterations")?;
    sheet.carry_number("epsilon", 0.2, "objective.loss.epsilon")?;
    if let Some(high) = sheet.maybe_number("epsilon_high")? {
        sheet.draft.set("objective.loss.epsilon_high", high);
        sheet.taken("epsilon_high", "objective.loss.epsilon_high");
    }
    freeze(sheet)?;
    rewards(sheet)?;
    sheet.draft.set("evaluation.max_completion_tokens", longest);
    evaluation(sheet)?;
    sheet.rest(REST);
    Ok(())
}

/// R1-V, of which VLM-R1 came: no clip, and data sets of the Hub.
pub(super) fn r1v(sheet: &mut Sheet<'_>) -> Read<()> {
    let longest = begin(sheet, "R1-V")?;
    match sheet.maybe_text("dataset_name")? {
        Some(name) => {
            let split = sheet.text("dataset_train_split", "train")?;
            sheet.draft.set("objective.train", rows(&name, None, Some(&split)));
            sheet.taken_as("dataset_name", "objective.train", "the files of a split are named: data/SPLIT-*");
            sheet.taken("dataset_train_split", "objective.train");
        }
        None => sheet.draft.placeholder("objective.train", rows("train.jsonl", None, None), "which rows"),
    }
    sheet.draft.set("evaluation.sets", json!({}));
    sheet.draft.set("objective.loss.objective", json!({ "kind": "unclipped" }));
    // Two spaces, as in its own template.
    let template = "{{ question }}  Output the thinking process in <think> </think> and final answer (number) in <answer> </answer> tags.";
    sheet.draft.set("prompt.text", template);
    for (name, expression) in terms_of("r1v_published") {
        sheet.draft.set(&format!("reward.terms.{name}"), expression);
    }
    let named = |names: Vec<Value>| names.is_empty() || names == [json!("accuracy"), json!("format")];
    match named(sheet.list("reward_funcs")) {
        true => sheet.taken("reward_funcs", "reward.terms"),
        false => sheet.not_supported("reward_funcs", "it knows accuracy and format; this is both"),
    }
    sheet.draft.set("reward.total", "accuracy + format");
    sheet.draft.set("evaluation.max_completion_tokens", longest);
    evaluation(sheet)?;
    sheet.rest(REST);
    Ok(())
}

/// What both have in common; the longest completion.
fn begin(sheet: &mut Sheet<'_>, system: &str) -> Read<u64> {
    let name = sheet.maybe_text("run_name")?.unwrap_or_else(|| system.to_owned());
    sheet.draft.set("system", name);
    sheet.taken("run_name", "system");
    model(sheet, None)?;
    trainer(sheet, &Defaults { learning_rate: 1e-6, gradient_checkpointing: false })?;
    sheet.carry_count("min_pixels", 3136, "media.min_pixels")?;
    sheet.carry_count("max_pixels", 12_845_056, "media.max_pixels")?;
    sheet.draft.set("objective.kind", "grpo");
    let group = sheet.carry_count("num_generations", 8, "objective.group_size")?.max(1);
    let completions = batch(sheet, "objective.prompts_per_step")?;
    // R1-V counts prompts, VLM-R1 completions.
    let prompts = if system == "R1-V" { completions } else { (completions / group).max(1) };
    match guessed(sheet) {
        true => {
            let comment = format!("those of one process, with {group} completions each; times the processes");
            sheet.draft.placeholder("objective.prompts_per_step", prompts, &comment);
        }
        false => sheet.draft.set("objective.prompts_per_step", prompts),
    }
    steps(sheet, ["max_steps", "num_train_epochs"], 3.0, prompts, 1)?;
    let longest = sheet.carry_count("max_completion_length", 256, "objective.sampling.max_completion_tokens")?;
    // Transformers' own default, which its `generate` goes by.
    sheet.draft.set_with("objective.sampling.temperature", 1.0, "whatever `temperature` says, it samples at 1");
    sheet.draft.set_with("objective.sampling.top_k", 50, "as transformers' `generate` does where nothing is said");
    sheet.draft.set("objective.advantages", json!({ "kind": "group", "scale": "group", "epsilon": 1e-4 }));
    sheet.draft.set("objective.loss.aggregation", json!({ "kind": "sequence" }));
    sheet.carry_number("beta", 0.04, "objective.loss.beta")?;
    Ok(longest)
}

fn data(sheet: &mut Sheet<'_>) -> Read<()> {
    let list = |sheet: &mut Sheet<'_>, key: &str| -> Read<Vec<String>> {
        let text = sheet.maybe_text(key)?.unwrap_or_default();
        Ok(text.split(':').filter(|part| !part.is_empty()).map(str::to_owned).collect())
    };
    let (paths, folders) = (list(sheet, "data_file_paths")?, list(sheet, "image_folders")?);
    if paths.len() != folders.len() && !folders.is_empty() {
        return Err(format!("image_folders: {} folders for {} files of `data_file_paths`", folders.len(), paths.len()));
    }
    let held_out = sheet.number("val_split_ratio", 0.0)?;
    let source = |place: usize, side: &str| {
        let mut source = json!({ "kind": "rows", "path": paths[place] });
        if let Some(folder) = folders.get(place) {
            source["images"] = folder.as_str().into();
        }
        if held_out > 0.0 {
            source["split"] = json!({ "side": side, "train_share": 1.0 - held_out });
        }
        source
    };
    match paths.as_slice() {
        [] => {
            sheet.draft.placeholder("objective.train", json!({ "kind": "rows", "path": "train.jsonl" }), "which rows")
        }
        [_] => sheet.draft.set("objective.train", source(0, "train")),
        several => {
            let sources: Vec<Value> =
                (0..several.len()).map(|place| json!({ "source": source(place, "train"), "weight": 1 })).collect();
            sheet.draft.set("objective.sources", sources);
        }
    }
    let to = if paths.len() > 1 { "objective.sources" } else { "objective.train" };
    match paths.len() {
        0 | 1 => sheet.taken("data_file_paths", to),
        _ => sheet.taken_but(
            "data_file_paths",
            to,
            "files are drawn from equally often, not by their size: `weight` says how often",
        ),
    }
    sheet.taken("image_folders", to);
    let sets: serde_json::Map<String, Value> = match held_out > 0.0 {
        true => (0..paths.len()).map(|place| (format!("held_out_{place}"), source(place, "test"))).collect(),
        false => serde_json::Map::new(),
    };
    sheet.draft.set("evaluation.sets", sets);
    if held_out > 0.0 {
        sheet.taken("val_split_ratio", "evaluation.sets")
    } else {
        sheet.same("val_split_ratio")
    }
    Ok(())
}

fn freeze(sheet: &mut Sheet<'_>) -> Read<()> {
    let (frozen, adapted) = (sheet.flag("freeze_vision_modules", false)?, sheet.flag("use_peft", false)?);
    match (frozen, adapted) {
        (true, true) => sheet
            .not_needed("freeze_vision_modules", "adapters are of the language model alone, and all else is frozen"),
        (true, false) => {
            sheet.draft.set("freeze", json!(["tower", "merger"]));
            sheet.taken("freeze_vision_modules", "freeze");
        }
        (false, _) => sheet.same("freeze_vision_modules"),
    }
    Ok(())
}

/// Terms of the reward: those of one of its methods, and a weighed sum.
fn rewards(sheet: &mut Sheet<'_>) -> Read<()> {
    let task = sheet.text("task_type", "default")?;
    let custom = sheet.flag("is_reward_customized_from_vlm_module", false)?;
    let (template, known) = match task.as_str() {
        "rec" => (format!("{THINK} Output the final answer in JSON format."), true),
        "ic" => (format!("{{{{ question }}}} {THINK_IN_MIND} json format answer here </answer>"), true),
        "odLength" => (format!("{THINK_IN_MIND} answer here </answer>\n{{{{ question }}}}"), true),
        "default" | "gui" | "gui_defect" | "math" => (THINK.to_owned(), true),
        _ => (THINK.to_owned(), false),
    };
    sheet.draft.set("prompt.text", template);
    match known {
        true => sheet.taken("task_type", "prompt.text"),
        false => sheet.taken_but("task_type", "prompt.text", "a task that is not known has the usual prompt"),
    }
    let methods = sheet.maybe_text("reward_method")?.unwrap_or_else(|| "default".to_owned());
    let method = methods.split(':').next().unwrap_or_default().to_owned();
    let names: Vec<String> =
        sheet.list("reward_funcs").iter().filter_map(|name| Some(name.as_str()?.to_owned())).collect();
    let names = if names.is_empty() { vec!["accuracy".to_owned(), "format".to_owned()] } else { names };
    let _ = sheet.or("reward_funcs", json!(["accuracy", "format"]));
    let detection = custom && task == "rec";
    let mut terms: Vec<(String, f64)> = Vec::new();
    for name in &names {
        let (term, expressions) = match (name.as_str(), detection) {
            ("accuracy", true) => {
                ("iou", vec![("iou".to_owned(), json!("iou(first_answer, solution, compat='vlm_r1')"))])
            }
            ("format", true) => ("format", vec![("format".to_owned(), json!("format(completion, style='rec')"))]),
            ("format", false) => ("format", vec![("format".to_owned(), json!("format(completion)"))]),
            ("accuracy", false) => ("accuracy", accuracy(&method)),
            (other, _) => (other, Vec::new()),
        };
        if expressions.is_empty() {
            let comment = format!("{name:?} by {method:?}: write it in the reward language");
            unknown_reward(&mut sheet.draft, term, &comment);
        }
        for (name, expression) in expressions {
            sheet.draft.set(&format!("reward.terms.{name}"), expression);
        }
        terms.push((term.to_owned(), 1.0));
    }
    sheet.draft.set("reward.total", total(&terms));
    if terms[0].0 != "accuracy" {
        sheet.draft.set("evaluation.metric", terms[0].0.as_str());
    }
    sheet.taken("reward_funcs", "reward.terms");
    sheet.taken("is_reward_customized_from_vlm_module", "reward.terms");
    match methods.split(':').any(|other| other != method) {
        true => sheet.taken_but("reward_method", "reward.terms", "one reward is for all files: theirs differ"),
        false => sheet.taken("reward_method", "reward.terms"),
    }
    Ok(())
}

/// The accuracy of one of its methods; nothing where it has no counterpart.
fn accuracy(method: &str) -> Vec<(String, Value)> {
    let one = |expression: &str| vec![("accuracy".to_owned(), json!(expression))];
    match method {
        "default" => terms_of("vlm_r1").into_iter().filter(|(name, _)| name != "format").collect(),
        "all_match" => one("all_match(answer ?? completion, solution)"),
        "mcq" => one("choice(first_answer ?? completion, solution, compat='vlm_r1')"),
        "yes_no" => one("yes_no(answer ?? completion, solution, compat='vlm_r1')"),
        "math" => one("math(answer ?? completion, solution)"),
        "weighted_sum" => one("weighted_sum(answer, solution)"),
        "od_ap" => one("map(answer, solution, compat='vlm_r1')"),
        "od_ap50" => one("ap50(answer, solution, compat='vlm_r1')"),
        "odLength" => one("od_length(answer, solution, compat='vlm_r1')"),
        "llm" => one("judge(answer ?? completion, solution)"),
        _ => Vec::new(),
    }
}

const UNREAD: &str = "its own trainer never reads it";

const REST: &[(&str, Rest)] = &[
    ("dataset_name", Rest::Idle(UNREAD)),
    ("dataset_config", Rest::Idle(UNREAD)),
    ("dataset_train_split", Rest::Idle(UNREAD)),
    ("dataset_test_split", Rest::Idle(UNREAD)),
    ("temperature", Rest::Idle(UNREAD)),
    ("top_p", Rest::Idle(UNREAD)),
    ("top_k", Rest::Idle(UNREAD)),
    ("min_p", Rest::Idle(UNREAD)),
    ("repetition_penalty", Rest::Idle(UNREAD)),
    ("reward_weights", Rest::Idle(UNREAD)),
    ("use_vllm", Rest::Idle(UNREAD)),
    ("vllm_device", Rest::Idle(UNREAD)),
    ("vllm_gpu_memory_utilization", Rest::Idle(UNREAD)),
    ("vllm_dtype", Rest::Idle(UNREAD)),
    ("vllm_max_model_len", Rest::Idle(UNREAD)),
    ("vllm_enable_prefix_caching", Rest::Idle(UNREAD)),
    ("vllm_guided_decoding_regex", Rest::Idle(UNREAD)),
    ("sync_ref_model", Rest::Idle(UNREAD)),
    ("ref_model_mixup_alpha", Rest::Idle(UNREAD)),
    ("ref_model_sync_steps", Rest::Idle(UNREAD)),
    ("ds3_gather_for_generation", Rest::Idle(UNREAD)),
    ("log_completions", Rest::Idle("every completion is in rollouts/")),
    ("arrow_cache_dir", Rest::Idle(UNREAD)),
    ("max_prompt_length", Rest::Idle(UNREAD)),
    ("cache_implementation", Rest::Idle("keys and values are its own")),
    ("max_anyres_num", Rest::Off("12", "its family, InternVL, is not known")),
];

//! Every recipe at published size takes a step: its model is a small random checkpoint of the same family, its rows are a few of the same
//! layout. A recipe that names a model or rows of which there are none here fails.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use vr1_data::{RowSource, Take};
use vr1_processor::smart_resize;
use vr1_reward::{Fields, Program, ProgramSource, Registry, Reward, Rollout, builtin_programs};
use vr1_run::{Show, StepMetrics};
use vr1_train::{EvaluationConfig, ObjectiveConfig, OnError, PairSource, Recipe, RunOptions, Source, Trainer};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// A checkpoint that a recipe names, and the one in its place.
const MODELS: [(&str, &str); 9] = [
    ("Qwen/Qwen2-VL-2B", "qwen2_vl_1"),
    ("Qwen/Qwen2-VL-2B-Instruct", "qwen2_vl_1"),
    ("Qwen/Qwen2-VL-7B-Instruct", "qwen2_vl_1"),
    ("Qwen/Qwen2.5-VL-3B-Instruct", "qwen2_5_vl_1"),
    ("Qwen/Qwen2.5-VL-7B-Instruct", "qwen2_5_vl_1"),
    ("meta-llama/Llama-3.2-11B-Vision-Instruct", "mllama_1"),
    ("llava-hf/llama3-llava-next-8b-hf", "llava_next_4"),
    ("runs/insight_v_reasoner/checkpoints/step-781", "llava_next_4"),
    ("rhymes-ai/Aria", "aria_2"),
];

/// Rows that a recipe names, those in their place, and the folder of their pictures where the recipe names one.
const ROWS: [(&str, &str, &str); 26] = [
    ("data/rec_jsons_processed/refcoco_train.json", "vlm_r1/refcoco_train.json", "vlm_r1/images"),
    ("data/rec_jsons_processed/refcocop_train.json", "vlm_r1/refcoco_train.json", "vlm_r1/images"),
    ("data/rec_jsons_processed/refcocog_train.json", "vlm_r1/refcoco_train.json", "vlm_r1/images"),
    ("data/rec_jsons_processed/refcoco_val.json", "vlm_r1/refcoco_train.json", "vlm_r1/images"),
    ("data/rec_jsons_processed/refcocop_val.json", "vlm_r1/refcoco_train.json", "vlm_r1/images"),
    ("data/rec_jsons_processed/refcocog_val.json", "vlm_r1/refcoco_train.json", "vlm_r1/images"),
    ("data/rec_jsons_processed/lisa_test.json", "vlm_r1/refcoco_train.json", "vlm_r1/images"),
    ("data/ovd_train.jsonl", "vlm_r1/ovd.jsonl", "vlm_r1/images"),
    ("leonardPKU/clevr_cogen_a_train", "r1v", ""),
    ("leonardPKU/GEOQA_R1V_Train_8K", "r1v", ""),
    ("lmms-lab/multimodal-open-r1-8k-verified", "open_r1_multimodal", ""),
    ("data/SAT/SAT_train_15000.json", "sat/SAT_train_15000.json", ""),
    ("yuyq96/R1-Vision-AI2D", "r1_vision", ""),
    ("yuyq96/R1-Vision-ScienceQA", "r1_vision", ""),
    ("yuyq96/R1-Vision-PixMo-Cap-QA", "r1_vision", ""),
    ("yuyq96/R1-Vision-PixMo-Cap-QA-zh", "r1_vision", ""),
    ("yuyq96/R1-Vision-Rendered-Stratos-17k", "r1_vision", ""),
    ("bespokelabs/Bespoke-Stratos-17k", "stratos", ""),
    ("Fancy-MLLM/R1-Onevision", "r1_onevision", ""),
    ("data/clevr_10k.jsonl", "vlm_r1/gui.jsonl", "vlm_r1/images"),
    ("ahmedheakl/llamav-o1-instruct-stage1", "llamav_o1/train.jsonl", ""),
    ("ahmedheakl/llamav-o1-instruct-stage2", "llamav_o1/train.jsonl", ""),
    ("data/insight_v/reason.json", "insight_v/reason.json", "insight_v"),
    ("data/insight_v/summary.json", "insight_v/summary.json", "insight_v"),
    ("data/insight_v/dpo_round_1.jsonl", "insight_v/dpo.jsonl", "insight_v"),
    ("data/open-r1-video-4k/LLaVA-Video-large-swift-origin.jsonl", "open_r1_video/train.jsonl", ""),
];

fn published() -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(Path::new(ROOT).join("examples")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let named = |path: PathBuf| Some((path.file_name()?.to_str()?.strip_suffix(".published.yaml")?.to_owned(), path));
    let mut found: Vec<_> = paths.filter_map(named).collect();
    found.sort();
    found
}

/// The small checkpoint in the model's place, with room for the systems' prompts.
fn model(name: &str, folder: &Path) -> PathBuf {
    let (_, family) = MODELS.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("no model for {name}"));
    let from = Path::new(ROOT).join("crates/vr1-vlm/tests/fixtures/families").join(family);
    let to = folder.join(family);
    fs::create_dir_all(&to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
    let mut config: Value = serde_json::from_slice(&fs::read(to.join("config.json")).unwrap()).unwrap();
    widen(&mut config);
    fs::write(to.join("config.json"), config.to_string()).unwrap();
    to
}

/// More positions, wherever the config says how many there are.
fn widen(config: &mut Value) {
    if let Some(object) = config.as_object_mut() {
        for (key, value) in object.iter_mut() {
            if key == "max_position_embeddings" {
                *value = json!(8192);
            }
            widen(value);
        }
    }
}

/// Few rows of the layout in the place of the published ones.
fn rows(source: &mut RowSource) {
    let name = source.path.to_str().unwrap().to_owned();
    let known = ROWS.iter().find(|(known, ..)| *known == name);
    let (_, path, images) = known.unwrap_or_else(|| panic!("no rows for {name}"));
    let fixtures = Path::new(ROOT).join("crates/vr1-data/tests/fixtures/published");
    source.path = fixtures.join(path);
    source.images = (!images.is_empty()).then(|| fixtures.join(images));
    // One file of one row has no two sides, and lies beside no `data/`.
    (source.split, source.take) = (None, Take::All);
    if source.path.is_dir() && source.files.as_deref().is_some_and(|files| !matches(&source.path, files)) {
        source.files = None;
    }
}

/// Whether the folder has what the pattern's own folder is.
fn matches(folder: &Path, files: &str) -> bool {
    files.split_once('/').is_none_or(|(first, _)| first == "*" || folder.join(first).is_dir())
}

fn source(source: &mut Source) {
    match source {
        Source::Rows(own) => rows(own),
        other => panic!("{other:?} is not published"),
    }
}

fn evaluation(evaluation: &mut EvaluationConfig) {
    evaluation.sets.values_mut().for_each(source);
    (evaluation.samples, evaluation.max_completion_tokens, evaluation.every_steps) = (1, 4, 0);
}

fn shrink(objective: &mut ObjectiveConfig) {
    match objective {
        ObjectiveConfig::Grpo(grpo) => {
            grpo.train.iter_mut().for_each(source);
            grpo.sources.iter_mut().for_each(|own| source(&mut own.source));
            (grpo.prompts_per_step, grpo.group_size, grpo.sampling.max_completion_tokens) = (3, 2, 6);
            // A reward that cannot be had is an error here.
            grpo.on_error = OnError::Stop;
        }
        ObjectiveConfig::Sft(sft) => {
            sft.documents.iter_mut().for_each(|document| source(&mut document.source));
            sft.documents_per_step = sft.documents.len().max(2);
        }
        ObjectiveConfig::Dpo(dpo) => {
            match &mut dpo.pairs {
                PairSource::Rows(own) => rows(own),
                PairSource::Written { source: own, .. } | PairSource::Sampled { train: own, .. } => source(own),
            }
            dpo.pairs_per_step = 1;
        }
        ObjectiveConfig::Kto(_) => panic!("no system learns so"),
    }
}

/// The recipe's reward with a term that tells answers of a random model apart: what they say earns nothing, and there would be
/// nothing to learn.
fn with_lengths(recipe: &Recipe) -> ProgramSource {
    let mut reward = serde_json::to_value(&recipe.reward).unwrap();
    let total = reward["total"].as_str().unwrap().to_owned();
    reward["terms"]["length_of_nonsense"] = json!("length(completion) / 7");
    reward["total"] = json!(format!("{total} + length_of_nonsense"));
    serde_json::from_value(reward).unwrap()
}

/// How many tokens of the first prompt stand for its video.
fn video_tokens(out: &Path, checkpoint: &Path) -> usize {
    let config: Value = serde_json::from_slice(&fs::read(checkpoint.join("config.json")).unwrap()).unwrap();
    let first = vr1_run::lines(&out.join("rollouts/step-1.jsonl.zst")).unwrap().next().unwrap().unwrap();
    let row: Value = serde_json::from_slice(&first).unwrap();
    row["prompt_ids"].as_array().unwrap().iter().filter(|id| **id == config["video_token_id"]).count()
}

/// A step of each stage, and what it measured.
#[test]
fn every_recipe_takes_a_step_on_a_small_model_of_its_family() {
    let found = published();
    assert!(found.len() >= 15, "{found:?}");
    for (name, path) in found {
        let folder = tempfile::tempdir().unwrap();
        let mut recipe = Recipe::load(&path, &[]).unwrap_or_else(|error| panic!("{name}: {error}"));
        let checkpoint = model(&recipe.model, folder.path()).to_str().unwrap().to_owned();
        recipe.model = checkpoint.clone();
        recipe.steps = recipe.steps.map(|_| 1);
        recipe.objective.iter_mut().for_each(shrink);
        evaluation(&mut recipe.evaluation);
        for stage in &mut recipe.stages {
            stage.steps = 1;
            shrink(&mut stage.objective);
            stage.evaluation.iter_mut().for_each(evaluation);
        }
        let own_terms: Vec<String> = recipe.reward.terms.names().map(str::to_owned).collect();
        recipe.reward = with_lengths(&recipe);
        let (stages, frames) = (recipe.all_stages(), recipe.media.video.frames);
        let held_out = !recipe.evaluation.sets.is_empty();
        let out = folder.path().join("run");
        let options = RunOptions { show: Show::Quiet, ..RunOptions::new(&out) };
        let mut trainer = Trainer::new(recipe, options).unwrap_or_else(|error| panic!("{name}: {error}"));
        let scores = trainer.evaluate().unwrap_or_else(|error| panic!("{name}: {error}")).unwrap();
        assert_eq!(scores.contains_key("accuracy"), held_out, "{name}");
        let metrics: Vec<StepMetrics> =
            stages.iter().map(|_| trainer.step().unwrap_or_else(|error| panic!("{name}: {error}"))).collect();
        for (step, stage) in metrics.iter().zip(&stages) {
            let number = |key: &str| step.get(key).unwrap_or_else(|| panic!("{name}: no {key} in {step:?}"));
            assert!(number("loss").is_finite() && number("grad_norm").is_finite(), "{name}: {step:?}");
            match &stage.objective {
                ObjectiveConfig::Grpo(_) => {
                    own_terms.iter().for_each(|term| assert!(number(&format!("rewards/{term}")).is_finite(), "{name}"));
                    assert!(number("grad_norm") > 0.0 && number("reward_errors") == 0.0, "{name}: {step:?}");
                }
                _ => assert!(number("loss") > 0.0 && number("grad_norm") > 0.0, "{name}: {step:?}"),
            }
        }
        if frames.is_some() {
            // Sixteen frames in pairs, of 128 to 196 tokens each.
            let tokens = video_tokens(&out, Path::new(&checkpoint));
            assert!((8 * 128..=8 * 196).contains(&tokens), "{name}: {tokens}");
        }
    }
}

/// What a recipe says is a built-in program's is that, letter by letter but for white space.
#[test]
fn rewards_that_are_built_in_are_those() {
    let mut compared = 0;
    for (name, path) in published() {
        let text = fs::read_to_string(&path).unwrap();
        let recipe = Recipe::load(&path, &[]).unwrap();
        let said = text.split("built-in program ").nth(1).map(|rest| rest.split([':', '.', '"', '\n']).next().unwrap());
        let Some(program) = said else { continue };
        let (_, yaml) =
            builtin_programs().find(|(known, _)| *known == program).unwrap_or_else(|| panic!("{name}: {program}"));
        let built_in: Value = vr1_run::from_str(program, yaml, &[]).unwrap();
        let own = serde_json::to_value(&recipe.reward).unwrap();
        let plain = |value: &Value| value.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        for key in ["terms", "total"] {
            assert_eq!(plain(&own[key]), plain(&built_in[key]), "{name}: {key} of {program}");
        }
        compared += 1;
    }
    assert!(compared >= 8, "{compared}");
}

#[test]
fn every_reward_passes_its_compiler_without_a_fault() {
    for (name, path) in published() {
        let recipe = Recipe::load(&path, &[]).unwrap();
        Program::compile(recipe.reward, &Registry::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

/// As long as a picture is neither so small nor so large that its area is bounded, which none of COCO's is.
#[test]
fn a_box_in_the_picture_that_the_model_saw_is_the_box_in_the_original() {
    let recipe = Recipe::load(&Path::new(ROOT).join("examples/vlm_r1_rec.published.yaml"), &[]).unwrap();
    let (least, most) = (recipe.media.min_pixels.unwrap(), recipe.media.max_pixels.unwrap());
    let program = Program::compile(recipe.reward, &Registry::default()).unwrap();
    for side in 60..=640_u32 {
        for (width, height) in [(side, 480), (640, side)] {
            let (high, wide) = smart_resize(height, width, 28, least, most).unwrap();
            let completion = format!("<think>all</think><answer>{{\"bbox_2d\": [0, 0, {wide}, {high}]}}</answer>");
            let solution = format!("[0, 0, {width}, {height}]");
            let fields: Fields =
                [("width".to_owned(), json!(width)), ("height".to_owned(), json!(height))].into_iter().collect();
            let rollout = Rollout {
                prompt: "Where?",
                completion: &completion,
                solution: &solution,
                tokens: 9,
                finished: true,
                fields: &fields,
            };
            let total = program.score(&rollout).unwrap();
            assert!((total - 2.0).abs() < 1e-4, "{width} × {height}: {total}");
        }
    }
}

//! `vr1 plan`: what a recipe takes, before any weights are loaded.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::{TINY, vr1};

/// The tiny model without its weights.
fn weightless(folder: &Path) -> String {
    let to = folder.join("weightless");
    fs::create_dir(&to).unwrap();
    for entry in fs::read_dir(TINY).unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_none_or(|ending| ending != "safetensors") {
            fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
        }
    }
    to.to_str().unwrap().to_owned()
}

fn recipe(folder: &Path, model: &str) -> String {
    let picture = folder.join("picture.png");
    image::RgbImage::from_fn(96, 64, |x, y| image::Rgb([x as u8, y as u8, 90])).save(&picture).unwrap();
    let row =
        |i: usize| json!({"image": picture, "question": format!("How many cubes, {i}?"), "answer": "3"}).to_string();
    let rows: Vec<String> = (0..10).map(row).collect();
    fs::write(folder.join("rows.jsonl"), rows.join("\n")).unwrap();
    let source = json!({"kind": "rows", "path": folder.join("rows.jsonl")});
    let recipe = json!({
        "system": "planned", "model": model, "steps": 5,
        "objective": {
            "kind": "grpo", "train": source, "prompts_per_step": 4, "group_size": 8, "sampling": {"max_completion_tokens": 32},
        },
        "prompt": {"text": "{{ question }}"},
        "reward": {"terms": {"accuracy": "exact(answer, solution)"}, "total": "accuracy"},
        "evaluation": {"sets": {"test": source}, "max_completion_tokens": 8},
    });
    let path = folder.join("recipe.yaml");
    fs::write(&path, recipe.to_string()).unwrap();
    path.to_str().unwrap().to_owned()
}

fn plan(arguments: &[&str]) -> Value {
    let output = vr1(&[&["plan", "--json"], arguments].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_plan_needs_no_weights_and_counts_what_a_run_goes_through() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(folder.path(), &weightless(folder.path()));
    let plan = plan(&[&recipe]);
    let stage = &plan["stages"][0];
    assert_eq!((&stage["steps"], &stage["epochs"], &stage["lengths"]["rows"]), (&json!(5), &json!(2.0), &json!(10)));
    let names: Vec<&str> = stage["phases"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["evaluation", "rollout", "update", "optimizer", "checkpoint"]);
    assert!(stage["seconds_a_step"]["step"].as_f64().unwrap() > 0.0);
    for phase in stage["phases"].as_array().unwrap() {
        let held: u64 = phase["held"].as_array().unwrap().iter().map(|held| held["bytes"].as_u64().unwrap()).sum();
        assert_eq!(phase["bytes"], held);
        assert_eq!(phase["held"][0]["what"], "weights");
    }
}

#[test]
fn what_does_not_fit_is_told_with_what_to_change_the_smallest_change_first() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(folder.path(), TINY);
    let whole = plan(&[&recipe, "--device", "cuda", "--dtype", "bf16", "--memory", "1"]);
    assert_eq!((&whole["fits"], &whole["advice"]), (&json!(true), &json!([])));
    let peak = whole["peak"].as_u64().unwrap();
    let memory = format!("{}", peak as f64 * 0.8 / 1e9);
    let less = plan(&[&recipe, "--device", "cuda", "--dtype", "bf16", "--memory", &memory]);
    assert_eq!(less["fits"], false);
    let advice = less["advice"].as_array().unwrap();
    assert!(advice.iter().all(|advice| advice["peak"].as_u64().unwrap() < peak));
    let first = advice.iter().find(|advice| advice["fits"] == true).unwrap();
    // The advice holds: the recipe so changed is planned to take as much.
    let set: Vec<String> =
        first["change"].as_array().unwrap().iter().map(|c| c.as_str().unwrap().replacen(": ", "=", 1)).collect();
    let mut arguments = vec![recipe.as_str(), "--device", "cuda", "--dtype", "bf16", "--memory", &memory];
    set.iter().for_each(|set| arguments.extend(["--set", set.as_str()]));
    let changed = plan(&arguments);
    assert_eq!((&changed["fits"], &changed["peak"]), (&json!(true), &first["peak"]));
    // A card that is not there is planned for only where somebody says how much it has.
    if vr1_torch::device("cuda").is_err() {
        assert!(!vr1(&["plan", &recipe, "--device", "cuda"]).status.success());
    }
}

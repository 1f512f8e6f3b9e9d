//! Runs: what they leave, what they tell, and what becomes of their models.

use super::*;

#[test]
fn a_run_leaves_summary_metrics_and_a_page_that_can_be_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/visualthinker_sat.yaml");
    let out = folder.path().join("run");
    let run = out.to_str().unwrap();
    let short = [
        "steps=2",
        "objective.prompts_per_step=2",
        "objective.group_size=2",
        "objective.sampling.max_completion_tokens=8",
        "evaluation.samples=2",
        "evaluation.max_completion_tokens=8",
    ];
    let set: Vec<&str> = short.into_iter().flat_map(|set| ["--set", set]).collect();
    let output = vr1(&[&["train", recipe, "--model", TINY, "--out", run], &set[..]].concat());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(output.stdout.is_empty());
    assert!(said.contains("before") && said.contains("in_domain/accuracy"), "{said}");
    assert_eq!(fs::read_to_string(out.join("metrics.jsonl")).unwrap().lines().count(), 2);

    let page = out.join("report.html");
    fs::remove_file(&page).unwrap();
    assert!(vr1(&["report", run]).status.success());
    assert!(fs::read_to_string(page).unwrap().contains("in_domain/accuracy"));
    assert_eq!(vr1(&["report", folder.path().to_str().unwrap()]).status.code(), Some(1), "no run is there");
}

/// Imitation, then reinforcement: two steps of each.
const STAGES: &str = "\
system: two stages
model: nowhere
prompt: { layout: raw, text: '{{ question }}' }
reward: { terms: { accuracy: 'exact(answer, solution)', size: 0.01 * tokens }, total: accuracy + size }
optimizer: { learning_rate: 1.0e-4 }
evaluation:
  samples: 2
  max_completion_tokens: 4
  sets: { in_domain: { kind: scenes, task: spatial, split: in_domain } }
stages:
- name: imitation
  steps: 2
  objective:
    kind: sft
    documents_per_step: 2
    documents: [{ source: { kind: scenes, task: spatial, split: train }, text: '{{ question }}', target: '{{ solution }}' }]
- steps: 2
  objective:
    kind: grpo
    train: { kind: scenes, task: spatial, split: train }
    prompts_per_step: 2
    group_size: 2
    sampling: { max_completion_tokens: 8 }
";

#[test]
fn a_run_of_stages_says_what_each_brought() {
    let folder = tempfile::tempdir().unwrap();
    let (recipe, out) = (folder.path().join("recipe.yaml"), folder.path().join("run"));
    fs::write(&recipe, STAGES).unwrap();
    let [recipe, run] = [&recipe, &out].map(|path| path.to_str().unwrap());
    let output = vr1(&["train", recipe, "--model", TINY, "--out", run]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    let row = |words: &[&str]| said.lines().any(|line| line.split_whitespace().zip(words).all(|(a, b)| a == *b));
    assert!(row(&["stage", "steps", "in_domain/accuracy"]), "{said}");
    assert!(row(&["imitation", "2"]) && row(&["grpo", "2"]), "{said}");
    let summary: Value = serde_json::from_slice(&fs::read(out.join("summary.json")).unwrap()).unwrap();
    assert_eq!((&summary["stages"][0]["name"], &summary["stages"][1]["steps"]), (&json!("imitation"), &json!(2)));
    assert!(fs::read_to_string(out.join("report.html")).unwrap().contains(r#"["imitation","2","#));
}

#[test]
fn a_smoke_run_of_stages_is_short_in_each() {
    let folder = tempfile::tempdir().unwrap();
    let (recipe, out) = (folder.path().join("recipe.yaml"), folder.path().join("run"));
    // Imitation last: its loss falls, whatever the one before had.
    let (head, stages) = STAGES.split_once("stages:\n").unwrap();
    let (first, second) = stages.split_at(stages.find("- steps: 2").unwrap());
    fs::write(&recipe, format!("{head}stages:\n{second}{first}").replace("1.0e-4", "3.0e-3")).unwrap();
    let [recipe, run] = [&recipe, &out].map(|path| path.to_str().unwrap());
    let output = vr1(&["train", recipe, "--model", TINY, "--out", run, "--smoke", "--quiet"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.contains("smoke: loss went from"), "{said}");
    assert_eq!(fs::read_to_string(out.join("metrics.jsonl")).unwrap().lines().count(), 32);
}

#[test]
fn an_adapter_of_a_run_is_merged_by_export_and_says_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (recipe, run, merged, alone) = (path("recipe.yaml"), path("run"), path("merged"), path("alone"));
    fs::write(&recipe, STAGES.replace("1.0e-4", "2.0e-2")).unwrap();
    let lora = "lora={ rank: 4, alpha: 8, target_modules: [q_proj, down_proj] }";
    let output = vr1(&["train", &recipe, "--model", TINY, "--out", &run, "--set", lora, "--quiet"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (checkpoint, adapter) = (format!("{run}/checkpoints/step-4"), format!("{run}/checkpoints/step-4/adapter"));
    assert!(
        vr1(&["export", "--model", TINY, "--adapter", &adapter, "--out", &merged, "--dtype", "f32"]).status.success()
    );
    assert!(
        vr1(&["export", "--model", TINY, "--adapter", &adapter, "--adapter-only", "--out", &alone]).status.success()
    );
    assert!(Path::new(&alone).join("adapter_model.safetensors").is_file());

    let question = ["--prompt", "Which is left of the cube?", "--completion", "The red ball.", "--json"];
    let judged = |model: &[&str]| {
        let answer = lines(&[&["logprobs"], model, &question[..]].concat()).remove(0);
        serde_json::from_value::<Vec<f64>>(answer["logprobs"].clone()).unwrap()
    };
    let base = judged(&["--model", TINY]);
    let beside = judged(&["--model", TINY, "--adapter", &adapter]);
    let apart = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(apart(&base, &beside) > 1e-2, "the adapter says something of its own");
    for model in [&merged, &checkpoint] {
        assert!(apart(&judged(&["--model", model]), &beside) < 1e-3, "{model}");
    }
    assert!(apart(&judged(&["--model", TINY, "--adapter", &alone]), &beside) < 1e-6);
}

#[test]
fn staged_conversations_of_ones_own_take_the_place_of_a_recipes_documents() {
    let folder = tempfile::tempdir().unwrap();
    picture(folder.path());
    let said =
        ["<image>Which color?\nSummarize.", "I will look.", "Describe.", "Blue.", "Explain.", "It is.", "State."];
    let row = |answer: &str| {
        let message = |(i, text)| json!({"from": if i % 2 == 0 { "human" } else { "gpt" }, "value": text});
        let messages: Vec<Value> = said.into_iter().chain([answer]).enumerate().map(message).collect();
        json!({"image": "picture.png", "conversations": messages}).to_string()
    };
    let [train, test] = ["train.jsonl", "test.jsonl"].map(|name| folder.path().join(name));
    fs::write(&train, format!("{}\n{}\n", row("blue"), row("red"))).unwrap();
    fs::write(&test, row("blue")).unwrap();

    let recipe = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/llamav_o1_curriculum.yaml");
    let run = |out: &str, data: &Path, more: &[&str]| {
        let out = folder.path().join(out);
        let [out, data] = [&out, data].map(|path| path.to_str().unwrap());
        let short = ["steps=2", "objective.documents_per_step=2", "evaluation.max_completion_tokens=4"];
        let set: Vec<&str> = short.iter().chain(more).flat_map(|set| ["--set", set]).collect();
        let output = vr1(&[&["train", recipe, "--model", TINY, "--out", out, "--data", data], &set[..]].concat());
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = run("run", &train, &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("test/accuracy") && !said.contains("in_domain"), "{said}");

    // A document that asks for what the rows do not have names the row.
    let (code, said) = run("lacking", &train, &["objective.documents.0.turns=[summary, verdict]"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("has no turn \"verdict\""), "{said}");
    let (code, said) = run("gone", Path::new("/nowhere.jsonl"), &[]);
    assert_eq!(code, Some(1));
    assert!(said.contains("--data: there is no \"/nowhere.jsonl\" on this machine"), "{said}");
}

#[test]
fn a_configuration_of_another_system_becomes_a_recipe_that_says_what_it_comes_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let config = "num_generations: 4\nmax_completion_length: 8\nmax_steps: 3\nlearning_rate: 1e-4\npush_to_hub: true\n";
    fs::write(path("grpo.yaml"), config).unwrap();
    let output = vr1(&["import", &path("grpo.yaml"), "--processes", "2", "--out", &path("recipe.yaml")]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && output.stdout.is_empty(), "{said}");
    for line in [
        "max_steps: 3 → steps",
        "beta: 0.0 (its default) → objective.loss.beta",
        "push_to_hub: true (nothing is published",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    assert_eq!(
        vr1(&["import", &path("grpo.yaml"), "--out", &path("recipe.yaml")]).status.code(),
        Some(1),
        "it is there already"
    );
    let printed = vr1(&["import", &path("grpo.yaml"), "--processes", "2"]).stdout;
    assert_eq!(printed, fs::read(path("recipe.yaml")).unwrap());

    let scenes = "objective.train={ kind: scenes, task: spatial, split: train }";
    let derived = vr1(&["train", &path("recipe.yaml"), "--model", TINY, "--set", scenes, "--dry-run"]);
    let said = String::from_utf8(derived.stderr).unwrap();
    assert!(derived.status.success() && said.contains("3 steps of 4 prompts × 4 = 16 completions"), "{said}");
    assert!(said.contains("1e-4 at first, 1e-4 at its highest, 3.333e-5 at last"), "{said}");
    assert_eq!(vr1(&["import", TINY]).status.code(), Some(1));
}

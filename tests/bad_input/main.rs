//! What comes from outside may be broken: the program names the place and the reason, leaves with a status that is not
//! 0, and never panics.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod media;
mod models;
mod rows;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use safetensors::tensor::{SafeTensors, TensorView, serialize};

const TINY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/assets/tiny");

const RECIPE: &str = "\
system: a short run
model: nowhere
steps: 2
objective:
  kind: grpo
  train: { kind: scenes, task: spatial, split: train }
  prompts_per_step: 2
  group_size: 2
  sampling: { temperature: 1.0, max_completion_tokens: 8 }
prompt:
  layout: raw
  text: '{{ question }}'
reward:
  terms:
    accuracy: exact(answer, solution)
    length: 0.01 * tokens
  total: accuracy + length
optimizer:
  learning_rate: 1.0e-4
evaluation:
  samples: 4
  max_completion_tokens: 8
  sets:
    in_domain: { kind: scenes, task: spatial, split: in_domain }
";

fn vr1() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vr1"));
    command.env("HF_HUB_OFFLINE", "1").env_remove("RUST_LOG");
    command
}

/// What the program says as it refuses.
fn refusal<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> String {
    let output = vr1().args(arguments).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(output.stdout.is_empty(), "stdout has {:?}", String::from_utf8_lossy(&output.stdout));
    assert!(said.lines().any(|line| line.starts_with("error: ")), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    said
}

fn train(recipe: &Path, out: &Path, more: &[&str]) -> String {
    let (recipe, out) = (recipe.to_str().unwrap(), out.to_str().unwrap());
    refusal(["train", recipe, "--model", TINY, "--out", out, "--quiet"].iter().chain(more))
}

fn generate(model: &Path, more: &[&str]) -> String {
    let model = model.to_str().unwrap();
    refusal(["generate", "--model", model, "--prompt", "What?", "--max-new-tokens", "2", "--json"].iter().chain(more))
}

fn says(said: &str, all: &[&str]) {
    for words in all {
        assert!(said.contains(words), "{words:?} is not in:\n{said}");
    }
}

fn written(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, bytes).unwrap();
    path
}

/// A copy of the embedded model that a test may damage.
fn model(folder: &Path) -> PathBuf {
    let copy = folder.join("model");
    fs::create_dir(&copy).unwrap();
    for entry in fs::read_dir(TINY).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, copy.join(path.file_name().unwrap())).unwrap();
    }
    copy
}

#[test]
fn a_mistyped_key_of_a_recipe_names_itself_its_line_and_the_nearest_key() {
    let folder = tempfile::tempdir().unwrap();
    for (right, wrong) in [
        ("steps", "stepz"),
        ("prompts_per_step", "prompt_per_step"),
        ("max_completion_tokens", "max_completion_token"),
        ("layout", "layuot"),
        ("learning_rate", "learning_rte"),
        ("samples", "sampels"),
        ("split", "splti"),
    ] {
        let text = RECIPE.replacen(&format!("{right}: "), &format!("{wrong}: "), 1);
        let line = 1 + text.lines().position(|line| line.contains(&format!("{wrong}: "))).unwrap();
        let recipe = written(folder.path(), "recipe.yaml", &text);
        let said = train(&recipe, &folder.path().join("run"), &[]);
        says(&said, &[&format!("{}:{line}:", recipe.display()), wrong, &format!("`{right}`")]);
    }
    assert!(!folder.path().join("run").exists(), "a run that was refused has no folder");
}

#[test]
fn a_mistyped_override_names_itself_and_the_nearest_key() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = written(folder.path(), "recipe.yaml", RECIPE);
    let out = folder.path().join("run");
    says(&train(&recipe, &out, &["--set", "objective.group_sise=4"]), &["group_sise", "`group_size`"]);
    says(&train(&recipe, &out, &["--set", "steps"]), &["--set steps", "key=value"]);
}

#[test]
fn a_wrong_value_in_a_recipe_is_named_with_its_line_and_what_is_expected() {
    let folder = tempfile::tempdir().unwrap();
    for (right, wrong, line, words) in [
        ("steps: 2", "steps: many", 3, ["steps", "many"]),
        ("steps: 2", "steps: 0", 3, ["steps", "at least 1"]),
        ("kind: grpo", "kind: grppo", 5, ["grppo", "`grpo`"]),
        ("group_size: 2", "group_size: 1", 8, ["group_size", "at least 2"]),
        ("temperature: 1.0", "temperature: -1.0", 9, ["temperature", "0 or more"]),
    ] {
        let recipe = written(folder.path(), "recipe.yaml", RECIPE.replacen(right, wrong, 1));
        let said = train(&recipe, &folder.path().join("run"), &[]);
        says(&said, &[&format!("{}:{line}:", recipe.display())]);
        says(&said, &words);
    }
    let recipe = written(folder.path(), "recipe.yaml", RECIPE.replacen("system: a short run\n", "", 1));
    says(&train(&recipe, &folder.path().join("run"), &[]), &["missing key `system`"]);
}

#[test]
fn a_reward_that_is_no_program_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = written(folder.path(), "recipe.yaml", RECIPE.replace("exact(answer", "exakt(answer"));
    let out = folder.path().join("run");
    says(&train(&recipe, &out, &[]), &["exakt", "`exact`"]);
    assert!(!out.exists());
}

#[test]
fn completions_that_leave_the_model_no_room_are_an_error_with_the_lengths() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = written(folder.path(), "recipe.yaml", RECIPE);
    let said = train(&recipe, &folder.path().join("run"), &["--set", "evaluation.max_completion_tokens=100000"]);
    says(&said, &["tokens", "where 0 fit"]);
    let said = refusal(["generate", "--model", TINY, "--prompt", "What?", "--max-new-tokens", "100000"]);
    says(&said, &["tokens", "where 0 fit"]);
}

#[test]
fn a_set_without_end_is_not_evaluated_whole() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = written(folder.path(), "recipe.yaml", RECIPE);
    let said = train(&recipe, &folder.path().join("run"), &["--set", "evaluation.samples=0"]);
    says(&said, &["evaluation.samples: 0", "drawn without end"]);
}

#[test]
fn a_recipe_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = folder.path().join("absent.yaml");
    says(&train(&recipe, &folder.path().join("run"), &[]), &["absent.yaml", "No such file"]);
}

#[test]
fn a_device_that_is_not_there_is_named_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = written(folder.path(), "recipe.yaml", RECIPE);
    // Number 999 is on no machine, so this holds where there is a GPU too.
    for said in [
        generate(Path::new(TINY), &["--device", "cuda:999"]),
        train(&recipe, &folder.path().join("run"), &["--device", "cuda:999"]),
    ] {
        says(&said, &["cuda:999"]);
    }
    let cuda = ["generate", "--model", TINY, "--prompt", "What?", "--max-new-tokens", "1", "--device", "cuda"];
    if !vr1().args(cuda).output().unwrap().status.success() {
        says(&refusal(cuda), &["device cuda cannot be used"]);
    }
    says(&generate(Path::new(TINY), &["--device", "gpu"]), &["gpu", "`cpu`, `cuda` or `cuda:N`"]);
    says(&generate(Path::new(TINY), &["--dtype", "int8"]), &["int8", "`bf16`"]);
    assert!(!folder.path().join("run").exists());
}

#[test]
fn an_output_folder_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = written(folder.path(), "recipe.yaml", RECIPE);
    let file = written(folder.path(), "file", "in the way");
    for out in [file.clone(), file.join("run")] {
        says(&train(&recipe, &out, &[]), &[file.to_str().unwrap(), "is a file"]);
    }
    // Even the superuser makes no folder there.
    says(&train(&recipe, Path::new("/proc/vr1-run"), &[]), &["cannot create the folder /proc/vr1-run"]);
    // A run is never overwritten.
    let run = folder.path().join("run");
    fs::create_dir(&run).unwrap();
    fs::write(run.join("config.yaml"), "a run").unwrap();
    says(&train(&recipe, &run, &[]), &[run.join("config.yaml").to_str().unwrap()]);
    assert_eq!(fs::read_to_string(run.join("config.yaml")).unwrap(), "a run");
}

#[test]
fn faults_of_the_question_itself_are_named() {
    let question = |more: &[&str]| {
        let fixed = ["--model", TINY, "--json"];
        refusal(more.iter().chain(&fixed))
    };
    says(&question(&["generate", "--raw", "--prompt", ""]), &["--prompt", "not one token"]);
    says(&question(&["logprobs", "--prompt", "What?", "--completion", ""]), &["--completion", "not one token"]);
    says(&question(&["generate", "--prompt", "What?", "--top-p", "1.5"]), &["top_p", "1.5"]);
    says(&question(&["generate", "--prompt", "What?", "--num-beams", "0"]), &["--num-beams"]);
}

#[test]
fn weights_of_half_precision_are_not_trained() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = written(folder.path(), "recipe.yaml", RECIPE);
    let said = train(&recipe, &folder.path().join("run"), &["--dtype", "f16"]);
    says(&said, &["f16 weights are not trained", "bf16 or f32"]);
    assert!(!folder.path().join("run").exists());
}

#[test]
fn a_setting_that_a_step_makes_itself_is_refused_by_its_key_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let text = RECIPE.replace("  group_size: 2\n", "  group_size: 2\n  loss:\n    entropy_tokens: 7\n");
    let recipe = written(folder.path(), "recipe.yaml", text);
    let said = train(&recipe, &folder.path().join("run"), &[]);
    says(&said, &[&format!("{}:10:", recipe.display()), "objective.loss.entropy_tokens", "set by the step itself"]);
}

#[test]
fn an_answer_that_nobody_could_judge_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let text = RECIPE.replace("exact(answer, solution)", "to_number(first(split(completion, '|')))");
    let recipe = written(folder.path(), "recipe.yaml", text);
    let out = folder.path().join("run");
    let mut command = vr1();
    command.args([
        "train",
        recipe.to_str().unwrap(),
        "--model",
        TINY,
        "--set",
        "steps=1",
        "--set",
        "reward.total=length",
    ]);
    let output = command.args(["--out", out.to_str().unwrap()]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    says(&said, &["warning: `in_domain`: ", " of 4 answers have no verdict", "its `accuracy` is missing"]);
}

#[test]
fn a_run_that_a_reward_stops_says_where() {
    let folder = tempfile::tempdir().unwrap();
    // A judge that nobody runs: the first completion cannot be rewarded.
    let text = RECIPE.replace("exact(answer, solution)", "judge(completion, solution)");
    let text = text.replace("  group_size: 2\n", "  group_size: 2\n  on_error: stop\n");
    let recipe = written(folder.path(), "recipe.yaml", text);
    let out = folder.path().join("run");
    let mut command = vr1();
    command.env("VR1_JUDGE_URL", "http://127.0.0.1:1/v1").env("VR1_JUDGE_MODEL", "nobody");
    command.args(["train", recipe.to_str().unwrap(), "--model", TINY, "--out", out.to_str().unwrap()]);
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    says(&said, &["4 of 4 answers have no verdict", "error: step 1: the reward of completion 0 of `", "127.0.0.1:1"]);
}

#[test]
fn a_run_whose_samples_lack_what_the_reward_reads_stops_at_its_first_step() {
    let folder = tempfile::tempdir().unwrap();
    for (verifier, text) in [("completion", "exact(completion, fields.gold)"), ("answer", "exact(answer, fields.gold)")]
    {
        let text = RECIPE.replace("exact(answer, solution)", text);
        let recipe = written(folder.path(), "recipe.yaml", text);
        let out = folder.path().join(verifier);
        let said = refusal(["train", recipe.to_str().unwrap(), "--model", TINY, "--out", out.to_str().unwrap()]);
        says(&said, &["error: step 1: not one completion has a reward", "`accuracy` and `fields.gold` are missing"]);
        assert_eq!(fs::read_to_string(out.join("metrics.jsonl")).unwrap_or_default(), "", "no step was made");
    }
}

/// The child, stopped whatever becomes of the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
    }
}

impl Running {
    /// Asks again and again until there is an answer.
    fn until<T>(&mut self, mut answer: impl FnMut(&mut Child) -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(answer) = answer(&mut self.0) {
                return answer;
            }
            assert!(begun.elapsed() < Duration::from_secs(300), "no answer for five minutes");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn ctrl_c_in_mid_run_leaves_the_folder_whole() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = written(folder.path(), "recipe.yaml", RECIPE);
    let run = folder.path().join("run");
    let mut command = vr1();
    command.args(["train", recipe.to_str().unwrap(), "--model", TINY, "--set", "steps=100000"]);
    command.args(["--out", run.to_str().unwrap()]).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut running = Running(command.spawn().unwrap());
    let metrics = || fs::read_to_string(run.join("metrics.jsonl")).unwrap_or_default();
    running.until(|child| {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it was asked to");
        metrics().contains('\n').then_some(())
    });
    let pressed = Command::new("kill").args(["-INT", &running.0.id().to_string()]).status().unwrap();
    assert!(pressed.success());
    let status = running.until(|child| child.try_wait().unwrap());
    let mut said = String::new();
    running.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(status.code(), Some(75), "{said}");
    says(&said, &["of 100000 steps", "stopped after"]);

    let lines: Vec<serde_json::Value> = metrics().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(metrics().ends_with('\n'));
    let steps = lines.len() as u64;
    assert!((1..100_000).contains(&steps));
    assert!(lines.iter().zip(1..).all(|(line, step)| line["step"] == step && line["reward"].is_number()));

    let summary: serde_json::Value = serde_json::from_slice(&fs::read(run.join("summary.json")).unwrap()).unwrap();
    assert_eq!(summary["steps"], steps);
    assert!(summary["before"]["in_domain/accuracy"].is_number());
    assert!(fs::read_to_string(run.join("config.yaml")).unwrap().contains("steps: 100000"));
    assert!(run.join("report.html").is_file());
    for path in [run.clone(), run.join("checkpoints"), run.join("rollouts")] {
        for entry in fs::read_dir(path).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(!name.ends_with(".tmp") && !name.ends_with(".old"), "{name} was left");
        }
    }

    let checkpoint = run.join(format!("checkpoints/step-{steps}"));
    let mut again = vr1();
    again.args(["generate", "--prompt", "What?", "--max-new-tokens", "2", "--json", "--model"]).arg(checkpoint);
    let output = again.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

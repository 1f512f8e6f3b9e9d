//! The edges of a run, with real processes: wherever a kill or a signal finds it, the same command goes on.

use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::Duration;

use super::*;

const RECIPE: &str = "\
system: edges
model: nowhere
steps: 3
save_every_steps: 1
keep_checkpoints: 0
prompt: { layout: raw, text: '{{ question }}' }
reward: { terms: { accuracy: 'length(completion) / 100' }, total: accuracy }
optimizer: { learning_rate: 1.0e-3 }
evaluation:
  samples: 128
  max_completion_tokens: 2
  every_steps: 2
  sets: { in_domain: { kind: scenes, task: spatial, split: in_domain } }
objective:
  kind: grpo
  train: { kind: scenes, task: spatial, split: train }
  prompts_per_step: 2
  group_size: 2
  sampling: { temperature: 1.0, max_completion_tokens: 4 }
";

/// A folder with the recipe.
pub(crate) struct Ground(tempfile::TempDir);

impl Ground {
    fn new() -> Self {
        Self::of(RECIPE)
    }

    pub(crate) fn of(recipe: &str) -> Self {
        let ground = Self(tempfile::tempdir().unwrap());
        ground.write(recipe, Path::new(TINY));
        ground
    }

    fn write(&self, recipe: &str, model: &Path) {
        let recipe = recipe.replace("model: nowhere", &format!("model: {}", model.display()));
        fs::write(self.path("recipe.yaml"), recipe).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn command(&self, out: &str, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vr1"));
        command.arg("train").arg(self.path("recipe.yaml")).args(["--quiet", "--out"]);
        command.arg(self.path(out)).args(more).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    /// The exit status and what was said.
    pub(crate) fn train(&self, out: &str, more: &[&str]) -> (Option<i32>, String) {
        let output = self.command(out, more).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }

    /// What a run came to, but for its times: rows, scores and the last weights.
    fn outcome(&self, out: &str) -> (Vec<Value>, Value, Vec<u8>) {
        let rows = fs::read_to_string(self.path(out).join("metrics.jsonl")).unwrap();
        let timeless = |line: &str| {
            let mut row: Value = serde_json::from_str(line).unwrap();
            row.as_object_mut().unwrap().retain(|name, _| !name.contains("second") && name != "memory_gb");
            row
        };
        let summary = fs::read(self.path(out).join("summary.json")).unwrap();
        let mut summary: Value = serde_json::from_slice(&summary).unwrap();
        summary.as_object_mut().unwrap().remove("seconds");
        let weights = fs::read(self.path(out).join("checkpoints/step-3/model.safetensors")).unwrap();
        (rows.lines().map(timeless).collect(), summary, weights)
    }
}

impl Ground {
    /// All that a run left and that is not its times: rows, scores, records and the last weights, by file.
    pub(crate) fn everything(&self, out: &str) -> std::collections::BTreeMap<String, Vec<u8>> {
        let run = self.path(out);
        let mut all = std::collections::BTreeMap::new();
        for folder in ["rollouts", "rollouts/media", "evaluations"] {
            for entry in fs::read_dir(run.join(folder)).into_iter().flatten().flatten().filter(|e| e.path().is_file()) {
                let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
                all.insert(name, fs::read(entry.path()).unwrap());
            }
        }
        let last = fs::read_dir(run.join("checkpoints")).unwrap().map(|entry| entry.unwrap().path()).max().unwrap();
        for name in ["model.safetensors", "optimizer.safetensors", "adapter/adapter_model.safetensors"] {
            if let Ok(bytes) = fs::read(last.join(name)) {
                all.insert(format!("the last {name}"), bytes);
            }
        }
        let timeless = |text: &str| {
            let mut row: Value = serde_json::from_str(text).unwrap();
            row.as_object_mut().unwrap().retain(|name, _| !name.contains("second") && name != "memory_gb");
            row.to_string()
        };
        let rows = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
        all.insert("metrics.jsonl".to_owned(), rows.lines().map(timeless).collect::<String>().into_bytes());
        let summary = fs::read_to_string(run.join("summary.json")).unwrap();
        all.insert("summary.json".to_owned(), timeless(&summary).into_bytes());
        all
    }
}

/// Where a run is found, the signal that finds it there, and how that place is known.
type Found<'a> = (&'a str, &'a str, &'a dyn Fn(&str) -> bool);

/// Waits until `reached`, and sends the signal if the run is under way still.
fn signal(run: &mut Child, name: &str, reached: impl Fn() -> bool) {
    while !reached() && run.try_wait().unwrap().is_none() {
        sleep(Duration::from_millis(5));
    }
    let _ = Command::new("kill").args([name, &run.id().to_string()]).stderr(Stdio::null()).status();
}

#[test]
fn a_run_that_is_killed_anywhere_is_gone_on_with_by_the_same_command() {
    let ground = Ground::new();
    assert_eq!(ground.train("whole", &[]).0, Some(0));
    let whole = ground.outcome("whole");
    let exists = |out: &str, name: &str| ground.path(out).join(name).exists();
    let places: [Found<'_>; 6] = [
        ("before the folder", "-KILL", &|_| true),
        ("in the first evaluation", "-KILL", &|out| exists(out, "config.yaml")),
        ("after the first checkpoint", "-KILL", &|out| exists(out, "checkpoints/step-1")),
        ("in the last evaluation", "-KILL", &|out| exists(out, "checkpoints/step-3")),
        ("before plots and report", "-KILL", &|out| exists(out, "summary.json")),
        ("in an evaluation on the way", "-TERM", &|out| exists(out, "rollouts/step-2.jsonl.zst")),
    ];
    for (number, (place, name, reached)) in places.into_iter().enumerate() {
        let out = format!("run-{number}");
        let mut run = ground.command(&out, &[]).spawn().unwrap();
        signal(&mut run, name, || reached(&out));
        let ended = run.wait().unwrap();
        assert!(ended.code().is_none_or(|code| code == 75 || code == 0), "{place}: {ended}");
        let more: &[&str] = if number % 2 == 0 { &[] } else { &["--resume"] };
        let (code, said) = ground.train(&out, more);
        assert_eq!(code, Some(0), "{place}: {said}");
        assert!(ground.outcome(&out) == whole, "{place}: the run that went on came to something else");
        assert!(exists(&out, "report.html"), "{place}");
    }
}

#[test]
fn a_finished_run_is_told_and_not_done_again() {
    let ground = Ground::new();
    let (code, first) = ground.train("run", &[]);
    assert_eq!(code, Some(0), "{first}");
    let changed = || fs::metadata(ground.path("run").join("summary.json")).unwrap().modified().unwrap();
    let (written, plots) = (changed(), ground.path("run").join("plots"));
    fs::remove_dir_all(&plots).unwrap();
    let (code, again) = ground.train("run", &[]);
    assert_eq!((code, again), (Some(0), first));
    assert_eq!(changed(), written);
    assert!(plots.is_dir(), "what is missing is made");
}

#[test]
fn a_run_that_its_recipe_ends_says_why_and_has_done_what_it_was_asked() {
    let ground = Ground::new();
    let stop = "stop={ metric: in_domain/accuracy, patience: 1 }";
    let set = ["--set", stop, "--set", "evaluation.every_steps=1", "--set", "evaluation.samples=2"];
    let (code, said) = ground.train("run", &set);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("stopped after step 2: an evaluation did not bring in_domain/accuracy above the 0 of step 1")
            && !said.contains("goes on"),
        "{said}"
    );
    let summary: Value = serde_json::from_slice(&fs::read(ground.path("run").join("summary.json")).unwrap()).unwrap();
    assert_eq!(summary["steps"], 2);
    assert_eq!(ground.train("run", &set), (Some(0), said));
}

#[test]
fn a_run_that_is_asked_to_stop_says_so_and_how_to_go_on() {
    let ground = Ground::new();
    for name in ["-INT", "-HUP", "-USR1", "-XCPU"] {
        let out = &name[1..];
        let mut run = ground.command(out, &[]).spawn().unwrap();
        signal(&mut run, name, || ground.path(out).join("config.yaml").exists());
        let output = run.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(75), "{name}: {said}");
        assert!(said.contains("of 3 steps; the same command with `--out"), "{name}: {said}");
    }
}

#[test]
fn a_checkpoint_that_was_damaged_is_named_and_the_one_before_it_taken() {
    let ground = Ground::new();
    assert_eq!(ground.train("run", &[]).0, Some(0));
    let whole = ground.outcome("run");
    let weights = ground.path("run").join("checkpoints/step-3/model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&weights, &bytes).unwrap();

    let (code, said) = ground.train("run", &[]);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = ground.train("run", &["--from", "step-9"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("step-9: there is no such checkpoint"), "{said}");
    assert!(ground.outcome("run") == whole, "the step is taken again");

    fs::write(&weights, &bytes).unwrap();
    let (code, said) = ground.train("run", &["--from", "step-3"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("model.safetensors: it is not what was written"), "{said}");
    let loud = |more: &[&str]| {
        let recipe = ground.path("recipe.yaml");
        let out = ground.path("run");
        let arguments = ["train", recipe.to_str().unwrap(), "--model", TINY, "--out", out.to_str().unwrap()];
        String::from_utf8(vr1(&[&arguments[..], more].concat()).stderr).unwrap()
    };
    let said = loud(&[]);
    assert!(said.contains("checkpoints/step-3/model.safetensors: it is not what was written"), "{said}");
    assert!(said.contains("going on from step 2"), "{said}");
    loud(&["--from", "step-1"]);
    assert!(ground.outcome("run") == whole);
}

#[test]
fn data_or_a_model_that_changed_under_a_run_is_named_and_taken_only_when_that_is_said() {
    let ground = Ground::new();
    let row = |answer: &str| {
        let turns = [("human", "What is left of the cube?"), ("gpt", answer)];
        let turns = turns.map(|(from, value)| serde_json::json!({ "from": from, "value": value }));
        format!("{}\n", serde_json::json!({ "id": 1, "conversations": turns }))
    };
    let rows = ground.path("rows.jsonl");
    fs::write(&rows, row("sphere")).unwrap();
    let scenes = "{ kind: scenes, task: spatial, split: in_domain }";
    let recipe = RECIPE.replace(scenes, &format!("{{ kind: rows, path: {} }}", rows.display()));
    let model = ground.path("model");
    fs::create_dir(&model).unwrap();
    for entry in fs::read_dir(TINY).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, model.join(path.file_name().unwrap())).unwrap();
    }
    ground.write(&recipe, &model);
    let again = |more: &[&str]| ground.train("run", more);
    assert_eq!(again(&[]).0, Some(0));
    assert_eq!(again(&["--from", "step-2"]).0, Some(0), "nothing changed");

    fs::write(&rows, row("cube")).unwrap();
    let config = fs::read_to_string(model.join("config.json")).unwrap();
    fs::write(model.join("config.json"), format!("{config} ")).unwrap();
    let before = fs::read(ground.path("run/metrics.jsonl")).unwrap();
    let (code, said) = again(&["--from", "step-2"]);
    assert_eq!(code, Some(1), "{said}");
    for part in ["the rows of ", "rows.jsonl: not what it was", "config.json of the model ", "--accept-changes"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains("tokenizer.json"), "{said}");
    assert_eq!(fs::read(ground.path("run/metrics.jsonl")).unwrap(), before, "nothing is lost by asking");

    let (code, said) = again(&["--from", "step-2", "--accept-changes"]);
    assert_eq!(code, Some(0), "{said}");
    let begun: Value = serde_json::from_slice(&fs::read(ground.path("run/begun.json")).unwrap()).unwrap();
    assert_eq!(begun["accepted"][0]["after_step"], 2, "{begun}");
    assert_eq!(begun["accepted"][0]["changed"].as_array().unwrap().len(), 2, "{begun}");
    assert_eq!(again(&["--from", "step-3"]).0, Some(0), "what was accepted is what the run is made of");
}

#[test]
fn a_folder_that_is_removed_under_a_run_is_told_at_once_and_not_made_again() {
    let ground = Ground::new();
    let mut run = ground.command("run", &[]).spawn().unwrap();
    while !ground.path("run/rollouts/step-1.jsonl.zst").exists() && run.try_wait().unwrap().is_none() {
        sleep(Duration::from_millis(5));
    }
    fs::rename(ground.path("run"), ground.path("elsewhere")).unwrap();
    let output = run.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("run was removed or replaced while the run was under way"), "{said}");
    assert!(!ground.path("run").exists());
}

#[test]
fn a_full_disk_is_told_with_the_file_and_what_was_saved_before_stays_whole() {
    let ground = Ground::new();
    let disk = ground.path("disk");
    fs::create_dir(&disk).unwrap();
    let mount = |more: &[&str]| Command::new("mount").args(more).arg(&disk).stderr(Stdio::null()).status();
    // One checkpoint of the embedded model fits, with its moments 18 MB, and two do not.
    if !mount(&["-t", "tmpfs", "-o", "size=29m", "tmpfs"]).is_ok_and(|status| status.success()) {
        eprintln!("skipped: nothing can be mounted here");
        return;
    }
    let (code, said) = ground.train("disk/run", &["--set", "keep_checkpoints=0"]);
    let whole = ground.path("disk/run/checkpoints/step-1/trainer_state.json").exists();
    let aside = fs::read_dir(ground.path("disk/run/checkpoints")).map_or(0, |entries| {
        entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with('.')).count()
    });
    let bigger = mount(&["-o", "remount,size=200m"]).is_ok_and(|status| status.success());
    let (again, told) = ground.train("disk/run", &["--set", "keep_checkpoints=0"]);
    Command::new("umount").arg(&disk).status().unwrap();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("No space left on device") && said.contains("/disk/run"), "{said}");
    assert!(whole && aside == 0, "what was saved stays, and nothing half written does: {said}");
    assert!(bigger);
    assert_eq!(again, Some(0), "with room it goes on: {told}");
}

//! Runs whose completions come over HTTP, from servers that hold a copy of the model: a script in vLLM's words, over the engine of this process.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod ahead;
mod copy;
#[path = "../joined/mod.rs"]
mod joined;
mod live;

use std::path::{Path, PathBuf};

use copy::{Copy, Lies};
use vr1_run::{Show, StepMetrics, read_metrics};
use vr1_train::{Recipe, RunOptions, Trainer};

fn tiny() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/assets/tiny")
}

/// A folder with questions about pictures of one colour, to learn from and held out.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (file, count) in [("train.jsonl", 6), ("test.jsonl", 2)] {
        let row = |i: usize| {
            let name = format!("{file}-{i}.png");
            let colour = image::Rgb([(i * 40) as u8, 90, 200]);
            image::RgbImage::from_pixel(48, 48, colour).save(dir.path().join(&name)).unwrap();
            let said = serde_json::json!([
                {"from": "human", "value": format!("<image>\nWhat is number {i}?")}, {"from": "gpt", "value": "blue"}]);
            serde_json::json!({"id": format!("{file} {i}"), "image": name, "conversations": said}).to_string() + "\n"
        };
        let rows: String = (0..count).map(row).collect();
        std::fs::write(dir.path().join(file), rows).unwrap();
    }
    dir
}

/// A run of a few steps; `more` are further keys.
fn recipe(dir: &Path, more: &str, overrides: &[&str]) -> vr1_train::Result<Recipe> {
    let text = format!(
        "
system: served
model: {:?}
steps: 3
prompt: {{ text: '{{{{ question }}}}' }}
objective:
  kind: grpo
  sources: [ {{ source: {{ kind: jsonl, path: train.jsonl }} }} ]
  prompts_per_step: 2
  group_size: 3
  sampling: {{ max_completion_tokens: 6, temperature: 0.8 }}
reward: {{ terms: {{ accuracy: 'length(completion) / 10' }}, total: accuracy }}
optimizer: {{ learning_rate: 1.0e-3, schedule: constant }}
evaluation: {{ samples: 2, max_completion_tokens: 3, sets: {{ held_out: {{ kind: jsonl, path: test.jsonl }} }} }}
{more}",
        tiny()
    );
    let path = dir.join("recipe.yaml");
    std::fs::write(&path, text).unwrap();
    let overrides: Vec<String> = overrides.iter().map(|&one| one.to_owned()).collect();
    Recipe::load(&path, &overrides)
}

const LORA: &str = "lora: { rank: 4, alpha: 8 }\n";

fn engine(copies: &[&Copy]) -> String {
    let urls: Vec<&str> = copies.iter().map(|copy| copy.url.as_str()).collect();
    format!(
        "rollout: {{ engine: {{ kind: vllm, urls: {urls:?}, model: tiny, retries: 1, canary_tolerance: 1.0e-4 }} }}\n"
    )
}

fn run(recipe: Recipe, out: &Path) -> vr1_train::Result<Vec<StepMetrics>> {
    Trainer::new(recipe, RunOptions { show: Show::Quiet, ..RunOptions::new(out) })?.run()?;
    Ok(read_metrics(&out.join("metrics.jsonl")).unwrap())
}

/// What was sampled, a line a completion: of what, by which weights, which tokens and what they were worth.
fn told(out: &Path, steps: usize) -> Vec<String> {
    let line = |line: Vec<u8>| {
        let row: serde_json::Value = serde_json::from_slice(&line).unwrap();
        let kept =
            ["step", "sample", "completion_index", "prompt_ids", "ids", "completion", "finished", "total", "version"];
        kept.map(|key| row[key].to_string()).join(" ")
    };
    let of = |step: usize| vr1_run::lines(&out.join(format!("rollouts/step-{step}.jsonl.zst"))).unwrap();
    (1..=steps).flat_map(of).map(|one| line(one.unwrap())).collect()
}

/// With these a step is near proportional to its gradient, so that what differs by rounding stays near.
const PROPORTIONAL: [&str; 2] = ["optimizer.epsilon=1", "optimizer.learning_rate=0.01"];

/// How whole models go to servers.
const WAYS: [&str; 2] = ["rollout.engine.push=full", "rollout.engine.push=broadcast"];

fn the_same_over_http(more: &str, push: &str) {
    let dir = folder();
    let (near, far) = (dir.path().join("near"), dir.path().join("far"));
    let expected = run(recipe(dir.path(), more, &PROPORTIONAL).unwrap(), &near).unwrap();
    let copy = Copy::new(Lies::None);
    let overrides = [&PROPORTIONAL[..], &[push]].concat();
    let rows = run(recipe(dir.path(), &format!("{more}{}", engine(&[&copy])), &overrides).unwrap(), &far).unwrap();
    let (sampled, found) = (told(&near, 3), told(&far, 3));
    assert_eq!((sampled.len(), sampled.len()), (3 * 2 * 3, found.len()));
    sampled.iter().zip(&found).for_each(|(here, there)| assert_eq!(here, there));
    // What is decoded in other company is rounded otherwise, and no more than that.
    for (here, there) in expected.iter().zip(&rows) {
        for name in ["reward", "loss", "grad_norm", "entropy", "sampler_gap"] {
            let [here, there] =
                [here, there].map(|row| *row.values.get(name).unwrap_or_else(|| panic!("{name}: {row:?}")));
            assert!((here - there).abs() <= 1e-3 * here.abs() + 1e-4, "{name}: {here} {there}");
        }
    }
    assert!(copy.pushes() == 4, "before each step, and for the last evaluation: {}", copy.pushes());
    assert!(rows.iter().all(|row| row.values["canary_gap"] < 1e-5), "{rows:?}");
}

#[test]
fn a_run_over_http_is_the_run_in_this_process_token_for_token() {
    the_same_over_http("", WAYS[0]);
}

#[test]
fn so_is_one_whose_adapter_goes_over() {
    the_same_over_http(LORA, "rollout.engine.push=adapter");
}

#[test]
fn so_is_one_whose_weights_are_broadcast_with_an_adapter_or_without() {
    for more in ["", LORA] {
        the_same_over_http(more, WAYS[1]);
    }
}

/// What ranks come to, threads of this process, with a recipe each and one folder.
fn of_ranks(size: usize, recipe: &Recipe, out: &Path) -> vr1_train::Result<Vec<StepMetrics>> {
    let one = |world| {
        let options = RunOptions { show: Show::Quiet, world, ..RunOptions::new(out) };
        Trainer::open(recipe.clone(), options)?.run().map(drop)
    };
    joined::ranks(size, one).into_iter().collect::<vr1_train::Result<()>>()?;
    Ok(read_metrics(&out.join("metrics.jsonl")).unwrap())
}

#[test]
fn several_ranks_ask_the_same_servers_and_the_first_hands_weights_over() {
    for more in ["", LORA] {
        let dir = folder();
        let (alone, together) = (dir.path().join("alone"), dir.path().join("together"));
        let one = Copy::new(Lies::None);
        let of = |copy: &Copy| recipe(dir.path(), &format!("{more}{}", engine(&[copy])), &PROPORTIONAL).unwrap();
        let expected = run(of(&one), &alone).unwrap();
        let shared = Copy::new(Lies::None);
        let rows = of_ranks(2, &of(&shared), &together).unwrap();
        assert_eq!(told(&alone, 3), told(&together, 3));
        assert_eq!(one.pushes(), shared.pushes());
        for (alone, together) in expected.iter().zip(&rows) {
            for name in ["loss", "grad_norm", "canary_gap"] {
                let [alone, together] = [alone, together].map(|row| row.values[name]);
                assert!((alone - together).abs() <= 1e-4 * alone.abs() + 1e-5, "{name}: {alone} {together}");
            }
        }
    }
}

#[test]
fn ranks_that_hold_each_a_share_of_the_layers_hand_over_all_of_them() {
    for push in WAYS {
        let dir = folder();
        let (whole, apart) = (dir.path().join("whole"), dir.path().join("apart"));
        let overrides = [&PROPORTIONAL[..], &[push]].concat();
        let of =
            |copy: &Copy, more: &str| recipe(dir.path(), &format!("{more}{}", engine(&[copy])), &overrides).unwrap();
        let one = Copy::new(Lies::None);
        of_ranks(2, &of(&one, "recompute: layers\n"), &whole).unwrap();
        let other = Copy::new(Lies::None);
        let rows = of_ranks(2, &of(&other, "recompute: layers\nsharding: zero3\n"), &apart).unwrap();
        assert_eq!(told(&whole, 3), told(&apart, 3));
        assert!(rows.iter().all(|row| row.values["canary_gap"] < 1e-5), "{rows:?}");
    }
}

#[test]
fn a_push_that_fails_ends_all_ranks() {
    let dir = folder();
    let copy = Copy::new(Lies::KeepsWeights);
    let recipe = recipe(dir.path(), &engine(&[&copy]), &["rollout.engine.canary_tolerance=1000"]).unwrap();
    let error = of_ranks(2, &recipe, &dir.path().join("out")).unwrap_err().to_string();
    assert!(error.contains("did not get there"), "{error}");
}

#[test]
fn a_server_that_keeps_its_old_weights_is_found_at_once() {
    for (more, push) in [("", WAYS[0]), ("", WAYS[1]), (LORA, "rollout.engine.push=adapter")] {
        let dir = folder();
        let copy = Copy::new(Lies::KeepsWeights);
        let overrides = ["rollout.engine.canary_tolerance=1000", push];
        let recipe = recipe(dir.path(), &format!("{more}{}", engine(&[&copy])), &overrides).unwrap();
        let error = run(recipe, &dir.path().join("out")).unwrap_err().to_string();
        assert!(error.contains("did not get there") && error.contains(&copy.url), "{error}");
    }
}

#[test]
fn a_server_whose_log_probabilities_are_not_the_models_is_found_before_the_first_step() {
    let dir = folder();
    let copy = Copy::new(Lies::Logprobs);
    let error = run(recipe(dir.path(), &engine(&[&copy]), &[]).unwrap(), &dir.path().join("out")).unwrap_err();
    let error = error.to_string();
    assert!(error.contains("nats a token off the trainer's own, where 0.0001 is allowed"), "{error}");
}

#[test]
fn a_server_that_dies_in_the_middle_is_left_and_the_run_is_the_same() {
    for push in WAYS {
        let dir = folder();
        let overrides = [&PROPORTIONAL[..], &[push]].concat();
        let of = |copies: &[&Copy]| recipe(dir.path(), &engine(copies), &overrides).unwrap();
        let (whole, halved) = (dir.path().join("whole"), dir.path().join("halved"));
        let one = Copy::new(Lies::None);
        run(of(&[&one]), &whole).unwrap();
        let (mortal, other) = (Copy::new(Lies::DiesAfter(6)), Copy::new(Lies::None));
        run(of(&[&mortal, &other]), &halved).unwrap();
        assert_eq!(told(&whole, 3), told(&halved, 3));
        let alone = Copy::new(Lies::DiesAfter(6));
        let error = run(of(&[&alone]), &dir.path().join("alone")).unwrap_err().to_string();
        assert!(error.contains(alone.url.as_str()), "{error}");
    }
}

#[test]
fn what_servers_cannot_do_is_said_before_anything_is_done() {
    let dir = folder();
    let more = "rollout: { engine: { kind: vllm, urls: ['http://127.0.0.1:9'], model: tiny } }\n";
    let refused = |overrides: &[&str], expected: &str| {
        let error = recipe(dir.path(), more, overrides).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    refused(&["rollout.engine.kind=openai"], "takes no weights");
    refused(&["rollout.engine.urls=[]"], "urls");
    refused(&["rollout.max_staleness_steps=1"], "completions of older weights are corrected for");
    refused(&["rollout.max_staleness_steps=2"], "must be 0 or 1");
    let error = recipe(
        dir.path(),
        "rollout: { max_staleness_steps: 1 }\n",
        &["objective.loss.sampler_correction={kind: token_truncate, max: 2.0}"],
    );
    assert!(error.unwrap_err().to_string().contains("needs `rollout.engine`"));
    let nobody = run(recipe(dir.path(), more, &[]).unwrap(), &dir.path().join("out")).unwrap_err().to_string();
    assert!(nobody.contains("http://127.0.0.1:9/v1/models"), "{nobody}");
    assert!(!dir.path().join("out").exists(), "nothing is written where nobody answers");
}

#[test]
fn held_out_samples_can_be_answered_by_servers_alone() {
    let dir = folder();
    let copy = Copy::new(Lies::None);
    let (near, far) = (dir.path().join("near"), dir.path().join("far"));
    let own = recipe(dir.path(), "", &[]).unwrap();
    let mut served = own.clone();
    let text = engine(&[&copy]);
    served.evaluation.engine = recipe(dir.path(), &text, &[]).unwrap().rollout.engine;
    let options = |out: &Path| RunOptions { show: Show::Quiet, ..RunOptions::new(out) };
    let expected = Trainer::new(own, options(&near)).unwrap().run().unwrap();
    let found = Trainer::new(served, options(&far)).unwrap().run().unwrap();
    assert_eq!((expected.before, expected.after), (found.before, found.after));
    assert!(copy.pushes() == 2, "the weights of the beginning and of the end: {}", copy.pushes());
}

//! A report is one page that shows the run, finished or not, and lets no rollout write into it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::json;
use vr1_run::{RunError, RunFolder, StageScores, StepMetrics, Summary, report, write_plots};

fn trained(dir: &Path) -> RunFolder {
    let mut run = RunFolder::create(dir).unwrap();
    run.write_config(&json!({"system": "a < b & c", "training": {"steps": 60}})).unwrap();
    for step in 1..=60_u64 {
        let x = step as f64 / 60.0;
        let metrics = StepMetrics::new(step)
            .with("reward", 0.6 + x + 0.2 * (step as f64 * 2.3).sin())
            .with("rewards/accuracy", 0.3 + 0.4 * x + 0.1 * (step as f64 * 1.7).sin())
            .with("rewards/format", 0.3 + 0.6 * x)
            .with("completion_length", 40.0 - 12.0 * x + 4.0 * (step as f64).cos())
            .with("kl", 1e-3 * x)
            .with("learning_rate", 1e-6 * (1.0 - x))
            .with("tokens_per_second", 2000.0 + 50.0 * (step as f64).sin());
        run.append_metrics(&metrics).unwrap();
    }
    for step in [1, 30, 60] {
        let rollout = json!({
            "prompt": "<|vision_start|><|image_pad|><|vision_end|>Is the cup left of the box?\n(A) yes (B) no",
            "completion": format!("<think>step {step}</think><script>alert(1)</script>"),
            "solution": "A", "total": 0.5, "terms": {"accuracy": 0.0, "format": 1.0, "late": null},
        });
        run.write_rollouts(step, vec![rollout; 20]).unwrap();
    }
    run
}

fn finish(run: &RunFolder) {
    let scores = |scores: [(&str, f64); 3]| scores.map(|(name, value)| (name.to_owned(), value)).into();
    let before = scores([("accuracy", 0.31), ("accuracy_out_of_domain", 0.28), ("completion_length", 40.0)]);
    let after = scores([("accuracy", 0.64), ("accuracy_out_of_domain", 0.25), ("completion_length", 28.5)]);
    run.write_summary(&Summary { before, after, steps: 60, seconds: 123.4, ..Summary::default() }).unwrap();
}

#[test]
fn the_page_shows_scores_curves_rollouts_and_recipe() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("counting");
    finish(&trained(&dir));
    let path = report(&dir).unwrap();
    let page = fs::read_to_string(&path).unwrap();
    for text in ["<h1>counting</h1>", "31.0 %", "64.0 %", "+33.0 points", "-3.0 points", "60 steps in 123 s"] {
        assert!(page.contains(text), "{text}");
    }
    assert_eq!(page.matches("<svg").count(), 6, "reward, accuracy, length, kl, learning rate, speed");
    for text in ["Rollouts of step 1<", "Rollouts of step 30<", "Rollouts of step 60<", "format: 1.000", "late: -"] {
        assert!(page.contains(text), "{text}");
    }
    if let Ok(keep) = std::env::var("VR1_KEEP_REPORT") {
        fs::copy(&path, keep).unwrap();
    }
}

#[test]
fn the_page_of_a_run_of_stages_says_what_each_brought() {
    let folder = tempfile::tempdir().unwrap();
    let run = trained(folder.path());
    let scores = |accuracy| BTreeMap::from([("set/accuracy".to_owned(), accuracy)]);
    let stage = |name: &str, steps, accuracy| StageScores { name: name.into(), steps, scores: scores(accuracy) };
    let stages = vec![stage("imitation", 20, 0.41), stage("grpo", 40, 0.64)];
    let summary = Summary {
        before: scores(0.31),
        after: scores(0.64),
        stages,
        steps: 60,
        seconds: 1.0,
        stopped: Some("stopped after step 60".into()),
        ..Summary::default()
    };
    run.write_summary(&summary).unwrap();
    let page = fs::read_to_string(report(folder.path()).unwrap()).unwrap().replace("&#x2f;", "/");
    assert!(page.contains("<h2>Stages</h2>"));
    assert!(page.contains("60 steps in 1 s; stopped after step 60"));
    assert!(page.contains("<tr><th>stage</th><th>steps</th><th>set/accuracy</th></tr>"));
    assert!(page.contains("<tr><td>before</td><td></td><td>31.0 %</td></tr>"));
    assert!(page.contains("<tr><td>imitation</td><td>20</td><td>41.0 %</td></tr>"));
    finish(&run);
    assert!(!fs::read_to_string(report(folder.path()).unwrap()).unwrap().contains("<h2>Stages</h2>"));
}

#[test]
fn text_of_a_rollout_or_a_recipe_stays_text() {
    let folder = tempfile::tempdir().unwrap();
    trained(folder.path());
    let page = fs::read_to_string(report(folder.path()).unwrap()).unwrap();
    assert!(!page.contains("<script") && !page.contains("<think>"));
    assert!(page.contains("&lt;script&gt;") && page.contains("a &lt; b &amp; c"));
}

#[test]
fn the_page_needs_no_network() {
    let folder = tempfile::tempdir().unwrap();
    finish(&trained(folder.path()));
    let page = fs::read_to_string(report(folder.path()).unwrap()).unwrap();
    // The SVG namespace is a name, never fetched.
    let page = page.replace("http://www.w3.org/2000/svg", "");
    for word in ["http:", "https:", "src=", "@import", "url(", "<link"] {
        assert!(!page.contains(word), "{word}");
    }
}

#[test]
fn an_interrupted_run_has_a_report_too() {
    let folder = tempfile::tempdir().unwrap();
    trained(folder.path());
    let page = fs::read_to_string(report(folder.path()).unwrap()).unwrap();
    assert!(page.contains("not finished: 60 steps recorded") && !page.contains("Before and after"));
    let empty = folder.path().join("empty");
    RunFolder::create(&empty).unwrap().write_config(&BTreeMap::from([("steps", 1)])).unwrap();
    assert!(fs::read_to_string(report(&empty).unwrap()).unwrap().contains("steps: 1"));
}

#[test]
fn a_report_of_no_run_or_a_broken_one_says_so() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(report(folder.path()).unwrap_err(), RunError::NoRun(_)));
    trained(folder.path());
    fs::write(folder.path().join("summary.json"), "{\n\"before\": 3}").unwrap();
    let error = report(folder.path()).unwrap_err().to_string();
    assert!(error.contains("summary.json:2: not a summary"), "{error}");
}

#[test]
fn plots_are_files_by_their_names() {
    let folder = tempfile::tempdir().unwrap();
    finish(&trained(folder.path()));
    let paths = write_plots(folder.path()).unwrap();
    let names: Vec<_> = paths.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names[..3], ["reward.svg", "accuracy.svg", "response_length.svg"]);
    let accuracy = fs::read_to_string(&paths[1]).unwrap();
    assert!(accuracy.contains("accuracy_out_of_domain, held out") && accuracy.matches("<circle").count() >= 4);
}

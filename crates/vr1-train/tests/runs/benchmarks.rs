//! Published benchmarks within a run: asked as they are outside of one, and their answers kept.

use std::sync::Arc;

use serde_json::{Value, json};
use vr1_eval::{Ask, Asking};

use super::*;

/// Rates every step 10, and finds the first of two final answers right.
#[derive(Debug)]
struct Lenient;

impl Ask for Lenient {
    fn name(&self) -> &str {
        "lenient"
    }

    fn ask(&self, asking: &Asking) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
        let Some(schema) = &asking.schema else {
            return Ok(if asking.user.contains("Ground Truth: 12") { "1" } else { "0" }.to_owned());
        };
        let names = schema["properties"].as_object().into_iter().flatten().map(|(name, _)| (name.clone(), json!(10)));
        Ok(Value::Object(names.collect()).to_string())
    }
}

const SFT: &str = "
steps: 2
objective:
  kind: sft
  documents_per_step: 2
  documents: [{ source: { kind: jsonl, path: train.jsonl }, text: '{{ question }}', target: '{{ solution }}' }]
";

fn superclevr() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../vr1-eval/tests/fixtures/superclevr")
}

/// What `evaluation.benchmarks` says of it, with more.
fn counting(more: &str) -> String {
    format!("evaluation.benchmarks={{ counting: {{ name: superclevr, path: {}{more} }} }}", json!(superclevr()))
}

#[test]
fn a_benchmark_is_scored_beside_the_sets_and_its_answers_are_kept() {
    let dir = folder();
    let recipe = read(dir.path(), SFT, &[&counting(", max_completion_tokens: 8"), "evaluation.every_steps=1"]).unwrap();
    let out = dir.path().join("run");
    let mut run = trainer(&recipe, &out);
    let engine =
        vr1_rollout::Scripted::new(run.processor().tokenizer().clone(), |_, _| Some("<answer> 4 </answer>".into()));
    run.set_engine(Box::new(engine)).unwrap();
    let scores = run.evaluate().unwrap().unwrap();
    let kept = out.join("evaluations/step-0/counting");
    let rows = std::fs::read_to_string(kept.join("samples.jsonl")).unwrap();
    let rows: Vec<Value> = rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let right = rows.iter().filter(|row| row["solution"] == "4").count();
    assert!(right > 0 && right < rows.len(), "{right} of {}", rows.len());
    assert_eq!(scores["counting/accuracy"], right as f64 / rows.len() as f64);
    assert!(rows.iter().all(|row| row["answer"] == "4"), "{rows:?}");
    assert!(scores.contains_key("held_out/accuracy"));
    let summary: Value = serde_json::from_slice(&std::fs::read(kept.join("summary.json")).unwrap()).unwrap();
    assert_eq!(summary["benchmark"], "superclevr");
}

#[test]
fn a_run_that_keeps_the_best_may_go_by_a_benchmark() {
    let dir = folder();
    let set = [counting(", samples: 2, max_completion_tokens: 2"), "evaluation.every_steps=1".to_owned()];
    let [benchmark, every] = set.each_ref().map(String::as_str);
    let recipe = read(dir.path(), SFT, &[benchmark, every, "keep_best=counting/accuracy"]).unwrap();
    let mut run = trainer(&recipe, &dir.path().join("run"));
    steps(&mut run, 2);
    let rows = read_metrics(&dir.path().join("run/metrics.jsonl")).unwrap();
    // The last step is evaluated with the whole run.
    assert!(rows[0].get("counting/accuracy").is_some(), "{rows:?}");
    assert!(dir.path().join("run/evaluations/step-1/counting/summary.json").is_file());

    let unknown = read(dir.path(), SFT, &[benchmark, every, "keep_best=counting/acuracy"]).unwrap();
    let error = Trainer::new(unknown, options(&dir.path().join("other"))).unwrap_err().to_string();
    assert!(error.contains("counting/acuracy") && error.contains("counting/accuracy"), "{error}");
}

#[test]
fn vrc_bench_is_asked_in_four_turns_and_judged() {
    let dir = folder();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vr1-eval/tests/fixtures/vrc-bench");
    let vrc = |more: &str| {
        let set = format!(
            "evaluation.benchmarks={{ steps: {{ name: vrc-bench, path: {}, max_completion_tokens: 4, turns: staged{more} }} }}",
            json!(path)
        );
        read(dir.path(), SFT, &[&set])
    };
    let error = vrc("").unwrap_err().to_string();
    assert!(error.contains("evaluation.benchmarks.steps: `judge`: vrc-bench is scored by a language model"), "{error}");
    let recipe = vrc(", judge: true").unwrap();
    let error = Trainer::new(recipe.clone(), options(&dir.path().join("none"))).unwrap_err().to_string();
    assert!(error.contains("evaluation.benchmarks.steps.judge: the run was given no judge"), "{error}");
    let judge: Option<Arc<dyn Ask>> = Some(Arc::new(Lenient));
    let mut run = Trainer::new(recipe, RunOptions { judge, ..options(&dir.path().join("run")) }).unwrap();
    let scores = run.evaluate().unwrap().unwrap();
    assert_eq!((scores["steps/final_answer"], scores["steps/reasoning_steps"]), (0.5, 1.0), "{scores:?}");
    let rows = std::fs::read_to_string(dir.path().join("run/evaluations/step-0/steps/samples.jsonl")).unwrap();
    assert_eq!(rows.lines().filter(|row| row.contains("\"by\":\"lenient\"")).count(), 2, "{rows}");
    // A step that is done again asks no judge.
    steps(&mut run, 1);
    assert!(Trainer::replay(&dir.path().join("run"), 1, &options(&dir.path().join("again"))).unwrap().is_same());
}

#[test]
fn a_benchmark_that_is_not_there_is_named() {
    let dir = folder();
    for (more, reason) in [
        (counting("").replace("superclevr, ", "superclever, "), "evaluation.benchmarks.counting"),
        (counting(", prompt: How many?"), "{question} does not stand in it"),
        (counting(", boxes: inches"), "boxes"),
        (counting(", num_beams: 0"), "evaluation.benchmarks.counting.num_beams"),
    ] {
        let error = read(dir.path(), SFT, &[&more]).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
    let gone = counting("").replace("fixtures/superclevr", "fixtures/gone");
    let recipe = read(dir.path(), SFT, &[&gone]).unwrap();
    let error = Trainer::new(recipe, options(&dir.path().join("run"))).unwrap_err().to_string();
    assert!(error.contains("fixtures/gone"), "{error}");
}

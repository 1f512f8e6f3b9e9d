//! Processes whose completions come from servers, ahead of time or with a tool's pictures in them, and that a judge scores.

#[allow(dead_code, reason = "some of it is for tests of another crate")]
#[path = "../../../crates/vr1-train/tests/served/copy.rs"]
mod copy;

use self::copy::{Copy, Lies};
use super::*;
use crate::server::Serving;

fn tiny() -> PathBuf {
    PathBuf::from(TINY)
}

/// Questions about pictures of many colours, of which a server in vLLM's words samples.
const SERVED: &str = "\
system: served
model: nowhere
steps: 3
save_every_steps: 1
keep_checkpoints: 0
optimizer: { learning_rate: 0.1, epsilon: 1.0, schedule: constant, warmup_steps: 0 }
reward: { terms: { accuracy: 'length(completion) / 100' }, total: accuracy }
prompt: { text: '{{ question }}' }
evaluation: { samples: 2, max_completion_tokens: 3, sets: { held_out: { kind: jsonl, path: rows.jsonl } } }
";

fn served(copy: &Copy, more: &str) -> Ground {
    let url = &copy.url;
    let engine = format!("{{ kind: vllm, urls: ['{url}'], model: tiny, retries: 1, canary_tolerance: 1.0e-4 }}");
    let ground = Ground::of(&format!("{SERVED}{}", more.replace("ENGINE", &engine)));
    let row = |i: usize| {
        let (name, shade) =
            (format!("{i}.png"), |x: u32, y: u32| image::Rgb([(i * 30) as u8, 5 * x as u8, 5 * y as u8]));
        image::RgbImage::from_fn(48, 48, shade).save(ground.path(&name)).unwrap();
        let asked = json!({"from": "human", "value": format!("<image>\nWhat is number {i}?")});
        json!({"id": i.to_string(), "image": name, "conversations": [asked, {"from": "gpt", "value": "blue"}]})
    };
    fs::write(ground.path("rows.jsonl"), (0..8).map(|i| row(i).to_string() + "\n").collect::<String>()).unwrap();
    ground
}

/// What was sampled in the steps of a run, and by which log-probabilities.
fn sampled(ground: &Ground, out: &str) -> (Vec<Vec<Value>>, Vec<f64>) {
    let of = |step: usize| vr1_run::lines(&ground.path(out).join(format!("rollouts/step-{step}.jsonl.zst"))).unwrap();
    let (mut all, mut drawn) = (Vec::new(), Vec::new());
    for line in (1..=3).flat_map(of) {
        let mut row: Value = serde_json::from_slice(&line.unwrap()).unwrap();
        drawn.extend(row["drawn"].as_array().unwrap().iter().map(|number| number.as_f64().unwrap()));
        let kept = ["step", "sample", "prompt_ids", "ids", "observations", "total", "advantage", "version"];
        all.push(kept.map(|key| row[key].take()).to_vec());
    }
    (all, drawn)
}

fn rows(ground: &Ground, out: &str) -> Vec<Value> {
    let rows = fs::read_to_string(ground.path(out).join("metrics.jsonl")).unwrap();
    rows.lines().map(|row| serde_json::from_str(row).unwrap()).collect()
}

/// That several processes made what one did, each with a server of its own.
fn is_the_same(ground: &Ground, (one, several): (&str, &str), measured: &[&str]) {
    let ((expected, drawn), (found, drawn_of_several)) = (sampled(ground, one), sampled(ground, several));
    assert_eq!(expected, found, "{several}");
    assert!(drawn.iter().zip(&drawn_of_several).all(|(a, b)| (a - b).abs() < 1e-4), "{several}");
    for (alone, together) in rows(ground, one).iter().zip(rows(ground, several)) {
        for name in measured {
            let [a, b] = [alone, &together].map(|row| row[name].as_f64().unwrap_or_else(|| panic!("{name}: {row}")));
            assert!((a - b).abs() < 1e-5 * (1.0 + a.abs()), "{several}: {name}: {a} and {b}");
        }
    }
    let state = |out: &str, step: u64| -> Value {
        let state = fs::read(checkpoint(ground, out, step).join("trainer_state.json")).unwrap();
        serde_json::from_slice::<Value>(&state).unwrap()["objective"].take()
    };
    for step in 1..=3 {
        let [a, b] = [one, several].map(|out| weights(&checkpoint(ground, out, step)));
        assert!(gap(&a, &b) < 1e-6, "{several}: step {step}: {}", gap(&a, &b));
        assert_eq!(state(one, step), state(several, step), "{several}: step {step}");
    }
    assert!(gap(&weights(Path::new(TINY)), &weights(&checkpoint(ground, one, 3))) > 1e-4, "it learns");
}

const AHEAD: &str = "
rollout: { max_staleness_steps: 1, engine: ENGINE }
objective:
  kind: grpo
  sources: [{ source: { kind: jsonl, path: rows.jsonl } }]
  prompts_per_step: 3
  group_size: 3
  sampling: { max_completion_tokens: 6, temperature: 0.8 }
  loss: { sampler_correction: { kind: token_truncate, max: 2.0 } }
";

#[test]
fn processes_sample_ahead_as_one_does() {
    let copy = Copy::new(Lies::None);
    let ground = served(&copy, AHEAD);
    let (code, said) = ground.train("1", &[]);
    assert_eq!(code, Some(0), "{said}");
    for (size, out) in [(2, "2"), (4, "4")] {
        train(&ground, out, size, &[]);
        is_the_same(&ground, ("1", out), &["loss", "grad_norm", "reward", "staleness", "sampler_gap", "canary_gap"]);
    }
    assert_eq!(
        rows(&ground, "2").iter().map(|row| row["staleness"].as_f64()).collect::<Vec<_>>(),
        [0.0, 1.0, 1.0].map(Some)
    );
}

#[test]
fn a_signal_to_one_process_stops_all_that_sample_ahead() {
    let copy = Copy::new(Lies::None);
    let ground = served(&copy, AHEAD);
    let recipe = fs::read_to_string(ground.path("recipe.yaml")).unwrap().replace("steps: 3", "steps: 400");
    fs::write(ground.path("recipe.yaml"), recipe).unwrap();
    let processes = under_way(&ground);
    signal(&processes[1], "-TERM");
    for (rank, (code, said)) in ended(processes).into_iter().enumerate() {
        assert_eq!(code, Some(75), "rank {rank}: {said}");
    }
    let taken = rows(&ground, "run").len() as u64;
    assert!(taken < 400 && checkpoint(&ground, "run", taken).is_dir(), "{taken}");
}

const TOOLS: &str = "
rollout: { tools: { kinds: [zoom], max_calls: 2 }, engine: ENGINE }
objective:
  kind: grpo
  sources: [{ source: { kind: jsonl, path: rows.jsonl } }]
  prompts_per_step: 3
  group_size: 4
  sampling: { max_completion_tokens: 200, temperature: 0.8 }
";

#[test]
fn processes_learn_from_what_tools_showed_others() {
    let copy = Copy::calling();
    let ground = served(&copy, TOOLS);
    let (code, said) = ground.train("1", &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(rows(&ground, "1").iter().all(|row| row["tool_calls"] == 0.5), "{:?}", rows(&ground, "1"));
    for (size, out) in [(2, "2"), (4, "4")] {
        train(&ground, out, size, &[]);
        is_the_same(&ground, ("1", out), &["loss", "grad_norm", "reward", "tool_calls", "completion_length"]);
    }
}

/// Rates every step 10, and finds final answers right where the correct one is 12.
fn lenient(asked: &Value) -> Value {
    let names = asked["response_format"]["json_schema"]["schema"]["properties"].as_object();
    let ratings =
        names.map(|names| names.keys().map(|name| (name.clone(), json!(10))).collect::<serde_json::Map<_, _>>());
    let right = asked["messages"].to_string().contains("Ground Truth: 12");
    let said = ratings.map_or_else(|| i32::from(right).to_string(), |ratings| Value::Object(ratings).to_string());
    json!({"choices": [{"message": {"content": said}}]})
}

#[test]
fn a_judge_is_asked_once_about_an_answer_however_many_processes_there_are() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vr1-eval/tests/fixtures/vrc-bench");
    let steps = format!(
        "{{ name: vrc-bench, path: {}, max_completion_tokens: 4, turns: staged, judge: true }}",
        path.display()
    );
    let more = format!("stop: {{ metric: steps/final_answer, patience: 1 }}\nobjective:{SFT}");
    let recipe =
        TOP.replace("evaluation:", &format!("evaluation:\n  every_steps: 1\n  benchmarks: {{ steps: {steps} }}"));
    let ground = ground(&format!("{recipe}{more}").replace("steps: 2", "steps: 3"));
    let run = |size: usize| {
        let (judge, out) = (Serving::new(lenient), size.to_string());
        let given = [("VR1_JUDGE_URL", judge.url.as_str()), ("VR1_JUDGE_MODEL", "lenient")];
        let processes = match size {
            1 => vec![ground.command(&out, &[]).envs(given).spawn().unwrap()],
            size => start_given(&ground, &out, size, |_| Vec::new(), &given),
        };
        for (rank, (code, said)) in ended(processes).iter().enumerate() {
            assert_eq!(*code, Some(0), "rank {rank} of {size}: {said}");
        }
        let read = |name: &str| fs::read_to_string(ground.path(&out).join(name)).unwrap();
        let mut summary: Value = serde_json::from_str(&read("summary.json")).unwrap();
        let kept = read("evaluations/step-1/steps/samples.jsonl");
        let scores = ["before", "after", "stopped", "steps"].map(|key| summary[key].take());
        (scores, kept, judge.asked().len())
    };
    let alone = run(1);
    assert_eq!(alone.0[0]["steps/final_answer"], 0.5, "{:?}", alone.0);
    assert!(alone.0[2].is_string() && alone.1.contains("\"by\":\"lenient\""), "{alone:?}");
    for size in [2, 4] {
        assert_eq!(alone, run(size), "{size}");
    }
    for (rank, (code, said)) in ended(start(&ground, "none", 2, |_| Vec::new())).into_iter().enumerate() {
        assert_eq!(code, Some(1), "rank {rank}: {said}");
        assert!(said.contains("evaluation.benchmarks.steps.judge: the run was given no judge"), "rank {rank}: {said}");
    }
}

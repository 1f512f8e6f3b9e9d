//! Runs whose numbers, rewards or judges fail, with real processes.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::spawn;

use super::*;
use crate::edges::Ground;

const TOP: &str = "\
system: failing
model: nowhere
steps: 3
prompt: { layout: raw, text: '{{ question }}' }
evaluation: { sets: {}, samples: 1, max_completion_tokens: 2 }
objective:
  kind: grpo
  train: { kind: scenes, task: spatial, split: train }
  prompts_per_step: 2
  group_size: 2
  sampling: { temperature: 1.0, max_completion_tokens: 4 }
";

fn of(more: &str) -> Ground {
    Ground::of(&format!("{TOP}{more}"))
}

const LENGTH: &str = "reward: { terms: { accuracy: 'length(completion) / 100' }, total: accuracy }\n";
const JUDGED: &str = "reward: { terms: { accuracy: 'judge(completion, solution)' }, total: accuracy }\n";

#[test]
fn a_rate_that_no_model_survives_ends_the_run_with_its_place_and_saves_nothing_of_it() {
    let ground = of(&format!("{LENGTH}optimizer: {{ learning_rate: 1.0e38, schedule: constant }}\n"));
    let (code, said) = ground.train("run", &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("error: step ") && said.contains("is not finite; nothing was changed"), "{said}");
    let checkpoints = fs::read_dir(ground.path("run/checkpoints")).into_iter().flatten().flatten();
    for checkpoint in checkpoints.map(|entry| entry.path()) {
        let model = checkpoint.to_str().unwrap();
        let output = vr1(&["generate", "--model", model, "--prompt", "x", "--max-new-tokens", "1", "--check-weights"]);
        assert!(output.status.success(), "{model}: {}", String::from_utf8_lossy(&output.stderr));
    }
    assert!(ground.path("run/rollouts").is_dir(), "what the step was to learn from is there");
}

#[test]
fn a_run_that_learns_nothing_is_told_and_ends_as_its_recipe_says() {
    let ground = of(
        "reward: { terms: { accuracy: 'if length(completion) > 100000 then 1 else 0' }, total: accuracy }\nstop_after_idle_steps: 2\n",
    );
    let (code, said) = ground.train("run", &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("step 2: 2 steps in a row taught nothing"), "{said}");
    let summary = fs::read_to_string(ground.path("run/summary.json")).unwrap();
    assert!(summary.contains("every group's rewards are equal"), "{summary}");
}

/// A judge that answers what `answer` says of its requests, by their number: a status and a body, or nothing ever.
fn judge(
    answer: impl Fn(usize) -> Option<(&'static str, &'static str)> + Send + Sync + 'static,
) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let (count, answer) = (Arc::new(AtomicUsize::new(0)), Arc::new(answer));
    let asked = count.clone();
    spawn(move || {
        for stream in listener.incoming().flatten() {
            let (count, answer) = (count.clone(), answer.clone());
            spawn(move || answer_one(stream, &count, answer.as_ref()));
        }
    });
    (url, asked)
}

fn answer_one(
    mut stream: TcpStream,
    count: &AtomicUsize,
    answer: &dyn Fn(usize) -> Option<(&'static str, &'static str)>,
) {
    let (mut request, mut part) = (Vec::new(), [0; 4096]);
    while !request.ends_with(b"}") {
        match stream.read(&mut part).unwrap_or(0) {
            0 => return,
            read => request.extend_from_slice(&part[..read]),
        }
    }
    match answer(count.fetch_add(1, Ordering::SeqCst)) {
        Some((status, body)) => {
            let length = body.len();
            let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
            let _ = stream.write_all(head.as_bytes());
        }
        // The client has gone when this comes to an end.
        None => drop(stream.read(&mut part)),
    }
}

const YES: &str = r#"{"choices":[{"message":{"content":"1.0"}}]}"#;
const NO: &str = r#"{"choices":[{"message":{"content":"0.0"}}]}"#;

fn judged(ground: &Ground, url: &str) -> (Option<i32>, String) {
    let mut command = ground.command("run", &[]);
    let output = command.env("VR1_JUDGE_URL", url).env("VR1_JUDGE_MODEL", "scripted").output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_judge_that_is_busy_or_fails_now_and_then_costs_a_run_nothing() {
    let (url, asked) = judge(|number| {
        Some(match number % 5 {
            0 => ("429 Too Many\r\nretry-after: 0", ""),
            3 => ("503 Later", ""),
            1 => ("200 OK", YES),
            _ => ("200 OK", NO),
        })
    });
    let ground = of(JUDGED);
    let (code, said) = judged(&ground, &url);
    assert_eq!(code, Some(0), "{said}");
    let rows = fs::read_to_string(ground.path("run/metrics.jsonl")).unwrap();
    assert_eq!(rows.matches("\"reward_missing\":0.0").count(), 3, "{rows}");
    assert!(asked.load(Ordering::SeqCst) > 12, "some were asked again");
}

#[test]
fn a_judge_that_refuses_is_told_by_step_sample_and_term_where_the_recipe_stops_for_it() {
    let ground = of(&format!("{JUDGED}save_every_steps: 1\n"));
    let two = ground.path("run/rollouts/step-2.jsonl.zst");
    let (url, _) = judge(move |_| Some(if two.exists() { ("400 Bad", "") } else { ("200 OK", YES) }));
    let recipe = fs::read_to_string(ground.path("recipe.yaml")).unwrap();
    fs::write(ground.path("recipe.yaml"), recipe.replace("  group_size: 2\n", "  group_size: 2\n  on_error: stop\n"))
        .unwrap();
    let (code, said) = judged(&ground, &url);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("error: step 3: the reward of completion ") && said.contains("of `spatial-train-"), "{said}");
    assert!(said.contains("`accuracy`: verifier `judge`: ") && said.contains("400"), "{said}");
    assert!(ground.path("run/checkpoints/step-2").is_dir());
}

#[test]
fn a_judge_that_never_answers_is_given_up_by_the_watchdog_with_the_state_saved() {
    let ground = of(&format!("{JUDGED}watchdog_minutes: 0.03\n"));
    let two = ground.path("run/rollouts/step-2.jsonl.zst");
    let (url, _) = judge(move |number| (!two.exists()).then_some(("200 OK", if number % 2 == 0 { YES } else { NO })));
    let (code, said) = judged(&ground, &url);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("its rewards made no progress for 0.0 minutes (`watchdog_minutes`)"), "{said}");
    assert!(ground.path("run/checkpoints/step-2").is_dir(), "{said}");
}

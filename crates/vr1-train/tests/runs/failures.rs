//! Rewards and engines that fail: nothing is counted in silence, and nothing that was learnt is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use vr1_reward::Registry;
use vr1_rollout::Request;

use super::scripted::{grpo, scripted};
use super::*;

/// Options with a verifier `judge()`, which fails where it is told to.
fn judged(out: &Path, fails: impl Fn(&str) -> bool + Send + Sync + 'static) -> RunOptions {
    let mut registry = Registry::default();
    registry.register("judge", move |args| {
        let said = args.text(0)?.to_owned();
        match fails(&said) {
            true => Err(vr1_reward::Error::verifier("judge", "the judge is asleep")),
            false => Ok(said.len() as f32),
        }
    });
    RunOptions { registry, ..options(out) }
}

const JUDGE: &str = "reward={ terms: { accuracy: judge(completion) }, total: accuracy }";
const END: &str = "<|im_end|>";

/// Of the first sample of the set both answers cannot be judged.
fn answer(request: &Request, completion: usize) -> Option<String> {
    let words = if request.key.index == 0 { "asleep" } else { ["red", "green and blue"][completion] };
    Some(format!("{words}{END}"))
}

#[test]
fn a_reward_that_cannot_be_had_is_counted_and_takes_no_part() {
    let dir = folder();
    questions(dir.path(), "train.jsonl", (0..4).map(|i| format!("train {i}")));
    let learnt = |word: &'static str| {
        // Every token counts the same, so that one too many would be seen.
        let loss = "objective.loss={ beta: 0, objective: { kind: reinforce }, aggregation: { kind: token } }";
        let overrides = [JUDGE, PROPORTIONAL, loss, "optimizer.max_grad_norm=1000"];
        let recipe = read(dir.path(), &grpo(1, "on_error: missing"), &overrides).unwrap();
        let out = tempfile::tempdir().unwrap();
        let out = out.path().join("run");
        let mut run = Trainer::new(recipe, judged(&out, |said| said.contains("asleep"))).unwrap();
        let tokenizer = run.processor().tokenizer().clone();
        let engine = vr1_rollout::Scripted::new(tokenizer, move |request: &Request, completion| {
            Some(answer(request, completion)?.replace("asleep", &format!("asleep {word}")))
        });
        run.set_engine(Box::new(engine)).unwrap();
        let begun = weights(run.model());
        let told = steps(&mut run, 1).remove(0);
        let text = rows_of(&out, 1);
        (told, begun, weights(run.model()), text)
    };
    let (told, begun, one, text) = learnt("now");
    assert_eq!((told.get("reward_missing"), told.get("reward_errors")), (Some(2.0), Some(2.0)));
    assert_eq!(told.get("reward"), Some((3.0 + 14.0) / 2.0), "over those that have one");
    assert_eq!(told.get("rewards/accuracy"), told.get("reward"));
    assert_eq!(text.matches("\"total\":null").count(), 2, "{text}");
    // What it says is nothing to the weights.
    assert!(distance(&one, &learnt("and deep").2) < 1e-3 * distance(&begun, &one));
}

#[test]
fn what_cannot_be_rewarded_is_counted_in_groups_that_were_replaced_too() {
    let dir = folder();
    let recipe = read(dir.path(), &grpo(1, "refill_rounds: 8"), &[JUDGE]).unwrap();
    let out = dir.path().join("run");
    let mut run = Trainer::new(recipe, judged(&out, |said| said.contains("asleep"))).unwrap();
    let asked = Arc::new(AtomicU64::new(0));
    let heard = asked.clone();
    // Nothing of every second sample can be judged.
    let engine =
        vr1_rollout::Scripted::new(run.processor().tokenizer().clone(), move |request: &Request, completion| {
            let asleep = request.key.index.is_multiple_of(2);
            heard.fetch_add(u64::from(asleep), Ordering::SeqCst);
            Some(format!("{}{END}", if asleep { "asleep" } else { ["red", "green and blue"][completion] }))
        });
    run.set_engine(Box::new(engine)).unwrap();
    let told = steps(&mut run, 1).remove(0);
    let all = asked.load(Ordering::SeqCst) as f64;
    assert!(told.get("refill_rounds").unwrap() >= 1.0 && all > 0.0);
    assert_eq!((told.get("reward_errors"), told.get("reward_missing")), (Some(all), Some(all)));
}

#[test]
fn a_reward_that_has_no_total_is_counted_and_is_no_error() {
    let dir = folder();
    questions(dir.path(), "train.jsonl", (0..4).map(|i| format!("train {i}")));
    let reward = "reward={ terms: { accuracy: 'to_number(completion)' }, total: accuracy }";
    let recipe = read(dir.path(), &grpo(1, ""), &[reward]).unwrap();
    let mut run = scripted(&recipe, &dir.path().join("run"), |request, completion| {
        let words = if request.key.index == 0 && completion == 0 { "red".to_owned() } else { completion.to_string() };
        Some(format!("{words}{END}"))
    });
    let told = steps(&mut run, 1).remove(0);
    assert_eq!((told.get("reward_missing"), told.get("reward_errors")), (Some(1.0), Some(0.0)));
    assert_eq!(told.get("reward"), Some(4.0 / 7.0));
}

#[test]
fn where_not_one_reward_can_be_had_the_run_stops_and_says_why() {
    let dir = folder();
    let recipe = read(dir.path(), &grpo(2, "on_error: missing"), &[JUDGE]).unwrap();
    let out = dir.path().join("run");
    let error = Trainer::new(recipe, judged(&out, |_| true)).unwrap().step().unwrap_err().to_string();
    assert!(
        error.contains("step 1: not one completion has a reward") && error.contains("the judge is asleep"),
        "{error}"
    );
}

#[test]
fn a_run_in_which_nothing_has_a_total_stops_and_names_the_term_and_the_field() {
    let sampled = "steps: 2\nobjective:\n  kind: dpo\n  pairs_per_step: 2\n  pairs: { kind: sampled, train: { kind: jsonl, path: train.jsonl }, group_size: 2 }";
    for (what, text) in
        [("missing", grpo(2, "")), ("refilled", grpo(2, "refill_rounds: 2")), ("pairs", sampled.to_owned())]
    {
        let dir = folder();
        for expression in
            ["exact(completion, fields.gold)", "exact(answer, fields.gold)", "fields.gold.weight * tokens"]
        {
            let reward = format!("reward={{ terms: {{ accuracy: '{expression}' }}, total: accuracy }}");
            let recipe = read(dir.path(), &text, &[&reward]).unwrap();
            let out = tempfile::tempdir().unwrap();
            let mut run =
                scripted(&recipe, &out.path().join("run"), |_, completion| Some(format!("{completion}{END}")));
            let error = run.step().unwrap_err().to_string();
            for part in ["step 1: not one completion has a reward", "`accuracy` and `fields.gold"] {
                assert!(error.contains(part), "{what}: {error}");
            }
        }
    }
}

#[test]
fn the_first_total_that_is_missing_stops_a_run_that_says_so() {
    let dir = folder();
    questions(dir.path(), "train.jsonl", (0..4).map(|i| format!("train {i}")));
    let reward = "reward={ terms: { accuracy: 'to_number(completion)' }, total: accuracy }";
    let answer = |request: &Request, completion: usize| {
        let words = if request.key.index == 0 && completion == 1 { "red".to_owned() } else { completion.to_string() };
        Some(format!("{words}{END}"))
    };
    let recipe = read(dir.path(), &grpo(1, "on_error: stop"), &[reward]).unwrap();
    let error = scripted(&recipe, &dir.path().join("run"), answer).step().unwrap_err().to_string();
    assert!(error.starts_with("step 1: the reward of completion 1 of `train "), "{error}");
    assert!(error.ends_with("`total` has no value for this rollout: `accuracy` is missing"), "{error}");
}

#[test]
fn a_run_that_a_reward_stops_says_where_and_can_be_taken_up_again() {
    let dir = folder();
    let recipe = read(dir.path(), &grpo(4, "on_error: stop"), &[JUDGE, "evaluation.samples=1"]).unwrap();
    let [whole, out] = ["whole", "run"].map(|name| dir.path().join(name));
    Trainer::new(recipe.clone(), judged(&whole, |_| false)).unwrap().run().unwrap();

    // One answer before the run, eight a step: the fault is in the third step.
    let calls = Arc::new(AtomicU64::new(0));
    let counted = calls.clone();
    let options = judged(&out, move |_| counted.fetch_add(1, Ordering::SeqCst) >= 20);
    let stopped = Trainer::new(recipe.clone(), options).unwrap();
    calls.store(0, Ordering::SeqCst);
    let error = stopped.run().unwrap_err().to_string();
    assert!(error.starts_with("step 3: the reward of completion "), "{error}");
    assert!(error.contains(" of `train ") && error.contains("the judge is asleep"), "{error}");
    assert_eq!(rows(&out), rows(&whole)[..2]);
    assert!(out.join("checkpoints/step-2").is_dir() && !out.join("summary.json").exists());

    let again = Trainer::resume(recipe, judged(&out, |_| false)).unwrap();
    again.run().unwrap();
    assert_eq!(rows(&out), rows(&whole), "what the step had drawn is drawn again");
}

#[test]
fn an_engine_that_fails_costs_nothing_of_what_was_learnt() {
    let dir = folder();
    let overrides = ["objective.loss.beta=0.1", "evaluation.samples=1"];
    let recipe = read(dir.path(), &grpo(4, "refill_rounds: 1"), &overrides).unwrap();
    let words = |request: &Request, completion: usize| {
        Some(format!("{} {completion}{END}", "red ".repeat(completion + request.key.index as usize % 3)))
    };
    let [whole, out] = ["whole", "run"].map(|name| dir.path().join(name));
    scripted(&recipe, &whole, words).run().unwrap();

    let mut left = 21;
    let stopped = scripted(&recipe, &out, move |request, completion| {
        left -= 1;
        (left > 0).then(|| words(request, completion)).flatten()
    });
    let error = stopped.run().unwrap_err().to_string();
    assert!(error.contains("train "), "{error}");
    let mut again = Trainer::resume(recipe, options(&out)).unwrap();
    let engine = vr1_rollout::Scripted::new(again.processor().tokenizer().clone(), words);
    again.set_engine(Box::new(engine)).unwrap();
    again.run().unwrap();
    assert_eq!(rows(&out), rows(&whole));
}

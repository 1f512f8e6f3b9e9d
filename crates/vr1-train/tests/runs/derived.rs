//! What is told of a run before it begins is what it then does.

use std::cell::RefCell;
use std::rc::Rc;

use vr1_train::Derivation;

use super::scripted::{grpo, scripted};
use super::*;

fn derived(recipe: &Recipe) -> Derivation {
    Derivation::of(recipe, &vr1_reward::Registry::default()).unwrap()
}

#[test]
fn a_run_of_grpo_does_what_was_derived() {
    let dir = folder();
    questions(dir.path(), "train.jsonl", (0..8).map(|i| format!("train {i}")));
    let more = "iterations: 2\n  refill_rounds: 0";
    let groups = "optimizer.groups=[{ match: model.layers.0, learning_rate: 0.01, weight_decay: 0.5 }]";
    let set = [
        groups,
        "optimizer.schedule=linear",
        "optimizer.warmup_ratio=0.3",
        "tokens_per_micro_batch=60",
        "save_every_steps=2",
        "sharding=zero2",
    ];
    let recipe = read(dir.path(), &grpo(6, more), &set).unwrap();
    let told = derived(&recipe);
    let [stage] = told.stages.as_slice() else { panic!("{told:?}") };
    assert_eq!((stage.name.as_str(), stage.unit.as_str(), stage.steps, stage.updates), ("grpo", "prompt", 6, 12));
    assert_eq!((stage.samples_per_step, stage.completions_per_sample, stage.samples_seen), (4, 2, 24));
    assert_eq!((stage.samples, stage.epochs), (Some(8), Some(3.0)));
    assert_eq!((stage.warmup_steps, told.checkpoints), (2, 3));
    assert!(told.to_string().contains("of N processes each holds about an Nth of moments"), "{told}");
    let rates: Vec<_> = stage.rates.iter().map(|rate| (rate.start, rate.peak, rate.end, rate.weight_decay)).collect();
    assert_eq!(rates, [(0.0, 1e-3, 1e-3 * 0.25, 0.0), (0.0, 0.01, 0.01 * 0.25, 0.5)]);

    let lengths = Rc::new(RefCell::new(Vec::new()));
    let heard = lengths.clone();
    let mut run = scripted(&recipe, &dir.path().join("run"), move |request, completion| {
        heard.borrow_mut().push(request.prompt.len() as u64);
        Some(["red", "green"][completion].to_owned())
    });
    assert_eq!(run.derivation(), &told);
    let rows = steps(&mut run, 6);
    assert_eq!(rows[0].get("learning_rate"), Some(0.0));
    assert_eq!(rows[5].get("learning_rate"), Some(stage.rates[0].end));
    // Two steps ask every row once, and each twice.
    let (asked, prompts) = (&lengths.borrow()[..16], stage.prompt_tokens.unwrap());
    let mean = asked.iter().sum::<u64>() as f64 / 16.0;
    assert_eq!(
        (prompts.least, prompts.most, prompts.mean),
        (*asked.iter().min().unwrap(), *asked.iter().max().unwrap(), mean)
    );
    assert_eq!(stage.tokens_per_step, Some((4.0 * (prompts.mean + 2.0 * 8.0)).round() as u64));
}

#[test]
fn what_is_written_is_measured_and_what_is_drawn_has_no_end() {
    let dir = folder();
    let sft = "
steps: 5
objective:
  kind: sft
  documents_per_step: 3
  documents: [{ source: { kind: jsonl, path: train.jsonl }, text: '{{ question }}', target: '{{ solution }}' }]
";
    let told = derived(&read(dir.path(), sft, &[]).unwrap());
    let stage = &told.stages[0];
    let (prompt, answer) = (stage.prompt_tokens.unwrap(), stage.answer_tokens.unwrap());
    assert_eq!((stage.max_completion_tokens, stage.epochs), (None, Some(15.0 / 12.0)));
    let out = dir.path().join("run");
    let rows = steps(&mut trainer(&recipe(dir.path(), sft), &out), 5);
    let tokens: f64 = rows.iter().map(|row| row.get("tokens").unwrap()).sum::<f64>() / 5.0;
    let [least, most] =
        [(prompt.least + answer.least) * 3, (prompt.most + answer.most) * 3].map(|tokens| tokens as f64);
    assert!(least <= tokens && tokens <= most, "{least} {tokens} {most}");

    let scenes =
        grpo(2, "").replace("{ kind: jsonl, path: train.jsonl }", "{ kind: scenes, task: spatial, split: train }");
    let told = derived(&recipe(dir.path(), &scenes));
    assert_eq!((told.stages[0].samples, told.stages[0].epochs), (None, None));
    assert!(told.to_string().contains("8 prompts seen, drawn without end"), "{told}");
    // Pictures are counted as what they become.
    assert!(told.stages[0].prompt_tokens.unwrap().least > 16, "{told}");
}

#[test]
fn every_evaluation_of_a_run_of_stages_is_counted() {
    let dir = folder();
    let sft = "{ kind: sft, documents_per_step: 1, documents: [{ source: { kind: jsonl, path: train.jsonl }, text: '{{ question }}', target: '{{ solution }}' }] }";
    let text = format!("stages: [{{ name: first, steps: 3, objective: {sft} }}, {{ steps: 5, objective: {sft} }}]");
    let set = ["evaluation.every_steps=2", "save_every_steps=3"];
    let recipe = read(dir.path(), &text, &set).unwrap();
    let told = derived(&recipe);
    // After 2 and 3; after 4 and 6, for 8 is the end.
    assert_eq!(told.stages.iter().map(|stage| stage.evaluations).collect::<Vec<_>>(), [2, 2]);
    assert_eq!(told.checkpoints, 3);
    let out = dir.path().join("run");
    trainer(&recipe, &out).run().unwrap();
    let rows = read_metrics(&out.join("metrics.jsonl")).unwrap();
    assert_eq!(rows.iter().filter(|row| row.get("held_out/accuracy").is_some()).count(), 4);
    let begun: serde_json::Value = serde_json::from_slice(&std::fs::read(out.join("begun.json")).unwrap()).unwrap();
    assert_eq!(serde_json::from_value::<Derivation>(begun["derivation"].clone()).unwrap(), told);
    assert!(told.to_string().contains("evaluated before the first step, 4 times on the way"), "{told}");
}

#[test]
fn a_sample_that_cannot_be_asked_is_told_and_costs_no_run() {
    let dir = folder();
    let row = serde_json::json!({"image": "broken.png", "conversations": [{"from": "human", "value": "<image>?"}, {"from": "gpt", "value": "a"}]});
    std::fs::write(dir.path().join("broken.png"), "no picture").unwrap();
    let mut rows = std::fs::read_to_string(dir.path().join("train.jsonl")).unwrap();
    rows.insert_str(0, &format!("{row}\n"));
    std::fs::write(dir.path().join("train.jsonl"), rows).unwrap();
    let told = derived(&recipe(dir.path(), &grpo(1, "")));
    assert_eq!(told.stages[0].prompt_tokens.unwrap().of, 7);
    assert!(told.to_string().contains("broken.png"), "{told}");
}

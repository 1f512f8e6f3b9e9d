//! Three steps of TRL's trainers, number by number: fixtures/trl/generate.py.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use serde_json::Value;
use tch::{Device, Kind};
use vr1_dpo::{DpoConfig, DpoLoss, KtoConfig};
use vr1_learn::{
    ImitationLoss, JudgedLoss, Learner, LearnerConfig, Loss, OptimizerConfig, PairLoss, PreferenceLoss, Signals, Step,
    Update, WeightedLoss,
};
use vr1_nn::Adapter;
use vr1_processor::{Layout, Message, Part, Processor, Prompt, PromptRequest, Role};
use vr1_rollout::Group;
use vr1_vlm::Model;

use crate::tiny::{Spied, Spy, folder, group, processor, steady};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/trl")
}

struct Row {
    prompt: Arc<Prompt>,
    chosen: Vec<i64>,
    rejected: Vec<i64>,
}

struct Recorded {
    rows: Vec<Row>,
    cases: Vec<Value>,
}

fn recorded() -> Recorded {
    let expected: Value =
        serde_json::from_str(&std::fs::read_to_string(fixtures().join("expected.json")).unwrap()).unwrap();
    let processor = processor();
    assert_eq!(expected["settings"]["max_pixels"], processor.images().unwrap().max_pixels);
    let text = std::fs::read_to_string(fixtures().join("rows.jsonl")).unwrap();
    let row = |(line, ids): (&str, &Value)| Row {
        prompt: shown(processor, &serde_json::from_str(line).unwrap(), &numbers(&ids["prompt_ids"])),
        chosen: numbers(&ids["chosen_ids"]),
        rejected: numbers(&ids["rejected_ids"]),
    };
    let rows: Vec<Row> = text.lines().zip(expected["rows"].as_array().unwrap()).map(row).collect();
    assert_eq!(rows.len(), 8);
    Recorded { rows, cases: expected["cases"].as_array().unwrap().clone() }
}

/// A row's prompt with its pictures; its ids are those that TRL fed.
fn shown(processor: &Processor, row: &Value, ids: &[i64]) -> Arc<Prompt> {
    let mut files = row["images"].as_array().unwrap().iter().map(|file| fixtures().join(file.as_str().unwrap()));
    let mut part = |part: &Value| match part["type"].as_str().unwrap() {
        "image" => Part::from(Arc::new(image::open(files.next().unwrap()).unwrap().to_rgb8())),
        _ => Part::from(part["text"].as_str().unwrap()),
    };
    let mut message = |message: &Value| {
        let role = match message["role"].as_str().unwrap() {
            "system" => Role::System,
            "assistant" => Role::Assistant,
            _ => Role::User,
        };
        Message { role, parts: message["content"].as_array().unwrap().iter().map(&mut part).collect() }
    };
    let messages: Vec<Message> = row["prompt"].as_array().unwrap().iter().map(&mut message).collect();
    let sample = row["chosen"][0]["content"].as_str().unwrap();
    let request = PromptRequest { sample, messages: &messages, layout: Layout::Chat, prefill: "" };
    let prompt = processor.prompt(&request).unwrap();
    assert_eq!(prompt.input_ids(), ids, "{sample}");
    prompt.into()
}

fn numbers(list: &Value) -> Vec<i64> {
    list.as_array().unwrap().iter().map(|id| id.as_i64().unwrap()).collect()
}

fn learner(case: &Value, tokens_per_micro_batch: usize) -> Learner {
    let setting = |name: &str| case["settings"][name].as_f64().unwrap();
    let optimizer = OptimizerConfig {
        beta1: setting("adam_beta1"),
        beta2: setting("adam_beta2"),
        epsilon: setting("adam_epsilon"),
        weight_decay: setting("weight_decay"),
        max_grad_norm: setting("max_grad_norm"),
        ..steady(setting("learning_rate"))
    };
    let freeze = case["frozen"].as_str().map(str::to_owned).into_iter().collect();
    let config = LearnerConfig { freeze, optimizer, tokens_per_micro_batch, ..LearnerConfig::default() };
    let mut model = Model::load(&folder(case["checkpoint"].as_str().unwrap()), Device::Cpu, Kind::Float).unwrap();
    if let Some(adapter) = case["adapter"].as_str() {
        model = model.with_adapter(Adapter::open(&folder(adapter)).unwrap()).unwrap();
    }
    let learner = Learner::new(Rc::new(model), config, &[]).unwrap();
    let trained = learner.model().parameters().iter().filter(|(_, tensor)| tensor.requires_grad());
    let (tensors, count) = trained.fold((0, 0), |(tensors, count), (_, t)| (tensors + 1, count + t.numel()));
    assert_eq!(case["trained"], serde_json::json!({ "tensors": tensors, "numbers": count }));
    learner
}

fn loss(case: &Value) -> Box<dyn Loss> {
    let settings = &case["settings"];
    let setting = |name: &str| settings[name].as_f64().unwrap();
    match case["trainer"].as_str().unwrap() {
        "dpo" => {
            let kinds =
                settings["loss_type"].as_array().unwrap().iter().zip(settings["loss_weights"].as_array().unwrap());
            let term = |(kind, weight): (&Value, &Value)| WeightedLoss {
                weight: weight.as_f64().unwrap(),
                loss: match kind.as_str().unwrap() {
                    "sigmoid" => DpoLoss::Sigmoid,
                    "ipo" => DpoLoss::Ipo,
                    "robust" => DpoLoss::Robust,
                    "bco_pair" => DpoLoss::Bco { shift: 0.0 },
                    "sft" => DpoLoss::ChosenNll,
                    other => panic!("{other}"),
                },
            };
            let terms = kinds.map(term).collect();
            let (beta, label_smoothing) = (setting("beta"), setting("label_smoothing"));
            let config = DpoConfig { beta, label_smoothing, ..DpoConfig::default() };
            Box::new(PreferenceLoss { pairs: PairLoss::Referenced { config, terms }, length_desensitisation: 1.0 })
        }
        "kto" => {
            let config = KtoConfig {
                beta: setting("beta"),
                desirable_weight: setting("desirable_weight"),
                undesirable_weight: setting("undesirable_weight"),
                ..KtoConfig::default()
            };
            Box::new(JudgedLoss { config })
        }
        _ => Box::new(ImitationLoss::default()),
    }
}

/// What a step learns from: a pair a row, an answer that is liked in every even row and disliked in every odd one, or the
/// chosen answer.
fn groups(trainer: &str, rows: &[Row], step: &Value) -> (Vec<Group>, Signals) {
    let (mut groups, mut signals) = (Vec::new(), Vec::new());
    for i in numbers(&step["rows"]) {
        let row = &rows[i as usize];
        let answers = match (trainer, i % 2) {
            ("dpo", _) => vec![row.chosen.clone(), row.rejected.clone()],
            ("kto", 1) => vec![row.rejected.clone()],
            _ => vec![row.chosen.clone()],
        };
        groups.push(group(i as u64, &row.prompt, &answers));
        match (trainer, i % 2) {
            ("dpo", _) => signals.extend([1.0, -1.0]),
            ("kto", 1) => signals.push(0.0),
            _ => signals.push(1.0),
        }
    }
    (groups, Signals::new(signals))
}

/// What we say to everything that TRL recorded of a step, by its name for it.
fn found(name: &str, trainer: &str, update: &Update, spied: &Spied) -> Vec<f64> {
    let sums = |lists: &[Vec<f32>]| -> Vec<f64> {
        lists.iter().map(|list| list.iter().map(|&x| f64::from(x)).sum()).collect()
    };
    let every = |sums: Vec<f64>, second: usize| sums.into_iter().skip(second).step_by(2).collect();
    let mean = |lists: Vec<&Vec<f32>>| {
        let tokens: Vec<f64> = lists.into_iter().flatten().map(|&x| f64::from(x)).collect();
        vec![tokens.iter().sum::<f64>() / tokens.len() as f64]
    };
    match name {
        "chosen_logprobs" => every(sums(&spied.logprobs), 0),
        "rejected_logprobs" => every(sums(&spied.logprobs), 1),
        "ref_chosen_logprobs" => every(sums(&spied.reference), 0),
        "ref_rejected_logprobs" => every(sums(&spied.reference), 1),
        "logprobs" => sums(&spied.logprobs),
        "ref_logprobs" => sums(&spied.reference),
        "kl" => vec![spied.mismatched_kl.unwrap()],
        "entropy" => mean(spied.entropy.iter().collect()),
        "mean_token_accuracy" if trainer == "dpo" => mean(spied.likeliest.iter().step_by(2).collect()),
        "mean_token_accuracy" => mean(spied.likeliest.iter().collect()),
        "rewards_margins" if trainer == "kto" => {
            vec![update.metrics["rewards/chosen"] - update.metrics["rewards/rejected"]]
        }
        _ => vec![update.metrics[&name.replace("rewards_", "rewards/").replace("logps_", "logps/")]],
    }
}

/// Trains as `case` says; the largest difference from anything that TRL recorded, over the number where that is above 1.
fn worst(case: &Value, rows: &[Row], tokens_per_micro_batch: usize) -> f64 {
    let (name, trainer) = (case["name"].as_str().unwrap(), case["trainer"].as_str().unwrap());
    let mut learner = learner(case, tokens_per_micro_batch);
    learner.keep_reference().unwrap();
    let loss = Spy::of(loss(case));
    let mut worst: f64 = 0.0;
    for (i, step) in case["steps"].as_array().unwrap().iter().enumerate() {
        let (groups, signals) = groups(trainer, rows, step);
        let swapped = swapped(trainer, &groups).map(|groups| {
            let said = |model: &dyn vr1_vlm::Backbone| vr1_learn::logprobs(model, &groups, 1.0).unwrap();
            [said(learner.model().as_ref()), said(learner.reference().unwrap().as_ref())]
        });
        let update = learner.update(&groups, &signals, &loss, Step { done: i as u64, of: 3 }).unwrap();
        let spied = loss.take();
        // `num_tokens` counts the data set.
        for (key, expected) in
            step.as_object().unwrap().iter().filter(|(key, _)| !["rows", "num_tokens"].contains(&key.as_str()))
        {
            let expected: Vec<f64> = match expected {
                Value::Array(list) => list.iter().map(|x| x.as_f64().unwrap()).collect(),
                one => vec![one.as_f64().unwrap()],
            };
            let sums = |lists: &[Vec<f32>]| lists.iter().map(|list| list.iter().map(|&x| f64::from(x)).sum()).collect();
            let found: Vec<f64> = match (key.as_str(), &swapped) {
                ("kl_logprobs", Some([own, _])) => sums(own),
                ("ref_kl_logprobs", Some([_, reference])) => sums(reference),
                _ => found(key, trainer, &update, &spied),
            };
            assert_eq!(found.len(), expected.len(), "{name}, step {i}, {key}");
            for (found, expected) in found.iter().zip(&expected) {
                let error = (found - expected).abs() / expected.abs().max(1.0);
                assert!(error < 1e-4, "{name}, step {i}, {key}: {found}, and {expected} in TRL");
                worst = worst.max(error);
            }
        }
    }
    worst
}

/// KTO's answers to other prompts: that of the row before, and of the last before the first.
fn swapped(trainer: &str, groups: &[Group]) -> Option<Vec<Group>> {
    let before = |i: usize| groups[(i + groups.len() - 1) % groups.len()].sequences()[0].ids().to_vec();
    let one = |i: usize| group(0, groups[i].prompt(), &[before(i)]);
    (trainer == "kto").then(|| (0..groups.len()).map(one).collect())
}

/// Compares the cases of these names, whole steps at once and in micro-batches.
fn compare(names: &[&str]) {
    let Recorded { rows, cases } = recorded();
    for case in cases.iter().filter(|case| names.contains(&case["name"].as_str().unwrap())) {
        // All at once; a sequence or a pair at a time; two or three of them.
        for budget in [0, 1, 170] {
            println!("{}, {budget} tokens: {:e}", case["name"], worst(case, &rows, budget));
        }
    }
}

#[test]
fn every_recorded_case_is_compared() {
    let names = ["dpo", "ipo", "robust", "rpo", "mpo", "tied", "frozen tower", "lora", "kto", "sft"];
    assert!(recorded().cases.iter().map(|case| case["name"].as_str().unwrap()).eq(names));
}

#[test]
fn preference_steps_are_those_of_trl() {
    compare(&["dpo", "ipo", "robust"]);
}

#[test]
fn mixtures_of_preference_losses_are_those_of_trl() {
    compare(&["rpo", "mpo"]);
}

#[test]
fn tied_frozen_and_adapted_models_step_as_in_trl() {
    compare(&["tied", "frozen tower", "lora"]);
}

#[test]
fn judged_and_supervised_steps_are_those_of_trl() {
    compare(&["kto", "sft"]);
}

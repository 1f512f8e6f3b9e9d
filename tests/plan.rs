//! What is planned beside what is taken: bytes of tensors, which are the same on every machine.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tch::{Device, Kind};
use vr1_learn::owners;
use vr1_run::Show;
use vr1_torch::allocated;
use vr1_train::{Machine, Plan, Recipe, RunOptions, Trainer};

const TINY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/assets/tiny");

fn base(folder: &Path) -> Value {
    let picture = folder.join("picture.png");
    image::RgbImage::from_fn(168, 140, |x, y| image::Rgb([x as u8, y as u8, 90])).save(&picture).unwrap();
    let row = |i: usize| json!({"image": picture, "question": format!("How many cubes, {i}?"), "answer": "There are three. ".repeat(6)});
    let rows: Vec<String> = (0..8).map(|i| row(i).to_string()).collect();
    fs::write(folder.join("rows.jsonl"), rows.join("\n")).unwrap();
    let source = json!({"kind": "rows", "path": folder.join("rows.jsonl")});
    json!({
        "system": "planned", "model": TINY, "steps": 4,
        "objective": {
            "kind": "sft", "documents_per_step": 6, "documents": [{"source": source, "text": "{{ question }}", "target": "{{ solution }}"}],
        },
        "prompt": {"text": "{{ question }}"},
        "reward": {"terms": {"accuracy": "exact(answer, solution)"}, "total": "accuracy"},
        "evaluation": {"sets": {"test": source}, "samples": 2, "max_completion_tokens": 4},
        "optimizer": {"learning_rate": 1e-5},
    })
}

fn grpo(folder: &Path) -> Value {
    let mut recipe = base(folder);
    recipe["objective"] = json!({
        "kind": "grpo", "train": recipe["evaluation"]["sets"]["test"], "prompts_per_step": 2, "group_size": 8,
        "sampling": {"max_completion_tokens": 48}, "loss": {"beta": 0.0},
    });
    recipe
}

fn load(folder: &Path, recipe: &Value) -> Recipe {
    let path: PathBuf = folder.join("recipe.yaml");
    fs::write(&path, recipe.to_string()).unwrap();
    Recipe::load(&path, &[]).unwrap()
}

fn with(mut recipe: Value, settings: &Value) -> Value {
    recipe.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    recipe
}

/// Bytes of the plan's fullest phase of a step, and of what two steps take.
fn planned_and_taken(folder: &Path, recipe: &Value, name: &str) -> (f64, f64) {
    let recipe = load(folder, recipe);
    let plan = Plan::new(&recipe, &Machine::cpu(Kind::Float)).unwrap();
    let phases = plan.stages[0].phases.iter().filter(|phase| phase.name != "evaluation");
    let planned = phases.map(|phase| phase.bytes()).max().unwrap();
    let options = RunOptions { show: Show::Quiet, ..RunOptions::new(folder.join(name)) };
    let (trainer, loading) = allocated(|| Trainer::new(recipe, options)).unwrap();
    let mut trainer = trainer.unwrap();
    let (mut held, mut taken) = (loading.left, loading.peak);
    for _ in 0..2 {
        let (stepped, bytes) = allocated(|| trainer.step()).unwrap();
        stepped.unwrap();
        taken = taken.max(held + bytes.peak);
        held += bytes.left;
    }
    (planned as f64, taken as f64)
}

#[test]
fn a_run_takes_what_was_planned_within_a_tenth() {
    let folder = tempfile::tempdir().unwrap();
    let ways = [
        json!({}),
        json!({"recompute": "layers"}),
        json!({"lora": {"rank": 4, "alpha": 8}}),
        json!({"freeze": ["tower", "merger"]}),
        json!({"tokens_per_micro_batch": 150}),
        json!({"optimizer": {"learning_rate": 1e-5, "moments": "blockwise_8bit"}}),
    ];
    for (number, settings) in ways.iter().enumerate() {
        let recipe = with(base(folder.path()), settings);
        let (planned, taken) = planned_and_taken(folder.path(), &recipe, &number.to_string());
        let off = planned / taken - 1.0;
        assert!(off.abs() <= 0.1, "{settings}: {planned} planned, {taken} taken, off by {off:.3}");
    }
}

#[test]
fn sampling_never_takes_more_than_was_planned_for_completions_of_full_length() {
    let folder = tempfile::tempdir().unwrap();
    for (number, beta) in [0.0, 0.04].into_iter().enumerate() {
        let mut recipe = grpo(folder.path());
        recipe["objective"]["loss"]["beta"] = beta.into();
        let (planned, taken) = planned_and_taken(folder.path(), &recipe, &number.to_string());
        assert!(taken <= 1.1 * planned, "β {beta}: {planned} planned, {taken} taken");
        assert!(taken >= 0.4 * planned, "β {beta}: {planned} planned, {taken} taken");
    }
}

fn peak(folder: &Path, recipe: &Value, machine: &Machine) -> u64 {
    Plan::new(&load(folder, recipe), machine).unwrap().peak()
}

#[test]
fn each_setting_takes_more_or_less_as_it_is_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let card = Machine { device: Device::Cuda(0), kind: Kind::BFloat16, memory: None, rates: None, ranks: 1 };
    for machine in [Machine::cpu(Kind::Float), card] {
        let of = |recipe: &Value| peak(at, recipe, &machine);
        let whole = grpo(at);
        let now = of(&whole);
        for settings in [
            json!({"recompute": "layers"}),
            json!({"recompute": "attention"}),
            json!({"lora": {"rank": 4, "alpha": 8}}),
            json!({"freeze": ["tower"]}),
            json!({"tokens_per_micro_batch": 120}),
            json!({"optimizer": {"moments": "blockwise_8bit"}}),
        ] {
            let less = of(&with(whole.clone(), &settings));
            assert!(less < now, "{settings}: {less} of {now}");
        }
        for (key, value) in [("group_size", 16), ("prompts_per_step", 4)] {
            let mut more = whole.clone();
            more["objective"][key] = value.into();
            assert!(of(&more) > now, "{key}");
        }
        let mut longer = whole.clone();
        longer["objective"]["sampling"]["max_completion_tokens"] = 96.into();
        assert!(of(&longer) > now);
        let mut compared = whole.clone();
        compared["objective"]["loss"]["beta"] = 0.04.into();
        assert!(of(&compared) > now);
    }
}

#[test]
fn what_is_offloaded_lies_on_the_host_and_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let card = Machine { device: Device::Cuda(0), kind: Kind::BFloat16, memory: None, rates: None, ranks: 1 };
    let plan = |offload: bool, machine: &Machine| {
        let recipe = with(grpo(folder.path()), &json!({"optimizer": {"offload": offload}}));
        Plan::new(&load(folder.path(), &recipe), machine).unwrap()
    };
    let (kept, moved) = (plan(false, &card), plan(true, &card));
    let model = &kept.stages[0].model;
    for (kept, moved) in kept.stages[0].phases.iter().zip(&moved.stages[0].phases) {
        assert_eq!((kept.on_host, moved.on_host), (0, 12 * model.trained), "masters and two moments");
        let held = |phase: &vr1_train::Phase, what: &str| phase.held.iter().any(|held| held.what == what);
        assert!(held(kept, "f32 masters") && held(kept, "moments"));
        assert!(!held(moved, "f32 masters") && !held(moved, "moments"));
    }
    // Where the host is the device, nothing is moved.
    let cpu = Machine::cpu(Kind::Float);
    assert_eq!(plan(true, &cpu).peak(), plan(false, &cpu).peak());
}

#[test]
fn of_several_ranks_each_holds_its_share_where_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    for kind in [Kind::Float, Kind::BFloat16] {
        let plan = |ranks: usize, sharding: &str| {
            let recipe = with(base(folder.path()), &json!({"sharding": sharding, "recompute": "layers"}));
            let machine = Machine { ranks, ..Machine::cpu(kind) };
            Plan::new(&load(folder.path(), &recipe), &machine).unwrap()
        };
        let held = |plan: &Plan, phase: &str, what: &str| -> u64 {
            let mut phases = plan.stages[0].phases.iter();
            let phase = phases.find(|found| found.name == phase).unwrap();
            phase.held.iter().filter(|held| held.what == what).map(|held| held.bytes).sum()
        };
        let one = plan(1, "zero2");
        let trained = one.stages[0].model.trained;
        assert!(one.by_sharding.is_empty() && held(&one, "optimizer", "moments") == 8 * trained, "alone it holds all");
        let mut before = u64::MAX;
        for ranks in [2, 4] {
            let (whole, sharded) = (plan(ranks, "none"), plan(ranks, "zero2"));
            let mut shares = vec![0; ranks];
            let sizes = &sharded.stages[0].model.sizes;
            owners(sizes, ranks).iter().zip(sizes).for_each(|(&owner, &size)| shares[owner] += size as u64);
            let most = shares.into_iter().max().unwrap();
            let masters = if kind == Kind::Float { 0 } else { 4 };
            for (what, bytes) in [("moments", 8), ("f32 masters", masters), ("gradients", 4)] {
                assert_eq!(held(&whole, "optimizer", what), bytes * trained, "{ranks} {what}");
                assert_eq!(held(&sharded, "optimizer", what), bytes * most, "{ranks} {what}");
            }
            let own = kind.elt_size_in_bytes() as u64 * trained;
            assert_eq!(held(&whole, "reduction", "gradients"), 4 * trained);
            assert_eq!(held(&sharded, "reduction", "gradients"), own.max(4 * most));
            let peaks: Vec<u64> = whole.by_sharding.iter().map(|(_, peak)| *peak).collect();
            let apart = plan(ranks, "zero3");
            assert_eq!(peaks, [whole.peak(), sharded.peak(), apart.peak()]);
            assert!(peaks[2] < peaks[1] && peaks[1] < peaks[0] && peaks[1] < before, "{peaks:?}");
            let told = json!({"none": peaks[0], "zero2": peaks[1], "zero3": peaks[2]});
            assert_eq!(sharded.json()["peak_by_sharding"], told);
            // All that is outside of layers, and a share of what is in them; the rest of it where held-out samples are answered.
            let wide = kind.elt_size_in_bytes() as u64;
            let shape = &apart.stages[0].model;
            let in_layers: usize = shape.each_layer.iter().flat_map(|layer| &layer.trained).sum();
            let weights = held(&apart, "update", "weights");
            let (least, all) = (shape.parameters - in_layers as u64, in_layers as u64 / ranks as u64);
            let largest = *shape.each_layer.iter().flat_map(|layer| &layer.trained).max().unwrap() as u64;
            assert!(((least + all) * wide..=(least + all + largest) * wide).contains(&weights), "{weights}");
            let brought = held(&apart, "evaluation", "parameters of other processes");
            assert_eq!(weights + brought, wide * shape.parameters);
            assert_eq!(held(&whole, "evaluation", "parameters of other processes"), 0);
            assert!(sharded.told().contains(&format!("in each of {ranks} processes")), "{}", sharded.told());
            before = peaks[1];
        }
        let mut small = Machine { ranks: 4, ..Machine::cpu(kind) };
        small.memory = Some(plan(4, "zero2").peak());
        let recipe =
            load(folder.path(), &with(base(folder.path()), &json!({"sharding": "none", "recompute": "layers"})));
        let advice = Plan::new(&recipe, &small).unwrap().advice;
        assert!(advice.iter().any(|advice| advice.change == ["sharding: zero2"] && advice.fits), "{advice:?}");
    }
}

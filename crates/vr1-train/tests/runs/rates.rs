//! Parts of the model that learn at rates of their own.

use super::scripted::grpo;
use super::*;

const GROUPS: &str = "optimizer.groups=[{ match: '*.bias', weight_decay: 0 }, { match: model.layers.0, learning_rate: 5.0e-3, weight_decay: 0.2 }]";

#[test]
fn a_run_of_groups_and_a_schedule_goes_on_bit_for_bit() {
    let dir = folder();
    let schedule = "optimizer.schedule={ kind: wsd, decay_ratio: 0.5, min_lr_ratio: 0.1 }";
    let set = [GROUPS, schedule, "optimizer.warmup_ratio=0.3", "optimizer.weight_decay=0.1"];
    goes_on_from_any_step(dir.path(), &read(dir.path(), &grpo(4, ""), &set).unwrap());
}

#[test]
fn a_group_moves_what_it_names_and_nothing_else_is_moved_otherwise() {
    let dir = folder();
    let learnt = |set: &[&str], name: &str| {
        let recipe = read(dir.path(), &grpo(1, ""), &[&[PROPORTIONAL], set].concat()).unwrap();
        let mut run = trainer(&recipe, &dir.path().join(name));
        let before = weights(run.model());
        steps(&mut run, 1);
        (before, weights(run.model()))
    };
    let (start, plain) = learnt(&[], "plain");
    let (_, grouped) = learnt(&["optimizer.groups=[{ match: model.layers.0, learning_rate: 3.0e-3 }]"], "grouped");
    for (name, before) in &start {
        let by = |after: &BTreeMap<String, Tensor>| (&after[name] - before).abs().max().double_value(&[]);
        let (usual, own) = (by(&plain), by(&grouped));
        let expected = if name.starts_with("model.layers.0.") { 3.0 * usual } else { usual };
        // Of f32 weights of about 1.
        assert!((own - expected).abs() < 1e-6, "{name}: {own} {expected}");
    }
}

#[test]
fn each_part_that_is_trained_has_a_norm_and_together_they_are_the_whole() {
    let dir = folder();
    let scenes =
        grpo(1, "").replace("{ kind: jsonl, path: train.jsonl }", "{ kind: scenes, task: spatial, split: train }");
    let norms = |set: &[&str], name: &str| {
        let recipe = read(dir.path(), &scenes, set).unwrap();
        let row = steps(&mut trainer(&recipe, &dir.path().join(name)), 1).remove(0);
        let parts = ["tower", "merger", "language"].map(|part| row.get(&format!("grad_norm/{part}")));
        (row.get("grad_norm").unwrap(), parts)
    };
    let (whole, parts) = norms(&[], "all");
    let together = parts.iter().map(|part| part.unwrap().powi(2)).sum::<f64>().sqrt();
    assert!(
        parts.iter().all(|part| part.unwrap() > 0.0) && (together - whole).abs() < 1e-5 * whole,
        "{parts:?} {whole}"
    );
    let (_, [tower, merger, language]) = norms(&["freeze=[tower]"], "frozen");
    assert!(tower.is_none() && merger.is_some() && language.is_some());
}

#[test]
fn a_group_of_nothing_shows_before_the_first_step_whatever_stage_it_is_of() {
    let dir = folder();
    let sft = "{ kind: sft, documents_per_step: 1, documents: [{ source: { kind: jsonl, path: train.jsonl }, text: '{{ question }}', target: '{{ solution }}' }] }";
    let refused = |first: &str, second: &str| {
        let text =
            format!("stages: [{{ steps: 1, objective: {sft}, {first} }}, {{ steps: 1, objective: {sft}, {second} }}]");
        Trainer::new(recipe(dir.path(), &text), options(&dir.path().join("run"))).unwrap_err().to_string()
    };
    let optimizer = |groups: &str| format!("optimizer: {{ groups: {groups} }}");
    let late = refused("freeze: []", &optimizer("[{ match: model.layers.77, learning_rate: 1 }]"));
    assert!(late.contains("optimizer.groups.0.match.0: \"model.layers.77\" fits no parameter"), "{late}");
    let frozen = format!("freeze: [tower], {}", optimizer("[{ match: [language, tower], learning_rate: 1 }]"));
    let frozen = refused("freeze: []", &frozen);
    assert!(frozen.contains("optimizer.groups.0.match.1: \"tower\""), "{frozen}");
}

//! Answers that were judged one by one.

use super::*;

/// Rows as TRL writes them for KTO; the picture of every other one has `colour`.
fn judged(dir: &Path, colour: [u8; 3]) {
    picture(dir, "shown.png", colour);
    let row = |i: usize| {
        let liked = !i.is_multiple_of(3);
        let words = if liked { "It is blue." } else { "No." };
        let mut row =
            serde_json::json!({"prompt": format!("Which is number {i}?"), "completion": words, "label": liked});
        if i.is_multiple_of(2) {
            row["image"] = "shown.png".into();
        }
        row.to_string() + "\n"
    };
    std::fs::write(dir.join("judged.jsonl"), (0..6).map(row).collect::<String>()).unwrap();
}

fn kto(steps: u64, loss: &str) -> String {
    format!("steps: {steps}\nobjective: {{ kind: kto, path: judged.jsonl, answers_per_step: 6, loss: {{ {loss} }} }}")
}

fn all(dir: &Path, text: &str) -> Vec<StepMetrics> {
    let recipe = recipe(dir, text);
    let out = tempfile::tempdir().unwrap();
    steps(&mut trainer(&recipe, &out.path().join("run")), recipe.all_steps())
}

#[test]
fn judged_answers_part() {
    let dir = folder();
    judged(dir.path(), [255, 0, 0]);
    for loss in ["kto", "apo_zero"] {
        let told = all(dir.path(), &kto(5, &format!("loss: {loss}")));
        let of = |row: &StepMetrics, name: &str| row.get(name).unwrap();
        assert!((of(&told[0], "desirable") - 4.0 / 6.0).abs() < 1e-6);
        // At first the model is its own reference: one half each.
        assert!((of(&told[0], "loss") - 0.5).abs() < 1e-6, "{loss}: {:?}", told[0]);
        assert!(of(&told[4], "loss") < 0.499, "{loss}: {:?}", told[4]);
        assert!(of(&told[4], "rewards/chosen") > of(&told[4], "rewards/rejected") + 0.01, "{loss}: {:?}", told[4]);
    }
}

#[test]
fn what_was_disliked_weighs_as_it_is_told_to() {
    let dir = folder();
    judged(dir.path(), [255, 0, 0]);
    let gradient = |weight: f64| all(dir.path(), &kto(1, &format!("undesirable_weight: {weight}")))[0].get("grad_norm");
    assert_ne!(gradient(1.0), gradient(3.0));
}

#[test]
fn the_picture_of_a_judged_answer_is_seen() {
    let gradient = |colour| {
        let dir = folder();
        judged(dir.path(), colour);
        all(dir.path(), &kto(1, ""))[0].get("grad_norm").unwrap()
    };
    assert!((gradient([255, 0, 0]) / gradient([0, 0, 255]) - 1.0).abs() > 1e-4);
}

#[test]
fn judged_answers_go_on_from_any_step() {
    let dir = folder();
    judged(dir.path(), [255, 0, 0]);
    let text = kto(3, "").replace("answers_per_step: 6", "answers_per_step: 4");
    goes_on_from_any_step(dir.path(), &recipe(dir.path(), &text));
}

//! Preference pairs: rows, written by templates, or sampled; at once and in rounds.

use super::*;

/// Rows as TRL writes them: a prompt and two answers, as texts.
fn texts(dir: &Path) {
    let row = |i: usize| {
        let row =
            serde_json::json!({"prompt": format!("Which is number {i}?"), "chosen": "It is blue.", "rejected": "No."});
        row.to_string() + "\n"
    };
    std::fs::write(dir.join("pairs.jsonl"), (0..6).map(row).collect::<String>()).unwrap();
}

/// Rows as vision-language preference sets have them: messages with places for pictures.
fn shown(dir: &Path, colours: [[u8; 3]; 2]) {
    let row = |i: usize| {
        let name = format!("{i}.png");
        picture(dir, &name, colours[i % 2]);
        let asked = serde_json::json!([{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is this?"}]}]);
        let said =
            |words: &str| serde_json::json!([{"role": "assistant", "content": [{"type": "text", "text": words}]}]);
        let row = serde_json::json!({"images": [name], "prompt": asked, "chosen": said("A red square."), "rejected": said("No.")});
        row.to_string() + "\n"
    };
    std::fs::write(dir.join("shown.jsonl"), (0..4).map(row).collect::<String>()).unwrap();
}

fn dpo(steps: u64, pairs: &str, more: &str) -> String {
    format!("steps: {steps}\nobjective:\n  kind: dpo\n  pairs_per_step: 2\n  pairs: {pairs}\n{more}")
}

const TEXTS: &str = "{ kind: rows, path: pairs.jsonl }";
const WRITTEN: &str = "{ kind: written, source: { kind: jsonl, path: train.jsonl }, chosen: '{{ solution }}', rejected: 'no {{ solution }}' }";
const SAMPLED: &str = "{ kind: sampled, train: { kind: jsonl, path: train.jsonl }, group_size: 3, sampling: { max_completion_tokens: 5 } }";

fn all(dir: &Path, text: &str) -> Vec<StepMetrics> {
    let recipe = recipe(dir, text);
    let out = tempfile::tempdir().unwrap();
    steps(&mut trainer(&recipe, &out.path().join("run")), recipe.all_steps())
}

#[test]
fn rows_of_pairs_move_the_chosen_above_the_rejected() {
    let dir = folder();
    texts(dir.path());
    shown(dir.path(), [[255, 0, 0], [250, 10, 0]]);
    for pairs in [TEXTS, "{ kind: rows, path: shown.jsonl }", WRITTEN] {
        let told = all(dir.path(), &dpo(6, pairs, ""));
        let of = |row: &StepMetrics, name: &str| row.get(name).unwrap();
        // At first the model is its own reference.
        assert_eq!((of(&told[0], "rewards/margins"), of(&told[0], "pairs")), (0.0, 2.0), "{pairs}");
        assert!((of(&told[0], "loss") - 2f64.ln()).abs() < 1e-6, "{pairs}");
        assert!(of(&told[5], "rewards/margins") > 0.02 && of(&told[5], "loss") < 0.69, "{pairs}: {:?}", told[5]);
    }
}

#[test]
fn the_picture_of_a_pair_is_seen() {
    let first = |colours| {
        let dir = folder();
        shown(dir.path(), colours);
        all(dir.path(), &dpo(1, "{ kind: rows, path: shown.jsonl }", "")).remove(0)
    };
    let (red, blue) = (first([[255, 0, 0]; 2]), first([[0, 0, 255]; 2]));
    for name in ["logps/chosen", "logps/rejected"] {
        let gap = red.get(name).unwrap() - blue.get(name).unwrap();
        assert!(gap.abs() > 1e-3, "{name}: {gap}");
    }
}

#[test]
fn the_model_is_taught_by_its_own_best_and_worst() {
    let dir = folder();
    let recipe = recipe(dir.path(), &dpo(3, SAMPLED, ""));
    let out = dir.path().join("run");
    let mut run = trainer(&recipe, &out);
    let told = steps(&mut run, 3);
    for (row, step) in told.iter().zip(1..) {
        assert!(row.get("pairs").unwrap() <= 2.0 && row.get("reward").is_some());
        // A pair is sampled with the weights that it teaches, so that nothing lies between.
        assert!(row.get("sampler_kl").unwrap() < 1e-4, "{row:?}");
        let text = rows_of(&out, step);
        let said: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(said.len(), 6);
        for group in said.chunks(3) {
            let of =
                |sign: f64| group.iter().find(|row| row["advantage"] == sign).map(|row| row["total"].as_f64().unwrap());
            let totals = || group.iter().map(|row| row["total"].as_f64().unwrap());
            if let (Some(best), Some(worst)) = (of(1.0), of(-1.0)) {
                assert_eq!(best, totals().fold(f64::MIN, f64::max));
                assert_eq!(worst, totals().fold(f64::MAX, f64::min));
            }
        }
    }
}

#[test]
fn rounds_divide_the_steps_and_each_begins_from_itself() {
    let dir = folder();
    for pairs in [WRITTEN, SAMPLED] {
        let told = all(dir.path(), &dpo(4, pairs, "  rounds: 3\n"));
        let rounds: Vec<f64> = told.iter().map(|row| row.get("round").unwrap()).collect();
        assert_eq!(rounds, [1.0, 1.0, 2.0, 3.0], "{pairs}");
        for (step, row) in told.iter().enumerate() {
            // The reference is the model at the start of the round: only there is nothing between them.
            let begins = [0, 2, 3].contains(&step);
            assert_eq!(row.get("rewards/margins").unwrap() == 0.0, begins, "{pairs}, step {step}: {row:?}");
        }
    }
    let told = all(dir.path(), &dpo(5, WRITTEN, ""));
    assert!(told.iter().skip(1).all(|row| row.get("rewards/margins") != Some(0.0)), "one round has one reference");
}

#[test]
fn the_pairs_of_a_round_are_all_sampled_at_its_start() {
    let dir = folder();
    let told = all(dir.path(), &dpo(4, SAMPLED, "  rounds: 2\n"));
    let sampled: Vec<bool> = told.iter().map(|row| row.get("reward").is_some()).collect();
    assert_eq!(sampled, [true, false, true, false]);
    // Each is learnt from once.
    for round in told.chunks(2) {
        let learnt: f64 = round.iter().map(|row| row.get("pairs").unwrap()).sum();
        assert_eq!(Some(learnt), round[0].get("pairs_sampled"), "{told:?}");
        assert!(round.iter().all(|row| row.get("pairs") >= Some(1.0)), "{told:?}");
    }
    // What was sampled two steps ago was sampled by another model.
    let kl = |step: usize| told[step].get("sampler_kl").unwrap();
    assert!(kl(0) < 1e-4 && kl(1) > 1e-2 && kl(2) < 1e-4 && kl(3) > 1e-2, "{told:?}");
}

#[test]
fn a_step_without_a_pair_learns_nothing_and_the_run_goes_on() {
    let dir = folder();
    let recipe = read(dir.path(), &dpo(3, SAMPLED, ""), &["objective.pairs.margin=1000"]).unwrap();
    let mut run = trainer(&recipe, &dir.path().join("run"));
    let begun = weights(run.model());
    let told = steps(&mut run, 3);
    assert!(told.iter().all(|row| row.get("pairs") == Some(0.0) && row.get("idle") == Some(1.0)), "{told:?}");
    assert_eq!(moved(&begun, &weights(run.model())), None);
}

#[test]
fn pairs_of_every_kind_go_on_from_any_step() {
    for (pairs, more) in [(TEXTS, ""), (WRITTEN, "  rounds: 2\n"), (SAMPLED, ""), (SAMPLED, "  rounds: 2\n")] {
        let dir = folder();
        texts(dir.path());
        goes_on_from_any_step(dir.path(), &recipe(dir.path(), &dpo(4, pairs, more)));
    }
}

#[test]
fn a_reference_that_moves_goes_on_from_any_step() {
    for reference in ["{ kind: ema, decay: 0.9 }", "{ kind: synced, every_steps: 2, mixup: 0.5 }"] {
        for lora in ["", "lora: { rank: 2, alpha: 4, target_modules: [q_proj, down_proj] }\n"] {
            let dir = folder();
            let text = format!("reference: {reference}\n{lora}{}", dpo(4, WRITTEN, ""));
            goes_on_from_any_step(dir.path(), &recipe(dir.path(), &text));
        }
    }
}

#[test]
fn an_adapter_is_compared_with_the_model_below_it() {
    let dir = folder();
    let lora = "lora: { rank: 2, alpha: 4, target_modules: [q_proj, down_proj] }\n";
    let recipe = recipe(dir.path(), &format!("{lora}{}", dpo(4, WRITTEN, "  rounds: 2\n")));
    let mut run = trainer(&recipe, &dir.path().join("run"));
    let begun = weights(run.model());
    let told = steps(&mut run, 4);
    let margins: Vec<bool> = told.iter().map(|row| row.get("rewards/margins") == Some(0.0)).collect();
    assert_eq!(margins, [true, false, true, false], "each round's start, its adapter included");
    for (name, tensor) in weights(run.model()) {
        assert_eq!(tensor.equal(&begun[&name]), !name.contains("lora"), "{name}");
    }
    goes_on_from_any_step(dir.path(), &recipe);
}

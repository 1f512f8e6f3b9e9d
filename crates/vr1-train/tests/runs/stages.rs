//! Stages that follow each other.

use super::*;

const SFT: &str = "
    kind: sft
    documents_per_step: 2
    documents: [{ source: { kind: jsonl, path: train.jsonl }, text: '{{ question }}', target: '{{ solution }}' }]
";

pub(crate) const GRPO: &str = "
    kind: grpo
    train: { kind: jsonl, path: train.jsonl }
    prompts_per_step: 2
    group_size: 2
    sampling: { max_completion_tokens: 6 }
    loss: { beta: 0.1 }
";

pub(crate) const SAMPLED: &str = "
    kind: dpo
    pairs: { kind: sampled, train: { kind: jsonl, path: train.jsonl }, group_size: 3, sampling: { max_completion_tokens: 6 } }
    pairs_per_step: 2
    rounds: 3
";

/// Imitation of two steps, then `second` of `steps`, each with settings of its own.
pub(crate) fn two_stages(second: &str, steps: u64) -> String {
    format!(
        "
stages:
- name: imitation
  steps: 2
  freeze: [tower]
  optimizer: {{ learning_rate: 2.0e-3, schedule: linear }}
  objective:{SFT}
- steps: {steps}
  freeze: [model.embed_tokens]
  optimizer: {{ learning_rate: 1.0e-3, schedule: linear }}
  objective:{second}"
    )
}

/// The objective as that of a run of one stage.
fn alone(objective: &str, steps: u64, rate: &str, freeze: &str) -> String {
    format!(
        "steps: {steps}\nfreeze: [{freeze}]\n{}\nobjective:{objective}",
        "optimizer: { learning_rate: RATE, schedule: linear }".replace("RATE", rate)
    )
}

#[test]
fn a_stage_is_a_run_from_the_weights_of_the_one_before() {
    for second in [GRPO, SAMPLED] {
        let dir = folder();
        let both = recipe(dir.path(), &two_stages(second, 3));
        let mut staged = trainer(&both, &dir.path().join("staged"));
        let begun = weights(staged.model());
        let mut told = steps(&mut staged, 2);
        let between = weights(staged.model());
        assert!(moved(&begun, &between).is_some());
        told.extend(steps(&mut staged, 3));

        let text = |objective, steps, rate, freeze| {
            TOP.replace("optimizer: { learning_rate: 1.0e-3, schedule: constant }", "")
                + &alone(objective, steps, rate, freeze)
        };
        let one = |model: &Path, text: String, out: &str| {
            let path = dir.path().join("one.yaml");
            std::fs::write(&path, format!("model: {model:?}\n{text}")).unwrap();
            let recipe = Recipe::load(&path, &[]).unwrap();
            let mut run = trainer(&recipe, &dir.path().join(out));
            let told = steps(&mut run, recipe.all_steps());
            (told, weights(run.model()), run.checkpoint().unwrap())
        };
        let (first, imitated, checkpoint) = one(&tiny(), text(SFT, 2, "2.0e-3", "tower"), "first");
        assert_eq!(moved(&imitated, &between), None);
        let (last, learnt, _) = one(&checkpoint, text(second, 3, "1.0e-3", "model.embed_tokens"), "last");
        assert_eq!(moved(&learnt, &weights(staged.model())), None);
        for (staged, alone) in told.iter().zip(first.iter().chain(&last)) {
            for name in ["loss", "learning_rate", "grad_norm", "reward", "kl", "rewards/margins"] {
                assert_eq!(staged.get(name), alone.get(name), "{name}");
            }
        }
        // What each of them freezes.
        let same = |a: &BTreeMap<String, Tensor>, b: &BTreeMap<String, Tensor>, part: &str| {
            let mut held = a.iter().filter(|(name, _)| name.starts_with(part) && !name.contains("merger")).peekable();
            assert!(held.peek().is_some());
            held.all(|(name, tensor)| tensor.equal(&b[name]))
        };
        assert!(same(&begun, &between, "visual.blocks") && !same(&begun, &between, "model.embed_tokens"));
        assert!(same(&between, &learnt, "model.embed_tokens") && !same(&between, &learnt, "model.layers"));
    }
}

#[test]
fn a_run_of_stages_goes_on_from_any_step() {
    let dir = folder();
    goes_on_from_any_step(dir.path(), &recipe(dir.path(), &two_stages(GRPO, 2)));
}

#[test]
fn a_run_of_stages_goes_on_from_the_middle_of_a_round() {
    let dir = folder();
    goes_on_from_any_step(dir.path(), &recipe(dir.path(), &two_stages(SAMPLED, 5)));
}

#[test]
fn a_run_of_stages_with_an_adapter_goes_on_from_any_step() {
    let dir = folder();
    let lora = "lora: { rank: 2, alpha: 4, target_modules: [q_proj, down_proj] }\n";
    let text = two_stages(GRPO, 2).replace("freeze: [tower]", "freeze: []").replace("freeze: [model.embed_tokens]", "");
    goes_on_from_any_step(dir.path(), &recipe(dir.path(), &format!("{lora}{text}")));
}

#[test]
fn a_later_stage_is_compared_with_its_own_start_adapter_and_all() {
    let dir = folder();
    let written = "
    kind: dpo
    pairs: { kind: written, source: { kind: jsonl, path: train.jsonl }, chosen: '{{ solution }}', rejected: 'no' }
    pairs_per_step: 2";
    for lora in ["", "lora: { rank: 2, alpha: 4, target_modules: [q_proj, down_proj] }\n"] {
        let text =
            two_stages(written, 2).replace("freeze: [tower]", "freeze: []").replace("freeze: [model.embed_tokens]", "");
        let recipe = recipe(dir.path(), &format!("{lora}{text}"));
        let out = tempfile::tempdir().unwrap();
        let told = steps(&mut trainer(&recipe, &out.path().join("run")), 4);
        assert_eq!(told[2].get("rewards/chosen"), Some(0.0), "{lora}: {:?}", told[2]);
        assert_ne!(told[3].get("rewards/chosen"), Some(0.0), "{lora}: {:?}", told[3]);
    }
}

#[test]
fn each_stage_is_evaluated_as_it_says_and_as_it_ends() {
    let dir = folder();
    let own = "
  evaluation: { samples: 1, max_completion_tokens: 2, every_steps: 1, sets: { other: { kind: jsonl, path: train.jsonl } } }";
    let recipe = recipe(dir.path(), &format!("{}{own}", two_stages(GRPO, 3)));
    let out = dir.path().join("run");
    let summary = trainer(&recipe, &out).run().unwrap();
    let told = read_metrics(&out.join("metrics.jsonl")).unwrap();
    let has = |name: &str| told.iter().map(|row| row.get(name).is_some()).collect::<Vec<_>>();
    assert_eq!(has("held_out/accuracy"), [false, true, false, false, false], "the first as it ends");
    assert_eq!(has("other/accuracy"), [false, false, true, true, false], "the second after each step");
    let stages: Vec<f64> = told.iter().map(|row| row.get("stage").unwrap()).collect();
    assert_eq!(stages, [1.0, 1.0, 2.0, 2.0, 2.0]);

    assert!(summary.before.contains_key("held_out/accuracy") && summary.after.contains_key("other/accuracy"));
    let named: Vec<(&str, u64)> = summary.stages.iter().map(|stage| (stage.name.as_str(), stage.steps)).collect();
    assert_eq!(named, [("imitation", 2), ("grpo", 3)]);
    assert_eq!(Some(&summary.stages[0].scores["held_out/accuracy"]), told[1].values.get("held_out/accuracy"));
    assert_eq!(summary.stages[1].scores, summary.after);
}

#[test]
fn one_folder_has_one_recipe_and_a_page_that_knows_the_stages() {
    let dir = folder();
    let recipe = recipe(dir.path(), &two_stages(GRPO, 2));
    let out = dir.path().join("run");
    trainer(&recipe, &out).run().unwrap();
    let config = Recipe::load(&out.join("config.yaml"), &[]).unwrap();
    assert_eq!(config, recipe);
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains(r#"["imitation","2","#) && page.contains(r#"["grpo","2","#));
    let rollouts: Vec<_> = std::fs::read_dir(out.join("rollouts")).unwrap().collect();
    assert_eq!(rollouts.len(), 2, "of the steps that sample");
}

#[test]
fn a_fault_of_a_later_stage_shows_before_the_first_step() {
    let dir = folder();
    let refused = |right: &str, wrong: &str, words: &str| {
        let text = two_stages(GRPO, 3).replace(right, wrong);
        assert_ne!(text, two_stages(GRPO, 3));
        let out = dir.path().join("run");
        let error = Trainer::new(recipe(dir.path(), &text), options(&out)).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
        assert!(!out.exists(), "{error}");
    };
    refused(
        "train: { kind: jsonl, path: train.jsonl }",
        "train: { kind: jsonl, path: nowhere.jsonl }",
        "nowhere.jsonl",
    );
    refused("[model.embed_tokens]", "[model.embed_token]", "nothing in the model is called `model.embed_token`");
    refused("[model.embed_tokens]", "[tower, merger, language]", "every parameter is frozen");
    let own = "- steps: 3\n  evaluation: { metric: accurracy, max_completion_tokens: 2, sets: {} }\n";
    refused("- steps: 3\n", own, "accurracy");
    let weighed =
        "train: { kind: jsonl, path: train.jsonl }\n    advantages: { kind: per_reward, weights: { vowls: 1 } }";
    refused("train: { kind: jsonl, path: train.jsonl }", weighed, "no term \"vowls\" among accuracy, vowels");
    let kept = ["keep_best=held_out/acuracy", "evaluation.every_steps=1"];
    let recipe = read(dir.path(), &two_stages(GRPO, 3), &kept).unwrap();
    let error = Trainer::new(recipe, options(&dir.path().join("run"))).unwrap_err().to_string();
    assert!(error.contains("no score \"held_out/acuracy\" among accuracy, held_out/accuracy, "), "{error}");
}

#[test]
fn a_stage_that_cannot_begin_costs_nothing_of_the_one_before() {
    let dir = folder();
    let text = two_stages(GRPO, 2)
        .replace("train: { kind: jsonl, path: train.jsonl }", "train: { kind: jsonl, path: later.jsonl }");
    let [rows_of, kept] = ["later.jsonl", "kept.jsonl"].map(|name| dir.path().join(name));
    std::fs::copy(dir.path().join("train.jsonl"), &rows_of).unwrap();
    let recipe = recipe(dir.path(), &text);
    let whole = dir.path().join("whole");
    trainer(&recipe, &whole).run().unwrap();

    let out = dir.path().join("run");
    let stopped = trainer(&recipe, &out);
    std::fs::rename(&rows_of, &kept).unwrap();
    let error = stopped.run().unwrap_err().to_string();
    assert!(error.contains("later.jsonl"), "{error}");
    std::fs::rename(&kept, &rows_of).unwrap();
    Trainer::resume(recipe, options(&out)).unwrap().run().unwrap();
    assert_eq!(rows(&out), rows(&whole));
}

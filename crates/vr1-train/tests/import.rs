//! Configurations of other systems as recipes. Those of TRL's defaults come from `fixtures/import/generate.py`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use vr1_grpo::{Compat, GrpoConfig};
use vr1_reward::{Program, Registry};
use vr1_train::{Advantages, Fate, ImportOptions, Imported, ObjectiveConfig, Recipe, System, import};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/import").join(name)
}

fn imported(name: &str) -> Imported {
    import(&fixture(name), &ImportOptions::default()).unwrap()
}

/// What is made of a text in a file of that name.
fn of_text(name: &str, text: &str, options: &ImportOptions) -> vr1_train::Result<Imported> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    import(&path, options)
}

/// The recipe, read from a file as any other, as JSON.
fn recipe(imported: &Imported) -> Value {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("recipe.yaml");
    std::fs::write(&path, &imported.yaml).unwrap();
    let recipe = Recipe::load(&path, &[]).unwrap_or_else(|error| panic!("{error}\n{}", imported.yaml));
    Program::compile(recipe.reward.clone(), &Registry::default())
        .unwrap_or_else(|error| panic!("{error}\n{}", imported.yaml));
    serde_json::to_value(recipe).unwrap()
}

fn fate<'a>(imported: &'a Imported, key: &str) -> &'a Fate {
    &imported.findings.iter().find(|finding| finding.key == key).unwrap_or_else(|| panic!("{key}: {imported}")).fate
}

fn to(imported: &Imported, key: &str) -> String {
    match fate(imported, key) {
        Fate::Taken { to, .. } => to.clone(),
        other => panic!("{key}: {other:?}"),
    }
}

const TRL: [(&str, System); 3] =
    [("trl_grpo", System::TrlGrpo), ("trl_dpo", System::TrlDpo), ("trl_sft", System::TrlSft)];

const ALL: [&str; 11] = [
    "trl_grpo.json",
    "trl_dpo.json",
    "trl_sft.json",
    "trl_grpo_vlm.yaml",
    "trl_dpo.sh",
    "trl_sft.args",
    "vlm_r1_rec.sh",
    "vlm_r1_gui_lora.yaml",
    "easy_r1.yaml",
    "easy_r1.sh",
    "r1v.sh",
];

#[test]
fn every_recipe_loads_and_its_placeholders_are_marked() {
    for name in ALL {
        let imported = imported(name);
        recipe(&imported);
        let marked = imported.yaml.lines().filter(|line| line.contains("# PLACEHOLDER: ")).count();
        assert_eq!(marked, imported.placeholders.len(), "{name}\n{}", imported.yaml);
    }
}

#[test]
fn every_key_that_is_said_is_told_once() {
    for name in ["trl_grpo.json", "trl_dpo.json", "trl_sft.json", "trl_grpo_vlm.yaml", "vlm_r1_gui_lora.yaml"] {
        let text = std::fs::read_to_string(fixture(name)).unwrap();
        let said: Value = vr1_run::from_str(name, &text, &[]).unwrap();
        let found = imported(name);
        let told: Vec<&str> = found.findings.iter().map(|finding| finding.key.as_str()).collect();
        assert_eq!(told.len(), told.iter().collect::<BTreeSet<_>>().len(), "{name}");
        for key in said.as_object().unwrap().keys() {
            assert!(told.contains(&key.as_str()), "{name}: {key}");
        }
    }
    let script = imported("vlm_r1_rec.sh");
    for flag in ["temperature", "deepspeed", "dataset_name", "bf16", "run_name", "launcher --nproc_per_node"] {
        fate(&script, flag);
    }
    let easy = imported("easy_r1.yaml");
    assert!(easy.findings.iter().all(|finding| finding.fate != Fate::Unknown), "{easy}");
    for key in
        ["worker.rollout.val_override_config.temperature", "trainer.logger", "data.min_pixels", "trainer.max_steps"]
    {
        fate(&easy, key);
    }
}

/// So its defaults are the ones that a file does not say are carried over.
#[test]
fn a_file_that_says_nothing_is_the_same_as_one_that_says_every_default() {
    for (name, system) in TRL {
        let all = imported(&format!("{name}.json"));
        assert_eq!(all.system, system);
        assert!(all.findings.iter().all(|finding| finding.fate != Fate::Unknown), "{name}: {all}");
        let options = ImportOptions { system: Some(system), ..ImportOptions::default() };
        let none = of_text("none.yaml", "seed: 42", &options).unwrap();
        let [mut all, mut none] = [&all, &none].map(recipe);
        for recipe in [&mut all, &mut none] {
            recipe.as_object_mut().unwrap().remove("differences");
        }
        assert_eq!(all, none, "{name}");
    }
    // And they are TRL's, where ours are others.
    let grpo = recipe(&imported("trl_grpo.json"));
    let loss = &grpo["objective"]["loss"];
    assert_eq!((&loss["beta"], &loss["aggregation"]["kind"]), (&json!(0.0), &json!("token")));
    assert_eq!(grpo["objective"]["sampling"]["max_completion_tokens"], 512);
    assert_eq!(
        (&grpo["keep_checkpoints"], &grpo["save_every_steps"], &grpo["recompute"]),
        (&json!(0), &json!(500), &json!("layers"))
    );
    let sft = recipe(&imported("trl_sft.json"));
    assert_eq!(
        (&sft["optimizer"]["learning_rate"], &sft["objective"]["documents_per_step"]),
        (&json!(2e-5), &json!(8))
    );
    let dpo = imported("trl_dpo.json");
    assert!(matches!(fate(&dpo, "max_length"), Fate::NotSupported(why) if why.contains("1024")));
}

#[test]
fn a_run_of_trls_grpo_is_taken_key_by_key() {
    let options = ImportOptions { processes: Some(4), samples: Some(7689), ..ImportOptions::default() };
    let imported = import(&fixture("trl_grpo_vlm.yaml"), &options).unwrap();
    let recipe = recipe(&imported);
    let objective = &recipe["objective"];
    // 8 × 4 × 2 completions, 8 of each prompt; once through 7,689 rows.
    assert_eq!(
        (&objective["prompts_per_step"], &objective["group_size"], &recipe["steps"]),
        (&json!(8), &json!(8), &json!(962))
    );
    assert_eq!(
        objective["train"],
        json!({ "kind": "rows", "path": "lmms-lab/multimodal-open-r1-8k-verified", "files": "data/train-*" })
    );
    let loss = &objective["loss"];
    assert_eq!(
        (&loss["beta"], &loss["epsilon_high"], &loss["kl_weight"]),
        (&json!(0.04), &json!(0.28), &json!("ratio"))
    );
    assert_eq!(objective["truncated"], "masked");
    assert_eq!(recipe["reference"], json!({ "kind": "synced", "every_steps": 64, "mixup": 0.6 }));
    let optimizer = &recipe["optimizer"];
    assert_eq!(optimizer["schedule"], json!({ "kind": "cosine", "cycles": 0.5, "min_lr_ratio": 0.1 }));
    assert_eq!((&optimizer["warmup_ratio"], &optimizer["weight_decay"]), (&json!(0.03), &json!(0.01)));
    assert_eq!(recipe["lora"]["target_modules"], json!(["q_proj", "k_proj", "v_proj", "o_proj"]));
    assert_eq!(recipe["lora"]["dropout"], 0.05);
    assert_eq!(recipe["reward"]["total"], "0.5 * format + accuracy + 0.1 * brevity");
    assert_eq!((&recipe["evaluation"]["every_steps"], &recipe["keep_checkpoints"]), (&json!(50), &json!(3)));
    assert_eq!(imported.placeholders, ["reward.terms.brevity"]);

    assert_eq!(to(&imported, "num_train_epochs"), "steps");
    assert_eq!(fate(&imported, "use_dora"), &Fate::Same);
    assert_eq!(fate(&imported, "no_such_key"), &Fate::Unknown);
    assert!(matches!(fate(&imported, "report_to"), Fate::NotSupported(_)));
    assert!(matches!(fate(&imported, "vllm_mode"), Fate::NotNeeded(_)));
    let unsaid = imported.findings.iter().find(|finding| finding.key == "temperature").unwrap();
    assert!(
        !unsaid.said
            && unsaid.fate == Fate::Taken { to: "objective.sampling.temperature".into(), how: None, but: None }
    );
    let differences = recipe["differences"].to_string();
    assert!(differences.contains("no_such_key") && differences.contains("weight_decay"), "{differences}");
}

#[test]
fn where_a_file_does_not_say_how_many_processes_there_were_that_is_to_be_filled_in() {
    let imported = imported("trl_grpo_vlm.yaml");
    assert!(imported.placeholders.contains(&"objective.prompts_per_step".to_owned()), "{:?}", imported.placeholders);
    assert!(imported.placeholders.contains(&"steps".to_owned()));
}

#[test]
fn a_mixture_of_losses_is_taken_out_of_a_shell_script() {
    let dpo = recipe(&imported("trl_dpo.sh"));
    let (objective, losses) = (&dpo["objective"], &dpo["objective"]["loss"]["losses"]);
    assert_eq!((&dpo["model"], &dpo["steps"]), (&json!("Qwen/Qwen2-VL-2B-Instruct"), &json!(1000)));
    assert_eq!((&objective["pairs_per_step"], &objective["loss"]["beta"]), (&json!(64), &json!(0.1)));
    assert_eq!(losses[1], json!({ "weight": 0.2, "loss": { "kind": "bco", "shift": 0.0 } }));
    assert_eq!((&losses[2]["loss"]["kind"], &losses[2]["weight"]), (&json!("chosen_nll"), &json!(1.0)));
    let sft = imported("trl_sft.args");
    assert!(matches!(fate(&sft, "packing"), Fate::NotSupported(_)));
    assert_eq!(recipe(&sft)["optimizer"]["warmup_ratio"], 0.1);
}

#[test]
fn vlm_r1s_script_is_its_recipe() {
    let imported = imported("vlm_r1_rec.sh");
    assert_eq!(imported.system, System::VlmR1);
    let recipe = recipe(&imported);
    let objective = &recipe["objective"];
    assert_eq!((&objective["prompts_per_step"], &objective["group_size"]), (&json!(16), &json!(8)));
    assert_eq!(
        (&objective["loss"]["beta"], &objective["loss"]["aggregation"]["kind"]),
        (&json!(0.04), &json!("sequence"))
    );
    let sampling = &objective["sampling"];
    assert_eq!(
        (&sampling["temperature"], &sampling["top_k"], &sampling["max_completion_tokens"]),
        (&json!(1.0), &json!(50), &json!(2048))
    );
    let sources = objective["sources"].as_array().unwrap();
    assert_eq!(sources.len(), 2);
    assert_eq!(
        sources[1]["source"],
        json!({ "kind": "rows", "path": "/data/rec/refcocop_train.jsonl", "images": "/data/coco" })
    );
    let ours =
        Recipe::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/vlm_r1_rec.yaml"), &[]).unwrap();
    let ours = serde_json::to_value(ours).unwrap();
    for key in ["prompt", "reward"] {
        assert_eq!(recipe[key], ours[key], "{key}");
    }
    assert_eq!(
        (&recipe["evaluation"]["metric"], &recipe["model"]),
        (&json!("iou"), &json!("/models/Qwen2.5-VL-3B-Instruct"))
    );
    assert_eq!(
        (&recipe["optimizer"]["schedule"], &recipe["optimizer"]["learning_rate"]),
        (&json!("linear"), &json!(1e-6))
    );
    assert!(imported.yaml.contains("steps: 500  # PLACEHOLDER: 2 epochs of 16 samples a step"), "{}", imported.yaml);
    assert!(matches!(fate(&imported, "temperature"), Fate::NotNeeded(why) if why.contains("never reads")));
}

/// The presets of vr1-grpo are held to these systems by its own tests.
#[test]
fn losses_and_advantages_are_those_of_the_presets() {
    for (name, preset) in [
        ("trl_grpo.json", Compat::Trl),
        ("vlm_r1_rec.sh", Compat::VlmR1),
        ("r1v.sh", Compat::OpenR1),
        ("easy_r1.yaml", Compat::EasyR1),
    ] {
        let recipe = Recipe::read(name, &imported(name).yaml).unwrap();
        let Some(ObjectiveConfig::Grpo(grpo)) = recipe.objective else { panic!("{name}") };
        // At a β of 0 nothing weighs the divergence.
        let kl_weight = if grpo.loss.beta == 0.0 { grpo.loss.kl_weight } else { preset.grpo().kl_weight };
        assert_eq!(grpo.loss, GrpoConfig { kl_weight, ..preset.grpo() }, "{name}");
        assert_eq!(grpo.advantages, Advantages::Group(preset.advantages()), "{name}");
    }
}

#[test]
fn r1vs_script_is_its_recipe() {
    let imported = imported("r1v.sh");
    assert_eq!(imported.system, System::R1V);
    let recipe = recipe(&imported);
    let objective = &recipe["objective"];
    // A batch is of prompts there.
    assert_eq!((&objective["prompts_per_step"], &objective["group_size"]), (&json!(16), &json!(8)));
    assert_eq!(
        (&objective["loss"]["objective"]["kind"], &objective["loss"]["beta"]),
        (&json!("unclipped"), &json!(0.04))
    );
    assert_eq!(objective["train"]["path"], "leonardPKU/clevr_cogen_a_train");
    assert_eq!(recipe["reward"]["total"], "accuracy + format");
    let ours =
        Recipe::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/r1v_counting.yaml"), &[]).unwrap();
    assert_eq!(recipe["prompt"], serde_json::to_value(ours).unwrap()["prompt"]);
}

#[test]
fn vlm_r1s_adapters_and_methods_are_taken() {
    let imported = imported("vlm_r1_gui_lora.yaml");
    let recipe = recipe(&imported);
    assert_eq!((&recipe["steps"], &recipe["lora"]["rank"], &recipe["freeze"]), (&json!(1200), &json!(64), &json!([])));
    assert_eq!(recipe["lora"]["target_modules"], "all-linear");
    assert_eq!(recipe["reward"]["terms"]["accuracy"], "all_match(answer ?? completion, solution)");
    assert_eq!(recipe["evaluation"]["sets"]["held_out_0"]["split"]["side"], "test");
    assert!(imported.placeholders.contains(&"reward.terms.repetition".to_owned()));
    assert_eq!(to(&imported, "max_pixels"), "media.max_pixels");
    // Of which one is said, and the other is the system's own.
    assert_eq!(recipe["media"], json!({ "min_pixels": 3136, "max_pixels": 401408 }));
}

#[test]
fn easy_r1s_updates_are_steps() {
    let imported = imported("easy_r1.yaml");
    let recipe = recipe(&imported);
    let objective = &recipe["objective"];
    assert_eq!((&objective["prompts_per_step"], &objective["group_size"]), (&json!(128), &json!(5)));
    // Each of its steps makes four updates.
    assert_eq!(
        (&recipe["evaluation"]["every_steps"], &recipe["save_every_steps"], &recipe["seed"]),
        (&json!(20), &json!(20), &json!(1))
    );
    let loss = &objective["loss"];
    assert_eq!((&loss["epsilon"], &loss["epsilon_high"], &loss["dual_clip"]), (&json!(0.2), &json!(0.3), &json!(3.0)));
    assert_eq!((&loss["beta"], &loss["kl"], &loss["kl_bound"]), (&json!(0.01), &json!("k3"), &json!(10.0)));
    assert_eq!(objective["kl_control"], json!({ "target": 0.05, "horizon": 10000.0, "per": "token" }));
    assert_eq!(objective["advantages"]["epsilon"], 1e-6);
    assert_eq!(recipe["optimizer"]["schedule"], "constant");
    assert_eq!(recipe["optimizer"]["groups"], json!([{ "match": ["*"], "weight_decay": 0.01 }]));
    // The latter is a default of theirs, and no key of the file.
    assert_eq!(recipe["media"], json!({ "min_pixels": 262144, "max_pixels": 4194304 }));
    assert_eq!(recipe["freeze"], json!(["tower", "merger"]));
    assert_eq!(
        recipe["prompt"]["text"],
        "{{ question | trim }} Think within <think> </think>, and put the answer in \\boxed{}."
    );
    let train = json!({ "kind": "rows", "path": "hiyouga/geometry3k", "files": "data/train-*", "columns": { "answer": "ground_truth" } });
    assert_eq!(objective["train"], train);
    assert_eq!(recipe["reward"]["total"], "0.9 * accuracy + 0.1 * format");

    let script = self::imported("easy_r1.sh");
    let recipe = self::recipe(&script);
    assert_eq!(
        (&recipe["model"], &recipe["steps"], &recipe["system"]),
        (&json!("Qwen/Qwen2.5-VL-3B-Instruct"), &json!(240), &json!("cispo"))
    );
    assert_eq!((&recipe["objective"]["group_size"], &recipe["objective"]["loss"]["beta"]), (&json!(8), &json!(0.0)));
    assert_eq!(recipe["objective"]["loss"]["objective"], json!({ "kind": "cispo", "cap": "around" }));
}

#[test]
fn what_is_no_configuration_is_refused_and_says_what_was_looked_for() {
    let refused = |name: &str, text: &str| of_text(name, text, &ImportOptions::default()).unwrap_err().to_string();
    let unknown = refused("unknown.yaml", "hello: 1\nworld: 2");
    for words in [
        "EasyR1's `worker.actor.model.model_path`",
        "`data_file_paths`",
        "`num_generations`",
        "hello, world",
        "--system",
    ] {
        assert!(unknown.contains(words), "{words}: {unknown}");
    }
    assert!(refused("none.sh", "echo hello\n").contains("no command that runs a trainer"));
    assert!(refused("list.json", "[1, 2]").contains("mapping"));
    assert!(refused("broken.yaml", "a: [").contains("broken.yaml: neither YAML nor JSON"));
    let config = refused("run.sh", "python3 -m verl.trainer.main config=gone.yaml worker.rollout.n=2\n");
    assert!(config.contains("\"gone.yaml\" that it names is not there"), "{config}");
    let missing = import(Path::new("/nowhere/x.yaml"), &ImportOptions::default()).unwrap_err().to_string();
    assert!(missing.contains("/nowhere/x.yaml"), "{missing}");
}

#[test]
fn a_value_that_no_recipe_can_have_is_refused_by_its_key() {
    let refused = |text: &str| of_text("x.yaml", text, &ImportOptions::default()).unwrap_err().to_string();
    for (text, words) in [
        ("num_generations: many", "num_generations: \"many\" is no whole number"),
        ("num_generations: 8\nloss_type: magic", "loss_type: \"magic\" is none of grpo"),
        ("num_generations: 8\nlearning_rate: 0", "optimizer"),
        ("num_generations: 1", "objective.group_size"),
        ("num_generations: 8\nbeta: soft", "beta: \"soft\" is no number"),
        (
            "worker.rollout.n: 5\ndata.rollout_batch_size: 100\nworker.actor.global_batch_size: 64",
            "data.rollout_batch_size",
        ),
    ] {
        let said = refused(text);
        assert!(said.contains(words) && said.contains("x.yaml"), "{text}: {said}");
    }
}

#[test]
fn a_file_that_is_cut_anywhere_is_a_recipe_or_an_error() {
    let (mut recipes, mut errors) = (0, 0);
    for name in ALL {
        let text = std::fs::read_to_string(fixture(name)).unwrap();
        for end in (0..text.len()).step_by(29) {
            match of_text(name, &text[..end], &ImportOptions::default()) {
                Ok(_) => recipes += 1,
                Err(error) => {
                    assert!(error.to_string().contains(name) || error.to_string().contains("looked for"), "{error}");
                    errors += 1;
                }
            }
        }
    }
    assert!(recipes > 10 && errors > 10, "{recipes} {errors}");
}

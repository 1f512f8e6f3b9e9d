//! Steps done again from their records.

use vr1_run::{RunFolder, read_rows};

use super::scripted::{SAID, grpo, scripted};
use super::stages::{GRPO, SAMPLED, two_stages};
use super::*;

const END: &str = "<|im_end|>";

fn replayed(out: &Path, step: u64) -> vr1_train::Result<vr1_train::Replay> {
    Trainer::replay(out, step, &options(out))
}

/// Every step of a run is what it was, from its beginning and from a checkpoint; the hash after each is the hash before the next, unless that
/// is the first of a stage, which trains other parameters.
fn same_in_all(out: &Path, of: u64, stages: &[u64]) {
    let mut after: Option<String> = None;
    for step in 1..=of {
        let replay = replayed(out, step).unwrap();
        assert!(replay.is_same(), "{replay:?}");
        assert!(replay.compared > 5, "{replay:?}");
        if let Some(before) = after.filter(|_| !stages.contains(&step)) {
            assert_eq!(before, replay.weights_before);
        }
        after = Some(replay.weights_after);
    }
}

#[test]
fn a_sampled_step_is_done_again_to_the_last_bit_without_engine_and_reward() {
    let dir = folder();
    let out = dir.path().join("run");
    // Groups of equals are replaced; answers come of a script that nobody has when the step is done again.
    let recipe = read(dir.path(), &grpo(3, "refill_rounds: 2"), &[SAID[0], "save_every_steps=2"]).unwrap();
    let run = scripted(&recipe, &out, |request, completion| {
        Some(format!("{}{END}", if request.key.index.is_multiple_of(2) { 1 } else { completion }))
    });
    run.run().unwrap();
    same_in_all(&out, 3, &[]);
    let third = replayed(&out, 3).unwrap();
    assert_eq!(third.from_step, 2);
    assert!(third.weights_recorded.is_some(), "the last step has a checkpoint");
    assert!(third.completions > 8, "those that were replaced are recorded, too: {third:?}");
    assert_eq!(third.weights_recorded.unwrap(), third.weights_after);
}

#[test]
fn documents_later_stages_and_rounds_of_pairs_are_done_again_as_well() {
    for text in [two_stages(GRPO, 2), two_stages(SAMPLED, 3)] {
        let dir = folder();
        let out = dir.path().join("run");
        let recipe = recipe(dir.path(), &text);
        let steps = recipe.all_steps();
        Trainer::new(recipe, options(&out)).unwrap().run().unwrap();
        same_in_all(&out, steps, &[3]);
    }
}

#[test]
fn what_is_not_what_was_recorded_is_named() {
    let dir = folder();
    let out = dir.path().join("run");
    let recipe = read(dir.path(), &grpo(2, ""), &SAID).unwrap();
    scripted(&recipe, &out, |_, completion| Some(format!("{completion}{END}"))).run().unwrap();
    let file = out.join("rollouts/step-2.jsonl.zst");
    let written: Vec<serde_json::Value> = read_rows(&file).unwrap().collect::<Result<_, _>>().unwrap();
    let write = |rows: &[serde_json::Value]| {
        let folder = RunFolder::open(&out).unwrap();
        folder.write_rollouts(2, rows).unwrap();
    };
    let mut rows = written.clone();
    rows[0]["advantage"] = serde_json::json!(0.25);
    rows[1]["trained"][0] = serde_json::json!(-0.5);
    write(&rows);
    let replay = replayed(&out, 2).unwrap();
    let names: Vec<&str> = replay.differences.iter().map(|difference| difference.name.as_str()).collect();
    let sample = rows[0]["sample"].as_str().unwrap();
    let [advantage, logprob] = ["advantage of completion 0", "log-probability of token 0 of completion 1"];
    assert_eq!(names, [format!("{advantage} of `{sample}`"), format!("{logprob} of `{sample}`")], "{replay:?}");
    // Other rewards make another update.
    let mut rows = written.clone();
    rows[0]["total"] = serde_json::json!(7.0);
    rows.swap_remove(1);
    write(&rows);
    let error = replayed(&out, 2).unwrap_err().to_string();
    assert!(error.contains("completions are recorded of 2"), "{error}");
    let mut rows = written.clone();
    rows[0]["total"] = serde_json::json!(7.0);
    write(&rows);
    assert!(!replayed(&out, 2).unwrap().is_same());
    let mut rows = written;
    rows[0]["prompt_ids"][0] = serde_json::json!(5);
    write(&rows);
    let error = replayed(&out, 2).unwrap_err().to_string();
    assert!(error.contains("its prompt is another than the recorded one, from token 0 on"), "{error}");
    let error = replayed(&out, 3).unwrap_err().to_string();
    assert!(error.contains("step 3 is not recorded; the last is 2"), "{error}");
}

#[test]
fn what_several_prompts_show_is_kept_once() {
    let dir = folder();
    picture(dir.path(), "same.png", [200, 40, 40]);
    let row = |i: usize| {
        let said = serde_json::json!([{"from": "human", "value": format!("<image>What is {i}?")}, {"from": "gpt", "value": "red"}]);
        serde_json::json!({"id": format!("{i}"), "image": "same.png", "conversations": said}).to_string() + "\n"
    };
    std::fs::write(dir.path().join("train.jsonl"), (0..16).map(row).collect::<String>()).unwrap();
    let recipe = read(dir.path(), &grpo(2, "").replace("prompts_per_step: 4", "prompts_per_step: 16"), &[]).unwrap();
    let out = dir.path().join("run");
    steps(&mut trainer(&recipe, &out), 2);
    let kept: Vec<_> =
        std::fs::read_dir(out.join("rollouts/media")).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
    let rows: Vec<serde_json::Value> =
        rows_of(&out, 2).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 32);
    let name = format!("media/{}", kept[0].to_string_lossy());
    assert!(rows.iter().all(|row| row["media"][0]["thumbnail"] == name.as_str()), "{:?}", rows[0]["media"]);
}

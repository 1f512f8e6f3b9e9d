//! The program as a script sees it: JSON on stdout and nothing else there, a status of 0 only on success.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod audits;
mod edges;
mod evaluations;
mod failing;
mod kills;
mod makes;
mod pages;
mod plans;
mod ranks;
mod runs;
mod server;
mod sweeps;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

const TINY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/assets/tiny");

fn vr1(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vr1")).env("HF_HUB_OFFLINE", "1").args(arguments).output().unwrap()
}

/// The lines of stdout of a command that succeeds.
fn lines(arguments: &[&str]) -> Vec<Value> {
    let output = vr1(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn ask(command: &str, more: &[&str]) -> Value {
    let mut found = lines(&[&[command, "--model", TINY, "--json"], more].concat());
    assert_eq!(found.len(), 1, "one line of JSON");
    found.remove(0)
}

fn picture(folder: &Path) -> String {
    let path = folder.join("picture.png");
    image::RgbImage::from_fn(96, 64, |x, y| image::Rgb([x as u8, y as u8, 90])).save(&path).unwrap();
    path.to_str().unwrap().to_owned()
}

fn keys(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn what_was_generated_is_as_likely_when_it_is_judged() {
    let folder = tempfile::tempdir().unwrap();
    let picture = picture(folder.path());
    let question = ["--prompt", "What color is the cube?", "--image", &picture];
    let generated = ask("generate", &[&question[..], &["--max-new-tokens", "12"]].concat());
    assert_eq!(keys(&generated), ["prompt_ids", "completions"]);
    let completion = &generated["completions"][0];
    assert_eq!(keys(completion), ["ids", "text", "logprobs", "finished"]);
    let text = completion["text"].as_str().unwrap();

    let judged = ask("logprobs", &[&question[..], &["--completion", text]].concat());
    assert_eq!(keys(&judged), ["prompt_ids", "completion_ids", "logprobs"]);
    assert_eq!(judged["prompt_ids"], generated["prompt_ids"]);
    let (ids, sampled) = (judged["completion_ids"].as_array().unwrap(), completion["ids"].as_array().unwrap());
    // The end of the turn is sampled, and is no part of the text.
    assert_eq!(ids[..], sampled[..ids.len()]);
    for (judged, sampled) in
        judged["logprobs"].as_array().unwrap().iter().zip(completion["logprobs"].as_array().unwrap())
    {
        let (judged, sampled) = (judged.as_f64().unwrap(), sampled.as_f64().unwrap());
        assert!((judged - sampled).abs() < 1e-3 && judged <= 0.0, "{judged} and {sampled}");
    }
}

/// A folder of six frames.
fn clip(folder: &Path) -> String {
    for time in 0..6u8 {
        let frame = image::RgbImage::from_fn(32, 32, |x, y| image::Rgb([x as u8, 40 * time, y as u8]));
        frame.save(folder.join(format!("{time}.png"))).unwrap();
    }
    folder.to_str().unwrap().to_owned()
}

/// How many tokens of the prompt are a video's.
fn video_tokens(answer: &Value) -> usize {
    let tokenizer: Value =
        serde_json::from_str(&fs::read_to_string(Path::new(TINY).join("tokenizer.json")).unwrap()).unwrap();
    let mut added = tokenizer["added_tokens"].as_array().unwrap().iter();
    let pad = &added.find(|token| token["content"] == "<|video_pad|>").unwrap()["id"];
    answer["prompt_ids"].as_array().unwrap().iter().filter(|&id| id == pad).count()
}

#[test]
fn a_video_is_a_folder_of_frames_of_which_as_many_are_taken_as_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let clip = clip(folder.path());
    let question = ["--prompt", "What moves?", "--video", &clip];
    let generate = |more: &[&str]| ask("generate", &[&question[..], &["--max-new-tokens", "6"], more].concat());
    // The square frames become 48 × 48 pixels, 9 tokens, and two frames make one patch.
    let all = generate(&[]);
    assert_eq!(video_tokens(&all), 27);
    assert_eq!(video_tokens(&generate(&["--num-frames", "2"])), 9);
    assert_eq!(video_tokens(&generate(&["--frame-rate", "3", "--fps", "2"])), 18);
    assert_eq!(video_tokens(&generate(&["--video", &clip])), 54);
    assert_eq!(video_tokens(&generate(&["--raw", "--image", &format!("{clip}/0.png")])), 27);

    let completion = &all["completions"][0];
    let judged = ask("logprobs", &[&question[..], &["--completion", completion["text"].as_str().unwrap()]].concat());
    assert_eq!(judged["prompt_ids"], all["prompt_ids"]);
    for (judged, sampled) in
        judged["logprobs"].as_array().unwrap().iter().zip(completion["logprobs"].as_array().unwrap())
    {
        let (judged, sampled) = (judged.as_f64().unwrap(), sampled.as_f64().unwrap());
        assert!((judged - sampled).abs() < 1e-3, "{judged} and {sampled}");
    }
}

/// What a video file needs of `ffmpeg`: its words and two frames of 2 × 2 pixels.
#[cfg(unix)]
#[test]
fn a_video_file_is_decoded_by_the_ffmpeg_on_the_path() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let [ffmpeg, film] = ["ffmpeg", "film.mp4"].map(|name| folder.path().join(name));
    fs::write(&film, "a film").unwrap();
    let ask = || {
        let more = ["--prompt", "What moves?", "--video", film.to_str().unwrap(), "--max-new-tokens", "1", "--json"];
        let mut command = Command::new(env!("CARGO_BIN_EXE_vr1"));
        command.env("PATH", folder.path()).args(["generate", "--model", TINY]).args(more).output().unwrap()
    };
    let said = String::from_utf8(ask().stderr).unwrap();
    assert!(said.contains("video 0: ") && said.contains("film.mp4: a video file is decoded by `ffmpeg`"), "{said}");

    let script = "#!/bin/sh\ncase \"$*\" in\n\
                  *framecrc*) printf '#tb 0: 1/2\\n0, 0, 0, 1, 12, 0x0\\n0, 1, 1, 1, 12, 0x0\\n' ;;\n\
                  *) printf 'P6\\n2 2\\n255\\nabcdefghijklP6\\n2 2\\n255\\nmnopqrstuvwx' ;;\nesac\n";
    fs::write(&ffmpeg, script).unwrap();
    fs::set_permissions(&ffmpeg, fs::Permissions::from_mode(0o755)).unwrap();
    let output = ask();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(video_tokens(&serde_json::from_slice(&output.stdout).unwrap()), 9);
}

#[test]
fn the_generation_config_is_followed_where_nothing_else_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(TINY).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    let model = folder.path().to_str().unwrap();
    let sample = |more: &[&str]| {
        let asked = [
            "generate",
            "--model",
            model,
            "--raw",
            "--prompt",
            "The red circle is",
            "--max-new-tokens",
            "40",
            "--json",
        ];
        lines(&[&asked[..], more].concat())[0]["completions"][0]["ids"].clone()
    };
    let (hot, penalised) = (["--temperature", "3", "--seed", "1"], ["--repetition-penalty", "9"]);
    let (greedy, drawn, unlike) = (sample(&[]), sample(&hot), sample(&penalised));
    assert!(greedy != drawn && greedy != unlike);
    assert_eq!(sample(&[&hot[..], &["--top-k", "1"]].concat()), greedy);
    assert_eq!(sample(&[&hot[..], &["--min-p", "0.9999"]].concat()), greedy);
    assert_eq!(sample(&[&hot[..], &["--top-p", "0.000001"]].concat()), greedy);

    fs::write(folder.path().join("generation_config.json"), r#"{"top_k": 1, "temperature": 0.5}"#).unwrap();
    assert_eq!(sample(&hot), greedy);
    assert_eq!(sample(&[&hot[..], &["--top-k", "0"]].concat()), drawn);
    fs::write(folder.path().join("generation_config.json"), r#"{"repetition_penalty": 9}"#).unwrap();
    assert_eq!(sample(&[]), unlike);
}

#[test]
fn a_seed_gives_the_same_completion_again_and_seeds_differ() {
    let sample = |seed: &str| {
        let more = ["--raw", "--prompt", "How many", "--max-new-tokens", "12", "--temperature", "2", "--seed", seed];
        ask("generate", &more)["completions"][0]["ids"].clone()
    };
    let [one, again, two, three] = ["1", "1", "2", "3"].map(sample);
    assert_eq!(one, again);
    assert!(one != two || one != three);
}

#[test]
fn without_the_chat_template_a_prompt_is_its_words_alone() {
    let ids = |more: &[&str]| {
        let answer = ask("generate", &[&["--prompt", "How many", "--max-new-tokens", "1"], more].concat());
        answer["prompt_ids"].as_array().unwrap().len()
    };
    assert!(ids(&["--raw"]) < ids(&[]));
}

#[test]
fn one_beam_of_search_is_asked_for_by_its_number() {
    let more = ["--prompt", "How many?", "--max-new-tokens", "6", "--num-beams", "3"];
    let completions = ask("generate", &more)["completions"].clone();
    assert_eq!(completions.as_array().unwrap().len(), 1);
    let [ids, logprobs] = ["ids", "logprobs"].map(|key| completions[0][key].as_array().unwrap().len());
    assert!(ids > 0 && ids == logprobs);
}

#[test]
fn without_json_stdout_is_empty() {
    let output = vr1(&["generate", "--model", TINY, "--prompt", "How many?", "--max-new-tokens", "4"]);
    assert!(output.status.success());
    assert!(output.stdout.is_empty() && !output.stderr.is_empty());
}

#[test]
fn each_rollout_has_its_line_of_score_or_of_error() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("rollouts.jsonl");
    let input = input.to_str().unwrap();
    let good = r#"{"prompt":"1+2?","completion":"<think>a</think><answer>3</answer>","solution":3}"#;
    let mut rows = format!("{good}\n{{\"prompt\":\"?\"}}\n\nno JSON\n{}\n", good.replace(">3<", ">4<")).into_bytes();
    rows.extend(b"{\"completion\": \"\xff\"}\n");
    fs::write(input, rows).unwrap();
    let output = vr1(&["score", "--reward", "r1v_counting", "--input", input, "--json"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let scored: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(scored[0], json!({ "total": 2.0, "terms": { "accuracy": 1.0, "format": 1.0 } }));
    assert_eq!(scored[1]["error"], format!("{input}:2: there is no `completion`"));
    assert!(scored[2]["error"].as_str().unwrap().starts_with(&format!("{input}:4: not JSON")));
    assert_eq!(scored[3]["total"], 1.0);
    assert_eq!(scored[4]["error"], format!("{input}:6: not UTF-8 at byte 16"));
    assert_eq!(scored.len(), 5);
    // What could not be scored is told by its number and counted, and is no success.
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("3 of 5 rollouts could not be scored, on line 2, 4, 6"), "{said}");
    assert_eq!(output.status.code(), Some(1));

    fs::write(input, "no JSON\n").unwrap();
    let output = vr1(&["score", "--reward", "r1v_counting", "--input", input, "--json"]);
    assert_eq!(output.status.code(), Some(1), "nothing could be scored");
    assert_eq!(vr1(&["score", "--reward", "r1v_countin", "--input", input]).status.code(), Some(1));
}

#[test]
fn a_rollout_without_a_total_is_an_error_that_names_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let (input, reward) = (folder.path().join("rollouts.jsonl"), folder.path().join("reward.yaml"));
    fs::write(&reward, "terms: { right: 'exact(completion, fields.gold)' }\ntotal: right").unwrap();
    fs::write(&input, "{\"completion\":\"3\",\"gold\":\"3\"}\n{\"completion\":\"3\",\"solution\":\"3\"}\n").unwrap();
    let (reward, input) = (reward.to_str().unwrap(), input.to_str().unwrap());
    let output = vr1(&["score", "--reward", reward, "--input", input, "--json"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let scored: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let missing = "`total` has no value for this rollout: `right` and `fields.gold` are missing";
    let error = json!({ "error": format!("{input}:2: {missing}") });
    assert_eq!(scored, [json!({ "total": 1.0, "terms": { "right": 1.0 } }), error]);
    assert_eq!(output.status.code(), Some(1));
    let output = vr1(&["score", "--reward", reward, "--input", input]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("1 of 2 rollouts could not be scored, on line 2") && said.contains(missing), "{said}");
    assert_eq!(output.status.code(), Some(1));
}

/// The rewards of the field cases give what they should through the program, as `tests/suite/field_cases_rewards.rs` of
/// vr1-reward holds the library to it.
#[test]
fn cases_from_the_field_are_scored_as_they_should_be() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vr1-reward/tests/fixtures/field_cases/rewards");
    for name in ["choice", "number", "iou", "iou_thousandths", "detection", "yes_no", "empty", "missing"] {
        let [reward, input] = ["yaml", "jsonl"].map(|end| folder.join(format!("{name}.{end}")));
        let output =
            vr1(&["score", "--json", "--reward", reward.to_str().unwrap(), "--input", input.to_str().unwrap()]);
        let text = String::from_utf8(output.stdout).unwrap();
        let rows = fs::read_to_string(&input).unwrap();
        let rows: Vec<Value> = rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let scored: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(rows.len(), scored.len());
        let failed = scored.iter().filter(|line| line.get("error").is_some()).count();
        assert_eq!(output.status.code(), Some(i32::from(failed > 0)), "{name}");
        for (row, scored) in rows.iter().zip(&scored) {
            let one = |expected: &Value| match expected.as_object() {
                Some(terms) => terms.iter().all(|(name, value)| {
                    let found = scored["terms"][name].as_f64();
                    found.is_some_and(|found| (found - value.as_f64().unwrap()).abs() < 1e-3)
                }),
                None => expected == "error" && scored.get("error").is_some(),
            };
            let expected = &row["expected"];
            let holds = expected.as_array().map_or_else(|| one(expected), |several| several.iter().any(one));
            assert!(holds, "{name}: {} gives {scored}", row["id"]);
        }
    }
}

#[test]
fn scores_are_summed_up_in_histograms() {
    let folder = tempfile::tempdir().unwrap();
    let (input, reward) = (folder.path().join("rollouts.jsonl"), folder.path().join("reward.yaml"));
    fs::write(&reward, "terms: { right: 'exact(answer, solution)', size: 'tokens' }\ntotal: right + 0.1 * size")
        .unwrap();
    let row = |i: usize| {
        let answer = if i.is_multiple_of(4) { "3" } else { "4" };
        json!({ "completion": format!("<answer>{answer}</answer>"), "solution": "3", "tokens": i }).to_string() + "\n"
    };
    fs::write(&input, (0..40).map(row).collect::<String>()).unwrap();
    let output = vr1(&["score", "--reward", reward.to_str().unwrap(), "--input", input.to_str().unwrap()]);
    assert!(output.status.success() && output.stdout.is_empty());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("right: mean 0.2500 of 40\n  0      30  "), "{said}");
    assert!(said.contains("\n  1      10  "), "{said}");
    assert!(said.contains("size: mean 19.5000 of 40\n"), "{said}");
    assert!(said.contains("  0.000 … 3.900       4  "), "{said}");
    assert!(said.contains("40 rollouts scored"), "{said}");
}

#[test]
fn a_program_is_checked_and_formatted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("reward.yaml");
    let path = path.to_str().unwrap();
    let program = "terms: { a: 'exact( answer,solution )' }\ntotal:  a\ntests:\n  - { completion: '<answer>4</answer>', \
                   solution: '4', expect: { a: 1 } }\n";
    fs::write(path, program).unwrap();
    let check = || vr1(&["score", "--reward", path, "--check"]);
    let output = check();
    assert!(output.status.success());
    assert!(String::from_utf8(output.stderr).unwrap().contains("1 of 1 tests passed"));

    let format = || vr1(&["score", "--reward", path, "--fmt"]).stdout;
    let once = format();
    assert!(String::from_utf8_lossy(&once).contains("  a: exact(answer, solution)\n"));
    fs::write(path, &once).unwrap();
    assert_eq!(format(), once);

    fs::write(path, program.replace("a: 1", "a: 0")).unwrap();
    assert_eq!(check().status.code(), Some(1), "a program that fails its own tests is no success");
    fs::write(path, program.replace("exact(", "exakt(")).unwrap();
    let said = String::from_utf8(check().stderr).unwrap();
    assert!(said.contains(&format!("{path}:1")) && said.contains("`exact`"), "{said}");
}

#[test]
fn the_built_in_programs_and_the_verifiers_are_listed() {
    let listed = lines(&["score", "--list", "--json"]).remove(0);
    assert!(listed["programs"].as_array().unwrap().contains(&json!("visualthinker_sat")));
    assert!(listed["verifiers"]["exact"].is_string());
}

#[test]
fn a_judge_is_named_by_its_server_and_its_model() {
    let folder = tempfile::tempdir().unwrap();
    let [program, rollouts] = ["judged.yaml", "rollouts.jsonl"].map(|name| folder.path().join(name));
    fs::write(&program, "terms:\n  right: judge(completion, solution)\ntotal: right\n").unwrap();
    fs::write(&rollouts, r#"{"prompt": "How many?", "completion": "three", "solution": "3"}"#).unwrap();
    let score = |judge: &[(&str, &str)]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vr1"));
        command.env_remove("VR1_JUDGE_URL").env_remove("VR1_JUDGE_MODEL").envs(judge.iter().copied());
        command.arg("score").arg("--json").arg("--reward").arg(&program).arg("--input").arg(&rollouts);
        let output = command.output().unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    assert!(score(&[]).contains("no judge is bound"));
    let (url, model) = (("VR1_JUDGE_URL", "http://127.0.0.1:1/v1"), ("VR1_JUDGE_MODEL", "m"));
    assert!(score(&[url]).contains("a judge needs both VR1_JUDGE_URL and VR1_JUDGE_MODEL"));
    let said = score(&[url, model]);
    assert!(said.contains("http://127.0.0.1:1/v1/chat/completions"), "{said}");
}

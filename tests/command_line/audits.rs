//! `vr1 audit`: what is wrong with data is told with its file and row, and a status.

use std::fs;
use std::path::Path;

use image::{Rgb, RgbImage};
use serde_json::{Value, json};

use super::{TINY, vr1};

/// Grain, so that no two look alike.
fn picture(folder: &Path, name: &str, seed: u32, [width, height]: [u32; 2]) {
    let level = |x: u32, y: u32| ((x * 7 + seed * 31) ^ (y * 13) ^ ((x / 9) * (y / 7) * (seed + 1))) as u8;
    RgbImage::from_fn(width, height, |x, y| Rgb([level(x, y), level(y, x), level(x + y, seed)]))
        .save(folder.join(name))
        .unwrap();
}

fn rows(folder: &Path, name: &str, rows: &[Value]) -> String {
    let lines: Vec<String> =
        rows.iter().map(|row| row.as_str().map_or_else(|| row.to_string(), str::to_owned)).collect();
    let path = folder.join(name);
    fs::write(&path, lines.join("\n")).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The report, and whether the program was content.
fn audit(arguments: &[&str]) -> (Value, bool) {
    let output = vr1(&[&["audit", "--json", "--examples", "50"], arguments].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 1, "{}", String::from_utf8_lossy(&output.stderr));
    (serde_json::from_str(&text).unwrap(), output.status.success())
}

/// Where there is something of a kind, by line.
fn lines_of(report: &Value, kind: &str) -> Vec<u64> {
    let of_kind = report["examples"].as_array().unwrap().iter().filter(|found| found["kind"] == kind);
    of_kind.map(|found| found["place"].as_str().unwrap().rsplit(':').next().unwrap().parse().unwrap()).collect()
}

fn asked(image: &str, question: &str, answer: &str) -> Value {
    json!({"image": image, "problem": format!("<image>{question}"), "solution": answer})
}

#[test]
fn every_fault_of_a_row_is_told_by_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    for seed in 0..8 {
        picture(at, &format!("{seed}.png"), seed, [60 + 8 * seed, 50]);
    }
    picture(at, "thin.png", 1, [2000, 4]);
    let whole = fs::read(at.join("0.png")).unwrap();
    fs::write(at.join("cut.png"), &whole[..whole.len() / 2]).unwrap();
    fs::write(at.join("text.png"), "hello").unwrap();
    fs::copy(at.join("1.png"), at.join("copy.png")).unwrap();
    let data = rows(
        at,
        "rows.jsonl",
        &[
            asked("0.png", "How many cubes?", "3"),                                       // 1
            asked("1.png", "How many cubes?", "4"),                                       // 2
            json!("no JSON"),                                                             // 3
            asked("gone.png", "How many?", "4"),                                          // 4
            asked("2.png", "<image>How many in both?", "4"),                              // 5
            asked("3.png", "<|image_pad|><|image_pad|> How many?", "4"),                  // 6
            asked("cut.png", "How many?", "4"),                                           // 7
            asked("text.png", "How many?", "4"),                                          // 8
            asked("thin.png", "How many?", "4"),                                          // 9
            asked("4.png", &"What is it? ".repeat(200), "4"),                             // 10
            asked("5.png", "How many?", " "),                                             // 11
            asked("copy.png", "How many cubes?", "5"), // 12, another answer than in 2
            asked("0.png", "How many cubes?", "3"),    // 13, as 1
            asked("6.png", "Where is the small red ball, left or right of it?", "left"), // 14
            asked("6.png", "Where is the small red ball, left or right of it ?", "left"), // 15
        ],
    );
    let (report, content) = audit(&[&data, "--model", TINY, "--max-tokens", "300"]);
    assert!(!content);
    for (kind, wanted) in [
        ("row", &[3][..]),
        ("missing", &[4]),
        ("placeholders", &[5, 6]),
        ("broken", &[7, 8]),
        ("shape", &[9]),
        ("overlong", &[10]),
        ("answer", &[11]),
        ("contradiction", &[12]),
        ("duplicate", &[13]),
        ("near_duplicate", &[15]),
    ] {
        assert_eq!(lines_of(&report, kind), wanted, "{kind}: {report:#}");
    }
    assert_eq!(report["faults"].as_object().unwrap().len(), 8, "{report:#}");
    assert_eq!(report["rows"], 15);
    // Seen: all but that which is not there, those of the rows that cannot be read, and the broken ones.
    assert_eq!(report["pictures"], 10);
    assert_eq!(report["distinct_pictures"], 7);
}

#[test]
fn tokens_are_those_that_a_question_becomes() {
    let folder = tempfile::tempdir().unwrap();
    picture(folder.path(), "a.png", 1, [96, 64]);
    let data = rows(folder.path(), "rows.jsonl", &[asked("a.png", "What color is the cube?", "red")]);
    let (report, content) = audit(&[&data, "--model", TINY]);
    assert!(content, "{report:#}");
    let image = folder.path().join("a.png");
    let output = vr1(&[
        "generate",
        "--json",
        "--model",
        TINY,
        "--max-new-tokens",
        "1",
        "--prompt",
        "What color is the cube?",
        "--image",
        image.to_str().unwrap(),
    ]);
    let generated: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["tokens"]["total"]["sum"], generated["prompt_ids"].as_array().unwrap().len());
    let bins = report["tokens"]["histogram"].as_array().unwrap();
    assert_eq!(bins.iter().map(|bin| bin["rows"].as_u64().unwrap()).sum::<u64>(), 1);
}

#[test]
fn what_is_held_out_and_learnt_from_is_a_leak_whatever_its_file_is_called() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    for seed in 0..4 {
        picture(at, &format!("{seed}.png"), seed, [64, 48]);
    }
    fs::copy(at.join("1.png"), at.join("renamed.png")).unwrap();
    let train: Vec<Value> = (0..3).map(|i| asked(&format!("{i}.png"), "How many?", "3")).collect();
    let train = rows(at, "train.jsonl", &train);
    let test = [
        asked("renamed.png", "How many?", "3"),
        asked("2.png", "What colour?", "red"),
        asked("3.png", "How many?", "1"),
    ];
    let test = rows(at, "test.jsonl", &test);
    let (report, content) = audit(&[&train, "--against", &test]);
    assert!(!content);
    assert_eq!(report["faults"], json!({"leak": 1}));
    assert_eq!(lines_of(&report, "leak"), [1]);
    assert_eq!(lines_of(&report, "shared_picture"), [2]);
    // Without anything held out there is nothing to say.
    let (report, content) = audit(&[&train, "--strict"]);
    assert!(content, "{report:#}");
}

#[test]
fn pictures_that_look_alike_are_told_where_they_are_decoded() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let scene =
        RgbImage::from_fn(160, 120, |x, y| Rgb([(x + y / 3) as u8, (y * 2) as u8, if x > 70 { 200 } else { 10 }]));
    scene.save(at.join("a.png")).unwrap();
    image::imageops::thumbnail(&scene, 120, 90).save(at.join("b.png")).unwrap();
    picture(at, "c.png", 5, [160, 120]);
    let data: Vec<Value> = ["a.png", "b.png", "c.png"].map(|name| asked(name, "How many?", "3")).into();
    let data = rows(at, "rows.jsonl", &data);
    assert_eq!(audit(&[&data]).0["notes"], json!({}));
    let (report, content) = audit(&[&data, "--near"]);
    assert!(content, "a note is no fault");
    assert_eq!(lines_of(&report, "look_alike"), [2]);
    assert!(!audit(&[&data, "--near", "--strict"]).1);
}

#[test]
fn answers_that_the_programs_verifiers_cannot_read_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("reward.yaml");
    fs::write(&program, "terms: { accuracy: 'number(answer, solution)' }\ntotal: accuracy\n").unwrap();
    let program = program.to_str().unwrap().to_owned();
    let text = |question: &str, answer: &str| json!({"question": question, "answer": answer});
    let mut data: Vec<Value> = (0..30).map(|i| text(&format!("What is {i} + {i}?"), &(2 * i).to_string())).collect();
    data.push(text("What is the capital?", "Paris"));
    let data = rows(folder.path(), "rows.jsonl", &data);
    // By the general extraction it is only odd.
    let (report, content) = audit(&[&data]);
    assert!(content);
    assert_eq!(lines_of(&report, "odd_answer"), [31]);
    let (report, content) = audit(&[&data, "--reward", &program]);
    assert!(!content, "{report:#}");
    assert_eq!(lines_of(&report, "answer"), [31]);
}

#[test]
fn a_recipe_is_audited_as_it_asks_against_what_it_holds_out() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    for seed in 0..3 {
        picture(at, &format!("{seed}.png"), seed, [64, 48]);
    }
    rows(at, "train.jsonl", &[asked("0.png", "How many?", "3"), asked("1.png", "How many?", "2")]);
    rows(at, "test.jsonl", &[asked("1.png", "How many?", "2"), asked("2.png", "How many?", "2")]);
    let source = |name: &str| json!({"kind": "rows", "path": name});
    let recipe = json!({
        "system": "audited", "model": TINY, "steps": 1,
        "objective": {"kind": "grpo", "train": source("train.jsonl"), "prompts_per_step": 1, "group_size": 2},
        "prompt": {"text": "{{ question }} Think first, and answer in <answer> tags."},
        "reward": {"terms": {"accuracy": "exact(answer, solution)"}, "total": "accuracy"},
        "evaluation": {"sets": {"test": source("test.jsonl")}, "max_completion_tokens": 16},
    });
    fs::write(at.join("recipe.yaml"), recipe.to_string()).unwrap();
    let path = at.join("recipe.yaml");
    let (report, content) = audit(&["--recipe", path.to_str().unwrap()]);
    assert!(!content);
    assert_eq!(report["faults"], json!({"leak": 1}), "{report:#}");
    assert_eq!(report["rows"], 4);
    // The template's words count too.
    let longer = report["tokens"]["words"]["median"].as_u64().unwrap();
    let (plain, _) = audit(&[at.join("train.jsonl").to_str().unwrap(), "--model", TINY]);
    assert!(longer > plain["tokens"]["words"]["median"].as_u64().unwrap());
    // With another test set there is nothing to say.
    let set = format!("evaluation.sets.test.path={:?}", at.join("none.jsonl").display().to_string());
    rows(at, "none.jsonl", &[asked("2.png", "How many?", "2")]);
    let (report, content) = audit(&["--recipe", path.to_str().unwrap(), "--set", &set]);
    assert!(content, "{report:#}");
}

//! Rows of other people's data become samples, and bad ones say what is wrong with them and where.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first thing that is not as it should be")]

use std::path::Path;

use image::{Rgb, RgbImage};
use serde_json::json;
use tempfile::TempDir;
use vr1_data::{Dataset, EasyVqa, EasyVqaSplit, Media, Picture, SampleSet};

fn picture(path: &Path) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    RgbImage::from_pixel(4, 3, Rgb([9, 8, 7])).save(path).unwrap();
}

fn open(dir: &TempDir, rows: &str) -> vr1_data::Result<SampleSet> {
    let path = dir.path().join("rows.jsonl");
    std::fs::write(&path, rows).unwrap();
    SampleSet::open(path, dir.path())
}

/// The message without the folder, which differs from run to run.
fn message<T: std::fmt::Debug>(dir: &TempDir, result: vr1_data::Result<T>) -> String {
    result.unwrap_err().to_string().replace(&format!("{}/", dir.path().display()), "")
}

fn row(image: serde_json::Value, question: &str, answer: serde_json::Value) -> String {
    json!({"image": image, "conversations": [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]})
        .to_string()
}

#[test]
fn a_row_of_vlm_r1_becomes_a_sample() {
    let dir = TempDir::new().unwrap();
    picture(&dir.path().join("a.png"));
    let rows = r#"{"id": 7, "image": "a.png", "accu_reward_method": "llm", "conversations": [
        {"from": "human", "value": "<image>How many?"}, {"from": "gpt", "value": " <answer> 3 </answer>\n"}]}"#;
    let data = open(&dir, &rows.replace('\n', " ")).unwrap();
    assert_eq!((data.name(), data.len()), ("rows", 1));
    let sample = data.get(0).unwrap();
    assert_eq!((sample.id.as_str(), sample.question.as_str(), sample.solution.as_str()), ("7", "How many?", "3"));
    assert_eq!(json!(sample.fields), json!({"id": 7, "accu_reward_method": "llm"}));
    assert!(sample.turns.is_empty());
    let [Media::Image(picture)] = &sample.media[..] else { panic!("one image, not {:?}", sample.media) };
    assert_eq!(picture.load().unwrap().get_pixel(3, 2).0, [9, 8, 7]);
}

#[test]
fn images_may_be_several_or_none_and_markers_may_stand_anywhere() {
    let dir = TempDir::new().unwrap();
    picture(&dir.path().join("a.png"));
    picture(&dir.path().join("sub/b.png"));
    let two = row(json!(["a.png", "sub/b.png"]), "Compare <image> with <image>.", json!("x"));
    let text = row(json!(null), "2 + 2?", json!("4"));
    let data = open(&dir, &format!("\u{feff}{two}\n\n{text}\r\n")).unwrap();
    let paths: Vec<_> = data.get(0).unwrap().media.into_iter().collect();
    assert!(
        matches!(&paths[..], [Media::Image(Picture::File(a)), Media::Image(Picture::File(b))] if a.ends_with("a.png") && b.ends_with("sub/b.png"))
    );
    assert_eq!(data.get(0).unwrap().question, "Compare  with .");
    assert_eq!(data.get(0).unwrap().id, "rows:1");
    let text = data.get(1).unwrap();
    assert!(text.media.is_empty());
    assert_eq!(text.id, "rows:3");
}

#[test]
fn rows_may_stand_in_a_list() {
    let dir = TempDir::new().unwrap();
    let rows = format!("[{},\n {}]", row(json!(null), "[1,", json!("a")), row(json!(null), "\\\"]", json!("b")));
    let data = open(&dir, &rows).unwrap();
    let read: Vec<_> = (0..data.len()).map(|i| data.get(i).unwrap()).map(|s| [s.id, s.question, s.solution]).collect();
    assert_eq!(read, [["rows:1", "[1,", "a"], ["rows:2", "\\\"]", "b"]]);
    assert_eq!(message(&dir, open(&dir, &format!("{rows} 1"))), "rows.jsonl:2: text after the end of the list");
}

#[test]
fn an_answer_may_be_a_number_or_a_list() {
    let dir = TempDir::new().unwrap();
    let answers = [json!(3), json!(103.93), json!([103.93, 299.99, 238.15, 477.0]), json!([1, 2, [3, "a"]]), json!(-1)];
    let rows: Vec<_> = answers.into_iter().map(|a| row(json!(null), "q", a)).collect();
    let data = open(&dir, &rows.join("\n")).unwrap();
    let solutions: Vec<_> = (0..data.len()).map(|i| data.get(i).unwrap().solution).collect();
    assert_eq!(solutions, ["3", "103.93", "[103.93, 299.99, 238.15, 477.0]", r#"[1, 2, [3, "a"]]"#, "-1"]);
}

#[test]
fn a_conversation_of_four_exchanges_is_staged() {
    let dir = TempDir::new().unwrap();
    picture(&dir.path().join("a.png"));
    let said = [
        "<image>Which is larger?\nSummarize.",
        "I will look.",
        "Describe.",
        "Two dots.",
        "Explain.",
        "One is.",
        "State.",
        "left",
    ];
    let messages = said
        .iter()
        .enumerate()
        .map(|(i, text)| json!({"from": if i % 2 == 0 { "human" } else { "gpt" }, "value": text}));
    let messages: Vec<_> = messages.collect();
    let staged = json!({"image": "a.png", "conversations": messages}).to_string();
    let two = json!({"conversations": messages[2..6]}).to_string();
    let data = open(&dir, &format!("{staged}\n{two}")).unwrap();
    let sample = data.get(0).unwrap();
    assert_eq!((sample.question.as_str(), sample.solution.as_str()), ("Which is larger?\nSummarize.", "left"));
    let turns: Vec<_> = sample.turns.iter().map(|t| [&t.name, &t.prompt, &t.answer].map(String::as_str)).collect();
    let expected = [
        ["summary", "Which is larger?\nSummarize.", "I will look."],
        ["caption", "Describe.", "Two dots."],
        ["reasoning", "Explain.", "One is."],
        ["conclusion", "State.", "left"],
    ];
    assert_eq!(turns, expected);
    let names: Vec<_> = data.get(1).unwrap().turns.into_iter().map(|t| t.name).collect();
    assert_eq!(names, ["summary", "caption"]);
}

#[test]
fn every_bad_row_is_named_with_its_reason() {
    let dir = TempDir::new().unwrap();
    let human = json!({"from": "human", "value": "q"});
    let rows = [
        row(json!(null), "fine", json!("1")),
        "{\"image\": ".to_owned(),
        "[1]".to_owned(),
        row(json!("gone.png"), "<image>q", json!("1")),
        row(json!(5), "q", json!("1")),
        row(json!(null), "<image>q", json!("1")),
        row(json!(null), "q", json!(true)),
        json!({"image": null}).to_string(),
        json!({"conversations": [human]}).to_string(),
        json!({"conversations": [human, {"from": "user", "value": "1"}]}).to_string(),
        json!({"conversations": [human, {"from": "gpt"}]}).to_string(),
        json!({"conversations": [{"from": "human", "value": 3}, {"from": "gpt", "value": "1"}]}).to_string(),
        json!({"conversations": [human, human, {"from": "gpt", "value": "1"}]}).to_string(),
    ];
    let message = message(&dir, open(&dir, &rows.join("\n")));
    let expected = [
        "rows.jsonl:2: not a JSON object: EOF while parsing",
        "rows.jsonl:3: not a JSON object: invalid type: sequence",
        "rows.jsonl:4: image: no file gone.png",
        "rows.jsonl:5: image: 5 is no path",
        "rows.jsonl:6: images: the row has 0, the prompt has places for 1 (<image>)",
        "rows.jsonl:7: conversations[1].value: true is no text or list",
        "rows.jsonl:8: no question: the row has the keys image; questions stand under conversations, messages; problem,",
        "rows.jsonl:9: conversations[0]: said by the user; a conversation ends with the assistant's answer",
        "rows.jsonl:10: conversations[1]: said by the user; a conversation ends with the assistant's answer",
        "rows.jsonl:11: conversations[1].value: missing; the message has the keys from",
        "rows.jsonl:12: conversations[0].value: 3 is no text or list",
        "rows.jsonl:13: conversations[1]: said by the user, should be by the assistant",
    ];
    let lines: Vec<_> = message.lines().collect();
    assert_eq!(lines.len(), expected.len(), "{message}");
    for (line, expected) in lines.into_iter().zip(expected) {
        assert!(line.starts_with(expected), "{line}\n{expected}");
    }
}

#[test]
fn many_bad_rows_are_counted() {
    let dir = TempDir::new().unwrap();
    let message = message(&dir, open(&dir, &"?\n".repeat(50)));
    assert_eq!(message.lines().count(), 21);
    assert!(message.ends_with("… and 30 more"), "{message}");
}

#[test]
fn an_empty_or_missing_file_is_an_error() {
    let dir = TempDir::new().unwrap();
    assert_eq!(message(&dir, open(&dir, "\n\n")), "rows.jsonl: no rows");
    let missing = SampleSet::open(dir.path().join("no.jsonl"), dir.path());
    assert!(message(&dir, missing).starts_with("no.jsonl: No such file"));
}

#[test]
fn bytes_that_are_no_text_are_a_bad_row() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("rows.jsonl");
    std::fs::write(&path, b"{\"a\": \"\xff\"}\n").unwrap();
    let message = message(&dir, SampleSet::open(path, dir.path()));
    assert!(message.starts_with("rows.jsonl:1: not a JSON object"), "{message}");
}

/// A data folder as the package has it, with two images and `questions`.
fn easy_vqa(questions: &serde_json::Value) -> TempDir {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("answers.txt"), "circle\nyes\nno\nteal\n").unwrap();
    for split in ["train", "test"] {
        for id in [0, 1] {
            picture(&dir.path().join(format!("{split}/images/{id}.png")));
        }
        std::fs::write(dir.path().join(split).join("questions.json"), questions.to_string()).unwrap();
    }
    dir
}

#[test]
fn a_question_of_easy_vqa_becomes_a_sample() {
    let dir = easy_vqa(&json!([["what shape is it?", "circle", 1], ["is it a circle?", "yes", 0]]));
    for (split, name) in [(EasyVqaSplit::Train, "train"), (EasyVqaSplit::Test, "test")] {
        let data = EasyVqa::open(dir.path(), split).unwrap();
        assert_eq!((data.len(), data.name()), (2, format!("easy-vqa-{name}").as_str()));
        assert_eq!(data.answers(), ["circle", "yes", "no", "teal"]);
        let sample = data.get(0).unwrap();
        assert_eq!(sample.id, format!("easy-vqa-{name}-0"));
        assert_eq!((sample.question.as_str(), sample.solution.as_str()), ("what shape is it?", "circle"));
        let expected = json!({
            "kind": "attribute", "question": "what shape is it?", "choices": ["circle", "yes", "no", "teal"],
            "choices_text": "circle, yes, no or teal", "solution": "circle", "image_id": 1,
        });
        assert_eq!(json!(sample.fields), expected);
        let [Media::Image(Picture::File(path))] = &sample.media[..] else { panic!("{:?}", sample.media) };
        assert!(path.ends_with(format!("{name}/images/1.png")));
        assert_eq!(data.get(1).unwrap().fields["kind"], "exists");
        assert!(data.get(2).is_err());
    }
}

#[test]
fn a_bad_question_of_easy_vqa_is_named() {
    let dir =
        easy_vqa(&json!([["q", "circle", 1], ["q", "purple", 1], ["q", "yes"], ["q", "yes", 5], ["q", "yes", -1]]));
    let message = message(&dir, EasyVqa::open(dir.path(), EasyVqaSplit::Test));
    let lines: Vec<_> = message.lines().collect();
    assert_eq!(lines.len(), 4, "{message}");
    assert_eq!(lines[0], "test/questions.json:2: answer \"purple\" is not in answers.txt");
    assert!(lines[1].starts_with("test/questions.json:3: not [question, answer, image]: "), "{message}");
    assert_eq!(lines[2], "test/questions.json:4: no file test/images/5.png");
    assert!(lines[3].starts_with("test/questions.json:5: not [question, answer, image]: "), "{message}");
}

#[test]
fn a_broken_easy_vqa_folder_names_the_file() {
    let dir = easy_vqa(&json!({"no": "list"}));
    let open = |split| EasyVqa::open(dir.path(), split);
    assert!(message(&dir, open(EasyVqaSplit::Train)).starts_with("train/questions.json: not a JSON list"));
    std::fs::remove_file(dir.path().join("test/questions.json")).unwrap();
    assert!(message(&dir, open(EasyVqaSplit::Test)).starts_with("test/questions.json: No such file"));
    std::fs::write(dir.path().join("answers.txt"), "yes\n\nyes\n").unwrap();
    assert_eq!(message(&dir, open(EasyVqaSplit::Train)), "answers.txt:3: answer \"yes\" is listed twice");
    std::fs::write(dir.path().join("answers.txt"), "").unwrap();
    assert_eq!(message(&dir, open(EasyVqaSplit::Train)), "answers.txt: no answers");
}

//! Images and videos are shown where the prompt has their places.

use serde_json::{Value, json};
use vr1_data::{Said, SaidPart, Sample};

use super::{files, preference, shows, user};

const PLACES: &str = include_str!("../../fixtures/preferences/places.json");

fn with(prompt: Value, media: Value) -> Value {
    let mut row = json!({"prompt": prompt, "chosen": "yes", "rejected": "no"});
    row.as_object_mut().unwrap().extend(media.as_object().unwrap().clone());
    row
}

#[test]
fn images_stand_where_trl_puts_them() {
    let cases: Vec<Value> = serde_json::from_str(PLACES).unwrap();
    for case in cases {
        let names: Vec<_> = (0..case["images"].as_u64().unwrap()).map(|i| format!("{i}.png")).collect();
        let read = preference(&with(case["prompt"].clone(), json!({"images": names})));
        let part = |part: &SaidPart| match part {
            SaidPart::Text(text) => json!(text),
            SaidPart::Media(index) => json!(index),
        };
        let turn = |turn: &Said| json!([turn.speaker.name(), turn.parts.iter().map(part).collect::<Vec<_>>()]);
        assert_eq!(Value::from_iter(read.prompt.iter().map(turn)), case["shown"], "{case}");
        assert_eq!(files(&read.sample), names);
    }
}

#[test]
fn markers_place_images_and_videos_and_are_removed() {
    let prompt = "A <video>, then <image>\nand <image>.";
    let read = preference(&with(json!(prompt), json!({"images": ["1.png", "0.png"], "video": "clip"})));
    assert_eq!(read.prompt, [shows(&[Ok("A "), Err(0), Ok(", then "), Err(1), Ok("\nand "), Err(2), Ok(".")])]);
    assert_eq!(files(&read.sample), ["video 1.png", "1.png", "0.png"]);
    assert_eq!(read.sample.question, "A , then \nand .");
}

#[test]
fn without_places_images_then_videos_come_before_the_first_words() {
    let prompt = json!([
        {"from": "human", "value": "First?"}, {"from": "gpt", "value": "Yes."}, {"from": "human", "value": "Second?"},
    ]);
    let read = preference(&with(prompt, json!({"videos": ["clip", ["2.png"]], "image": "3.png"})));
    assert_eq!(read.prompt[0], shows(&[Err(0), Err(1), Err(2), Ok("First?")]));
    assert_eq!(read.prompt[2], user("Second?"));
    assert_eq!(files(&read.sample), ["3.png", "video 1.png", "video 2.png"]);
}

#[test]
fn a_part_may_name_its_own_file() {
    let prompt = json!([{"role": "user", "content": [
        {"type": "text", "text": "This", "image": null}, {"type": "image", "image": "3.png"},
        {"type": "image", "text": null}, {"type": "video", "path": ["2.png"]},
    ]}]);
    let read = preference(&with(prompt, json!({"images": ["0.png"]})));
    assert_eq!(read.prompt, [shows(&[Ok("This"), Err(0), Err(1), Err(2)])]);
    assert_eq!(files(&read.sample), ["3.png", "0.png", "video 2.png"]);
}

#[test]
fn what_the_assistant_says_has_no_markers() {
    let mut row = with(json!("<image>Write a placeholder."), json!({"image": "0.png"}));
    (row["chosen"], row["rejected"]) = (json!("<image>"), json!("<video>"));
    let read = preference(&row);
    assert_eq!([read.chosen[0].words(), read.rejected[0].words()], ["<image>", "<video>"]);
    assert_eq!(files(&read.sample), ["0.png"]);
}

#[test]
fn a_sample_asks_its_question_below_its_media() {
    let read = preference(&with(json!("<image>What is it?"), json!({"image": "0.png"})));
    assert_eq!(Said::question(&read.sample), read.prompt[0]);
    let words = Sample { question: "Why?".to_owned(), ..Sample::default() };
    assert_eq!(Said::question(&words), user("Why?"));
}

//! What cannot be read is named by file, line and key.

use serde_json::{Value, json};

use super::{folder, message, preferences};

/// A good row with other values under some keys.
fn row(changes: Value) -> Value {
    let mut row = json!({"prompt": "Sky?", "chosen": "Blue.", "rejected": "Green."});
    row.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    row
}

fn said(role: &str, content: Value) -> Value {
    json!({"role": role, "content": content})
}

#[test]
fn every_bad_preference_is_named_with_its_reason() {
    let (ask, answer) = (said("user", json!("Sky?")), said("assistant", json!("Blue.")));
    let image = json!({"type": "image"});
    let cases = [
        (
            json!({"id": 1, "prompt": "Sky?", "chosen": "Blue."}),
            "the keys id, prompt, chosen are of no layout; known are prompt + chosen + rejected; ",
        ),
        (row(json!({"rejected": null})), "the keys prompt, chosen, rejected are of no layout"),
        (row(json!({"chosen": ""})), "chosen: empty"),
        (row(json!({"rejected": [said("assistant", json!("\n"))]})), "rejected[0]: empty"),
        (row(json!({"chosen": []})), "chosen: an empty list"),
        (row(json!({"rejected": "Blue."})), "chosen, rejected: the same answer"),
        (row(json!({"rejected": [answer]})), "chosen, rejected: the same answer"),
        (row(json!({"chosen": 5})), "chosen: 5 is no list of messages"),
        (row(json!({"chosen": ["Blue."]})), "chosen[0]: \"Blue.\" is no message"),
        (row(json!({"chosen": "x".repeat(9), "prompt": "x".repeat(99).as_bytes()})), "prompt[0]: 120 is no message"),
        (row(json!({"prompt": ""})), "prompt: empty"),
        (row(json!({"prompt": [answer]})), "prompt[0]: said by the assistant; a prompt ends with the user"),
        (
            row(json!({"prompt": [said("tool", json!("x"))]})),
            "prompt[0].role: \"tool\", should be system, user (human) or assistant (gpt)",
        ),
        (row(json!({"prompt": [{"from": "bing", "value": "x"}]})), "prompt[0].from: \"bing\", should be"),
        (row(json!({"prompt": [{"content": "x"}]})), "prompt[0].role: missing"),
        (row(json!({"prompt": [{"from": "human"}]})), "prompt[0].value: missing"),
        (row(json!({"prompt": [said("user", json!(null))]})), "prompt[0].content: null is no text or list"),
        (row(json!({"prompt": [said("user", json!(3))]})), "prompt[0].content: 3 is no text or list"),
        (row(json!({"prompt": [said("user", json!(["x"]))]})), "prompt[0].content[0]: \"x\" is no object"),
        (row(json!({"prompt": [said("user", json!([{"text": "x"}]))]})), "prompt[0].content[0].type: missing"),
        (row(json!({"prompt": [said("user", json!([{"type": "text"}]))]})), "prompt[0].content[0].text: missing"),
        (
            row(json!({"prompt": [said("user", json!([{"type": "text", "text": 1}]))]})),
            "prompt[0].content[0].text: 1 is no text",
        ),
        (
            row(json!({"prompt": [said("user", json!([{"type": "image_url"}]))]})),
            "prompt[0].content[0].image_url: missing",
        ),
        (
            row(json!({"prompt": [said("user", json!([{"type": "image", "image": "gone.png"}]))]})),
            "prompt[0].content[0].image: no file gone.png",
        ),
        (
            row(json!({"prompt": [ask, {"role": "assistant", "content": "x", "tool_calls": [1]}, ask]})),
            "prompt[1].tool_calls: calls of tools are not read",
        ),
        (row(json!({"prompt": [ask, said("assistant", json!("")), ask]})), "prompt[1]: empty"),
        (
            row(json!({"chosen": [ask, answer]})),
            "chosen[0]: said by the user; an answer begins and ends with the assistant",
        ),
        (row(json!({"chosen": [answer, ask]})), "chosen[1]: said by the user"),
        (
            row(json!({"images": ["0.png"], "chosen": [said("assistant", json!([image]))]})),
            "chosen[0]: an answer shows no image or video",
        ),
        (row(json!({"image": "gone.png"})), "image: no file gone.png"),
        (row(json!({"images": "gone.png"})), "images: no file gone.png"),
        (row(json!({"image_path": 3})), "image_path: 3 is no path"),
        (row(json!({"image": {"bytes": "x".repeat(999)}})), "image.bytes: not base64: "),
        (row(json!({"image": "0.png", "images": ["0.png"]})), "images, image: the row has both"),
        (row(json!({"video": "gone.mp4"})), "video: gone.mp4: No such file"),
        (row(json!({"prompt": "<image>Sky?"})), "images: the row has 0, the prompt has places for 1"),
        (
            row(json!({"prompt": "<image><image>Sky?", "images": ["0.png"]})),
            "images: the row has 1, the prompt has places for 2",
        ),
        (
            row(json!({"prompt": "<image>Sky?", "images": ["0.png", "1.png"]})),
            "images: the row has 2, the prompt has places for 1",
        ),
        (row(json!({"prompt": "<video>Sky?"})), "videos: the row has 0, the prompt has places for 1"),
        (
            row(json!({"prompt": [said("user", json!([{"type": "image", "image": "0.png"}]))], "image": "1.png"})),
            "images: the row has 1, the prompt has places for 0",
        ),
        (row(json!({"system": 5})), "system: 5 is no text"),
        (
            row(json!({"system": "x", "prompt": [said("system", json!("y")), ask]})),
            "system: prompt[0] is another system's turn",
        ),
        (json!({"question": ["x"], "chosen": "a", "rejected": "b"}), "question: [\"x\"] is no text"),
        (json!({"conversations": "x", "chosen": "a", "rejected": "b"}), "conversations: \"x\" is no list of messages"),
        (json!({"instruction": "x", "input": 2, "chosen": "a", "rejected": "b"}), "input: 2 is no text"),
        (
            json!({"instruction": "x", "history": [["a"]], "chosen": "a", "rejected": "b"}),
            "history: not a list of [question, answer]: ",
        ),
        (
            json!({"chosen": "a", "rejected": "b"}),
            "chosen, rejected: the row has no prompt, and they do not begin alike",
        ),
        (
            json!({"chosen": [answer], "rejected": [ask]}),
            "chosen, rejected: the row has no prompt, and they do not begin alike",
        ),
        (
            json!({"chosen": "a", "rejected": [answer]}),
            "chosen, rejected: the row has no prompt, and they are not two texts or two lists",
        ),
        (
            json!({"chosen": [ask, answer, ask, answer], "rejected": [ask, answer, said("user", json!("x")), answer]}),
            "chosen[1]: said by the assistant; a prompt ends with the user",
        ),
    ];
    for (row, expected) in cases {
        let dir = folder();
        let message = message(&dir, preferences(&dir, &row.to_string()));
        assert!(message.starts_with(&format!("rows.jsonl:1: {expected}")), "{message}\n{expected}");
        assert_eq!(message.lines().count(), 1, "{message}");
    }
}

#[test]
fn every_bad_row_of_a_file_is_named_by_its_line() {
    let dir = folder();
    let good = row(json!({}));
    let rows = format!("\u{feff}{good}\n\n{{\"prompt\": \n{good}\r\n[1]\n{}\n", row(json!({"chosen": ""})));
    let message = message(&dir, preferences(&dir, &rows));
    let expected = [
        "rows.jsonl:3: not a JSON object: EOF while parsing a value at line 3 column ",
        "rows.jsonl:5: not a JSON object: invalid type: sequence, expected a map at line 5 column ",
        "rows.jsonl:6: chosen: empty",
    ];
    assert_eq!(message.lines().count(), 3, "{message}");
    for (line, expected) in message.lines().zip(expected) {
        assert!(line.starts_with(expected), "{line}\n{expected}");
    }
}

#[test]
fn a_bad_row_of_a_list_is_named_by_its_line_and_number() {
    let dir = folder();
    let good = row(json!({}));
    let bad = row(json!({"chosen": ""}));
    let rows = format!(" [{good}, {bad},\n{good},\n{{\n\"a\" 1}}, {{\"b\": tru}}]");
    let expected = [
        "rows.jsonl:1: row 2: chosen: empty",
        "rows.jsonl:3: row 4: not a JSON object: expected `:` at line 4 column 5",
        "rows.jsonl:4: row 5: not a JSON object: expected ident at line 4 column 18",
    ];
    assert_eq!(message(&dir, preferences(&dir, &rows)).lines().collect::<Vec<_>>(), expected);
    let cases = [
        (format!("[{good}"), "rows.jsonl:1: the list has no end"),
        (format!("[{good},]"), "rows.jsonl:1: row 2: not a JSON object: EOF while parsing a value"),
        (format!("[{good}]\n{good}"), "rows.jsonl:2: text after the end of the list"),
        ("[]".to_owned(), "rows.jsonl: no rows"),
        ("[".to_owned(), "rows.jsonl:1: row 1: not a JSON object: EOF while parsing a value"),
        (String::new(), "rows.jsonl: no rows"),
        ("[".repeat(5000), "rows.jsonl:1: row 1: not a JSON object: "),
    ];
    for (rows, expected) in cases {
        let message = message(&dir, preferences(&dir, &rows));
        assert!(message.starts_with(expected) && message.lines().count() == 1, "{message}\n{expected}");
    }
}

#[test]
fn a_file_that_changes_or_goes_is_an_error() {
    let dir = folder();
    let set = preferences(&dir, &row(json!({"image": "0.png"})).to_string()).unwrap();
    assert_eq!(message(&dir, set.get(1)), "rows: no sample 1, it has 1");
    std::fs::remove_file(dir.path().join("0.png")).unwrap();
    assert_eq!(message(&dir, set.get(0)), "rows.jsonl:1: image: no file 0.png");
    std::fs::write(dir.path().join("rows.jsonl"), "{}").unwrap();
    assert_eq!(message(&dir, set.get(0)), "rows.jsonl: failed to fill whole buffer");
    std::fs::remove_file(dir.path().join("rows.jsonl")).unwrap();
    assert!(message(&dir, set.get(0)).starts_with("rows.jsonl: No such file"));
}

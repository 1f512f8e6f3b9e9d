//! Each layout of judged answers.

use serde_json::json;

use super::{assistant, files, folder, judgements, message, shows, system, user};

#[test]
fn every_layout_of_judged_answers_is_read() {
    let (ask, reply) = (json!({"role": "user", "content": "Sky?"}), json!({"role": "assistant", "content": "Blue."}));
    let rows = [
        json!({"prompt": "Sky?", "completion": "Blue.", "label": true}),
        json!({"prompt": [ask], "completion": [reply], "label": true}),
        json!({"question": "Sky?", "completion": "Blue.", "label": true}),
        json!({"messages": [ask, reply], "label": true}),
        json!({"conversations": [{"from": "human", "value": "Sky?"}, {"from": "gpt", "value": "Blue."}], "kto_tag": true}),
        json!({"instruction": "Sky?", "input": "", "output": "Blue.", "kto_tag": true}),
        json!({"prompt": "no completion belongs to this", "messages": [ask, reply], "label": true}),
    ];
    let dir = folder();
    let set = judgements(&dir, &rows.each_ref().map(|row| row.to_string()).join("\n")).unwrap();
    assert_eq!((set.name(), set.len()), ("rows", 7));
    for (at, row) in rows.iter().enumerate() {
        let read = set.get(at).unwrap();
        assert_eq!((read.prompt, read.completion), (vec![user("Sky?")], vec![assistant("Blue.")]), "{row}");
        assert!(read.desirable);
        assert_eq!([read.sample.question, read.sample.solution], ["Sky?", "Blue."]);
    }
}

#[test]
fn an_undesirable_answer_is_no_solution() {
    let row = json!({
        "conversations": [
            {"from": "system", "value": "Be kind."}, {"from": "human", "value": "What is <image>?"},
            {"from": "gpt", "value": "A dog."},
        ],
        "kto_tag": false, "image": "1.png", "source": "x",
    });
    let dir = folder();
    let read = judgements(&dir, &row.to_string()).unwrap().get(0).unwrap();
    assert_eq!(read.prompt, [system("Be kind."), shows(&[Ok("What is "), Err(0), Ok("?")])]);
    assert_eq!(read.completion, [assistant("A dog.")]);
    assert!(!read.desirable);
    assert_eq!(read.sample.solution, "");
    assert_eq!(files(&read.sample), ["1.png"]);
    assert_eq!(json!(read.sample.fields), json!({"source": "x"}));
}

#[test]
fn a_bad_judgement_is_named_with_its_reason() {
    let ask = json!({"role": "user", "content": "Sky?"});
    let prompt = json!("Sky?");
    let cases = [
        (
            json!({"prompt": prompt, "completion": "Blue."}),
            "the keys prompt, completion are of no layout; known are prompt + completion + label; ",
        ),
        (json!({"prompt": prompt, "label": true}), "the keys prompt, label are of no layout; known are "),
        (json!({"prompt": prompt, "completion": "Blue.", "label": 1}), "label: 1, should be true or false"),
        (
            json!({"prompt": prompt, "completion": "Blue.", "label": true, "kto_tag": true}),
            "label, kto_tag: the row has both",
        ),
        (json!({"prompt": prompt, "completion": " ", "label": true}), "completion: empty"),
        (json!({"messages": [ask], "label": true}), "messages: should be a prompt and an answer, is one message"),
        (json!({"messages": [ask, ask], "label": true}), "messages[1]: said by the user; an answer begins"),
        (json!({"prompt": prompt, "completion": [ask], "label": true}), "completion[0]: said by the user"),
    ];
    for (row, expected) in cases {
        let dir = folder();
        let message = message(&dir, judgements(&dir, &row.to_string()));
        assert!(message.starts_with(&format!("rows.jsonl:1: {expected}")), "{message}\n{expected}");
    }
}

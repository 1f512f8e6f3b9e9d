//! Each layout of preferences.

use serde_json::{Value, json};

use super::{assistant, files, folder, preference, preferences, shows, system, user};

const PROMPTS: &str = include_str!("../../fixtures/preferences/prompts.json");

#[test]
fn texts_are_the_users_and_the_assistants_with_their_white_space() {
    let row = json!({"id": 7, "prompt": "The sky is", "chosen": " blue.", "rejected": " green.", "score": 0.5});
    let read = preference(&row);
    assert_eq!(read.prompt, [user("The sky is")]);
    assert_eq!((read.chosen, read.rejected), (vec![assistant(" blue.")], vec![assistant(" green.")]));
    let sample = read.sample;
    assert_eq!([sample.id, sample.question, sample.solution], ["7", "The sky is", " blue."]);
    assert_eq!(Value::from(sample.fields), json!({"id": 7, "score": 0.5}));
    assert!(sample.media.is_empty() && sample.turns.is_empty());
}

#[test]
fn a_prompt_that_both_answers_contain_is_cut_where_trl_cuts_it() {
    let cases: Vec<Value> = serde_json::from_str(PROMPTS).unwrap();
    let dir = folder();
    let text = |case: &Value, key: &str| match &case[key] {
        Value::String(text) => vec![text.clone()],
        list => list.as_array().unwrap().iter().map(|m| m["content"].as_str().unwrap().to_owned()).collect(),
    };
    let (mut read, mut blank) = (0, 0);
    for case in cases {
        let set = preferences(&dir, &case["row"].to_string());
        if case["prompt"].is_null() || text(&case, "prompt").concat().trim().is_empty() {
            assert!(set.unwrap_err().to_string().contains("no prompt, and they do not begin alike"), "{case}");
        } else if ["chosen", "rejected"].iter().any(|key| text(&case, key).concat().trim().is_empty()) {
            assert!(set.unwrap_err().to_string().ends_with(": empty"), "{case}");
            blank += 1;
        } else {
            let got = set.unwrap().get(0).unwrap();
            let words = |turns: &[vr1_data::Said]| turns.iter().map(|turn| turn.words()).collect::<Vec<_>>();
            assert_eq!(words(&got.prompt), text(&case, "prompt"), "{case}");
            assert_eq!(words(&got.chosen), text(&case, "chosen"), "{case}");
            assert_eq!(words(&got.rejected), text(&case, "rejected"), "{case}");
            read += 1;
        }
    }
    assert!(read > 25 && blank > 1, "{read} read, {blank} without an answer");
}

#[test]
fn messages_keep_their_speakers() {
    let row = json!({
        "prompt": [
            {"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hello."}, {"role": "user", "content": [{"type": "text", "text": "Sky?"}]},
        ],
        "chosen": [{"role": "assistant", "content": "Blue.", "tool_calls": null}],
        "rejected": [
            {"role": "assistant", "content": "Green."}, {"role": "user", "content": "Sure?"},
            {"role": "assistant", "content": [{"type": "text", "text": "Yes."}]},
        ],
    });
    let read = preference(&row);
    assert_eq!(read.prompt, [system("Be kind."), user("Hi"), assistant("Hello."), user("Sky?")]);
    assert_eq!(read.chosen, [assistant("Blue.")]);
    assert_eq!(read.rejected, [assistant("Green."), user("Sure?"), assistant("Yes.")]);
    assert_eq!([read.sample.id.as_str(), &read.sample.question, &read.sample.solution], ["rows:1", "Sky?", "Blue."]);
}

#[test]
fn the_messages_that_both_answers_begin_with_are_the_prompt() {
    let (ask, good) = (json!({"role": "user", "content": "Sky?"}), json!({"role": "assistant", "content": "Blue."}));
    let bad = json!({"content": "Green.", "role": "assistant"});
    let implicit = json!({"chosen": [ask, good], "rejected": [ask, bad]});
    let mut with_text = implicit.clone(); // as UltraFeedback's rows have it
    with_text["prompt"] = json!("Sky?");
    with_text["messages"] = implicit["chosen"].clone();
    for row in [implicit, with_text] {
        let read = preference(&row);
        assert_eq!(read.prompt, [user("Sky?")]);
        assert_eq!((read.chosen, read.rejected), (vec![assistant("Blue.")], vec![assistant("Green.")]));
    }
    let answers_alone = json!({"prompt": "Sky?", "chosen": [good], "rejected": [bad]});
    assert_eq!(preference(&answers_alone).prompt, [user("Sky?")]);
}

#[test]
fn a_question_about_a_picture_is_shown_the_picture() {
    let answers = json!({"question": "What is it?", "chosen": "A cat.", "rejected": "A dog."});
    let mut plain = answers.clone();
    plain["image"] = json!("2.png");
    let mut listed = answers.clone();
    listed["image"] = json!(["2.png"]);
    let mut by_path = answers.clone(); // a row of RLAIF-V without its pixels
    (by_path["image"], by_path["image_path"]) = (json!(null), json!("2.png"));
    let folded = json!({"text": answers, "image": "2.png"});
    let as_json = json!({"text": answers.to_string(), "image": "2.png"}); // RLHF-V
    for row in [plain, listed, by_path, folded, as_json] {
        let read = preference(&row);
        assert_eq!(read.prompt, [shows(&[Err(0), Ok("What is it?")])], "{row}");
        assert_eq!((read.chosen, read.rejected), (vec![assistant("A cat.")], vec![assistant("A dog.")]));
        assert_eq!(files(&read.sample), ["2.png"]);
        assert_eq!(read.sample.question, "What is it?");
        assert!(read.sample.fields.is_empty(), "{:?}", read.sample.fields);
    }
}

#[test]
fn a_conversation_of_llama_factory_takes_messages_or_texts_as_answers() {
    let conversations = json!([
        {"from": "human", "value": "<image>What is it?"}, {"from": "gpt", "value": "A cat."},
        {"from": "human", "value": "Its colour?"},
    ]);
    let message = |value: &str| json!({"from": "gpt", "value": value});
    let mut row = json!({"conversations": conversations, "images": ["1.png"], "system": "Be kind."});
    for (chosen, rejected) in [(message("Black."), message("White.")), (json!("Black."), json!("White."))] {
        (row["chosen"], row["rejected"]) = (chosen, rejected);
        let read = preference(&row);
        let shown = shows(&[Err(0), Ok("What is it?")]);
        assert_eq!(read.prompt, [system("Be kind."), shown, assistant("A cat."), user("Its colour?")]);
        assert_eq!((read.chosen, read.rejected), (vec![assistant("Black.")], vec![assistant("White.")]));
    }
    let openai = json!({
        "messages": [{"role": "user", "content": "Sky?"}],
        "chosen": {"role": "assistant", "content": "Blue."}, "rejected": {"role": "assistant", "content": "Green."},
    });
    assert_eq!(preference(&openai).prompt, [user("Sky?")]);
}

#[test]
fn an_instruction_stands_above_its_input_and_below_its_history() {
    let mut row = json!({"instruction": "Add.", "input": "2 + 2", "chosen": "4", "rejected": "5"});
    assert_eq!(preference(&row).prompt, [user("Add.\n2 + 2")]);
    row["input"] = json!("");
    row["system"] = json!("Be exact.");
    row["history"] = json!([["1 + 1?", "2"]]);
    assert_eq!(preference(&row).prompt, [system("Be exact."), user("1 + 1?"), assistant("2"), user("Add.")]);
}

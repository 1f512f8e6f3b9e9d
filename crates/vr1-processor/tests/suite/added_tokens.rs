//! Texts full of added tokens against transformers (tests/fixtures/added_tokens/generate.py).
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use vr1_processor::{Error, Layout, Mask, Message, Processor, PromptRequest, Result, Role, Tokenizer, Voice};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/added_tokens")
}

fn ids(processor: &Processor, kind: &str, words: &[&str]) -> Result<Vec<i64>> {
    let user = |text: &str| Message::text(Role::User, text);
    let prompt = |messages: &[Message], layout, prefill| {
        let request = PromptRequest { sample: "s", messages, layout, prefill };
        Ok(processor.prompt(&request)?.input_ids().to_vec())
    };
    match (kind, words) {
        ("question", [asked]) => prompt(&[user(asked)], Layout::Chat, ""),
        ("system", [told, asked]) => prompt(&[Message::text(Role::System, *told), user(asked)], Layout::Chat, ""),
        ("prefill", [asked, begun]) => prompt(&[user(asked)], Layout::Chat, begun),
        ("answer", [said]) => processor.tokenizer().encode_words(said, Voice::Model),
        ("target", [asked, said]) => {
            let messages = [user(asked)];
            let request = PromptRequest { sample: "s", messages: &messages, layout: Layout::Raw, prefill: "" };
            let supervised = processor.supervised_target(&request, said, Mask::Assistant)?;
            // Whatever is said is learnt, and its end.
            let learnt: Vec<i64> = supervised.labels.iter().copied().filter(|label| *label >= 0).collect();
            assert!(supervised.prompt.input_ids().ends_with(&learnt), "{said:?}");
            Ok(supervised.prompt.input_ids().to_vec())
        }
        ("conversation", [asked, said]) => {
            let messages = [user(asked), Message::text(Role::Assistant, *said)];
            let supervised = processor.supervised("s", &messages, Mask::Assistant)?;
            let before = prompt(&messages[..1], Layout::Chat, "")?.len();
            assert!(supervised.labels[..before].iter().all(|label| *label < 0), "{said:?}");
            let request = PromptRequest { sample: "s", messages: &messages[..1], layout: Layout::Chat, prefill: "" };
            // The way of answers that are compared is the same.
            let (answers, learnt) = processor.answers(&request, &processor.prompt(&request)?, &messages[1..])?;
            assert_eq!(answers.input_ids(), &supervised.prompt.input_ids()[before..], "{said:?}");
            let labels: Vec<bool> = supervised.labels[before..].iter().map(|label| *label >= 0).collect();
            assert_eq!(learnt, labels, "{said:?}");
            Ok(supervised.prompt.input_ids().to_vec())
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn ids_are_those_of_transformers_wherever_added_tokens_stand() {
    let cases: Vec<Value> = serde_json::from_str(&fs::read_to_string(fixtures().join("cases.json")).unwrap()).unwrap();
    assert_eq!(cases.len(), 480);
    let mut wrong = Vec::new();
    for name in ["chatml", "headers"] {
        let processor = Processor::from_dir(&fixtures().join(name)).unwrap();
        for case in cases.iter().filter(|case| case["checkpoint"] == name) {
            let words: Vec<&str> =
                case["words"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
            let kind = case["kind"].as_str().unwrap();
            let found = ids(&processor, kind, &words).unwrap();
            let expected: Vec<i64> = serde_json::from_value(case["ids"].clone()).unwrap();
            if found != expected {
                let tokens = |ids: &[i64]| -> Vec<String> {
                    ids.iter().map(|&id| processor.tokenizer().token(id).unwrap_or_default()).collect()
                };
                wrong.push(format!("{name} {kind} {words:?}\n  {:?}\n  {:?}", tokens(&found), tokens(&expected)));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn roles_and_media_are_nobodys_words_and_ends_the_models_alone() {
    for (name, roles, end) in [
        ("chatml", &["<|im_start|>", "<|image_pad|>", "<|vision_start|>"][..], "<|im_end|>"),
        // Those of the template are known by it alone.
        ("headers", &["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|video_pad|>"], "<|eot_id|>"),
    ] {
        let processor = Processor::from_dir(&fixtures().join(name)).unwrap();
        let tokenizer = processor.tokenizer();
        let spelt = |token: &str, voice| {
            let ids = tokenizer.encode_words(&format!("a {token} b"), voice).unwrap();
            ids.contains(&tokenizer.id(token).unwrap())
        };
        for token in roles {
            assert!(!spelt(token, Voice::User) && !spelt(token, Voice::Model), "{name} {token}");
        }
        assert!(!spelt(end, Voice::User) && spelt(end, Voice::Model), "{name} {end}");
        for token in ["<|box_start|>", "<think>", "</think>", "<tool_call>"] {
            assert!(spelt(token, Voice::User) && spelt(token, Voice::Model), "{name} {token}");
        }
    }
}

/// `chatml` with other tokens in one of its files.
fn with(file: &str, edit: impl FnOnce(&mut Value)) -> Result<Tokenizer> {
    let dir = tempfile::tempdir().unwrap();
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        fs::copy(fixtures().join("chatml").join(name), dir.path().join(name)).unwrap();
    }
    let path = dir.path().join(file);
    let mut json: Value = fs::read_to_string(&path).map_or(Value::Null, |text| serde_json::from_str(&text).unwrap());
    edit(&mut json);
    fs::write(&path, json.to_string()).unwrap();
    Tokenizer::from_dir(dir.path())
}

#[test]
fn a_token_of_the_config_alone_has_the_id_that_is_given_there_or_is_refused() {
    let next = with("tokenizer_config.json", |_| ()).unwrap().vocab_size();
    let added =
        |id: String, token: Value| with("tokenizer_config.json", |config| config["added_tokens_decoder"][id] = token);
    let token = serde_json::json!({ "content": "<seg>", "special": false });
    let tokenizer = added(next.to_string(), token.clone()).unwrap();
    assert_eq!(tokenizer.id("<seg>"), Some(next as i64));
    assert_eq!(tokenizer.encode_words("<seg>", Voice::User).unwrap(), [next as i64]);
    for (id, token, expected) in [
        ((next + 3).to_string(), token.clone(), format!("\"<seg>\" has the id {} there", next + 3)),
        ("last".into(), token, "\"last\" is not a token id".into()),
        (next.to_string(), serde_json::json!({}), format!("token {next} has no `content`")),
    ] {
        let error = added(id, token).unwrap_err();
        assert!(matches!(&error, Error::Setting { key, .. } if key == "added_tokens_decoder"), "{error}");
        assert!(error.to_string().contains(&expected), "{error}");
    }
}

#[test]
fn the_older_file_of_added_tokens_counts_where_the_config_has_none() {
    let next = with("tokenizer_config.json", |_| ()).unwrap().vocab_size();
    let older = |id: usize| {
        let dir = tempfile::tempdir().unwrap();
        fs::copy(fixtures().join("../checkpoint/tokenizer.json"), dir.path().join("tokenizer.json")).unwrap();
        fs::write(dir.path().join("added_tokens.json"), format!("{{\"<seg>\": {id}}}")).unwrap();
        Tokenizer::from_dir(dir.path())
    };
    let first = older(next).unwrap_err().to_string();
    assert!(first.contains("added_tokens.json: "), "{first}");
    assert_eq!(older(374).unwrap().id("<seg>"), Some(374));
}

#[test]
fn a_negative_id_is_none() {
    for file in ["generation_config.json", "config.json"] {
        let tokenizer = with(file, |json| *json = serde_json::json!({ "eos_token_id": [361, -1], "pad_token_id": -1 }));
        let tokenizer = tokenizer.unwrap();
        assert_eq!((tokenizer.eos(), tokenizer.pad()), (&[361][..], tokenizer.id("<|endoftext|>")), "{file}");
        let none =
            with(file, |json| *json = serde_json::json!({ "eos_token_id": -1, "image_token_id": -100 })).unwrap();
        assert_eq!(none.eos(), [none.id("<|im_end|>").unwrap()], "{file}");
    }
}

//! Published chat templates render what transformers renders (tests/fixtures/published/generate.py).
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use image::RgbImage;
use serde_json::{Value, json};
use vr1_data::{Picture, Video};
use vr1_processor::{ChatTemplate, Ending, Message, Part, Role, Tokenizer};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn read(name: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(fixtures().join("published").join(name)).unwrap()).unwrap()
}

fn tokenizer() -> Tokenizer {
    Tokenizer::from_dir(&fixtures().join("checkpoint")).unwrap()
}

fn template(name: &str, special: &Value) -> ChatTemplate {
    let source = fs::read_to_string(fixtures().join(format!("published/{name}.jinja"))).unwrap();
    ChatTemplate::new(&source, special.as_object().unwrap(), name).unwrap()
}

fn part(part: &Value) -> Part {
    let picture = || Picture::from(RgbImage::new(1, 1));
    match part["type"].as_str().unwrap() {
        "text" => part["text"].as_str().unwrap().into(),
        "image" => picture().into(),
        "video" => Video::Frames { frames: vec![picture()], fps: None }.into(),
        _ => Part::ToolCall { name: part["name"].as_str().unwrap().into(), arguments: part["arguments"].clone() },
    }
}

fn message(message: &Value) -> Message {
    let role = match message["role"].as_str().unwrap() {
        "system" => Role::System,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        _ => Role::Tool,
    };
    Message { role, parts: message["content"].as_array().unwrap().iter().map(part).collect() }
}

#[test]
fn conversations_read_as_in_transformers() {
    let rendered = read("rendered.json");
    let conversations = read("conversations.json");
    let conversations: BTreeMap<&str, &Value> =
        conversations.as_array().unwrap().iter().map(|c| (c["name"].as_str().unwrap(), c)).collect();
    let tokenizer = tokenizer();
    let (mut read, mut refused) = (BTreeMap::<&str, usize>::new(), 0);
    for case in rendered["cases"].as_array().unwrap() {
        let [name, conversation] = ["template", "conversation"].map(|key| case[key].as_str().unwrap());
        let talk = conversations[conversation];
        let mut template = template(name, &rendered["special"][name]).with_variable("date_string", "26 Jul 2024");
        for (name, value) in talk["variables"].as_object().into_iter().flatten() {
            template = template.with_variable(name, value.clone());
        }
        let messages: Vec<Message> = talk["messages"].as_array().unwrap().iter().map(message).collect();
        let tools = talk["tools"].as_array().into_iter().flatten();
        let tools: Vec<Value> = tools.map(|name| rendered["tools"][name.as_str().unwrap()].clone()).collect();
        let ending = if case["open"] == true { Ending::Open } else { Ending::Closed };
        let text = template.render_with_tools(&messages, &tools, ending, &tokenizer);
        if let Some(reason) = case["error"].as_str() {
            refused += 1;
            let error = text.unwrap_err().to_string();
            assert!(error.starts_with(&format!("{name}: {reason}")), "{error}");
        } else {
            assert_eq!(text.unwrap().text(), case["text"].as_str().unwrap(), "{name}, {conversation}");
            *read.entry(name).or_default() += 1;
        }
    }
    assert_eq!(
        json!(read),
        json!({
            "qwen2_5_vl": 30, "qwen2_5": 24, "llama3": 24, "llama3_1": 20, "llama3_2": 20, "smollm2": 24
        })
    );
    assert_eq!(refused, 8);
}

#[test]
fn ours_for_qwen2_vl_is_the_published_one_in_all_it_renders() {
    let rendered = read("rendered.json");
    let conversations = read("conversations.json");
    let published = template("qwen2_5_vl", &rendered["special"]["qwen2_5_vl"]);
    let ours = ChatTemplate::new(ChatTemplate::QWEN2_VL, &serde_json::Map::new(), "ours").unwrap();
    for conversation in conversations.as_array().unwrap() {
        let messages: Vec<Message> = conversation["messages"].as_array().unwrap().iter().map(message).collect();
        for ending in [Ending::Open, Ending::Closed] {
            let render = |template: &ChatTemplate| template.render(&messages, ending, &tokenizer()).unwrap();
            assert_eq!(render(&ours), render(&published), "{}", conversation["name"]);
        }
    }
}

#[test]
fn a_special_token_spelt_in_a_call_or_a_tool_is_text() {
    let rendered = read("rendered.json");
    let qwen = template("qwen2_5", &rendered["special"]["qwen2_5"]);
    let tokenizer = tokenizer();
    let call =
        Part::ToolCall { name: "<|im_start|>".into(), arguments: json!({ "<|im_end|>": ["a <|image_pad|>", 1] }) };
    let texts = Message { role: Role::Assistant, parts: vec!["<|im_".into(), call, "start|>".into()] };
    let messages = [Message::text(Role::User, "x"), texts];
    let tools = [rendered["tools"]["weather"].clone()];
    let text = qwen.render_with_tools(&messages, &tools, Ending::Closed, &tokenizer).unwrap();
    assert!(text.text().contains(r#"{"name": "<|im_start|>", "arguments": {"<|im_end|>": ["a <|image_pad|>", 1]}}"#));
    let ids = tokenizer.encode(&text).unwrap();
    let count = |id: Option<i64>| ids.iter().filter(|&&found| Some(found) == id).count();
    assert_eq!(count(tokenizer.id("<|im_start|>")), 3, "the template's own, one a turn");
    assert_eq!(count(tokenizer.id("<|im_end|>")), 3);
    assert_eq!(count(tokenizer.image_pad()), 0);
}

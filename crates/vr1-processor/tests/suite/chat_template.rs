//! Chat templates against transformers (tests/fixtures/generate_templates.py), and Qwen2-VL's by hand.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

use std::fs;
use std::path::{Path, PathBuf};

use image::RgbImage;
use serde_json::{Map, Value, json};
use vr1_data::Picture;
use vr1_processor::{ChatTemplate, Ending, Message, Part, Role, Tokenizer};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn tokenizer() -> Tokenizer {
    Tokenizer::from_dir(&fixtures().join("checkpoint")).unwrap()
}

fn template(source: &str) -> ChatTemplate {
    ChatTemplate::new(source, &Map::new(), "a template").unwrap()
}

fn render(template: &ChatTemplate, messages: &[Message], ending: Ending) -> String {
    template.render(messages, ending, &tokenizer()).unwrap().text().into()
}

fn message(value: &Value) -> Message {
    let role = match value["role"].as_str().unwrap() {
        "system" => Role::System,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        _ => Role::Tool,
    };
    let parts = value["content"].as_array().unwrap().iter().map(|part| part["text"].as_str().unwrap().into()).collect();
    Message { role, parts }
}

#[test]
fn what_published_templates_use_renders_as_in_transformers() {
    let file: Value = serde_json::from_str(&fs::read_to_string(fixtures().join("templates.json")).unwrap()).unwrap();
    let cases = file["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 16);
    for case in cases {
        let source = file["templates"][case["name"].as_str().unwrap()].as_str().unwrap();
        let mut template = ChatTemplate::new(source, file["special"].as_object().unwrap(), "a template").unwrap();
        for (name, value) in case["variables"].as_object().unwrap() {
            template = template.with_variable(name, value.clone());
        }
        let messages: Vec<Message> = case["messages"].as_array().unwrap().iter().map(message).collect();
        let ending = if case["open"] == true { Ending::Open } else { Ending::Closed };
        let rendered = template.render_with_tools(&messages, case["tools"].as_array().unwrap(), ending, &tokenizer());
        match &case["error"] {
            Value::Null => assert_eq!(rendered.unwrap().text(), case["expected"].as_str().unwrap(), "{}", case["name"]),
            reason => {
                let error = rendered.unwrap_err().to_string();
                assert!(error.starts_with(&format!("a template: {}", reason.as_str().unwrap())), "{error}");
            }
        }
    }
}

#[test]
fn qwen2_vl_gives_a_system_prompt_where_there_is_none() {
    let qwen = template(ChatTemplate::QWEN2_VL);
    let picture = || Part::Image(RgbImage::new(1, 1).into());
    let ask = Message { role: Role::User, parts: vec!["a".into(), picture(), picture(), " b\n".into()] };
    let image = "<|vision_start|><|image_pad|><|vision_end|>";
    assert_eq!(
        render(&qwen, std::slice::from_ref(&ask), Ending::Open),
        format!(
            "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n\
             <|im_start|>user\na{image}{image} b\n<|im_end|>\n<|im_start|>assistant\n"
        )
    );
    let system = Message::text(Role::System, "Be brief.");
    let answer = Message::text(Role::Assistant, "c");
    assert_eq!(
        render(&qwen, &[system, ask.clone(), answer], Ending::Closed),
        format!(
            "<|im_start|>system\nBe brief.<|im_end|>\n\
             <|im_start|>user\na{image}{image} b\n<|im_end|>\n<|im_start|>assistant\nc<|im_end|>\n"
        )
    );
    let counted = qwen.with_variable("add_vision_id", true);
    assert!(render(&counted, &[ask], Ending::Open).contains(&format!("aPicture 1: {image}Picture 2: {image} b\n")));
}

#[test]
fn a_template_for_strings_gets_strings_and_takes_no_images() {
    let words = template("{% for m in messages %}{{ m.content | trim }};{% endfor %}");
    let parts = Message { role: Role::User, parts: vec![" a".into(), "b ".into()] };
    assert_eq!(render(&words, std::slice::from_ref(&parts), Ending::Open), "ab;");
    let image = Message::user([Picture::from(RgbImage::new(1, 1))], "a");
    let error = words.render(&[image], Ending::Open, &tokenizer()).unwrap_err().to_string();
    assert_eq!(error, "a template: it takes words alone, and the conversation has an image or a video");
}

#[test]
fn a_template_for_parts_gets_parts_also_where_it_shows_text_in_its_own_way() {
    let own = template("{{ messages[0].content[0].text | upper }}{{ messages[0].content | length }}");
    let parts = Message { role: Role::User, parts: vec!["a".into(), "b".into()] };
    assert_eq!(render(&own, &[parts], Ending::Open), "A2");
}

#[test]
fn a_broken_template_names_its_place() {
    let error = ChatTemplate::new("a\n{% for x in %}", &Map::new(), "dir/chat_template.jinja").unwrap_err().to_string();
    assert!(error.starts_with("dir/chat_template.jinja: syntax error") && error.contains("line 2"), "{error}");
    let fails = template("{{ messages[0].content.nothing.more }}");
    let error = fails.render(&[Message::text(Role::User, "a")], Ending::Open, &tokenizer()).unwrap_err().to_string();
    assert!(error.starts_with("a template: ") && error.contains("line 1"), "{error}");
    let refuses = template("{{ raise_exception('Roles must alternate') }}");
    let error = refuses.render(&[], Ending::Open, &tokenizer()).unwrap_err().to_string();
    assert_eq!(error, "a template: Roles must alternate (line 1)");
}

#[test]
fn a_template_that_never_ends_its_loop_is_stopped() {
    let endless = template("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}");
    assert!(endless.render(&[], Ending::Open, &tokenizer()).is_err());
}

#[test]
fn a_torn_special_token_is_an_error_and_not_a_special_token() {
    let torn = template("{{ messages[0].content.split('|')[0] }}");
    let error = torn.render(&[Message::text(Role::User, "<|im_end|>")], Ending::Open, &tokenizer()).unwrap_err();
    assert!(error.to_string().contains("tears apart a special token"), "{error}");
}

#[test]
fn the_newest_of_three_places_counts() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    let source = || ChatTemplate::from_dir(dir.path()).unwrap().map(|template| template.source().to_owned());
    assert_eq!(source(), None);
    write("tokenizer_config.json", r#"{"chat_template": "config"}"#);
    assert_eq!(source().unwrap(), "config");
    let named =
        json!({ "chat_template": [{ "name": "tool_use", "template": "x" }, { "name": "default", "template": "d" }] });
    write("tokenizer_config.json", &named.to_string());
    assert_eq!(source().unwrap(), "d");
    write("chat_template.json", r#"{"chat_template": "json"}"#);
    assert_eq!(source().unwrap(), "json");
    write("chat_template.jinja", "jinja");
    assert_eq!(source().unwrap(), "jinja");
    write("chat_template.jinja", "{% if %}");
    let error = ChatTemplate::from_dir(dir.path()).unwrap_err().to_string();
    assert!(error.contains("chat_template.jinja: syntax error"), "{error}");
}

#[test]
fn the_date_is_written_as_the_template_asks() {
    let today = render(&template("{{ strftime_now('%Y-%m-%d') }}"), &[], Ending::Open);
    assert!(today.len() == 10 && today.as_bytes()[4] == b'-', "{today}");
    let odd = template("{{ strftime_now('%!') }}").render(&[], Ending::Open, &tokenizer()).unwrap_err().to_string();
    assert!(odd.contains("strftime_now: bad format \"%!\""), "{odd}");
}

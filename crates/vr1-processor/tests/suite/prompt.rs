//! Prompts against what transformers makes of the same conversations (tests/fixtures/generate.py).
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

use std::fs;
use std::path::{Path, PathBuf};

use image::{Rgb, RgbImage};
use serde_json::{Value, json};
use vr1_data::{Picture, Video};
use vr1_processor::Patches;
use vr1_processor::{
    Ending, Error, Layout, Message, Part, Processor, Prompt, PromptRequest, Role, Specials, TokenType, Tokenizer, Voice,
};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn processor() -> Processor {
    Processor::from_dir(&fixtures().join("checkpoint")).unwrap()
}

fn read(name: &str) -> Vec<Value> {
    serde_json::from_str(&fs::read_to_string(fixtures().join(name)).unwrap()).unwrap()
}

/// The pictures of generate.py.
fn picture(kind: &str, height: u32, width: u32) -> Picture {
    frame(kind, height, width, 0)
}

fn frame(kind: &str, height: u32, width: u32, time: u64) -> Picture {
    let level = |x: u64, y: u64, c: u64| match kind {
        "noise" => (((x * 73_856_093) ^ (y * 19_349_663) ^ (c * 83_492_791)) >> 5) & 255,
        _ => (x * 255 / u64::from(width - 1).max(1) + y * 255 / u64::from(height - 1).max(1) + c * 85) / 3,
    };
    let rgb = |x: u32, y: u32| Rgb([0, 1, 2].map(|c| level(x.into(), y.into(), c + 3 * time) as u8));
    RgbImage::from_fn(width, height, rgb).into()
}

fn part(part: &Value) -> Part {
    let side = |key: &str, i: usize| part[key][i].as_u64().unwrap() as u32;
    match part["type"].as_str().unwrap() {
        "text" => Part::Text(part["text"].as_str().unwrap().into()),
        "video" => {
            let key = "frames";
            let [count, height, width] = [1, 2, 3].map(|i| side(key, i));
            let frames = (0..u64::from(count)).map(|t| frame(part[key][0].as_str().unwrap(), height, width, t));
            Part::Video(Video::Frames { frames: frames.collect(), fps: part["fps"].as_f64() })
        }
        _ => {
            let kind = part["picture"][0].as_str().unwrap();
            Part::Image(picture(kind, side("picture", 1), side("picture", 2)))
        }
    }
}

fn messages(case: &Value) -> Vec<Message> {
    let role = |name: &str| match name {
        "system" => Role::System,
        "user" => Role::User,
        _ => Role::Assistant,
    };
    let message = |message: &Value| Message {
        role: role(message["role"].as_str().unwrap()),
        parts: message["content"].as_array().unwrap().iter().map(part).collect(),
    };
    case["messages"].as_array().unwrap().iter().map(message).collect()
}

/// The patches of a kind.
fn patches(prompt: &Prompt, kind: TokenType) -> Vec<&Patches> {
    let media = prompt.media().iter().zip(prompt.patches());
    media.filter(|(span, _)| span.kind == kind).map(|(_, patches)| &**patches).collect()
}

/// Order and every bit count.
fn checksum(patches: &[&Patches]) -> u64 {
    let values = patches.iter().flat_map(|patches| patches.pixel_values.iter());
    values
        .enumerate()
        .fold(0, |sum: u64, (place, value)| sum.wrapping_add(u64::from(value.to_bits()).wrapping_mul(place as u64 + 1)))
}

fn prompts() -> Vec<(Value, Prompt)> {
    prompts_of(&processor())
}

fn prompts_of(processor: &Processor) -> Vec<(Value, Prompt)> {
    let make = |case: Value| {
        let messages = messages(&case);
        let prompt = if case["closed"] == true {
            processor.supervised("sample", &messages, vr1_processor::Mask::Assistant).unwrap().prompt
        } else {
            let layout = if case["layout"] == "raw" { Layout::Raw } else { Layout::Chat };
            let prefill = case["prefill"].as_str().unwrap_or_default();
            processor.prompt(&PromptRequest { sample: "sample", messages: &messages, layout, prefill }).unwrap()
        };
        (case, prompt)
    };
    read("conversations.json").into_iter().map(make).collect()
}

#[test]
fn prompts_are_those_of_transformers() {
    let expected = read("expected.json");
    let prompts = prompts();
    assert_eq!((prompts.len(), expected.len()), (20, 20));
    for ((case, prompt), expected) in prompts.iter().zip(&expected) {
        let name = &case["name"];
        assert_eq!(json!(prompt.text()), expected["text"], "{name}");
        assert_eq!(json!(prompt.input_ids()), expected["input_ids"], "{name}");
        let types: Vec<u8> = prompt.token_types().iter().map(|&kind| kind as u8).collect();
        assert_eq!(json!(types), expected["token_types"], "{name}");
        for (kind, grid, pixels) in
            [(TokenType::Image, "grid_thw", "pixels"), (TokenType::Video, "video_grid_thw", "video_pixels")]
        {
            let patches = patches(prompt, kind);
            let grids: Vec<_> = patches.iter().map(|patches| patches.grid_thw).collect();
            assert_eq!(json!(grids), expected.get(grid).cloned().unwrap_or(json!([])), "{name}");
            assert_eq!(json!(checksum(&patches)), expected.get(pixels).cloned().unwrap_or(json!(0)), "{name}");
        }
        assert_eq!(json!(prompt.position_ids()), expected["position_ids"], "{name}");
        assert_eq!(json!(prompt.next_position()), expected["next_position"], "{name}");
    }
}

#[test]
fn a_model_that_counts_seconds_gives_videos_the_positions_of_transformers() {
    let expected = read("expected.json");
    for tokens_per_second in [2, 25] {
        let mut files = tempfile::tempdir().unwrap();
        let dir = copy_of_checkpoint(&mut files);
        let config = json!({ "model_type": "qwen2_5_vl", "vision_config": { "tokens_per_second": tokens_per_second } });
        fs::write(dir.join("config.json"), config.to_string()).unwrap();
        let (mut timed, mut different) = (0, 0);
        for ((case, prompt), expected) in prompts_of(&Processor::from_dir(&dir).unwrap()).iter().zip(&expected) {
            let positions = json!([prompt.position_ids(), prompt.next_position()]);
            let still = json!([expected["position_ids"], expected["next_position"]]);
            let expected = expected.get("timed").map_or(&still, |timed| &timed[tokens_per_second.to_string()]);
            assert_eq!(positions, *expected, "{}, {tokens_per_second}", case["name"]);
            timed += usize::from(*expected != still || case["name"].as_str().unwrap().contains("video"));
            different += usize::from(*expected != still);
        }
        assert!(timed > 3 && different > 3, "{timed} {different}");
    }
}

#[test]
fn seconds_are_counted_four_at_a_time_where_the_config_is_silent_and_a_wrong_one_is_named() {
    let mut files = tempfile::tempdir().unwrap();
    let dir = copy_of_checkpoint(&mut files);
    let time = |config: Value| {
        fs::write(dir.join("config.json"), config.to_string()).unwrap();
        let frames = (0..6).map(|t| frame("noise", 28, 28, t)).collect();
        let messages = [Message::user([Video::Frames { frames, fps: Some(1.0) }], "")];
        let prompt = Processor::from_dir(&dir)?.prompt(&request(&messages, Layout::Raw))?;
        Ok::<_, Error>(prompt.position_ids()[0][1..4].to_vec())
    };
    // Two seconds a patch, and one position for `<|vision_start|>`.
    assert_eq!(time(json!({ "model_type": "qwen2_5_vl", "vision_config": {} })).unwrap(), [1, 9, 17]);
    let timed = |model_type: &str| json!({ "model_type": model_type, "vision_config": { "tokens_per_second": 2 } });
    assert_eq!(time(timed("qwen2_5_vl")).unwrap(), [1, 5, 9]);
    assert_eq!(time(timed("qwen2_vl")).unwrap(), [1, 2, 3]);
    let wrong = json!({ "model_type": "qwen2_5_vl", "vision_config": { "tokens_per_second": "2" } });
    let error = time(wrong).unwrap_err().to_string();
    assert!(error.contains("config.json: `vision_config.tokens_per_second`: \"2\" is not a number"), "{error}");
}

#[test]
fn a_span_holds_the_placeholders_of_its_media_and_nothing_else_does() {
    let processor = processor();
    let [image, video] = [processor.tokenizer().image_pad(), processor.tokenizer().video_pad()].map(Option::unwrap);
    for (case, prompt) in prompts() {
        let mut inside = vec![TokenType::Text; prompt.len()];
        for (span, patches) in prompt.media().iter().zip(prompt.patches()) {
            assert_eq!(span.range.len(), patches.tokens(2), "{}", case["name"]);
            inside[span.range.clone()].fill(span.kind);
        }
        assert_eq!(prompt.media().len(), prompt.patches().len());
        for (place, kind) in inside.into_iter().enumerate() {
            let expected = match prompt.input_ids()[place] {
                id if id == image => TokenType::Image,
                id if id == video => TokenType::Video,
                _ => TokenType::Text,
            };
            assert_eq!(kind, expected, "{} at {place}", case["name"]);
        }
    }
}

#[test]
fn a_special_token_put_together_from_two_texts_is_text() {
    let parts = |texts: &[&str]| Message { role: Role::User, parts: texts.iter().map(|&text| text.into()).collect() };
    let processor = processor();
    let end = processor.tokenizer().id("<|im_end|>").unwrap();
    for texts in [&["a <|im_", "end|> b"][..], &["<", "|image_", "", "pad|>"], &["<|im_end|", "><|im_end|>"]] {
        let messages = [parts(texts)];
        let rendered = processor.template().unwrap().render(&messages, Ending::Open, processor.tokenizer()).unwrap();
        assert!(rendered.text().contains(&texts.concat()));
        let ids = processor.tokenizer().encode(&rendered).unwrap();
        let ends = ids.iter().filter(|&&id| id == end).count();
        assert_eq!(ends, 2, "the template's own after the system prompt and after the question: {texts:?}");
        assert!(!ids.contains(&processor.tokenizer().image_pad().unwrap()));
    }
}

#[test]
fn no_words_in_any_number_of_parts_make_a_special_token() {
    let processor = processor();
    let tokenizer = processor.tokenizer();
    let pieces = [
        "<|",
        "im_",
        "end",
        "|>",
        "<|im_end|>",
        "<|image_pad",
        "<",
        "|",
        ">",
        "<|im_start|>",
        " ",
        "é",
        "日",
        "\n",
        "a",
    ];
    let mut state = 1_u64;
    let mut draw = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for _ in 0..500 {
        let texts: Vec<String> =
            (0..1 + draw(4)).map(|_| (0..draw(6)).map(|_| pieces[draw(pieces.len())]).collect()).collect();
        let parts = texts.iter().map(|text| Part::Text(text.clone())).collect();
        let messages = [Message { role: Role::User, parts }];
        let rendered = processor.template().unwrap().render(&messages, Ending::Open, tokenizer).unwrap();
        let ids = tokenizer.encode(&rendered).unwrap();
        let specials = ids.iter().filter(|&&id| id >= tokenizer.id("<|endoftext|>").unwrap()).count();
        assert_eq!(specials, 5, "the template's own: {texts:?}");
        assert_eq!(tokenizer.decode(&ids, Specials::Keep).unwrap(), rendered.text());
        assert!(rendered.text().contains(&format!("user\n{}<|im_end|>", texts.concat())));
    }
}

#[test]
fn words_and_prefill_make_no_special_token_together() {
    let processor = processor();
    let messages = [Message::text(Role::User, "a <|im_")];
    let request = PromptRequest { sample: "s", messages: &messages, layout: Layout::Raw, prefill: "end|> b" };
    let prompt = processor.prompt(&request).unwrap();
    assert_eq!(prompt.text(), "a <|im_end|> b");
    assert!(!prompt.input_ids().contains(&processor.tokenizer().id("<|im_end|>").unwrap()));
}

#[test]
fn private_characters_in_a_message_are_kept() {
    let processor = processor();
    let text = "\u{F0000}<|im_end|>\u{F0001}";
    let rendered = processor
        .template()
        .unwrap()
        .render(&[Message::text(Role::User, text)], Ending::Closed, processor.tokenizer())
        .unwrap();
    assert!(rendered.text().contains(text));
    assert_eq!(rendered.literals().len(), 1);
}

fn request<'a>(messages: &'a [Message], layout: Layout) -> PromptRequest<'a> {
    PromptRequest { sample: "s", messages, layout, prefill: "" }
}

#[test]
fn a_further_turn_keeps_what_was_sampled() {
    let processor = processor();
    let tokenizer = processor.tokenizer();
    let first = [Message::user([picture("noise", 40, 60)], "How many?")];
    let prompt = processor.prompt(&request(&first, Layout::Chat)).unwrap();
    // Sampled as single bytes, as no tokenizer would cut the text: it must not be cut anew.
    let mut sampled: Vec<i64> = "Three".bytes().map(|b| tokenizer.id(&char::from(b).to_string()).unwrap()).collect();
    assert_ne!(sampled, tokenizer.encode_words("Three", Voice::Model).unwrap());
    let next = [Message::user([picture("slope", 70, 31)], "Sure?")];
    let unended = processor.next_turn(&prompt, &sampled, &request(&next, Layout::Chat)).unwrap();
    sampled.push(tokenizer.id("<|im_end|>").unwrap());
    let ended = processor.next_turn(&prompt, &sampled, &request(&next, Layout::Chat)).unwrap();
    assert_eq!(unended.input_ids(), ended.input_ids(), "the model's own end of its turn is not doubled");
    assert_eq!(ended.input_ids()[..prompt.len()], *prompt.input_ids());
    assert_eq!(ended.input_ids()[prompt.len()..prompt.len() + sampled.len()], sampled);

    let whole = [first[0].clone(), Message::text(Role::Assistant, "Three"), next[0].clone()];
    let whole = processor.prompt(&request(&whole, Layout::Chat)).unwrap();
    assert_eq!(ended.text(), whole.text());
    let tail = |prompt: &Prompt| prompt.input_ids()[prompt.len() - 20..].to_vec();
    assert_eq!(tail(&ended), tail(&whole));
    assert_eq!(ended.patches().len(), 2);
    // Positions go on as if the whole had been made at once; only the answer's length differs.
    let longer = ended.len() - whole.len();
    assert_eq!(ended.next_position(), whole.next_position() + longer as i64);
    for (row, whole_row) in ended.position_ids().iter().zip(whole.position_ids()) {
        assert_eq!(row.len(), ended.len());
        let shifted: Vec<i64> = whole_row[whole.len() - 20..].iter().map(|p| p + longer as i64).collect();
        assert_eq!(row[ended.len() - 20..], shifted);
    }
    for (span, patches) in ended.media().iter().zip(ended.patches()) {
        assert_eq!(span.range.len(), patches.tokens(2));
        assert!(ended.input_ids()[span.range.clone()].iter().all(|&id| Some(id) == tokenizer.image_pad()));
    }
}

#[test]
fn a_further_turn_of_the_raw_layout_is_its_words() {
    let processor = processor();
    let prompt = processor.prompt(&request(&[Message::text(Role::User, "User: 1\nAssistant: ")], Layout::Raw)).unwrap();
    let sampled = processor.tokenizer().encode_words("one", Voice::Model).unwrap();
    let next = [Message::user([picture("noise", 28, 28)], "\nUser: 2\nAssistant: ")];
    let longer = processor.next_turn(&prompt, &sampled, &request(&next, Layout::Raw)).unwrap();
    let expected = "User: 1\nAssistant: one<|vision_start|><|image_pad|><|vision_end|>\nUser: 2\nAssistant: ";
    assert_eq!(longer.text(), expected);
    assert_eq!(processor.tokenizer().decode(longer.input_ids(), Specials::Keep).unwrap(), expected);
}

fn copy_of_checkpoint(dir: &mut tempfile::TempDir) -> PathBuf {
    for file in fs::read_dir(fixtures().join("checkpoint")).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), dir.path().join(file.file_name())).unwrap();
    }
    dir.path().to_path_buf()
}

#[test]
fn settings_of_videos_that_are_their_own_are_saved_and_others_need_no_file() {
    let mut files = tempfile::tempdir().unwrap();
    let dir = copy_of_checkpoint(&mut files);
    let saved = tempfile::tempdir().unwrap();
    Processor::from_dir(&dir).unwrap().save(saved.path()).unwrap();
    assert!(!saved.path().join("video_preprocessor_config.json").exists());
    fs::write(dir.join("video_preprocessor_config.json"), r#"{"max_pixels": 200000, "min_pixels": 784}"#).unwrap();
    let processor = Processor::from_dir(&dir).unwrap();
    processor.save(saved.path()).unwrap();
    // By a class transformers would process a Qwen2.5-VL as a Qwen2-VL, or the other way round.
    for name in ["preprocessor_config.json", "video_preprocessor_config.json"] {
        assert!(!fs::read_to_string(saved.path().join(name)).unwrap().contains("processor_class"), "{name}");
    }
    let again = Processor::from_dir(saved.path()).unwrap();
    assert_eq!(again.videos(), processor.videos());
    assert_eq!(again.videos().unwrap().frames.max_pixels, 200_000);
    assert_eq!(again.images(), processor.images());
}

#[test]
fn what_a_tokenizer_puts_before_every_text_stands_before_a_raw_prompt_alone() {
    let mut files = tempfile::tempdir().unwrap();
    let dir = copy_of_checkpoint(&mut files);
    let mut json: Value = serde_json::from_str(&fs::read_to_string(dir.join("tokenizer.json")).unwrap()).unwrap();
    let first = Tokenizer::from_dir(&dir).unwrap().id("<|endoftext|>").unwrap();
    // As Llama 3 has it; its chat template writes the token itself.
    json["post_processor"] = json!({
        "type": "TemplateProcessing",
        "single": [{ "SpecialToken": { "id": "<|endoftext|>", "type_id": 0 } }, { "Sequence": { "id": "A", "type_id": 0 } }],
        "pair": [{ "Sequence": { "id": "A", "type_id": 0 } }, { "Sequence": { "id": "B", "type_id": 1 } }],
        "special_tokens": { "<|endoftext|>": { "id": "<|endoftext|>", "ids": [first], "tokens": ["<|endoftext|>"] } }
    });
    fs::write(dir.join("tokenizer.json"), json.to_string()).unwrap();
    let processor = Processor::from_dir(&dir).unwrap();
    let one = [Message::text(Role::User, "a <|im_end|> b")];
    let ids = |layout| processor.prompt(&request(&one, layout)).unwrap().input_ids().to_vec();
    assert_eq!(ids(Layout::Raw)[0], first);
    assert_eq!(ids(Layout::Raw).iter().filter(|&&id| id == first).count(), 1);
    assert!(!ids(Layout::Chat).contains(&first));
}

#[test]
fn a_prompt_knows_its_conversation_until_it_is_no_longer_what_that_says() {
    let processor = processor();
    let messages = [Message::user([picture("noise", 56, 56)], "What is it?")];
    let request = PromptRequest { sample: "s", messages: &messages, layout: Layout::Chat, prefill: "It is" };
    let prompt = processor.prompt(&request).unwrap();
    let conversation = prompt.conversation().unwrap();
    assert_eq!((conversation.messages.len(), conversation.layout), (1, Layout::Chat));
    assert_eq!((conversation.messages[0].words().as_str(), conversation.prefill.as_str()), ("What is it?", "It is"));
    assert!(prompt.extend(&[10], "+").unwrap().conversation().is_none());
    assert!(prompt.tail(&[10], "+").unwrap().conversation().is_none());
    assert!(prompt.followed_by(&prompt).conversation().is_none());
    let blank = prompt.patches().iter().map(|patches| patches.blank().into()).collect();
    assert!(prompt.showing(blank).unwrap().conversation().is_none());
    let (before, after) = prompt.split(1).unwrap();
    assert!(before.conversation().is_none() && after.conversation().is_none());
}

//! The real Qwen tokenizer on public test vectors (tests/fixtures/qwen_tokenizer/README.md).
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use vr1_processor::{ChatTemplate, Ending, Message, Processor, Role, Specials, Tokenizer, Voice};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/qwen_tokenizer")
}

fn vectors() -> Vec<(String, Vec<i64>)> {
    let vectors: Vec<Value> =
        serde_json::from_str(&fs::read_to_string(fixtures().join("vectors.json")).unwrap()).unwrap();
    let vector = |v: &Value| (v["text"].as_str().unwrap().into(), serde_json::from_value(v["ids"].clone()).unwrap());
    vectors.iter().map(vector).collect()
}

/// Words have the vector's ids where no special token is spelt, and come back from them where no letter was composed.
fn passes(tokenizer: &Tokenizer) {
    let (mut words, mut unchanged) = (0, 0);
    for (text, ids) in vectors() {
        if !text.contains("<|") {
            words += 1;
            assert_eq!(tokenizer.encode_words(&text, Voice::User).unwrap(), ids, "{text:?}");
        }
        let decoded = tokenizer.decode(&ids, Specials::Keep).unwrap();
        unchanged += usize::from(decoded == text);
    }
    assert_eq!((words, unchanged), (48, 50));
    let ids = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"].map(|token| tokenizer.id(token));
    assert_eq!(ids, [151_652, 151_653, 151_655, 151_656].map(Some));
}

#[test]
fn the_part_of_it_that_the_vectors_use_passes_them() {
    passes(&Tokenizer::from_dir(&fixtures()).unwrap());
}

#[test]
#[ignore = "needs the whole tokenizer: tests/fixtures/qwen_tokenizer/README.md"]
fn the_whole_tokenizer_passes_them() {
    let dir = std::env::var_os("QWEN_TOKENIZER").expect("QWEN_TOKENIZER is the folder of its tokenizer.json");
    passes(&Tokenizer::from_dir(Path::new(&dir)).unwrap());
}

#[test]
fn a_chat_with_a_picture_has_the_ids_of_the_real_one() {
    let tokenizer = Tokenizer::from_dir(&fixtures()).unwrap();
    let template = ChatTemplate::new(ChatTemplate::QWEN2_VL, &Default::default(), "ours").unwrap();
    let picture = vr1_data::Picture::from(image::RgbImage::new(1, 1));
    let ask = [Message::user([picture], "How many cubes?")];
    let rendered = template.render(&ask, Ending::Open, &tokenizer).unwrap();
    let (_, expected) = vectors().into_iter().find(|(text, _)| *text == rendered.text()).unwrap();
    assert_eq!(tokenizer.encode(&rendered).unwrap(), expected);
    // Without image settings the same tokenizer serves text alone.
    let processor = Processor::new(tokenizer, Some(template), None, Path::new("qwen")).unwrap();
    let words = [Message::text(Role::User, "How many cubes?")];
    let request = vr1_processor::PromptRequest {
        sample: "s",
        messages: &words,
        layout: vr1_processor::Layout::Chat,
        prefill: "",
    };
    let prompt = processor.prompt(&request).unwrap();
    let without: Vec<i64> = expected.iter().copied().filter(|id| ![151_652, 151_653, 151_655].contains(id)).collect();
    assert_eq!(prompt.input_ids(), without);
}

//! The tiny checkpoint of the fixtures is what vr1 itself writes; transformers reads it in fixtures/generate.py.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

use std::fs;
use std::path::Path;

use vr1_processor::ImageProcessor;
use vr1_processor::{ChatTemplate, Processor, Tokenizer};

fn texts() -> impl Iterator<Item = String> + Send {
    let things = ["cube", "sphere", "cylinder", "red one", "blue one", "naïve café", "日本語"];
    let questions = ["Is the {} left of the {}?", "How many {} and {} are here?", "Which is larger, the {} or the {}?"];
    (0..300).map(move |i| {
        let question = questions[i % 3].replacen("{}", things[i % 7], 1).replacen("{}", things[i % 5], 1);
        format!("{question}\n(A) Yes, it's {i}.\n(B) No.\n<think> Let me look. </think><answer> (A) </answer>")
    })
}

#[test]
fn the_committed_checkpoint_is_what_is_written_today() {
    let tokenizer = Tokenizer::train(texts(), 500).unwrap();
    let template = ChatTemplate::new(ChatTemplate::QWEN2_VL, &serde_json::Map::new(), "the constant").unwrap();
    let images = ImageProcessor { min_pixels: 28 * 28, max_pixels: 28 * 28 * 8, ..ImageProcessor::default() };
    let processor = Processor::new(tokenizer, Some(template), Some(images), Path::new("here")).unwrap();
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/checkpoint");
    if std::env::var_os("VR1_WRITE_FIXTURES").is_some() {
        processor.save(&committed).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    processor.save(dir.path()).unwrap();
    for name in ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "preprocessor_config.json"] {
        let read = |dir: &Path| fs::read_to_string(dir.join(name)).unwrap();
        assert!(read(dir.path()) == read(&committed), "{name} differs");
    }
}

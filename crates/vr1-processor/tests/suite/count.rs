//! A prompt's tokens, counted from the sizes of pictures, are as many as the processor makes of their pixels: pictures of every
//! shape, by the settings of each family's fixtures and by Qwen2-VL's.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

use std::fs;
use std::path::Path;

use image::RgbImage;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use vr1_data::{Media, Picture, Sample};
use vr1_processor::{Layout, Message, Part, Processor, PromptRequest, Role};

const FAMILIES: [&str; 7] = ["aria", "idefics3", "llava", "llava_next", "mllama", "qwen3_vl", "smolvlm"];

/// Every setting of a family's fixtures.
fn processors(family: &str) -> Vec<Processor> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/families").join(family);
    let drawn: Value = serde_json::from_str(&fs::read_to_string(folder.join("cases.json")).unwrap()).unwrap();
    let read = |settings: &Value| {
        let place = tempfile::tempdir().unwrap();
        for name in ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"] {
            fs::copy(folder.join(name), place.path().join(name)).unwrap();
        }
        for (name, content) in settings["files"].as_object().unwrap() {
            fs::write(place.path().join(name), content.to_string()).unwrap();
        }
        Processor::from_dir(place.path()).unwrap()
    };
    drawn.as_array().unwrap().iter().map(read).collect()
}

fn qwen2_vl(settings: Value) -> Processor {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/checkpoint");
    let place = tempfile::tempdir().unwrap();
    for name in ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"] {
        fs::copy(from.join(name), place.path().join(name)).unwrap();
    }
    fs::write(place.path().join("preprocessor_config.json"), settings.to_string()).unwrap();
    fs::write(place.path().join("config.json"), json!({"model_type": "qwen2_vl"}).to_string()).unwrap();
    Processor::from_dir(place.path()).unwrap()
}

/// Pictures of every shape, the longest beyond what is taken.
fn shape() -> impl Strategy<Value = (u32, u32)> {
    prop_oneof![
        (1..400_u32, 1..400_u32),
        (1..6_u32, 1..1300_u32),
        (1..1300_u32, 1..6_u32),
        (300..700_u32, 300..700_u32)
    ]
}

fn holds(processor: &Processor, (width, height): (u32, u32), layout: Layout) {
    let picture = Picture::from(RgbImage::new(width, height));
    let messages = [Message::user([Part::from(picture)], "How many <image> are there?")];
    let request = PromptRequest { sample: "one", messages: &messages, layout, prefill: "I" };
    let counted = processor.count(&request, &|picture| picture.dimensions());
    match (processor.prompt(&request), counted) {
        (Ok(prompt), Ok(counted)) => {
            assert_eq!(counted.total(), prompt.len(), "{width}x{height}");
            let patches: usize = prompt.patches().iter().map(|p| p.grid_thw.iter().product::<usize>()).sum();
            assert_eq!(counted.patches, patches, "{width}x{height}");
        }
        (Err(refused), Err(counted)) => assert_eq!(refused.to_string(), counted.to_string()),
        (prompt, counted) => panic!("{width}x{height}: {:?}, {counted:?}", prompt.map(|prompt| prompt.len())),
    }
}

#[test]
fn a_picture_of_any_shape_counts_as_many_tokens_as_it_becomes() {
    let mut all: Vec<Processor> = FAMILIES.iter().flat_map(|family| processors(family)).collect();
    all.push(qwen2_vl(json!({"image_processor_type": "Qwen2VLImageProcessor"})));
    all.push(qwen2_vl(json!({"min_pixels": 784, "max_pixels": 40_000})));
    all.push(qwen2_vl(json!({"do_resize": false})));
    for processor in &all {
        let mut runner =
            TestRunner::new(ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() });
        let layouts = prop_oneof![Just(Layout::Chat), Just(Layout::Raw)];
        let each = |(shape, layout)| {
            holds(processor, shape, layout);
            Ok(())
        };
        runner.run(&(shape(), layouts), each).unwrap();
    }
}

#[test]
fn a_conversation_with_answers_counts_as_many_tokens_and_as_many_that_are_learnt() {
    let processor = qwen2_vl(json!({"min_pixels": 784, "max_pixels": 40_000}));
    let picture = Picture::from(RgbImage::new(90, 40));
    let messages = [
        Message::user([Part::from(picture)], "What is it?"),
        Message::text(Role::Assistant, "A line."),
        Message::text(Role::User, "How long?"),
        Message::text(Role::Assistant, "90 pixels."),
    ];
    let whole = processor.supervised("one", &messages, vr1_processor::Mask::Assistant).unwrap();
    let sides = |picture: &Picture| picture.dimensions();
    let (counted, learnt) = processor.count_supervised("one", &messages, &sides).unwrap();
    assert_eq!(counted.total(), whole.prompt.len());
    assert_eq!(learnt, whole.labels.iter().filter(|label| **label >= 0).count());
}

#[test]
fn the_header_of_a_file_is_all_that_is_asked_for() {
    let processor = qwen2_vl(json!({"min_pixels": 784, "max_pixels": 400_000}));
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("cut.png");
    RgbImage::from_fn(300, 200, |x, y| image::Rgb([(x * y) as u8, x as u8, y as u8])).save(&file).unwrap();
    let whole = fs::read(&file).unwrap();
    let sample = |path: &Path| Sample {
        media: vec![Media::Image(Picture::File(path.into()))],
        question: "What?".into(),
        ..Sample::default()
    };
    let count = |path: &Path| {
        let sample = sample(path);
        let said = vr1_data::Said::question(&sample);
        processor.count_said(&sample, &said, Layout::Chat, "", &|picture| picture.dimensions())
    };
    let before = count(&file).unwrap();
    assert_eq!(before.total(), processor.sample(&sample(&file), "What?", Layout::Chat, "").unwrap().len());
    fs::write(&file, &whole[..200]).unwrap();
    assert_eq!(count(&file).unwrap(), before);
    assert!(processor.sample(&sample(&file), "What?", Layout::Chat, "").is_err());
    fs::write(&file, "no picture").unwrap();
    assert!(count(&file).unwrap_err().to_string().contains("cut.png"));
}

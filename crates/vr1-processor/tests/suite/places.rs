//! What a row shows stands in its prompt where its markers were, as in what transformers makes of the same parts in a list
//! (tests/fixtures/generate_places.py).
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

use std::convert::Infallible;
use std::path::Path;

use image::{Rgb, RgbImage};
use serde_json::{Value, json};
use vr1_data::{PreferenceSet, Said, SampleSet};
use vr1_processor::{Layout, Message, Processor, Prompt, PromptRequest};

fn fixtures() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// The pictures of generate_places.py.
fn picture(folder: &Path, size: &Value, name: &str, time: u64) -> String {
    let [height, width] = [0, 1].map(|i| size[i].as_u64().unwrap() as u32);
    let level = |x: u64, y: u64, c: u64| (((x * 73_856_093) ^ (y * 19_349_663) ^ (c * 83_492_791)) >> 5) & 255;
    let rgb = |x: u32, y: u32| Rgb([0, 1, 2].map(|c| level(x.into(), y.into(), c + 3 * time) as u8));
    let name = format!("{name}.png");
    RgbImage::from_fn(width, height, rgb).save(folder.join(&name)).unwrap();
    name
}

fn check(prompt: &Prompt, expected: &Value, case: &Value) {
    let about = format!("{:?} in {:?}", case["question"], case["wrap"]);
    assert_eq!(json!(prompt.text()), expected["text"], "{about}");
    assert_eq!(json!(prompt.input_ids()), expected["input_ids"], "{about}");
    let types: Vec<u8> = prompt.token_types().iter().map(|&kind| kind as u8).collect();
    assert_eq!(json!(types), expected["token_types"], "{about}");
}

#[test]
fn media_stand_where_the_markers_of_a_row_were() {
    let processor = Processor::from_dir(&fixtures().join("checkpoint")).unwrap();
    let cases: Vec<Value> = serde_json::from_slice(&std::fs::read(fixtures().join("places.json")).unwrap()).unwrap();
    assert_eq!(cases.len(), 24);
    for case in &cases {
        let dir = tempfile::tempdir().unwrap();
        let sizes = |key: &str| case[key].as_array().unwrap().iter().enumerate();
        let image = |(i, size): (usize, &Value)| picture(dir.path(), size, &format!("i{i}"), 0);
        let images: Vec<String> = sizes("images").map(image).collect();
        let video = |(i, size): (usize, &Value)| [0, 1].map(|t| picture(dir.path(), size, &format!("v{i}_{t}"), t));
        let videos: Vec<[String; 2]> = sizes("videos").map(video).collect();
        let said = json!([{"from": "human", "value": case["question"]}, {"from": "gpt", "value": "3"}]);
        let asked = case["wrap"].as_str().unwrap().replace("{}", case["question"].as_str().unwrap());
        let pair = json!({"prompt": asked, "chosen": "a", "rejected": "b", "images": images, "videos": videos});
        let row = json!({"conversations": said, "images": images, "videos": videos});
        let [row, pair] = [("row.jsonl", row), ("pair.jsonl", pair)].map(|(name, row)| {
            std::fs::write(dir.path().join(name), row.to_string()).unwrap();
            dir.path().join(name)
        });

        let sample = SampleSet::open(&row, dir.path()).unwrap().get(0).unwrap();
        let wrap = case["wrap"].as_str().unwrap();
        let Ok(said) = Said::asking::<Infallible>(&sample, |question| Ok(wrap.replace("{}", question)));
        for (layout, name) in [(Layout::Chat, "chat"), (Layout::Raw, "raw")] {
            check(&processor.said(&sample, &said, layout, "").unwrap(), &case[name], case);
        }
        if wrap == "{}" {
            check(&processor.sample(&sample, &sample.question, Layout::Chat, "").unwrap(), &case["chat"], case);
        }

        let pair = PreferenceSet::open(&pair, dir.path()).unwrap().get(0).unwrap();
        let messages: Vec<Message> = pair.prompt.iter().map(|said| Message::said(said, &pair.sample)).collect();
        let request = PromptRequest { sample: "s", messages: &messages, layout: Layout::Chat, prefill: "" };
        check(&processor.prompt(&request).unwrap(), &case["chat"], case);
        check(
            &processor.said(&pair.sample, &Said::question(&pair.sample), Layout::Chat, "").unwrap(),
            &case["chat"],
            case,
        );
    }
}

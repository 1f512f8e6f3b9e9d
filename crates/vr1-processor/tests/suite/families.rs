//! Prompts of each family against those of its transformers processor: `fixtures/families/generate.py` draws conversations and
//! settings; where `VR1_DRAWN` names a folder, others of another seed lie there.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::{Rgb, RgbImage};
use serde_json::Value;
use vr1_data::Video;
use vr1_processor::{Layout, Message, Part, Patches, Processor, Prompt, PromptRequest, Role, Tiles, TokenType};

fn family(name: &str) -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/families");
    std::env::var_os("VR1_DRAWN").map_or(here, PathBuf::from).join(name)
}

/// The pictures of drawing.py; of a film, that which is so many after the first.
fn picture(drawn: &Value, time: u64) -> RgbImage {
    let [seed, height, width] = [0, 1, 2].map(|i| drawn[i].as_u64().unwrap());
    let seed = seed + time;
    let level = |x: u64, y: u64, c: u64| {
        let noise = (x / 3 * 73_856_093) ^ (y / 2 * 19_349_663) ^ (c * 83_492_791) ^ (seed * 2_654_435_761);
        ((noise >> 5) & 255) + x * (seed + 1) + y * 2
    };
    let rgb = |x: u32, y: u32| Rgb([0, 1, 2].map(|c| level(x.into(), y.into(), c) as u8));
    RgbImage::from_fn(width as u32, height as u32, rgb)
}

fn message(message: &Value) -> Message {
    let role = match message["role"].as_str().unwrap() {
        "system" => Role::System,
        "user" => Role::User,
        _ => Role::Assistant,
    };
    let part = |part: &Value| match part["type"].as_str().unwrap() {
        "text" => Part::from(part["text"].as_str().unwrap()),
        "image" => Arc::new(picture(&part["picture"], 0)).into(),
        _ => {
            let (drawn, frames) = (&part["video"], part["video"][3].as_u64().unwrap());
            let frames = (0..frames).map(|time| picture(drawn, time).into()).collect();
            Video::Frames { frames, fps: drawn[4].as_f64() }.into()
        }
    };
    Message { role, parts: message["content"].as_array().unwrap().iter().map(part).collect() }
}

/// Ids, of which one and a count stand for as many.
fn ids(listed: &Value) -> Vec<i64> {
    let listed = listed.as_array().unwrap().iter();
    let ids = listed.flat_map(|entry| match entry.as_array() {
        Some(pair) => vec![pair[0].as_i64().unwrap(); pair[1].as_u64().unwrap() as usize],
        None => vec![entry.as_i64().unwrap()],
    });
    ids.collect()
}

fn checksum(patches: &Patches) -> u64 {
    let values = patches.pixel_values.iter().enumerate();
    values.fold(0, |sum, (i, value)| sum.wrapping_add(u64::from(value.to_bits()).wrapping_mul(i as u64 + 1)))
}

/// A checkpoint of a family, with these files beside its tokenizer and template.
fn checkpoint(family: &Path, files: &Value) -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    for name in ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"] {
        fs::copy(family.join(name), place.path().join(name)).unwrap();
    }
    for (name, content) in files.as_object().unwrap() {
        fs::write(place.path().join(name), content.to_string()).unwrap();
    }
    place
}

/// Holds every case of a family to its fixture, and hands the prompt to `more`.
fn compare(name: &str, more: impl Fn(&Prompt, &Value, &str)) {
    let folder = family(name);
    let drawn: Value = serde_json::from_str(&fs::read_to_string(folder.join("cases.json")).unwrap()).unwrap();
    for (which, settings) in drawn.as_array().unwrap().iter().enumerate() {
        let place = checkpoint(&folder, &settings["files"]);
        let processor = Processor::from_dir(place.path()).unwrap();
        let saved = tempfile::tempdir().unwrap();
        fs::copy(place.path().join("config.json"), saved.path().join("config.json")).unwrap();
        processor.save(saved.path()).unwrap();
        let again = Processor::from_dir(saved.path()).unwrap();
        for (number, case) in settings["cases"].as_array().unwrap().iter().enumerate() {
            let at = format!("{name}, settings {which}, case {number} ({})", case["layout"]);
            let layout = if case["layout"] == "raw" { Layout::Raw } else { Layout::Chat };
            let messages: Vec<Message> = case["messages"].as_array().unwrap().iter().map(message).collect();
            let request = PromptRequest { sample: &at, messages: &messages, layout, prefill: "" };
            let prompt = processor.prompt(&request).unwrap();
            assert_eq!(prompt.input_ids(), ids(&case["ids"]), "{at}: {}", prompt.text());
            let counted = processor.count(&request, &|picture| picture.dimensions()).unwrap();
            let patches: usize = prompt.patches().iter().map(|p| p.grid_thw.iter().product::<usize>()).sum();
            assert_eq!((counted.total(), counted.patches), (prompt.len(), patches), "{at}: counted");
            let text = prompt.token_types().iter().filter(|kind| **kind == TokenType::Text).count();
            assert_eq!(counted.text, text, "{at}: counted");
            let runs = case["runs"].as_array().unwrap();
            assert_eq!(prompt.media().len(), runs.len(), "{at}");
            for ((patches, span), run) in prompt.patches().iter().zip(prompt.media()).zip(runs) {
                assert_eq!(serde_json::json!(patches.grid_thw), run["grid_thw"], "{at}");
                assert_eq!(serde_json::json!(checksum(patches)), run["sum"], "{at}: pixels");
                assert_eq!(span.grid.iter().product::<usize>(), span.range.len(), "{at}");
                assert!(prompt.token_types()[span.range.clone()].iter().all(|kind| *kind == span.kind), "{at}");
            }
            let shown = prompt.token_types().iter().filter(|kind| **kind != TokenType::Text).count();
            assert_eq!(shown, prompt.media().iter().map(|span| span.range.len()).sum::<usize>(), "{at}");
            more(&prompt, case, &at);
            if number == 1 {
                assert_eq!(again.prompt(&request).unwrap().patches(), prompt.patches(), "{at}: saved and read again");
            }
        }
    }
}

/// Positions go on by one, whatever is shown.
fn in_a_line(prompt: &Prompt, at: &str) {
    let line: Vec<i64> = (0..prompt.len() as i64).collect();
    assert!(
        prompt.position_ids().iter().all(|row| *row == line) && prompt.next_position() == prompt.len() as i64,
        "{at}"
    );
}

#[test]
fn llava_has_transformers_ids_and_pixels() {
    compare("llava", |prompt, _, at| {
        in_a_line(prompt, at);
        assert!(prompt.patches().iter().all(|patches| patches.tiles == Tiles::Whole), "{at}");
    });
}

#[test]
fn llava_next_has_transformers_ids_pixels_and_kept_patches() {
    compare("llava_next", |prompt, case, at| {
        in_a_line(prompt, at);
        for (patches, run) in prompt.patches().iter().zip(case["runs"].as_array().unwrap()) {
            let [rows, columns, lines, wide] = [0, 1, 2, 3].map(|i| run["tiled"][i].as_u64().unwrap() as usize);
            assert_eq!(patches.tiles, Tiles::Overview { rows, columns, kept: [lines, wide] }, "{at}");
        }
    });
}

#[test]
fn mllama_has_transformers_ids_tiles_and_sight() {
    compare("mllama", |prompt, case, at| {
        in_a_line(prompt, at);
        let runs = case["runs"].as_array().unwrap();
        for ((patches, seen), run) in prompt.patches().iter().zip(prompt.seen_by()).zip(runs) {
            let [rows, columns] = [0, 1].map(|i| run["tiled"][i].as_u64().unwrap() as usize);
            assert_eq!(patches.tiles, Tiles::Canvas { rows, columns }, "{at}");
            assert_eq!(serde_json::json!([seen.start, seen.end]), run["seen"], "{at}");
        }
    });
}

#[test]
fn idefics3_has_transformers_ids_and_tiles() {
    compare("idefics3", |prompt, _, at| in_a_line(prompt, at));
}

#[test]
fn smolvlm_has_transformers_ids_tiles_and_films() {
    compare("smolvlm", |prompt, _, at| in_a_line(prompt, at));
}

#[test]
fn qwen3_vl_has_transformers_ids_patches_times_and_positions() {
    compare("qwen3_vl", |prompt, case, at| {
        let Some(rows) = case["positions"].as_array() else { return in_a_line(prompt, at) };
        for (row, expected) in prompt.position_ids().iter().zip(rows) {
            let with_next: Vec<i64> = row.iter().copied().chain([prompt.next_position()]).collect();
            assert_eq!(serde_json::json!(with_next), *expected, "{at}");
        }
    });
}

#[test]
fn aria_has_transformers_ids_tiles_and_corners() {
    compare("aria", |prompt, case, at| {
        in_a_line(prompt, at);
        for (patches, run) in prompt.patches().iter().zip(case["runs"].as_array().unwrap()) {
            let Tiles::Corners(corners) = &patches.tiles else { panic!("{at}: {:?}", patches.tiles) };
            assert_eq!(serde_json::json!(corners), run["corners"], "{at}");
        }
    });
}

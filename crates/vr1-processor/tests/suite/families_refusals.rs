//! Settings and pictures from which no family can make a prompt are errors that name file, key and reason; words are never
//! pictures.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

use std::fs;
use std::path::{Path, PathBuf};

use image::RgbImage;
use serde_json::{Value, json};
use vr1_data::{Picture, Video};
use vr1_processor::{Error, Layout, Mask, Message, Part, Processor, PromptRequest, Role, TokenType};

const FAMILIES: [&str; 7] = ["llava", "llava_next", "mllama", "qwen3_vl", "idefics3", "smolvlm", "aria"];

fn folder(family: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/families").join(family)
}

/// The first files of settings of a family's fixtures.
fn files(family: &str) -> Value {
    let drawn: Value = serde_json::from_slice(&fs::read(folder(family).join("cases.json")).unwrap()).unwrap();
    drawn[0]["files"].clone()
}

fn checkpoint(family: &str, files: &Value) -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    for name in ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"] {
        fs::copy(folder(family).join(name), place.path().join(name)).unwrap();
    }
    for (name, content) in files.as_object().unwrap() {
        fs::write(place.path().join(name), content.to_string()).unwrap();
    }
    place
}

fn processor(family: &str) -> Processor {
    Processor::from_dir(checkpoint(family, &files(family)).path()).unwrap()
}

/// The error of a checkpoint whose `file` has other values under the keys.
fn refused(family: &str, file: &str, keys: Value) -> String {
    let mut files = files(family);
    for (key, value) in keys.as_object().unwrap() {
        files[file][key] = value.clone();
    }
    Processor::from_dir(checkpoint(family, &files).path()).unwrap_err().to_string()
}

fn request(messages: &[Message]) -> PromptRequest<'_> {
    PromptRequest { sample: "s-1", messages, layout: Layout::Chat, prefill: "" }
}

const IMAGES: &str = "preprocessor_config.json";
const OTHERS: &str = "processor_config.json";

#[test]
fn a_setting_that_cannot_be_is_named_with_its_file_and_reason() {
    let cases = [
        ("llava", IMAGES, json!({ "resample": 7 }), "`resample`: 7; known are 1 (lanczos)"),
        ("llava", IMAGES, json!({ "crop_size": 0 }), "`crop_size`: 0 is no height and width"),
        ("llava", IMAGES, json!({ "size": { "shortest_edge": -4 } }), "`size`: {\"shortest_edge\":-4} is no height"),
        ("llava", IMAGES, json!({ "image_processor_type": "ViTImageProcessor" }), "`image_processor_type`: \"ViT"),
        ("llava", IMAGES, json!({ "image_std": [0.0, 1.0, 1.0] }), "`image_std`: 0 is not above zero"),
        (
            "llava",
            OTHERS,
            json!({ "vision_feature_select_strategy": "cls" }),
            "`vision_feature_select_strategy`: \"cls\"",
        ),
        ("llava", OTHERS, json!({ "patch_size": 0 }), "`patch_size`: 0 is not between"),
        (
            "llava_next",
            IMAGES,
            json!({ "image_grid_pinpoints": [[30, 60]] }),
            "`image_grid_pinpoints`: [30, 60] is not made",
        ),
        ("llava_next", IMAGES, json!({ "image_grid_pinpoints": [] }), "`image_grid_pinpoints`: [] is not a list"),
        ("llava_next", IMAGES, json!({ "size": { "shortest_edge": 5 }, "do_center_crop": false }), "`crop_size`:"),
        ("mllama", IMAGES, json!({ "max_image_tiles": 0 }), "`max_image_tiles`: 0 is not between"),
        ("mllama", IMAGES, json!({ "max_image_tiles": 3 }), "`max_image_tiles`: 3, but config.json has 4"),
        ("mllama", IMAGES, json!({ "size": { "height": 28, "width": 56 } }), "`size`: 28 × 56 is not a square"),
        ("mllama", IMAGES, json!({ "do_pad": false }), "`do_pad`: its class cannot do without"),
        ("mllama", IMAGES, json!({ "do_center_crop": true }), "`do_center_crop`: this step is not one of its class's"),
        ("idefics3", OTHERS, json!({ "image_seq_len": 5 }), "`image_seq_len`: 5, but 28 pixels in patches of 7"),
        ("idefics3", IMAGES, json!({ "max_image_size": "large" }), "`max_image_size`: \"large\" is no height"),
        ("aria", IMAGES, json!({ "max_image_size": 700 }), "`max_image_size`: 700 is neither of [490, 980]"),
        ("aria", IMAGES, json!({ "min_image_size": 800 }), "`min_image_size`: 800 is above"),
        ("aria", OTHERS, json!({ "size_conversion": { "980": 256 } }), "`size_conversion`: no number of tokens for"),
        ("qwen3_vl", IMAGES, json!({ "patch_size": 0 }), "`patch_size`: 0 is not between"),
        (
            "qwen3_vl",
            "video_preprocessor_config.json",
            json!({ "video_processor_type": "X" }),
            "`video_processor_type`:",
        ),
    ];
    for (family, file, keys, expected) in cases {
        let error = refused(family, file, keys.clone());
        assert!(error.contains(file) && error.contains(expected), "{family} {keys}: {error}");
    }
}

#[test]
fn a_picture_without_shape_or_of_an_absurd_one_is_an_error_of_its_sample() {
    for family in FAMILIES {
        let processor = processor(family);
        for (height, width, reason) in [(0, 5, "no pixels"), (1, 201, "200 times"), (403, 2, "200 times")] {
            let shown = [Message::user([Picture::from(RgbImage::new(width, height))], "What?")];
            let error = processor.prompt(&request(&shown)).unwrap_err();
            assert!(matches!(&error, Error::Media { index: 0, .. }), "{family}: {error}");
            assert!(error.to_string().contains("s-1") && error.to_string().contains(reason), "{family}: {error}");
        }
        for (height, width) in [(3, 100), (100, 3), (1, 1)] {
            let shown = [Message::user([Picture::from(RgbImage::new(width, height))], "What?")];
            assert!(processor.prompt(&request(&shown)).unwrap().check_fits(10_000).is_ok(), "{family}");
        }
    }
}

#[test]
fn a_video_is_an_error_where_the_family_takes_none() {
    let frames = vec![Picture::from(RgbImage::new(40, 40)); 4];
    for family in FAMILIES {
        let video = Video::Frames { frames: frames.clone(), fps: Some(2.0) };
        let shown = [Message::user([video], "What?")];
        let taken = processor(family).prompt(&request(&shown));
        match ["qwen3_vl", "smolvlm"].contains(&family) {
            true => assert!(!taken.unwrap().media().is_empty(), "{family}"),
            false => assert!(taken.unwrap_err().to_string().contains("takes no videos"), "{family}"),
        }
    }
}

#[test]
fn a_template_that_shows_another_number_of_pictures_is_an_error_with_both() {
    for family in FAMILIES {
        let place = checkpoint(family, &files(family));
        let one = "{% for m in messages %}{% for p in m.content %}{% if p.type == 'image' %}IMAGEIMAGE{% endif %}{% endfor %}x{% endfor %}";
        let marker = processor(family).tokenizer().image_pad().unwrap();
        let marker = processor(family).tokenizer().token(marker).unwrap();
        fs::write(place.path().join("chat_template.jinja"), one.replace("IMAGE", &marker)).unwrap();
        let shown = [Message::user([Picture::from(RgbImage::new(30, 30))], "What?")];
        let error = Processor::from_dir(place.path()).unwrap().prompt(&request(&shown)).unwrap_err();
        let counts = matches!(error, Error::Placeholders { placeholders: 2, given: 1, kind: TokenType::Image, .. });
        assert!(counts, "{family}: {error}");
    }
}

#[test]
fn pictures_and_their_tokens_spelt_in_words_are_words() {
    for family in FAMILIES {
        let processor = processor(family);
        let tokenizer = processor.tokenizer();
        let media = tokenizer.media_ids();
        let mut words = String::from("<video> and <row_1_col_1> and ");
        media.iter().for_each(|id| words.push_str(&tokenizer.token(*id).unwrap()));
        let shown = [Message::user([Picture::from(RgbImage::new(40, 30))], words.clone())];
        let plain = [Message::user([Picture::from(RgbImage::new(40, 30))], "plain")];
        let count = |messages: &[Message], layout| {
            let prompt = processor.prompt(&PromptRequest { layout, ..request(messages) }).unwrap();
            let ids = prompt.input_ids().iter().filter(|id| media.contains(id)).count();
            (ids, prompt.media().len())
        };
        for layout in [Layout::Chat, Layout::Raw] {
            assert_eq!(count(&shown, layout), count(&plain, layout), "{family}");
        }
        let answer = [Message::text(Role::User, "Say it."), Message::text(Role::Assistant, words)];
        let learnt = processor.supervised("s", &answer, Mask::Assistant).unwrap();
        assert!(learnt.prompt.media().is_empty(), "{family}");
        assert!(learnt.prompt.input_ids().iter().all(|id| !media.contains(id)), "{family}");
    }
}

#[test]
fn a_conversation_to_learn_from_begins_as_the_prompt_it_is_sampled_after() {
    for family in FAMILIES {
        let processor = processor(family);
        let picture = || Part::from(Picture::from(RgbImage::new(90, 41)));
        let question = Message { role: Role::User, parts: vec![picture(), "How many?".into(), picture()] };
        let prompt = processor.prompt(&request(std::slice::from_ref(&question))).unwrap();
        let messages = [question, Message::text(Role::Assistant, "Three.")];
        let learnt = processor.supervised("s-1", &messages, Mask::Assistant).unwrap();
        let first = learnt.labels.iter().position(|label| *label >= 0).unwrap();
        assert_eq!(learnt.prompt.input_ids()[..first], *prompt.input_ids(), "{family}");
        assert_eq!(learnt.prompt.media(), prompt.media(), "{family}");
        assert_eq!(learnt.prompt.patches(), prompt.patches(), "{family}");
        let next = processor.next_turn(
            &prompt,
            &[],
            &request(&[Message::user([Picture::from(RgbImage::new(30, 30))], "And?")]),
        );
        assert!(next.unwrap().media().len() > prompt.media().len(), "{family}");
    }
}

//! Training, saving and loading a tokenizer, and what is a special token and what is text.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

use std::fs;
use std::path::Path;

use vr1_processor::{Error, Rendered, Specials, Tokenizer, Voice};

fn texts() -> impl Iterator<Item = String> + Send {
    let nouns = ["cube", "sphere", "cylinder", "image", "naïve café", "don't", "12 + 345"];
    (0..400).map(move |i| {
        format!("Is the {} left of the {}?\n\n  Yes, {} of {i}.", nouns[i % 7], nouns[i % 5], nouns[i % 3])
    })
}

fn trained() -> Tokenizer {
    Tokenizer::train(texts(), 300).unwrap()
}

#[test]
fn specials_come_after_the_vocabulary_in_qwens_order() {
    let tokenizer = trained();
    assert_eq!(tokenizer.vocab_size(), 300);
    assert_eq!(tokenizer.id("<|endoftext|>"), Some(286));
    assert_eq!(tokenizer.id("<|im_start|>"), Some(287));
    assert_eq!(tokenizer.id("<|im_end|>"), Some(288));
    assert_eq!(tokenizer.id("<|vision_start|>"), Some(295));
    assert_eq!(tokenizer.id("<|vision_end|>"), Some(296));
    assert_eq!(tokenizer.image_pad(), Some(298));
    assert_eq!(tokenizer.video_pad(), Some(299));
    assert_eq!(tokenizer.eos(), [288]);
    assert_eq!(tokenizer.pad(), Some(286));
}

#[test]
fn what_is_never_sampled_are_media_and_rows_that_spell_nothing() {
    let tokenizer = trained();
    // `<|vision_start|>`, `<|vision_end|>`, and the placeholders.
    let sorted = |rows| {
        let mut ids = tokenizer.unreachable_ids(rows);
        ids.sort_unstable();
        ids
    };
    assert_eq!(sorted(300), [295, 296, 297, 298, 299]);
    assert_eq!(sorted(303), [295, 296, 297, 298, 299, 300, 301, 302]);
    // Where a model has fewer rows than there are ids, none is beyond them.
    assert_eq!(sorted(297), [295, 296]);
    assert!(sorted(10).is_empty());
}

#[test]
fn training_twice_gives_the_same_tokenizer() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    trained().save(a.path()).unwrap();
    trained().save(b.path()).unwrap();
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        assert_eq!(fs::read(a.path().join(name)).unwrap(), fs::read(b.path().join(name)).unwrap(), "{name}");
    }
}

#[test]
fn every_text_comes_back_from_its_ids() {
    let tokenizer = trained();
    for text in
        ["", " ", "Is the cube left?", "日本語 🙂 \u{0} \t\r\n", "<|image_pad|> and <|im_end|>", "<|im_<|im_end|>"]
    {
        let ids = tokenizer.encode_words(text, Voice::User).unwrap();
        assert_eq!(tokenizer.decode(&ids, Specials::Keep).unwrap(), text);
        assert_eq!(tokenizer.decode(&ids, Specials::Skip).unwrap(), text, "no id of words is a special token's");
    }
}

#[test]
fn composed_and_decomposed_letters_have_the_same_ids() {
    let tokenizer = trained();
    assert_eq!(
        tokenizer.encode_words("café", Voice::User).unwrap(),
        tokenizer.encode_words("cafe\u{301}", Voice::User).unwrap()
    );
}

#[test]
fn a_special_token_in_a_users_words_is_words() {
    let tokenizer = trained();
    let ids = tokenizer.encode_words("see <|image_pad|> here", Voice::User).unwrap();
    assert!(!ids.contains(&tokenizer.image_pad().unwrap()));
    let mut expected = tokenizer.encode_words("see ", Voice::User).unwrap();
    expected.extend(tokenizer.encode_words("<|image_pad|>", Voice::User).unwrap());
    expected.extend(tokenizer.encode_words(" here", Voice::User).unwrap());
    assert_eq!(ids, expected);
}

#[test]
fn an_empty_prompt_has_no_ids() {
    assert!(trained().encode(&Rendered::default()).unwrap().is_empty());
    assert!(trained().leading_ids().unwrap().is_empty());
}

#[test]
fn an_id_outside_the_vocabulary_is_named() {
    for id in [-1, 300, i64::MAX] {
        let error = trained().decode(&[5, id], Specials::Keep).unwrap_err();
        assert_eq!(error.to_string(), format!("token id {id} is not in the tokenizer's vocabulary of 300 entries"));
    }
}

#[test]
fn a_vocabulary_without_room_for_the_bytes_is_refused() {
    let error = Tokenizer::train(texts(), 269).unwrap_err();
    assert!(error.to_string().contains("vocab_size 269 is below 256 bytes and 14 special tokens"), "{error}");
}

fn saved(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    trained().save(dir.path()).unwrap();
    files.iter().for_each(|(name, text)| fs::write(dir.path().join(name), text).unwrap());
    dir
}

#[test]
fn the_generation_config_says_where_a_completion_ends() {
    let read = |files: &[(&str, &str)]| Tokenizer::from_dir(saved(files).path()).unwrap();
    assert_eq!(read(&[]).eos(), [288]);
    assert_eq!(read(&[("config.json", r#"{"eos_token_id": 286}"#)]).eos(), [286]);
    assert_eq!(read(&[("config.json", r#"{"text_config": {"eos_token_id": 286}}"#)]).eos(), [286]);
    let both = read(&[
        ("config.json", r#"{"eos_token_id": 286, "pad_token_id": null}"#),
        ("generation_config.json", r#"{"eos_token_id": [288, 286], "pad_token_id": 286}"#),
    ]);
    assert_eq!(both.eos(), [288, 286]);
    assert_eq!(both.pad(), Some(286));
}

#[test]
fn a_config_that_contradicts_the_tokenizer_is_named() {
    let fails = |name: &str, text: &str| Tokenizer::from_dir(saved(&[(name, text)]).path()).unwrap_err().to_string();
    let error = fails("config.json", r#"{"image_token_id": 151655}"#);
    assert!(
        error.contains("config.json: `image_token_id`: 151655, but tokenizer.json gives <|image_pad|> the id 298"),
        "{error}"
    );
    let error = fails("generation_config.json", r#"{"eos_token_id": "end"}"#);
    assert!(error.contains("generation_config.json: `eos_token_id`: \"end\" is not a token id"), "{error}");
    let error = fails("generation_config.json", r#"{"eos_token_id": 300}"#);
    assert!(error.contains("`eos_token_id`: 300 is not in the vocabulary of 300"), "{error}");
    assert!(fails("config.json", "{").contains("config.json: not valid JSON"));
    assert!(fails("tokenizer.json", "{}").contains("tokenizer.json"));
}

#[test]
fn a_directory_without_a_tokenizer_names_the_file() {
    let error = Tokenizer::from_dir(Path::new("/nowhere")).unwrap_err();
    assert!(matches!(&error, Error::Io { path, .. } if path.ends_with("tokenizer.json")), "{error}");
}

#[test]
fn a_file_that_says_to_cut_and_pad_is_not_obeyed() {
    let dir = saved(&[]);
    let path = dir.path().join("tokenizer.json");
    let mut json: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    json["truncation"] =
        serde_json::json!({ "direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0 });
    json["padding"] = serde_json::json!({
        "strategy": { "Fixed": 64 }, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0,
        "pad_token": "!"
    });
    fs::write(&path, json.to_string()).unwrap();
    let text = "Is the cube left of the sphere? Yes, it is.";
    let ids = Tokenizer::from_dir(dir.path()).unwrap().encode_words(text, Voice::User).unwrap();
    assert_eq!(ids, trained().encode_words(text, Voice::User).unwrap());
}

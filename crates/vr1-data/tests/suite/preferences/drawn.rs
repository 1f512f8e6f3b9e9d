//! What holds of every file, on drawn ones.

use proptest::prelude::*;
use serde_json::{Value, json};
use vr1_data::{JudgedSet, PreferenceSet, Said, SaidPart};

use super::{assistant, folder, preferences, written};

/// Texts with what JSON and the markers are made of.
fn words() -> impl Strategy<Value = String> {
    prop::collection::vec(
        prop::sample::select(vec!["a", "é漢", " ", "\n", "\"", "\\", "[", "]", "{", "}", ",", "<"]),
        1..9,
    )
    .prop_map(|parts| format!("x{}", parts.concat()))
}

fn read(dir: &tempfile::TempDir, rows: &str) -> Vec<[Vec<Said>; 3]> {
    let set = preferences(dir, rows).unwrap();
    (0..set.len()).map(|at| set.get(at).unwrap()).map(|p| [p.prompt, p.chosen, p.rejected]).collect()
}

/// JSON of any kind, often with a word that some layout knows.
fn any_json() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(vec!["user", "gpt", "text", "image", "video", "<image>", "0.png", "clip", "", "x"]);
    let key = prop::sample::select(vec!["role", "content", "from", "value", "type", "text", "image", "path"]);
    let leaf = prop_oneof![
        4 => word.prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
        1 => Just(Value::Null),
    ];
    leaf.prop_recursive(3, 12, 3, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::hash_map(key.clone(), inner, 1..4)
                .prop_map(|map| Value::Object(map.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn lines_and_lists_are_read_alike(texts in prop::collection::vec((words(), words()), 1..6)) {
        let rows: Vec<_> =
            texts.iter().map(|(p, c)| json!({"prompt": p, "chosen": c, "rejected": format!("{c}!")})).collect();
        let dir = folder();
        let lines: Vec<_> = rows.iter().map(Value::to_string).collect();
        let expected = read(&dir, &lines.join("\n"));
        prop_assert_eq!(&read(&dir, &format!("\u{feff}\n {}\r\n", lines.join("\r\n\n"))), &expected);
        prop_assert_eq!(expected.len(), texts.len());
        for ((prompt, chosen), row) in texts.iter().zip(&expected) {
            prop_assert_eq!(&row[0][0].words(), prompt);
            prop_assert_eq!(&row[1], &[assistant(chosen)]);
        }
        prop_assert_eq!(&read(&dir, &Value::from(rows.clone()).to_string()), &expected);
        prop_assert_eq!(&read(&dir, &serde_json::to_string_pretty(&rows).unwrap()), &expected);
    }

    #[test]
    fn prompt_and_answer_are_together_what_contained_both(start in words(), (a, b) in (words(), words())) {
        let (chosen, rejected) = (format!("{start}a{a}"), format!("{start}b{b}"));
        let dir = folder();
        let [prompt, better, worse] = &read(&dir, &json!({"chosen": chosen, "rejected": rejected}).to_string())[0];
        prop_assert_eq!(prompt[0].words() + &better[0].words(), chosen);
        prop_assert_eq!(prompt[0].words() + &worse[0].words(), rejected);
        prop_assert_eq!(prompt[0].words(), start.strip_suffix(' ').unwrap_or(&start));
    }

    #[test]
    fn media_stand_between_the_words_they_stood_between(
        pieces in prop::collection::vec(prop_oneof![words().prop_map(Some), Just(None)], 1..8),
    ) {
        let marked: String = pieces.iter().map(|piece| piece.as_deref().unwrap_or("<image>")).collect();
        let images: Vec<_> = pieces.iter().filter(|piece| piece.is_none()).map(|_| "0.png").collect();
        let dir = folder();
        let row = json!({"question": marked, "images": images, "chosen": "yes", "rejected": "no"});
        let parts = &read(&dir, &row.to_string())[0][0][0].parts;
        let mut next = 0..;
        let back: String = parts
            .iter()
            .map(|part| match part {
                SaidPart::Text(text) => text.as_str(),
                SaidPart::Media(index) => { assert_eq!(Some(*index), next.next()); "<image>" }
            })
            .collect();
        prop_assert_eq!(back, marked);
        prop_assert_eq!(next.next(), Some(images.len()));
    }

    #[test]
    fn no_bytes_bring_the_readers_down(bytes in prop::collection::vec(any::<u8>(), 0..200), list: bool) {
        let dir = folder();
        let path = written(&dir, "");
        let start: &[u8] = if list { b"[" } else { b"" };
        std::fs::write(&path, [start, &bytes].concat()).unwrap();
        prop_assert!(PreferenceSet::open(&path, dir.path()).is_err());
        prop_assert!(JudgedSet::open(&path, dir.path()).is_err());
    }

    #[test]
    fn no_values_bring_the_readers_down(
        values in prop::collection::vec(any_json(), 4), key in 0..5usize, label: bool,
    ) {
        let key = ["prompt", "conversations", "instruction", "images", "none"][key];
        let mut row = json!({"chosen": values[0], "rejected": values[1], "completion": values[0], "label": label});
        (row[key], row["output"]) = (values[2].clone(), values[3].clone());
        let dir = folder();
        let path = written(&dir, &row.to_string());
        if let Ok(set) = PreferenceSet::open(&path, dir.path()) {
            let read = set.get(0).unwrap();
            prop_assert_ne!(read.chosen, read.rejected);
        }
        if let Ok(set) = JudgedSet::open(&path, dir.path()) {
            prop_assert_eq!(set.get(0).unwrap().desirable, label);
        }
    }
}

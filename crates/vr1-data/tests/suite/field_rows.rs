//! Rows as people bring them, each the case of a rule: read rightly, or refused in words that say what is wrong.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first thing that is not as it should be")]

use std::borrow::Borrow;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;
use vr1_data::{JudgedSet, Media, Place, PreferenceSet, Said, SaidPart, Sample, SampleSet};

enum Right<'a> {
    /// An error of at most so many bytes with each of these in it.
    Error(&'a [&'a str], usize),
    /// Questions, solutions and numbers of images.
    Samples(&'a [(&'a str, &'a str, usize)]),
}
use Right::{Error, Samples};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/rows")
}

/// What is wrong with what came of a file, if anything is.
fn wrong<S: Borrow<SampleSet>>(read: vr1_data::Result<S>, right: &Right<'_>) -> Option<String> {
    match (read.as_ref().map(Borrow::borrow), right) {
        (Err(error), Error(needles, most)) => {
            let message = error.to_string().replace(&format!("{}/", fixtures().display()), "");
            let fits = message.len() <= *most && needles.iter().all(|needle| message.contains(needle));
            (!fits).then_some(message)
        }
        (Ok(data), Samples(samples)) => {
            let read: Vec<Sample> = (0..data.len()).map(|i| data.get(i).unwrap()).collect();
            let images = |s: &Sample| s.media.iter().filter(|media| matches!(media, Media::Image(_))).count();
            let read: Vec<_> = read.iter().map(|s| (s.question.as_str(), s.solution.as_str(), images(s))).collect();
            (read != *samples).then(|| format!("{read:?}"))
        }
        (Err(error), Samples(_)) => Some(error.to_string()),
        (Ok(data), Error(..)) => Some(format!("{} samples", data.len())),
    }
}

#[test]
fn every_reported_file_is_read_rightly_or_refused_in_words() {
    let three = [("How many?", "3", 1)];
    let cases = [
        ("R01", Samples(&three)),
        ("R42", Samples(&[("How many?", "3", 0)])),
        ("R03", Error(&["R03.jsonl:1: images: the row has 1, the prompt has places for 3"], 200)),
        ("R44", Samples(&[("Compare.", "3", 2)])),
        ("R13", Samples(&three)),
        ("R06", Samples(&three)),
        ("R08", Samples(&three)),
        ("R20", Samples(&[three[0]; 3])),
        ("R15", Samples(&three)),
        ("R19", Error(&["image: \"https://example.org/a.png\" is an address: nothing is fetched"], 200)),
        ("R11", Error(&["R11.jsonl:1: conversations[1].value: null"], 200)),
        ("R16", Error(&["image: [\"imgs/a.png\"] is no path"], 200)),
        ("R18", Error(&["image: no file imgs\\a.png"], 200)),
        ("R21", Samples(&[three[0]; 2])),
        ("R25", Error(&["R25.jsonl:1: not a JSON object"], 200)),
        ("R27", Samples(&[("q", "[[10, 20, 110, 220]]", 0), ("q", "[10, 20.5, 110, 220]", 0)])),
        ("R31", Error(&["R31.jsonl:2: image: no file imgs/gone.png"], 200)),
        ("R34", Samples(&[("q\u{2028}r\u{85}s\u{c}", "3", 1)])),
        (
            "R35",
            Error(
                &[
                    "R35.jsonl:1: conversations: an empty list",
                    "R35.jsonl:2: conversations: \"q\" is no list of messages",
                ],
                300,
            ),
        ),
        ("R37", Samples(&[("q", "3", 0)])),
    ];
    let folder = fixtures();
    let found = cases.iter().filter_map(|(id, right)| {
        let read = SampleSet::open(folder.join(format!("{id}.jsonl")), &folder);
        Some(format!("{id}: {}", wrong(read, right)?))
    });
    let found: Vec<_> = found.collect();
    assert!(found.is_empty(), "{} of {} files:\n{}", found.len(), cases.len(), found.join("\n"));
}

fn row(question: &str, more: Value) -> Value {
    let said = json!([{"from": "human", "value": question}, {"from": "gpt", "value": "3"}]);
    let mut row = json!({"conversations": said});
    row.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    row
}

/// Rows, whose file is there as long as they are.
#[derive(Debug)]
struct Opened(SampleSet, #[expect(dead_code, reason = "held until the rows are read")] TempDir);

impl std::ops::Deref for Opened {
    type Target = SampleSet;

    fn deref(&self) -> &SampleSet {
        &self.0
    }
}

impl Borrow<SampleSet> for Opened {
    fn borrow(&self) -> &SampleSet {
        self
    }
}

fn opened(content: &[u8]) -> vr1_data::Result<Opened> {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("rows.jsonl");
    std::fs::write(&path, content).unwrap();
    Ok(Opened(SampleSet::open(path, fixtures())?, dir))
}

#[test]
fn others_of_each_kind_are_refused_or_read_too() {
    let (a, b) = ("imgs/a.png", "imgs/b.png");
    let long = "x".repeat(30_000);
    let said = |message: Value| json!({"conversations": [message, {"from": "gpt", "value": "3"}]});
    let one: &[_] = &[("How many?", "3", 1)];
    let none: &[_] = &[("How many?", "3", 0)];
    let cases: Vec<(Value, Right<'_>)> = vec![
        // a key that seems to name media, in a row that shows nothing
        (row("How many?", json!({"image_url": a})), Error(&["image_url: not a key that media are read from"], 200)),
        (row("How many?", json!({"imagePath": a})), Error(&["imagePath: "], 200)),
        (row("How many?", json!({"Image": a})), Error(&["Image: "], 200)),
        (row("How many?", json!({"image_id": 7})), Error(&["image_id: "], 200)),
        (row("How many?", json!({"video_path": "v.mp4"})), Error(&["video_path: "], 200)),
        (row("How many?", json!({"image": null, "videos": [], "image_file": "a.png"})), Error(&["image_file: "], 200)),
        (row("How many?", json!({"image_url": null, "video_list": []})), Samples(none)),
        (row("How many?", json!({"image": a, "image_id": 7})), Samples(one)),
        (row("How many?", json!({"image_path": a})), Samples(one)),
        (row("How many?", json!({"images": a})), Samples(one)),
        (row("How many?", json!({"imag": a, "vide": 1, "my_image": 2})), Samples(none)),
        (row("How many?", json!({"image": a, "images": [a]})), Error(&["images, image: the row has both"], 200)),
        (said(json!({"from": "human", "value": "q", "image": a})), Error(&["conversations[0].image: not a key"], 200)),
        // as many markers as media, or none of a kind
        (row("<image>q", json!({})), Error(&["images: the row has 0, the prompt has places for 1"], 200)),
        (
            row("<image>q", json!({"image": [a, b]})),
            Error(&["images: the row has 2, the prompt has places for 1"], 200),
        ),
        (row("<video>q", json!({"image": a})), Error(&["videos: the row has 0, the prompt has places for 1"], 200)),
        (
            row("<video><video>q", json!({"video": [a]})),
            Error(&["videos: the row has 1, the prompt has places for 2"], 200),
        ),
        (row("<image>How many?", json!({"image": a, "video": [a]})), Samples(one)),
        (row("How many?", json!({"image": [a]})), Samples(one)),
        // other layouts, by the keys they have
        (json!({"problem": "2+2", "solution": "4"}), Samples(&[("2+2", "4", 0)])),
        (json!({"problem": "2+2", "result": "4"}), Error(&["the row has the keys problem, result; answers"], 300)),
        (json!({"task": "2+2", "solution": "4"}), Error(&["the row has the keys task, solution; questions"], 300)),
        (json!({"prompt": "q", "chosen": "a", "rejected": "b"}), Error(&["the keys prompt, chosen, rejected"], 300)),
        (json!({"conversations": null, "messages": []}), Error(&["messages"], 300)),
        (said(json!({"from": "system", "value": "Be brief."})), Error(&["an answer without a question"], 200)),
        (said(json!({"role": "system", "content": "Be brief."})), Error(&["an answer without a question"], 200)),
        (said(json!({"role": "user", "content": "q"})), Samples(&[("q", "3", 0)])),
        (said(json!({"role": "tool", "content": "q"})), Error(&["[0].role: \"tool\", should be system, user"], 200)),
        (
            said(json!({"from": "gpt", "value": "q"})),
            Error(&["[0]: said by the assistant, should be by the user"], 200),
        ),
        (said(json!({"value": "q"})), Error(&["[0].from: missing", "value"], 200)),
        (said(json!({"from": "human", "text": "q"})), Error(&["[0].value: missing", "from, text"], 200)),
        (said(json!("q")), Error(&["[0]: \"q\" is no message"], 200)),
        // long values
        (row("q", json!({"image": long})), Error(&["image: no file", "…"], 500)),
        (
            row("q", json!({"image": format!("data:image/png;base64,{long}")})),
            Error(&["image: 22500 bytes that do not begin as a picture does"], 200),
        ),
        (row("q", json!({"video": long})), Error(&["video: "], 500)),
        (json!(long), Error(&["not a JSON object"], 500)),
        (json!({"conversations": long}), Error(&["conversations: "], 500)),
        (said(json!({"from": long, "value": "q"})), Error(&["[0].from: "], 500)),
        (said(json!({"from": "human", "value": [long]})), Error(&["[0].value[0]: "], 500)),
        (json!({ long.as_str(): 1 }), Error(&["no question: the row has the keys xxx"], 500)),
        (Value::from_iter((0..900).map(|i| (format!("key{i}"), json!(i)))), Error(&["key15, …"], 500)),
        (row("q", json!({ format!("image_{long}"): 1 })), Error(&["image_xx"], 500)),
        // addresses and empty paths
        (row("q", json!({"image": ""})), Error(&["image: \"\" is an empty path"], 200)),
        (row("q", json!({"image": [a, "  "]})), Error(&["\"  \" is an empty path"], 200)),
        (row("q", json!({"video": ""})), Error(&["video: \"\" is an empty path"], 200)),
        (row("q", json!({"videos": [["https://example.org/1.png"]]})), Error(&["is an address"], 200)),
        (row("q", json!({"video": "HTTP://example.org/v.mp4"})), Error(&["is an address"], 200)),
        (row("q", json!({"image": "s3://bucket/a.png"})), Error(&["is an address"], 200)),
        (row("q", json!({"image": "file:///a.png"})), Error(&["is an address"], 200)),
        (row("q", json!({"image": "C:\\imgs\\a.png"})), Error(&["no file"], 200)),
    ];
    let found = cases.iter().filter_map(|(row, right)| {
        let row = row.to_string();
        let wrong = wrong(opened(row.as_bytes()), right)?;
        Some(format!("{}: {}", row.chars().take(200).collect::<String>(), wrong.chars().take(700).collect::<String>()))
    });
    let found: Vec<_> = found.collect();
    assert!(found.is_empty(), "{} of {} rows:\n{}", found.len(), cases.len(), found.join("\n"));
}

#[test]
fn the_solution_is_the_inside_of_the_last_answer_or_the_text_whole() {
    let cases = [
        ("<answer> 3 </answer>", "3"),
        ("<answer>1</answer> no, <answer>2</answer> then", "2"),
        ("<answer><answer>5</answer></answer>", "5"),
        ("<answer>4</answer> and <answer>cut", "4"),
        ("<answer>cut", "<answer>cut"),
        ("cut</answer>", "cut</answer>"),
        ("</answer>3<answer>", "</answer>3<answer>"),
        ("<answer></answer>", ""),
        ("<think>one</think> 3", "<think>one</think> 3"),
        (" 3\n", "3"),
    ];
    for (text, solution) in cases {
        let said = json!([{"from": "human", "value": "q"}, {"from": "gpt", "value": text}]);
        let read = opened(json!({ "conversations": said }).to_string().as_bytes()).unwrap();
        assert_eq!(read.get(0).unwrap().solution, solution, "{text}");
    }
}

#[test]
fn a_file_that_is_no_rows_is_refused_once() {
    let good = row("q", json!({}));
    let pretty = serde_json::to_string_pretty(&good).unwrap();
    let utf16 = |text: &str, mark: &[u8], big: bool| {
        let unit = |unit: u16| if big { unit.to_be_bytes() } else { unit.to_le_bytes() };
        [mark, &text.encode_utf16().flat_map(unit).collect::<Vec<u8>>()].concat()
    };
    let line = good.to_string();
    let latin: Vec<u8> =
        format!("{line}\n{}\n", row("caf\u{e9}", json!({}))).repeat(30).chars().map(|c| c as u8).collect();
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (pretty.clone().into_bytes(), "one JSON object over many lines"),
        (format!("\u{feff}\n{pretty}\n").into_bytes(), "one JSON object over many lines"),
        (format!("{pretty}\n").repeat(30).into_bytes(), "one JSON object over many lines"),
        (serde_json::to_vec_pretty(&json!({"data": [good]})).unwrap(), "one JSON object over many lines"),
        (pretty.as_bytes()[..pretty.len() / 2].to_vec(), "one JSON object over many lines"),
        (utf16(&line, &[0xff, 0xfe], false), "UTF-16"),
        (utf16(&line, &[0xfe, 0xff], true), "UTF-16"),
        (utf16(&format!("[{line}]"), &[], false), "UTF-16"),
        (utf16(&line, &[], true), "UTF-16"),
        (latin, "rows.jsonl:2: not a JSON object: not UTF-8"),
        ([&[0x1f, 0x8b, 8, 0][..], &[7; 500]].concat(), "gzip"),
        ([&b"PAR1"[..], &[0xc0, 10].repeat(300)].concat(), "parquet"),
    ];
    for (content, expected) in cases {
        let message = opened(&content).unwrap_err().to_string();
        assert!(message.contains(expected) && message.lines().count() == 1 && message.len() < 300, "{message}");
    }
    let list = opened(&serde_json::to_vec_pretty(&json!([good, good])).unwrap()).unwrap();
    assert_eq!(list.len(), 2);
}

#[test]
fn a_file_of_rows_that_is_an_address_or_nothing_is_called_so() {
    for (path, expected) in [("https://example.org/rows.jsonl", "is an address"), ("", "is an empty path")] {
        let path = Path::new(path);
        let read = [
            SampleSet::open(path, ".").map(drop),
            PreferenceSet::open(path, path).map(drop),
            JudgedSet::open(path, path).map(drop),
        ];
        for result in read {
            let message = result.unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}

#[test]
fn the_rules_hold_for_preferences_and_judged_answers() {
    let dir = TempDir::new().unwrap();
    let cases = [
        (json!({"prompt": "q", "image_url": "a.png"}), "image_url: not a key that media are read from"),
        (
            json!({"prompt": "<image><image>q", "image": "imgs/a.png"}),
            "images: the row has 1, the prompt has places for 2",
        ),
        (json!({"prompt": "q", "image": "https://example.org/a.png"}), "is an address: nothing is fetched"),
        (json!({"prompt": "q", "video": ""}), "video: \"\" is an empty path"),
        (json!({"prompt": [{"role": "user", "content": "q", "image": "a.png"}]}), "prompt[0].image: not a key"),
        (
            json!({"prompt": [{"role": "user", "content": [{"type": "text", "text": "q", "image_url": "a.png"}]}]}),
            "prompt[0].content[0].image_url: not a key",
        ),
    ];
    for (row, expected) in cases {
        for (form, answers) in
            [("pair", json!({"chosen": "a", "rejected": "b"})), ("judged", json!({"completion": "a", "label": true}))]
        {
            let mut row = row.clone();
            row.as_object_mut().unwrap().extend(answers.as_object().unwrap().clone());
            let path = dir.path().join("rows.jsonl");
            std::fs::write(&path, row.to_string()).unwrap();
            let message = match form {
                "pair" => PreferenceSet::open(&path, &fixtures()).unwrap_err().to_string(),
                _ => JudgedSet::open(&path, &fixtures()).unwrap_err().to_string(),
            };
            assert!(message.contains(expected), "{message}\n{expected}");
        }
    }
}

/// Words and, for media, their numbers.
fn shown(said: &Said) -> Vec<Result<String, usize>> {
    let part = |part: &SaidPart| match part {
        SaidPart::Text(words) => Ok(words.clone()),
        SaidPart::Media(index) => Err(*index),
    };
    said.parts.iter().map(part).collect()
}

#[test]
fn markers_between_words_keep_their_place_in_the_question_and_in_other_words() {
    let media = json!({"image": ["imgs/a.png", "imgs/b.png"]});
    let read = opened(row("First: <image> Second: <image>", media).to_string().as_bytes()).unwrap();
    let sample = read.get(0).unwrap();
    assert_eq!(sample.question, "First:  Second: ");
    assert_eq!(sample.places, [Place { turn: 0, at: 7 }, Place { turn: 0, at: 16 }]);
    let text = |words: &str| Ok(words.to_owned());
    assert_eq!(shown(&Said::question(&sample)), [text("First: "), Err(0), text(" Second: "), Err(1)]);
    let asking = |words: &dyn Fn(&str) -> String| {
        let said = Said::asking::<std::convert::Infallible>(&sample, |question| Ok(words(question)));
        shown(&said.unwrap())
    };
    assert_eq!(
        asking(&|q| format!("Q: {} Think.", q.trim().to_uppercase())),
        [text("Q: FIRST: "), Err(0), text(" SECOND: "), Err(1), text(" Think.")]
    );
    let twice = asking(&|q| format!("{q}|{q}"));
    assert_eq!(twice, [text("First: "), Err(0), text(" Second: "), Err(1), text("|First:  Second: ")]);
    assert_eq!(asking(&|_| "Describe.".to_owned()), [Err(0), Err(1), text("Describe.")]);
}

#[test]
fn markers_at_the_beginning_or_none_mean_the_front() {
    let media = json!({"image": ["imgs/a.png", "imgs/b.png"]});
    for question in ["<image><image>\nWhich?", "\nWhich?"] {
        let sample = opened(row(question, media.clone()).to_string().as_bytes()).unwrap().get(0).unwrap();
        assert!(sample.places.is_empty(), "{question}");
        assert_eq!(shown(&Said::question(&sample)), [Err(0), Err(1), Ok("\nWhich?".to_owned())]);
    }
}

#[test]
fn a_later_turn_of_a_staged_conversation_shows_what_it_has_markers_for() {
    let said = ["One: <image>", "a", "Two: <image>?", "b"];
    let from = |(i, words)| json!({"from": if i % 2 == 0 { "human" } else { "gpt" }, "value": words});
    let messages: Vec<Value> = said.into_iter().enumerate().map(from).collect();
    let row = json!({"image": ["imgs/a.png", "imgs/b.png"], "conversations": messages});
    let sample = opened(row.to_string().as_bytes()).unwrap().get(0).unwrap();
    let turns = |chosen: &[usize]| Said::turns(&sample, chosen).iter().map(shown).collect::<Vec<_>>();
    let text = |words: &str| Ok(words.to_owned());
    assert_eq!(turns(&[0, 1]), [vec![text("One: "), Err(0)], vec![text("Two: "), Err(1), text("?")]]);
    assert_eq!(turns(&[1]), [[Err(0), text("Two: "), Err(1), text("?")]]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_shown_is_the_row_with_its_markers(pieces in prop::collection::vec("(<image>|<video>|[a-z é\n<>]{0,6})", 0..9)) {
        let question = pieces.concat();
        let count = |marker: &str| question.matches(marker).count();
        let (images, videos) = (count("<image>"), count("<video>"));
        let media = json!({"image": vec!["imgs/a.png"; images], "videos": vec![["imgs/b.png"]; videos]});
        let sample = opened(row(&question, media).to_string().as_bytes()).unwrap().get(0).unwrap();
        let name = |index: usize| if matches!(sample.media[index], Media::Image(_)) { "<image>" } else { "<video>" };
        let spelt = |said: &Said| shown(said).into_iter().map(|p| p.unwrap_or_else(|i| name(i).to_owned())).collect::<String>();
        prop_assert_eq!(spelt(&Said::question(&sample)), question.clone());
        let framed = Said::asking::<std::convert::Infallible>(&sample, |q| Ok(format!("before {q} after"))).unwrap();
        prop_assert_eq!(framed.words(), format!("before {} after", sample.question));
        let before: String = (0..sample.media.len()).map(name).collect();
        let spelt_out = match sample.places.is_empty() {
            true => format!("{before}before {} after", sample.question),
            false => format!("before {question} after"),
        };
        prop_assert_eq!(spelt(&framed), spelt_out);
        for (more_images, more_videos) in [(1, 0), (0, 1)] {
            let media = json!({"image": vec!["imgs/a.png"; images + more_images], "videos": vec![["imgs/b.png"]; videos + more_videos]});
            let refused = opened(row(&question, media).to_string().as_bytes()).is_err();
            prop_assert_eq!(refused, if more_images == 1 { images > 0 } else { videos > 0 });
        }
    }

    #[test]
    fn no_row_makes_an_error_long(text in "\\PC{0,40}", times in 1usize..2000, key in "(image|video|id|conversations|prompt|x)") {
        let long = text.repeat(times);
        for row in [json!({key.as_str(): long}), json!({"conversations": [{"from": "human", "value": {"a": long}}, {key.as_str(): long}]}), json!(long)] {
            if let Err(error) = opened(row.to_string().as_bytes()) {
                prop_assert!(error.to_string().chars().count() < 800, "{}", error);
            }
        }
    }
}

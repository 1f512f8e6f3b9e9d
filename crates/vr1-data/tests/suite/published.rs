//! Data sets as they are published, small and written by the libraries that write the large ones.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first thing that is not as it should be")]

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use vr1_data::{Dataset, Media, PreferenceSet, RowSource, Said, SaidPart, Sample, SampleSet};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/published")
}

/// A source of the fixtures, its paths below their folder.
fn source(said: &Value) -> RowSource {
    let mut source: RowSource = serde_json::from_value(said.clone()).unwrap();
    source.path = fixtures().join(source.path);
    source.images = source.images.map(|images| fixtures().join(images));
    source
}

/// The question with a marker where each of the media is shown.
fn shown(sample: &Sample) -> String {
    let part = |part: &SaidPart| match part {
        SaidPart::Text(words) => words.clone(),
        SaidPart::Media(index) => match sample.media[*index] {
            Media::Image(_) => "<image>".to_owned(),
            _ => "<video>".to_owned(),
        },
    };
    Said::question(sample).parts.iter().map(part).collect()
}

/// How many pictures there are, and FNV-1a of their bytes.
fn pictures(sample: &Sample) -> (usize, String) {
    let (mut count, mut hash) = (0, 0xcbf2_9ce4_8422_2325_u64);
    for media in &sample.media {
        let Media::Image(picture) = media else { continue };
        count += 1;
        for byte in picture.load().unwrap().as_raw() {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    (count, format!("{hash:016x}"))
}

#[test]
fn every_published_layout_gives_its_questions_solutions_and_pixels() {
    let expected = std::fs::read_to_string(fixtures().join("expected.json")).unwrap();
    let expected: serde_json::Map<String, Value> = serde_json::from_str(&expected).unwrap();
    let mut wrong = vec![];
    for (name, case) in &expected {
        let read = match SampleSet::of(&source(&case["source"])) {
            Err(error) => json!(error.to_string()),
            Ok(set) => {
                let row = |index| {
                    let sample = set.get(index).unwrap();
                    let (pictures, pixels) = pictures(&sample);
                    json!({"shown": shown(&sample), "solution": sample.solution, "pictures": pictures, "pixels": pixels})
                };
                (0..set.len()).map(row).collect()
            }
        };
        if read != case["rows"] {
            wrong.push(format!("{name}: {read:#}\nshould be {:#}", case["rows"]));
        }
    }
    assert!(expected.len() > 16 && wrong.is_empty(), "{}", wrong.join("\n"));
}

fn first(said: Value) -> Sample {
    SampleSet::of(&source(&said)).unwrap().get(0).unwrap()
}

#[test]
fn what_else_a_row_says_stands_in_its_fields() {
    let gui = first(json!({"path": "vlm_r1/gui.jsonl", "images": "vlm_r1/images"}));
    assert_eq!(gui.fields["accu_reward_method"], "mcq");
    let rec = first(json!({"path": "vlm_r1/refcoco_train.json", "images": "vlm_r1/images"}));
    assert_eq!(rec.fields["normalized_solution"], json!([321, 497, 691, 852]));
    let traced = first(json!({"path": "open_r1_multimodal"}));
    assert_eq!(traced.fields["original_question"], "x?");
    assert_eq!(traced.fields["response"], "<think>Let me think.\nx = 2</think>\n\n<answer>2</answer>");
    let counted = first(json!({"path": "r1v"}));
    assert_eq!(json!(counted.fields), json!({"thinking": "<think>I count.</think>"}));
    assert_eq!(counted.id, "train-00000-of-00002:1");
    let choice = first(
        json!({"path": "sat/SAT_train.parquet", "columns": {"images": "image_bytes", "answer": "correct_answer"}}),
    );
    assert_eq!(choice.fields["answers"], json!(["the cube", "the ball"]));
    let lists = first(json!({"path": "messages/lists.parquet"}));
    assert_eq!(json!(lists.fields), json!({"source": "web", "when": "(not read)"}));
    let brief = first(json!({"path": "messages/parts.parquet"}));
    assert_eq!(brief.fields["system"], "Be brief.");
    assert_eq!(first(json!({"path": "messages/alpaca.json"})).fields["system"], "You know French.");
    assert_eq!(first(json!({"path": "messages/sharegpt.json"})).fields["system"], "Be kind.");
}

#[test]
fn a_published_conversation_in_stages_keeps_them() {
    let staged = first(json!({"path": "llamav_o1/train.jsonl"}));
    let names: Vec<_> = staged.turns.iter().map(|turn| turn.name.as_str()).collect();
    assert_eq!(names, ["summary", "caption", "reasoning", "conclusion"]);
    assert_eq!(staged.turns[1].answer, "Two cubes.");
    let two = first(json!({"path": "messages/lists.parquet"}));
    assert_eq!((two.turns[0].answer.as_str(), two.turns[1].prompt.as_str()), ("Seen.", "What?"));
}

#[test]
fn insight_v_s_preferences_are_read() {
    let pair = PreferenceSet::of(&source(&json!({"path": "insight_v/dpo.jsonl"}))).unwrap().get(0).unwrap();
    assert_eq!(shown(&pair.sample), "<image>What is it?");
    assert_eq!((pair.sample.solution.as_str(), pair.rejected[0].words().as_str()), ("A square.", "A dog."));
}

#[test]
fn a_video_of_frames_is_one_video() {
    let moved = first(json!({"path": "open_r1_video/train.jsonl"}));
    assert!(matches!(&moved.media[..], [Media::Video(_)]));
}

#[test]
fn a_folder_of_shards_is_one_set_in_the_order_of_their_names() {
    let set = SampleSet::of(&source(&json!({"path": "r1v"}))).unwrap();
    assert_eq!((Dataset::name(&set), Dataset::len(&set)), ("r1v", 3));
    let solutions: Vec<_> = (0..3).map(|index| set.get(index).unwrap().solution).collect();
    assert_eq!(solutions, ["3", "0", "5"]);
}

//! What a scene says of itself is true, in words, in numbers and in pixels.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first thing that is not as it should be")]

mod answers;
mod boxes;
mod charts;
mod figures;
mod pictures;
mod sums;
mod videos;

use std::collections::{BTreeMap, BTreeSet};

use image::RgbImage;
use vr1_data::{Dataset, Media, Sample, Scenes, Split, Task};

const TASKS: [Task; 7] =
    [Task::Spatial, Task::Counting, Task::Referring, Task::Staged, Task::Attributes, Task::Caption, Task::CloseUp];
const SPLITS: [Split; 4] = [Split::Pretrain, Split::Train, Split::InDomain, Split::OutOfDomain];

fn samples(task: Task, split: Split, len: usize) -> Vec<Sample> {
    let scenes = Scenes::new(task, split, 11, len);
    (0..len).map(|i| scenes.get(i).unwrap()).collect()
}

fn text<'a>(sample: &'a Sample, name: &str) -> &'a str {
    sample.fields[name].as_str().unwrap_or_else(|| panic!("{}: {name} is no text", sample.id))
}

fn choices(sample: &Sample) -> Vec<&str> {
    sample.fields["choices"].as_array().unwrap().iter().map(|c| c.as_str().unwrap()).collect()
}

fn pixels(sample: &Sample) -> RgbImage {
    match &sample.media[0] {
        Media::Image(picture) => picture.load().unwrap().into_owned(),
        other => panic!("a scene is an image, not {other:?}"),
    }
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
struct Object {
    shape: String,
    color: String,
    size: String,
    material: String,
    r#box: [i64; 4],
}

fn objects(sample: &Sample) -> Vec<Object> {
    serde_json::from_value(sample.fields["objects"].clone()).unwrap()
}

impl Object {
    fn name(&self) -> String {
        format!("{} {}", self.color, self.shape)
    }

    fn center(&self) -> [f64; 2] {
        let [x1, y1, x2, y2] = self.r#box.map(|v| v as f64);
        [(x1 + x2) / 2.0, (y1 + y2) / 2.0]
    }
}

impl Object {
    fn place(&self) -> String {
        let [column, row] = self.center().map(|v| (v / 112.0 * 3.0) as usize);
        let (row, column) = (["top", "", "bottom"][row], ["left", "", "right"][column]);
        match format!("{row} {column}").trim() {
            "" => "in the middle".to_owned(),
            place => format!("at the {place}"),
        }
    }
}

#[test]
fn the_same_index_gives_the_same_sample() {
    for task in TASKS {
        for split in SPLITS {
            let scenes = Scenes::new(task, split, 3, 10);
            let (a, b) = (scenes.get(7).unwrap(), Scenes { len: 8, ..scenes }.get(7).unwrap());
            assert_eq!((&a.id, &a.question, &a.solution, &a.fields), (&b.id, &b.question, &b.solution, &b.fields));
            assert_eq!(a.turns, b.turns);
            assert_eq!(pixels(&a), pixels(&b));
        }
    }
}

#[test]
fn other_seeds_splits_and_indices_give_other_images() {
    let mut seen = BTreeSet::new();
    let mut count = 0;
    for split in SPLITS {
        for seed in [0, 1] {
            let scenes = Scenes::new(Task::Caption, split, seed, 20);
            for i in 0..20 {
                seen.insert(pixels(&scenes.get(i).unwrap()).into_raw());
                count += 1;
            }
        }
    }
    assert_eq!(seen.len(), count);
}

#[test]
fn the_fields_repeat_the_sample() {
    for task in TASKS {
        for sample in samples(task, Split::Pretrain, 50) {
            assert_eq!(text(&sample, "question"), sample.question);
            assert_eq!(text(&sample, "solution"), sample.solution);
            assert!(!sample.question.contains("<image>"), "{}", sample.question);
            assert!(!objects(&sample).is_empty());
        }
    }
}

/// Whatever is shown, or nothing: every text stands in the fields, and the words begin as sentences do.
#[test]
fn every_task_fills_the_fields() {
    for task in [Task::Motion, Task::Geometry, Task::Detection, Task::Chart, Task::Sums] {
        for split in SPLITS {
            for sample in samples(task, split, 10) {
                assert!(sample.id.starts_with(task.name()));
                assert_eq!(
                    (text(&sample, "question"), text(&sample, "solution")),
                    (&*sample.question, &*sample.solution)
                );
                for name in ["kind", "stem", "plan", "thought", "guess", "guess_thought"] {
                    assert!(!text(&sample, name).is_empty(), "{}: no {name}", sample.id);
                }
                let is_shown = task != Task::Sums;
                assert_eq!(
                    (text(&sample, "caption").is_empty(), text(&sample, "notes").is_empty()),
                    (!is_shown, !is_shown)
                );
                let again = Scenes::new(task, split, 11, 10);
                let index: usize = sample.id.rsplit('-').next().unwrap().parse().unwrap();
                let again = again.get(index).unwrap();
                let hashes = |s: &Sample| s.media.iter().map(|m| m.hash().unwrap()).collect::<Vec<_>>();
                assert_eq!((&again.fields, hashes(&again)), (&sample.fields, hashes(&sample)));
            }
        }
    }
}

#[test]
fn the_choices_hold_the_solution_once() {
    for task in [Task::Spatial, Task::Counting, Task::Attributes, Task::Staged] {
        for split in SPLITS {
            for sample in samples(task, split, 200) {
                let choices = choices(&sample);
                assert_eq!(choices.iter().filter(|&&c| c == sample.solution).count(), 1, "{choices:?} {sample:?}");
                assert_eq!(choices.iter().collect::<BTreeSet<_>>().len(), choices.len(), "{choices:?}");
                assert!(choices.contains(&text(&sample, "guess")));
                assert!(text(&sample, "choices_text").ends_with(&format!(" or {}", choices.last().unwrap())));
            }
        }
    }
}

#[test]
fn a_spatial_question_is_asked_as_visualthinker_asks_it() {
    for sample in samples(Task::Spatial, Split::Train, 50) {
        let (stem, options) = (text(&sample, "stem"), text(&sample, "choices_text"));
        let expected = format!("Answer in natural language. {stem} Choose between the following options: {options}");
        assert_eq!(sample.question, expected);
    }
}

#[test]
fn a_staged_sample_has_the_four_stages() {
    for sample in samples(Task::Staged, Split::Train, 100) {
        let names: Vec<_> = sample.turns.iter().map(|t| t.name.as_str()).collect();
        assert_eq!(names, ["summary", "caption", "reasoning", "conclusion"]);
        assert!(sample.turns[0].prompt.starts_with(&format!("{}\nSummarize how you will", sample.question)));
        assert!(sample.turns[1].answer.contains(text(&sample, "caption")));
        assert_eq!(sample.turns[3].answer, sample.solution);
        assert!(sample.turns[2].answer.contains(&sample.solution), "{:?}", sample.turns[2]);
    }
}

#[test]
fn out_of_domain_objects_are_never_seen_in_training() {
    let looks = |split| {
        let all = TASKS.into_iter().flat_map(move |task| samples(task, split, 150));
        all.flat_map(|s| objects(&s)).map(|o| (o.color, o.shape)).collect::<BTreeSet<_>>()
    };
    let (train, held_out, other) = (looks(Split::Train), looks(Split::InDomain), looks(Split::OutOfDomain));
    assert_eq!(train, held_out);
    assert_eq!(train.len(), 30);
    assert!(train.is_disjoint(&other), "{:?}", train.intersection(&other).collect::<Vec<_>>());
    let everything: BTreeSet<_> = train.union(&other).cloned().collect();
    assert_eq!(everything.len(), 80);
    assert!(looks(Split::Pretrain).len() == 80);
}

#[test]
fn held_out_questions_are_not_training_samples() {
    for task in TASKS {
        let key = |s: Sample| format!("{:?}{}", objects(&s), s.question);
        let train: BTreeSet<_> = samples(task, Split::Train, 500).into_iter().map(key).collect();
        assert!(samples(task, Split::InDomain, 500).into_iter().all(|s| !train.contains(&key(s))));
    }
}

#[test]
fn few_words_say_everything() {
    let mut words = BTreeSet::new();
    for task in TASKS {
        for sample in samples(task, Split::Pretrain, 500) {
            let mut texts = vec![sample.question.clone()];
            texts.extend(["plan", "thought", "guess_thought", "caption"].map(|f| text(&sample, f).to_owned()));
            texts.extend(sample.turns.iter().map(|t| t.prompt.clone()));
            for text in texts {
                let parts = text.split(|c: char| !c.is_alphabetic()).filter(|w| !w.is_empty());
                words.extend(parts.map(str::to_lowercase));
            }
        }
    }
    assert!(words.len() < 260, "{} words: {words:?}", words.len());
    for word in ["black", "blue", "brown", "gray", "green", "red", "teal", "yellow", "circle", "rectangle", "triangle"]
    {
        assert!(words.contains(word), "easy-VQA's {word} is never said");
    }
}

#[test]
fn a_wrong_size_or_index_says_what_is_wrong() {
    let scenes = Scenes::new(Task::Counting, Split::Train, 0, 3);
    assert_eq!(scenes.get(3).unwrap_err().to_string(), "counting: no sample 3, it has 3");
    let error = Scenes { size: 0, ..scenes }.get(0).unwrap_err();
    assert_eq!(error.to_string(), "scenes: size: 0 pixels, should be from 48 to 2048");
}

#[test]
fn a_recipe_can_name_scenes() {
    let scenes: Scenes =
        serde_json::from_str(r#"{"task":"referring","split":"out_of_domain","seed":4,"len":9}"#).unwrap();
    assert_eq!(scenes, Scenes::new(Task::Referring, Split::OutOfDomain, 4, 9));
}

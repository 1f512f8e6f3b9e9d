//! What a scene says of itself is true, in words, in numbers and in pixels.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first thing that is not as it should be")]

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

/// A guess is right as often as the choices allow: 1 / their number, within four standard deviations.
#[test]
fn a_guess_is_right_by_chance_only() {
    for task in [Task::Spatial, Task::Counting, Task::Attributes, Task::Staged] {
        let all = samples(task, Split::Train, 600);
        let right = all.iter().filter(|s| text(s, "guess") == s.solution).count() as f64;
        let chances: Vec<f64> = all.iter().map(|s| 1.0 / choices(s).len() as f64).collect();
        let expected: f64 = chances.iter().sum();
        let deviation = chances.iter().map(|p| p * (1.0 - p)).sum::<f64>().sqrt();
        assert!((right - expected).abs() < 4.0 * deviation, "{task:?}: {right} right, {expected:.0} by chance");
    }
    let all = samples(Task::Referring, Split::Train, 500);
    let same = all.iter().filter(|s| text(s, "guess") == s.solution).count();
    assert!(same <= 2, "{same} guessed boxes are the very box");
}

/// Of each kind of question, no answer is more than 1.4 times as frequent as were all equally frequent.
#[test]
fn the_answers_are_balanced() {
    for (task, split) in [
        (Task::Spatial, Split::Train),
        (Task::Spatial, Split::InDomain),
        (Task::Counting, Split::Train),
        (Task::Counting, Split::InDomain),
        (Task::Counting, Split::OutOfDomain),
        (Task::Attributes, Split::InDomain),
    ] {
        let mut answers: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
        for sample in samples(task, split, 900) {
            let kind = match text(&sample, "kind") {
                "closest" => continue, // its answers are names of objects
                kind if kind.starts_with("count_") || kind == "total" => "count",
                kind => kind,
            };
            *answers.entry(kind.to_owned()).or_default().entry(sample.solution).or_default() += 1;
        }
        for (kind, counts) in answers {
            let uniform = counts.values().sum::<usize>() as f64 / counts.len() as f64;
            for (answer, count) in counts {
                assert!((count as f64) < 1.4 * uniform, "{task:?} {split:?} {kind}: {answer} {count} of {uniform:.0}");
            }
        }
    }
}

#[test]
fn the_options_come_in_every_order() {
    let mut firsts: BTreeMap<String, usize> = BTreeMap::new();
    for sample in samples(Task::Spatial, Split::Train, 2000) {
        if text(&sample, "kind") == "where" {
            let at = choices(&sample).iter().position(|&c| c == sample.solution).unwrap();
            *firsts.entry(at.to_string()).or_default() += 1;
        }
    }
    let uniform = firsts.values().sum::<usize>() as f64 / 4.0;
    assert!(firsts.values().all(|&c| (c as f64 - uniform).abs() < 0.25 * uniform), "{firsts:?}");
}

#[test]
fn a_direction_is_what_the_boxes_say() {
    for split in SPLITS {
        for sample in samples(Task::Spatial, split, 300) {
            let (stem, objects) = (text(&sample, "stem"), objects(&sample));
            let mut named: Vec<(usize, &Object)> =
                objects.iter().filter_map(|o| Some((stem.find(&o.name())?, o))).collect();
            named.sort_by_key(|&(at, _)| at);
            match (text(&sample, "kind"), named.as_slice()) {
                ("closest", [(_, anchor)]) => {
                    let options = choices(&sample);
                    let away = |name: &str| {
                        let object = objects.iter().find(|o| format!("the {}", o.name()) == name).unwrap();
                        let ([ax, ay], [bx, by]) = (object.center(), anchor.center());
                        (ax - bx).hypot(ay - by)
                    };
                    let nearest = options.iter().min_by(|a, b| away(a).total_cmp(&away(b))).unwrap();
                    assert_eq!(sample.solution, *nearest, "{stem}");
                }
                (_, [(_, first), (_, second)]) => {
                    let from_b =
                        ["On which", "In which", "Seen", "Looking", "Compared"].iter().any(|w| stem.starts_with(w));
                    let (a, b) = if from_b { (second, first) } else { (first, second) };
                    let (dx, dy) = (a.center()[0] - b.center()[0], a.center()[1] - b.center()[1]);
                    let (along, across) = match sample.solution.as_str() {
                        "left" => (-dx, dy),
                        "right" => (dx, dy),
                        "above" => (-dy, dx),
                        "below" => (dy, dx),
                        other => panic!("{other} is no direction"),
                    };
                    assert!(along > 0.3 * 112.0, "{stem} {} {along}", sample.solution);
                    assert!(text(&sample, "kind") != "where" || along > 1.3 * across.abs(), "{stem}");
                }
                (kind, named) => panic!("{kind}: {stem} names {named:?}"),
            }
        }
    }
}

#[test]
fn a_number_is_what_the_objects_say() {
    for split in SPLITS {
        for sample in samples(Task::Counting, split, 300) {
            let stem = text(&sample, "stem");
            let is_asked_for = |o: &Object| match text(&sample, "kind") {
                "total" => true,
                "count_color" => stem.contains(&format!("{} items", o.color)),
                "count_shape" => stem.contains(&o.shape),
                "count_material" => stem.contains(&format!("{} items", o.material)),
                other => panic!("{other} is no kind of counting"),
            };
            let count = objects(&sample).iter().filter(|o| is_asked_for(o)).count();
            assert_eq!(sample.solution, count.to_string(), "{stem}");
            assert_eq!(text(&sample, "thought").matches(',').count() + 1, count);
            match split {
                Split::Train | Split::InDomain => assert!((1..=6).contains(&count)),
                Split::OutOfDomain => assert!((5..=9).contains(&count)),
                _ => {}
            }
        }
    }
}

#[test]
fn an_attribute_is_what_the_objects_say() {
    for split in SPLITS {
        for sample in samples(Task::Attributes, split, 400) {
            let (stem, objects) = (text(&sample, "stem"), objects(&sample));
            let has = |word: &str| stem.split([' ', '?', '.']).any(|w| w == word);
            match text(&sample, "kind") {
                "color" => {
                    let asked: Vec<_> = objects.iter().filter(|o| has(&o.shape) || has("shape")).collect();
                    assert!(matches!(asked[..], [one] if one.color == sample.solution), "{stem} {objects:?}");
                }
                "shape" => {
                    let asked: Vec<_> = objects.iter().filter(|o| has(&o.color) || objects.len() == 1).collect();
                    assert!(matches!(asked[..], [one] if one.shape == sample.solution), "{stem} {objects:?}");
                }
                "exists" => {
                    let asks_absence = has("no") || has("not");
                    let colors =
                        ["red", "green", "blue", "yellow", "black", "brown", "teal", "gray", "purple", "orange"];
                    let color = colors.into_iter().find(|c| has(c));
                    let fits = |o: &Object| (has("shape") || has(&o.shape)) && color.is_none_or(|c| c == o.color);
                    let there = objects.iter().any(fits);
                    assert_eq!(sample.solution == "yes", there != asks_absence, "{stem} {objects:?}");
                }
                other => panic!("{other} is no kind of attribute question"),
            }
        }
    }
}

#[test]
fn a_description_fits_its_box_alone() {
    for split in SPLITS {
        for sample in samples(Task::Referring, split, 300) {
            let (stem, objects) = (text(&sample, "stem"), objects(&sample));
            let words = |list: [&str; 2]| list.into_iter().find(|w| stem.contains(w)).map(str::to_owned);
            let size = words(["small", "large"]);
            let material = ["matte", "shiny", "striped"].into_iter().find(|m| stem.contains(m));
            let place = stem.find(" at the ").or_else(|| stem.find(" in the ")).map(|at| &stem[at + 1..]);
            let fits = |o: &&Object| {
                stem.contains(&o.shape)
                    && stem.contains(&o.color)
                    && size.as_ref().is_none_or(|s| *s == o.size)
                    && material.is_none_or(|m| m == o.material)
                    && place.is_none_or(|p| p == o.place())
            };
            let fitting: Vec<_> = objects.iter().filter(fits).collect();
            let boxes: Vec<_> = fitting.iter().map(|o| o.r#box).collect();
            let wanted: [i64; 4] = serde_json::from_value(sample.fields["box"].clone()).unwrap();
            assert_eq!(serde_json::from_str::<[i64; 4]>(&sample.solution).unwrap(), wanted);
            assert!(boxes.contains(&wanted), "{stem} {objects:?}");
            assert!(boxes.len() == 1, "{stem}: {fitting:?}");
        }
    }
}

#[test]
fn notes_say_of_each_object_where_it_is() {
    for split in SPLITS {
        for sample in samples(Task::Spatial, split, 100) {
            let place = |o: &Object| o.place().replace("at the ", "").replace("in the ", "");
            let note = |o: &Object| format!("{} {} {}", o.color, place(o), o.shape);
            let notes: Vec<_> = objects(&sample).iter().map(note).collect();
            assert_eq!(text(&sample, "notes"), notes.join("; "));
            let thought = text(&sample, "thought");
            assert!(notes.iter().filter(|note| thought.contains(*note)).count() >= 2, "{notes:?} {thought}");
        }
    }
}

#[test]
fn a_colour_tells_the_objects_of_a_spatial_scene_apart() {
    for split in SPLITS {
        for sample in samples(Task::Spatial, split, 100) {
            let objects = objects(&sample);
            let colors: BTreeSet<_> = objects.iter().map(|o| &o.color).collect();
            assert_eq!(colors.len(), objects.len(), "{}", sample.id);
        }
    }
}

#[test]
fn a_close_up_has_its_objects_at_their_size_in_the_scenes() {
    for size in [48, 64, 80, 112] {
        let scenes = Scenes { size, ..Scenes::new(Task::CloseUp, Split::Train, 11, 100) };
        for sample in (0..100).map(|i| scenes.get(i).unwrap()) {
            assert_eq!(pixels(&sample).dimensions(), (size, size));
            let objects = objects(&sample);
            assert!(objects.len() <= (size * size / (48 * 48)) as usize, "{}", sample.id);
            let names: Vec<_> = objects.iter().map(|o| format!("{} {} {}", o.size, o.material, o.name())).collect();
            assert_eq!(sample.solution, names.join("; "));
            if let [only] = &objects[..] {
                let [x1, _, x2, _] = only.r#box;
                assert!(x2 - x1 >= if only.size == "small" { 8 } else { 13 }, "{only:?}");
            }
        }
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

/// On a background of one colour every other pixel is the object's; a corner that covers too little of its last pixel
/// to change it may make the drawn box one pixel smaller.
#[test]
fn a_box_is_tight_around_the_pixels_of_its_object() {
    let mut checked = 0;
    for split in [Split::Train, Split::OutOfDomain] {
        for sample in samples(Task::Attributes, split, 400) {
            let ([object], image) = (&objects(&sample)[..], pixels(&sample)) else { continue };
            let background = *image.get_pixel(0, 0);
            if (0..112).any(|i| *image.get_pixel(i, 0) != background || *image.get_pixel(0, i) != background) {
                continue;
            }
            let drawn = image.enumerate_pixels().filter(|(_, _, p)| **p != background);
            let drawn: Vec<[i64; 2]> = drawn.map(|(x, y, _)| [x, y].map(i64::from)).collect();
            let edge = |axis: usize| drawn.iter().map(move |p| p[axis]);
            let [x1, y1] = [0, 1].map(|axis| edge(axis).min().unwrap());
            let [x2, y2] = [0, 1].map(|axis| edge(axis).max().unwrap() + 1);
            for (said, seen) in object.r#box.into_iter().zip([x1, y1, x2, y2]) {
                assert!((said - seen).abs() <= 1, "{}: {object:?}, pixels {:?}", sample.id, [x1, y1, x2, y2]);
            }
            checked += 1;
        }
    }
    assert!(checked > 100, "only {checked} images have one object on one colour");
}

/// Within the box of an object that nothing hides, its colour is the nearest of all colours for most of the pixels
/// that are not background.
#[test]
fn an_object_has_the_colour_that_it_is_said_to_have() {
    let named: [(&str, [f64; 3]); 10] = [
        ("red", [235.0, 12.0, 18.0]),
        ("green", [12.0, 208.0, 22.0]),
        ("blue", [20.0, 42.0, 238.0]),
        ("yellow", [248.0, 235.0, 10.0]),
        ("black", [18.0, 18.0, 18.0]),
        ("brown", [140.0, 56.0, 36.0]),
        ("teal", [10.0, 146.0, 146.0]),
        ("gray", [139.0, 139.0, 139.0]),
        ("purple", [139.0, 30.0, 166.0]),
        ("orange", [248.0, 142.0, 8.0]),
    ];
    for split in SPLITS {
        for sample in samples(Task::Referring, split, 300) {
            let image = pixels(&sample);
            let target: [i64; 4] = serde_json::from_value(sample.fields["box"].clone()).unwrap();
            let object = objects(&sample).into_iter().find(|o| o.r#box == target).unwrap();
            if object.material != "matte" {
                continue;
            }
            let [x, y] = object.center().map(|v| v as u32);
            // A red lamp above and a blue one to the left add up to 50 levels to what they dim to 0.8.
            let far = [y, 56, x].map(|at| 1.0 - f64::from(at) / 112.0);
            let lit = image.get_pixel(x, y).0;
            let pixel: [f64; 3] = std::array::from_fn(|c| (f64::from(lit[c]) - 50.0 * far[c]) / 0.8);
            let away = |c: &[f64; 3]| c.iter().zip(pixel).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
            let nearest = named.iter().min_by(|a, b| away(&a.1).total_cmp(&away(&b.1))).unwrap();
            assert_eq!(nearest.0, object.color, "{}: {pixel:?} at {x}, {y}", sample.id);
        }
    }
}

#[test]
fn a_scene_may_have_another_size() {
    for size in [56, 224, 448] {
        for task in TASKS {
            let sample = Scenes { size, ..Scenes::new(task, Split::OutOfDomain, 5, 1) }.get(0).unwrap();
            assert_eq!(pixels(&sample).dimensions(), (size, size));
            for object in objects(&sample) {
                assert!(object.r#box.iter().all(|&v| (0..=i64::from(size)).contains(&v)), "{object:?}");
            }
        }
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

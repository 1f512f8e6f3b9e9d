//! Answers, descriptions and notes say what the boxes and objects say.

use super::*;

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

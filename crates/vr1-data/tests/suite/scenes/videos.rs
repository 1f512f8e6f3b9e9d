//! What is said of a video is what its frames show.

use vr1_data::Video;

use super::*;

#[derive(Debug, serde::Deserialize)]
struct Actor {
    shape: String,
    color: String,
    r#box: [i64; 4],
    last_box: [i64; 4],
    seen: [usize; 2],
}

impl Actor {
    fn name(&self) -> String {
        format!("{} {}", self.color, self.shape)
    }
}

fn videos(split: Split, size: u32, len: usize) -> Vec<Sample> {
    let scenes = Scenes { size, ..Scenes::new(Task::Motion, split, 11, len) };
    (0..len).map(|i| scenes.get(i).unwrap()).collect()
}

fn actors(sample: &Sample) -> Vec<Actor> {
    serde_json::from_value(sample.fields["objects"].clone()).unwrap()
}

fn frames(sample: &Sample) -> Vec<RgbImage> {
    match &sample.media[..] {
        [Media::Video(Video::Frames { frames, fps: Some(4.0) })] => {
            frames.iter().map(|f| f.load().unwrap().into_owned()).collect()
        }
        other => panic!("{other:?} is no video"),
    }
}

fn center([x1, y1, x2, y2]: [i64; 4]) -> [f64; 2] {
    [(x1 + x2) as f64 / 2.0, (y1 + y2) as f64 / 2.0]
}

/// How much of a box differs between two frames: the grain alone changes no channel by more than 20.
fn changed(a: &RgbImage, b: &RgbImage, [x1, y1, x2, y2]: [i64; 4]) -> f64 {
    let pixels = (x1..x2).flat_map(|x| (y1..y2).map(move |y| (x as u32, y as u32)));
    let differs =
        |&(x, y): &(u32, u32)| a.get_pixel(x, y).0.iter().zip(b.get_pixel(x, y).0).any(|(&a, b)| a.abs_diff(b) > 20);
    pixels.filter(differs).count() as f64 / ((x2 - x1) * (y2 - y1)) as f64
}

#[test]
fn a_thing_moves_the_way_that_is_said() {
    for split in SPLITS {
        for sample in videos(split, 64, 60).iter().filter(|s| text(s, "kind") == "direction") {
            let actors = actors(sample);
            let actor = actors.iter().find(|a| text(sample, "stem").contains(&a.name())).unwrap();
            let ([x1, y1], [x2, y2]) = (center(actor.r#box), center(actor.last_box));
            let (along, across) = match sample.solution.as_str() {
                "left" => (x1 - x2, y2 - y1),
                "right" => (x2 - x1, y2 - y1),
                "up" => (y1 - y2, x2 - x1),
                "down" => (y2 - y1, x2 - x1),
                other => panic!("{other} is no direction"),
            };
            // Boxes are whole pixels.
            let least = if matches!(split, Split::Train | Split::InDomain) { 64.0 / 3.0 } else { 0.2 * 64.0 };
            assert!(along >= least - 1.0 && across.abs() <= 1.0, "{}: {actor:?}", sample.id);
            assert!(actors.iter().all(|a| a.seen == [0, 15]));
            let frames = frames(sample);
            assert_eq!(frames.len(), 16);
            for at in [actor.r#box, actor.last_box] {
                assert!(at.iter().all(|v| (0..=64).contains(v)), "{at:?}");
                // Where it is first there is something else at last, and the other way round.
                assert!(changed(&frames[0], &frames[15], at) > 0.15, "{}: {actor:?}", sample.id);
            }
        }
    }
}

#[test]
fn the_first_of_two_is_seen_first_and_both_only_for_a_while() {
    let mut starts = BTreeSet::new();
    for split in SPLITS {
        for sample in videos(split, 64, 60).iter().filter(|s| text(s, "kind") == "first") {
            let actors = actors(sample);
            let [first, second] = &actors[..] else { panic!("{actors:?}") };
            assert_eq!(sample.solution, first.name());
            assert!(text(sample, "stem").contains(&second.name()));
            assert!(second.seen[0] >= first.seen[1] + 3 && second.seen[1] < 16, "{actors:?}");
            let frames = frames(sample);
            let empty = &frames[first.seen[1] + 1];
            for actor in &actors {
                let [from, to] = actor.seen;
                assert!((1..=4).contains(&(to - from)), "{actor:?}");
                for (i, frame) in frames.iter().enumerate() {
                    let shown = changed(frame, empty, actor.r#box) > 0.3;
                    let other = actors.iter().any(|a| a.seen != actor.seen && (a.seen[0]..=a.seen[1]).contains(&i));
                    // The other may cover some of the same place.
                    assert!(other || shown == (from..=to).contains(&i), "{}: frame {i}, {actor:?}", sample.id);
                }
                starts.insert(from);
            }
        }
    }
    assert!(starts.contains(&0) && starts.contains(&13), "{starts:?}");
}

#[test]
fn a_letter_names_the_solution_and_each_is_as_frequent() {
    let mut letters: BTreeMap<String, f64> = BTreeMap::new();
    let mut solutions: BTreeMap<String, f64> = BTreeMap::new();
    let all = videos(Split::Train, 48, 600);
    for sample in &all {
        let (lettered, letter) = (text(sample, "lettered"), text(sample, "letter"));
        assert!(lettered.starts_with(text(sample, "stem")));
        let lines: BTreeSet<_> = lettered.lines().collect();
        assert!(lines.contains(&*format!("{letter}. {}", sample.solution)), "{lettered}");
        assert_eq!(lines.len(), 1 + choices(sample).len());
        if text(sample, "kind") == "direction" {
            *letters.entry(letter.to_owned()).or_default() += 1.0;
            *solutions.entry(sample.solution.clone()).or_default() += 1.0;
        }
    }
    for counts in [letters, solutions] {
        let (each, n) = (counts.values().sum::<f64>() / 4.0, counts.values().sum::<f64>());
        let deviation = (n * 0.25 * 0.75).sqrt();
        assert!(counts.len() == 4 && counts.values().all(|c| (c - each).abs() < 4.0 * deviation), "{counts:?}");
    }
    let right = all.iter().filter(|s| text(s, "guess") == s.solution).count() as f64;
    let expected: f64 = all.iter().map(|s| 1.0 / choices(s).len() as f64).sum();
    assert!((right - expected).abs() < 4.0 * (600.0 * 0.25f64).sqrt(), "{right} of {expected}");
}

#[test]
fn held_out_videos_are_no_training_videos() {
    let first = |split| videos(split, 48, 40).iter().map(|s| frames(s)[15].clone().into_raw()).collect::<BTreeSet<_>>();
    assert!(first(Split::Train).is_disjoint(&first(Split::InDomain)));
}

#[test]
fn two_draws_of_a_video_are_the_same() {
    let (a, b) = (videos(Split::Train, 64, 4), videos(Split::Train, 64, 4));
    assert!(a.iter().zip(&b).all(|(a, b)| a.fields == b.fields && frames(a) == frames(b)));
}

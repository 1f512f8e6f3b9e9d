//! A figure's numbers are those of its corners, and its corners those of its pixels.

use super::*;

fn corners(sample: &Sample) -> Vec<[i64; 2]> {
    serde_json::from_value(sample.fields["figure"]["corners"].clone()).unwrap()
}

/// Twice the area inside corners (the shoelace formula), and their bounding box's width and height.
fn measures(corners: &[[i64; 2]]) -> (i64, [i64; 2]) {
    let next = corners.iter().cycle().skip(1);
    let twice: i64 = corners.iter().zip(next).map(|([x1, y1], [x2, y2])| x1 * y2 - x2 * y1).sum();
    let extent = |axis: usize| {
        let along = || corners.iter().map(|c| c[axis]);
        along().max().unwrap() - along().min().unwrap()
    };
    (twice.abs(), [extent(0), extent(1)])
}

#[test]
fn a_number_of_a_figure_follows_from_its_corners() {
    for split in SPLITS {
        for sample in samples(Task::Geometry, split, 300) {
            let corners = corners(&sample);
            let (twice, [w, h]) = measures(&corners);
            let stem = text(&sample, "stem");
            assert!(stem.contains(sample.fields["figure"]["shape"].as_str().unwrap()));
            let expected = match text(&sample, "kind") {
                "area" => twice / 2,
                "perimeter" => {
                    let next = corners.iter().cycle().skip(1);
                    corners.iter().zip(next).map(|(a, b)| (a[0] - b[0]).abs() + (a[1] - b[1]).abs()).sum()
                }
                "leg" if stem.contains("horizontal") => w,
                "leg" => h,
                other => panic!("{other} is nothing that a figure has"),
            };
            assert_eq!(sample.solution, expected.to_string(), "{stem} {corners:?}");
            assert!(text(&sample, "thought").ends_with(&format!(" {expected}.")), "{}", text(&sample, "thought"));
            assert!(text(&sample, "kind") != "area" || twice % 2 == 0);
            assert!(corners.iter().flatten().all(|v| (0..=7).contains(v)));
            assert!((1..=6).contains(&w) && (1..=6).contains(&h));
        }
    }
}

/// As many pixels are dark as lie inside the corners, and half of the outline of two pixels outside them: less where the
/// image ends, more in sharp corners.
#[test]
fn the_pixels_of_a_figure_are_those_inside_its_corners() {
    for split in [Split::Train, Split::OutOfDomain] {
        for sample in samples(Task::Geometry, split, 100) {
            let (corners, image) = (corners(&sample), pixels(&sample));
            // The darkest channel of the paper is 244 dimmed to 0.8, and faint lines and grain take 30; gray is the lightest
            // colour: 150 dimmed, with 25 of green, and grain.
            let dark = image.pixels().filter(|p| *p.0.iter().min().unwrap() < 155).count() as f64;
            let inside = measures(&corners).0 as f64 / 2.0 * 256.0;
            let next = corners.iter().cycle().skip(1);
            let length = |(a, b): (&[i64; 2], &[i64; 2])| 16.0 * ((a[0] - b[0]) as f64).hypot((a[1] - b[1]) as f64);
            let around: f64 = corners.iter().zip(next).map(length).sum();
            assert!((-4.0..1.6 * around).contains(&(dark - inside)), "{}: {dark} {inside} {around}", sample.id);
        }
    }
}

#[test]
fn a_guessed_number_is_rarely_right_and_every_kind_is_asked() {
    let all = samples(Task::Geometry, Split::Train, 400);
    let right = all.iter().filter(|s| text(s, "guess") == s.solution).count();
    // Two numbers of six, or the most frequent of some eighteen areas.
    assert!((4..100).contains(&right), "{right} of 400");
    let kinds: BTreeSet<_> = all.iter().map(|s| text(s, "kind")).collect();
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), ["area", "leg", "perimeter"]);
    let shapes = |split| {
        let shape = |s: Sample| s.fields["figure"]["shape"].as_str().unwrap().to_owned();
        samples(Task::Geometry, split, 200).into_iter().map(shape).collect::<BTreeSet<_>>()
    };
    assert!(shapes(Split::Train).is_disjoint(&shapes(Split::OutOfDomain)));
    assert_eq!(shapes(Split::Pretrain).len(), 5);
}

#[test]
fn held_out_figures_are_no_training_figures() {
    let drawn =
        |split| samples(Task::Geometry, split, 100).iter().map(|s| pixels(s).into_raw()).collect::<BTreeSet<_>>();
    assert!(drawn(Split::Train).is_disjoint(&drawn(Split::InDomain)));
}

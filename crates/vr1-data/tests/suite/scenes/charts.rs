//! What is said of a chart is what its bars show.

use super::*;

#[derive(Debug, serde::Deserialize)]
struct Bar {
    color: String,
    height: i64,
    r#box: [i64; 4],
}

fn bars(sample: &Sample) -> Vec<Bar> {
    serde_json::from_value(sample.fields["bars"].clone()).unwrap()
}

#[test]
fn an_answer_follows_from_the_heights() {
    for split in SPLITS {
        for sample in samples(Task::Chart, split, 200) {
            let (bars, stem) = (bars(&sample), text(&sample, "stem"));
            assert!((3..=4).contains(&bars.len()));
            let named: Vec<&Bar> = bars.iter().filter(|b| stem.contains(&format!("the {} bar", b.color))).collect();
            let expected = match (text(&sample, "kind"), &named[..]) {
                ("value", [one]) => one.height.to_string(),
                ("difference", [a, b]) => (a.height - b.height).abs().to_string(),
                ("highest", []) => {
                    let most = bars.iter().map(|b| b.height).max().unwrap();
                    let highest: Vec<_> = bars.iter().filter(|b| b.height == most).collect();
                    assert_eq!(highest.len(), 1, "{bars:?}");
                    assert!(choices(&sample).contains(&text(&sample, "guess")));
                    highest[0].color.clone()
                }
                other => panic!("{stem}: {other:?}"),
            };
            assert_eq!(sample.solution, expected, "{stem} {bars:?}");
            // Which of the two is higher is in the question.
            if let ("difference", Some(at)) = (text(&sample, "kind"), stem.find("lower")) {
                let first = named.iter().min_by_key(|b| stem[at..].find(&b.color)).unwrap();
                assert!(named.iter().all(|b| b.height >= first.height), "{stem}");
            }
        }
    }
}

/// Above a bar there is paper, in the middle of each of its units its own colour.
#[test]
fn the_pixels_of_a_bar_are_as_high_as_is_said() {
    for split in [Split::Train, Split::OutOfDomain] {
        for sample in samples(Task::Chart, split, 100) {
            let image = pixels(&sample);
            for bar in bars(&sample) {
                let [x1, top, x2, base] = bar.r#box;
                let at = |y: i64| image.get_pixel(((x1 + x2) / 2) as u32, y as u32).0;
                let unit = |i: i64| at(base - 15 * i + 8);
                assert_eq!(base - top, 15 * bar.height);
                let inked = |p: [u8; 3]| *p.iter().min().unwrap() < 170;
                let high = (1..=7).take_while(|&i| inked(unit(i))).count() as i64;
                assert_eq!(high, bar.height, "{} {bar:?}", sample.id);
            }
        }
    }
}

#[test]
fn a_guess_at_a_chart_is_right_by_chance_and_every_answer_occurs() {
    let all = samples(Task::Chart, Split::Train, 700);
    let of = |kind: &str| all.iter().filter(|s| text(s, "kind") == kind).collect::<Vec<_>>();
    for (kind, answers, chance) in [("value", 7, 1.0 / 7.0), ("highest", 6, 7.0 / 24.0), ("difference", 7, 1.0 / 7.0)] {
        let asked = of(kind);
        let right = asked.iter().filter(|s| text(s, "guess") == s.solution).count() as f64;
        let n = asked.len() as f64;
        assert!((right - n * chance).abs() < 4.0 * (n * chance * (1.0 - chance)).sqrt(), "{kind}: {right} of {n}");
        assert_eq!(asked.iter().map(|s| &s.solution).collect::<BTreeSet<_>>().len(), answers, "{kind}");
    }
}

#[test]
fn held_out_charts_are_no_training_charts() {
    let drawn = |split| samples(Task::Chart, split, 100).iter().map(|s| pixels(s).into_raw()).collect::<BTreeSet<_>>();
    assert!(drawn(Split::Train).is_disjoint(&drawn(Split::InDomain)));
}

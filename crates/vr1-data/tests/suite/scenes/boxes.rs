//! Detections are the boxes of the objects that go by the names, and of no others.

use super::*;

#[derive(Debug, PartialEq, serde::Deserialize)]
struct Found {
    bbox_2d: [i64; 4],
    label: String,
}

fn found(solution: &str) -> Vec<Found> {
    if solution == "None" { vec![] } else { serde_json::from_str(solution).unwrap() }
}

fn labels(sample: &Sample) -> Vec<String> {
    serde_json::from_value(sample.fields["labels"].clone()).unwrap()
}

#[test]
fn detections_are_the_boxes_of_what_goes_by_the_names() {
    for split in SPLITS {
        for sample in samples(Task::Detection, split, 200) {
            let (labels, objects) = (labels(&sample), objects(&sample));
            let quoted: Vec<_> = labels.iter().map(|l| format!("'{l}'")).collect();
            assert!(sample.question.contains(&format!("[{}]", quoted.join(", "))), "{}", sample.question);
            assert!((3..=6).contains(&objects.len()));
            let mut expected: Vec<(String, [i64; 4])> = vec![];
            for label in &labels {
                let words: Vec<&str> = label.split(' ').collect();
                let holds = |o: &&Object| words.iter().all(|&w| o.color == w || o.shape == w);
                expected.extend(objects.iter().filter(holds).map(|o| (label.clone(), o.r#box)));
            }
            let found = found(&sample.solution);
            let center = |at: [i64; 4]| Object { r#box: at, ..objects[0].clone() };
            let rows: Vec<_> = found
                .iter()
                .map(|f| ((center(f.bbox_2d).center()[1] / 112.0 * 3.0) as i64, f.bbox_2d[0] + f.bbox_2d[2]))
                .collect();
            // Boxes are whole pixels, which may turn round two middles less than a pixel apart.
            let follows = |a: &(i64, i64), b: &(i64, i64)| a.0 < b.0 || a.0 == b.0 && a.1 <= b.1 + 2;
            assert!(rows.is_sorted_by(follows), "{}", sample.solution);
            let mut said: Vec<_> = found.into_iter().map(|f| (f.label, f.bbox_2d)).collect();
            said.sort();
            expected.sort();
            assert_eq!(said, expected, "{}", sample.question);
            let notes = text(&sample, "thought").matches(';').count() + 1;
            assert!(notes == said.len() || said.is_empty() && text(&sample, "thought") == "none.");
        }
    }
}

#[test]
fn a_guess_is_of_the_names_and_finds_no_more_than_chance() {
    let all = samples(Task::Detection, Split::Train, 300);
    let overlap = |a: [i64; 4], b: [i64; 4]| {
        let side = |i: usize| (a[i + 2].min(b[i + 2]) - a[i].max(b[i])).max(0);
        let area = |a: [i64; 4]| (a[2] - a[0]) * (a[3] - a[1]);
        let both = side(0) * side(1);
        both as f64 / (area(a) + area(b) - both) as f64
    };
    let (mut hits, mut boxes) = (0, 0);
    for sample in &all {
        let (labels, guessed) = (labels(sample), found(text(sample, "guess")));
        assert!(guessed.iter().all(|g| labels.contains(&g.label)));
        let truth = found(&sample.solution);
        boxes += truth.len();
        hits += truth.iter().filter(|t| guessed.iter().any(|g| overlap(g.bbox_2d, t.bbox_2d) > 0.5)).count();
    }
    // A box of 20 pixels lies anywhere in 92 x 92; within some 5 pixels either way it overlaps by half: one in 85 or rarer.
    assert!(hits * 25 < boxes, "{hits} of {boxes}");
    let counts: BTreeSet<_> = all.iter().map(|s| found(&s.solution).len()).collect();
    assert!([0, 1, 2, 3, 4].iter().all(|n| counts.contains(n)), "{counts:?}");
    let words: BTreeSet<_> = all.iter().flat_map(labels).map(|l| l.split(' ').count()).collect();
    assert_eq!(words, [1, 2].into());
    let none = all.iter().filter(|s| s.solution == "None").count();
    assert!(none < 45, "{none} of 300 have nothing to detect");
}

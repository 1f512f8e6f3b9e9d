//! A mixture draws its parts by their weights, and the same sample at the same index.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first thing that is not as it should be")]

use std::sync::Arc;

use vr1_data::{Dataset, Mixture, Part, Scenes, Split, Task};

fn part(task: Task, len: usize, weight: f64) -> Part {
    Part { dataset: Arc::new(Scenes::new(task, Split::Train, 1, len)), weight }
}

#[test]
fn parts_come_by_their_weights_and_indices_evenly() {
    let parts = vec![part(Task::Spatial, 10, 3.0), part(Task::Counting, 4, 1.0), part(Task::Caption, 9, 0.0)];
    let mixture = Mixture::new(parts, 5, 8000).unwrap();
    let mut counts = [[0; 10]; 3];
    for i in 0..mixture.len() {
        let (part, at) = mixture.locate(i);
        counts[part][at] += 1;
    }
    let sums = counts.map(|c| c.iter().sum::<i32>());
    assert_eq!(sums[2], 0);
    assert!((sums[0] - 6000).abs() < 160, "{sums:?}"); // four standard deviations of 39
    assert!(counts[0].iter().all(|c| (c - 600).abs() < 100), "{counts:?}");
    assert!(counts[1][..4].iter().all(|c| (c - 500).abs() < 90), "{counts:?}");
}

#[test]
fn what_stands_at_an_index_does_not_depend_on_the_length() {
    let parts = || vec![part(Task::Spatial, 10, 1.0), part(Task::Counting, 10, 1.0)];
    let (short, long) = (Mixture::new(parts(), 2, 5).unwrap(), Mixture::new(parts(), 2, 500).unwrap());
    assert!((0..5).all(|i| short.locate(i) == long.locate(i)));
    let other = Mixture::new(parts(), 3, 500).unwrap();
    assert!((0..500).any(|i| other.locate(i) != long.locate(i)));
    let (part, at) = long.locate(4);
    let expected = parts()[part].dataset.get(at).unwrap();
    assert_eq!(short.get(4).unwrap().id, expected.id);
    assert!(short.get(5).is_err());
}

#[test]
fn a_mixture_that_cannot_be_drawn_from_is_refused() {
    let refused = |parts| Mixture::new(parts, 0, 1).unwrap_err().to_string();
    assert_eq!(refused(vec![]), "mixture: no part has a weight above 0");
    assert_eq!(refused(vec![part(Task::Spatial, 3, 0.0)]), "mixture: no part has a weight above 0");
    assert_eq!(refused(vec![part(Task::Spatial, 3, -1.0)]), "mixture part spatial: weight -1 is not a share");
    assert_eq!(refused(vec![part(Task::Spatial, 3, f64::NAN)]), "mixture part spatial: weight NaN is not a share");
    assert_eq!(refused(vec![part(Task::Spatial, 0, 1.0)]), "mixture part spatial: has a weight but no samples");
}

//! Sums are right, and the held-out ones are never trained on.

use super::*;

fn sum(sample: &Sample) -> (String, i64, [i64; 2]) {
    let words: Vec<_> = sample.question.split([' ', '?', '.']).collect();
    let at = words.iter().position(|w| ["+", "-"].contains(w)).unwrap();
    let [a, b] = [words[at - 1], words[at + 1]].map(|w| w.parse::<i64>().unwrap());
    let is = if words[at] == "+" { a + b } else { a - b };
    (words[at].to_owned(), is, [a, b])
}

#[test]
fn a_sum_is_right_and_shows_nothing() {
    for split in SPLITS {
        for sample in samples(Task::Sums, split, 300) {
            let (sign, is, [a, b]) = sum(&sample);
            assert!(sample.media.is_empty());
            assert_eq!(sample.solution, is.to_string());
            assert!(is >= 0);
            assert_eq!(text(&sample, "thought"), format!("{a} {sign} {b} = {is}."));
            match split {
                Split::Train | Split::InDomain => assert!(a <= 9 && b <= 9),
                Split::OutOfDomain => assert!((10..=12).contains(&a.max(b))),
                Split::Pretrain => assert!(a.max(b) <= 12),
            }
        }
    }
}

#[test]
fn held_out_sums_are_no_training_sums_and_every_number_occurs_in_both() {
    let sums = |split| samples(Task::Sums, split, 2000).iter().map(sum).collect::<BTreeSet<_>>();
    let (train, held_out) = (sums(Split::Train), sums(Split::InDomain));
    assert!(train.is_disjoint(&held_out));
    assert!(sums(Split::OutOfDomain).is_disjoint(&train));
    // 100 sums and 55 differences.
    assert_eq!(train.len() + held_out.len(), 155);
    for sums in [train, held_out] {
        let numbers: BTreeSet<_> = sums.into_iter().flat_map(|(_, _, pair)| pair).collect();
        assert_eq!(numbers, (0..=9).collect());
    }
}

#[test]
fn a_guessed_sum_is_rarely_right() {
    let all = samples(Task::Sums, Split::Train, 500);
    let right = all.iter().filter(|s| text(s, "guess") == s.solution).count();
    assert!((20..150).contains(&right), "{right} of 500");
}

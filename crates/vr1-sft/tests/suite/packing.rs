//! Packing and labels, by hand.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use vr1_sft::{Error, Role, Span, TrainOn, labels_from_spans, pack};

#[test]
fn a_sequence_that_no_row_holds_is_named() {
    assert!(matches!(pack(&[3, 9], 8), Err(Error::TooLong { sequence: 1, tokens: 9, capacity: 8 })));
    assert!(pack(&[], 0).is_err());
}

#[test]
fn only_the_last_turn_is_the_completion_and_media_inside_a_turn_is_not_learnt() {
    let ids: Vec<i64> = (10..18).collect();
    let span = |start, end, role| Span { start, end, role };
    let spans =
        [span(0, 2, Role::Assistant), span(2, 4, Role::User), span(4, 8, Role::Assistant), span(5, 6, Role::Media)];
    let run = |train_on| labels_from_spans(&ids, &spans, train_on).unwrap();
    assert_eq!(run(TrainOn::Completion), [-100, -100, -100, -100, 14, -100, 16, 17]);
    assert_eq!(run(TrainOn::Assistant), [10, 11, -100, -100, 14, -100, 16, 17]);
    assert_eq!(run(TrainOn::Everything), [10, 11, 12, 13, 14, -100, 16, 17]);
    let outside = [span(6, 9, Role::User)];
    assert!(matches!(
        labels_from_spans(&ids, &outside, TrainOn::Assistant),
        Err(Error::Span { index: 0, end: 9, tokens: 8, .. })
    ));
}

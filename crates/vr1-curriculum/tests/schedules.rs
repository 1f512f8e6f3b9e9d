//! What every schedule promises, and what it refuses.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use proptest::prelude::*;
use vr1_curriculum::{Adaptive, Curriculum, Error, Schedule, State};

fn schedules() -> Vec<Schedule> {
    [
        r#"{"kind":"fixed"}"#,
        r#"{"kind":"fixed","weights":[1,2,3]}"#,
        r#"{"kind":"staged"}"#,
        r#"{"kind":"staged","starts":[0,0.3,0.8],"blend":0.2}"#,
        r#"{"kind":"linear"}"#,
        r#"{"kind":"linear","from":[1,0,0],"to":[0,0,1],"over":0.5}"#,
        r#"{"kind":"adaptive"}"#,
        r#"{"kind":"adaptive","target":0.3,"width":1e-9,"floor":0,"memory":1}"#,
    ]
    .iter()
    .map(|json| serde_json::from_str(json).unwrap())
    .collect()
}

proptest! {
    #[test]
    fn weights_are_never_negative_and_sum_to_one(
        steps in 0u64..1000, step in any::<u64>(), seen in prop::collection::vec((0usize..5, any::<f64>()), 0..60),
    ) {
        for schedule in schedules() {
            let mut curriculum = schedule.build(3, steps).unwrap();
            for (stage, solved) in &seen {
                curriculum.observe(*stage, *solved);
            }
            for step in [0, step, steps / 2, steps, u64::MAX] {
                let weights = curriculum.weights(step);
                prop_assert_eq!(weights.len(), 3);
                prop_assert!(weights.iter().all(|w| *w >= 0.0), "{:?}: {:?}", schedule, weights);
                prop_assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{:?}: {:?}", schedule, weights);
            }
        }
    }

    #[test]
    fn a_restored_curriculum_goes_on_as_the_saved_one(
        before in prop::collection::vec((0usize..3, 0.0f64..=1.0), 0..60),
        after in prop::collection::vec((0usize..3, 0.0f64..=1.0), 0..60),
    ) {
        for schedule in schedules() {
            let mut first = schedule.build(3, 100).unwrap();
            before.iter().for_each(|(stage, solved)| first.observe(*stage, *solved));
            let saved = serde_json::to_string(&first.state()).unwrap();
            let mut second = schedule.build(3, 100).unwrap();
            second.restore(&serde_json::from_str::<State>(&saved).unwrap()).unwrap();
            for (stage, solved) in &after {
                first.observe(*stage, *solved);
                second.observe(*stage, *solved);
            }
            let (a, b) = (first.weights(7), second.weights(7));
            prop_assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-12), "{:?} {:?}", a, b);
        }
    }
}

#[test]
fn stages_go_from_easy_to_hard_and_never_back() {
    for schedule in schedules().into_iter().filter(|s| matches!(s, Schedule::Staged { .. } | Schedule::Linear { .. })) {
        let mut curriculum = schedule.build(3, 200).unwrap();
        let mut hardness = -1.0;
        for step in 0..=200 {
            let weights = curriculum.weights(step);
            let now = weights[1] + 2.0 * weights[2];
            assert!(now >= hardness - 1e-12, "{schedule:?} goes back at step {step}");
            hardness = now;
        }
        assert!(hardness >= 1.0 - 1e-12, "{schedule:?} ends at {hardness}");
    }
}

#[test]
fn the_stage_solved_half_of_the_time_gets_most() {
    let mut adaptive = Adaptive::new(3, Adaptive::DEFAULT).unwrap();
    assert_eq!(adaptive.weights(0), [1.0 / 3.0; 3]);
    for round in 0..64 {
        adaptive.observe(0, 1.0);
        adaptive.observe(1, f64::from(round % 2));
        adaptive.observe(2, 0.0);
    }
    let early = adaptive.weights(64);
    assert!(early[1] > 0.6, "{early:?}");
    assert!(early[0] > 0.02 && early[2] > 0.02, "no stage is forgotten: {early:?}");
    // Stage 1 becomes easy and stage 2 half solved: the weight moves on.
    for round in 0..128 {
        adaptive.observe(1, 1.0);
        adaptive.observe(2, f64::from(round % 2));
    }
    let late = adaptive.weights(192);
    assert!(late[2] > 0.6, "{late:?}");
}

#[test]
fn a_saved_state_of_other_stages_is_refused() {
    let mut three = Adaptive::new(3, Adaptive::DEFAULT).unwrap();
    let two = Adaptive::new(2, Adaptive::DEFAULT).unwrap();
    let error = three.restore(&two.state()).unwrap_err();
    assert_eq!(error.to_string(), "the saved curriculum is `adaptive` with 2 stages, and this one `adaptive` with 3");
    assert!(three.restore(&State::default()).is_err());
}

#[test]
fn settings_out_of_range_name_themselves() {
    let build = |json: &str| match serde_json::from_str::<Schedule>(json).unwrap().build(2, 10) {
        Ok(_) => panic!("{json} was accepted"),
        Err(error) => error.to_string(),
    };
    assert!(build(r#"{"kind":"fixed","weights":[1]}"#).contains("`weights` has 1 entries for 2 stages"));
    assert!(build(r#"{"kind":"fixed","weights":[1,-1]}"#).contains("`weights` holds -1"));
    assert!(build(r#"{"kind":"fixed","weights":[0,0]}"#).contains("gives no stage any weight"));
    assert!(build(r#"{"kind":"staged","starts":[0.1,0.5]}"#).contains("begins with 0"));
    assert!(build(r#"{"kind":"staged","starts":[0,1.5]}"#).contains("`starts` is 1.5"));
    assert!(build(r#"{"kind":"staged","starts":[0,0.1],"blend":0.5}"#).contains("longer than the stage"));
    assert!(build(r#"{"kind":"linear","over":0}"#).contains("`over` is 0"));
    assert!(build(r#"{"kind":"adaptive","width":0}"#).contains("`width` is 0"));
    assert!(build(r#"{"kind":"adaptive","memory":0}"#).contains("`memory` is 0"));
    assert!(serde_json::from_str::<Schedule>(r#"{"kind":"adaptive","targett":0.5}"#).is_err());
    assert!(matches!(Schedule::default().build(0, 10), Err(Error::Stages { .. })));
}

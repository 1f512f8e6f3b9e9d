//! Learning rates against transformers' `get_scheduler`; the numbers come from `fixtures/schedules/generate.py`.

use serde::Deserialize;
use vr1_learn::{OptimizerConfig, Schedule};

#[derive(Deserialize)]
struct Case {
    name: String,
    schedule: serde_json::Value,
    warmup_steps: u64,
    steps: u64,
    factors: Vec<f64>,
}

fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("../fixtures/schedules/factors.json")).unwrap()
}

#[test]
fn every_step_and_those_beyond_the_last_are_those_of_transformers() {
    for case in cases() {
        let schedule: Schedule = serde_json::from_value(case.schedule.clone()).unwrap();
        for (step, expected) in case.factors.iter().enumerate() {
            let found = schedule.factor(step as u64, case.steps, case.warmup_steps);
            let Case { name, schedule, warmup_steps, .. } = &case;
            // Theirs went through a product with the rate and a quotient by it.
            assert!(
                (found - expected).abs() <= 4.0 * f64::EPSILON,
                "{name} {schedule} {warmup_steps}: {found}, {expected} at {step}"
            );
        }
    }
}

#[test]
fn a_schedule_is_read_as_it_is_written() {
    for case in cases() {
        let schedule: Schedule = serde_json::from_value(case.schedule.clone()).unwrap();
        let written = serde_json::to_value(schedule).unwrap();
        assert_eq!(serde_json::from_value::<Schedule>(written.clone()).unwrap(), schedule);
        // Those that need no more than a name are written as one, as they ever were.
        assert_eq!(written.is_string(), case.schedule.is_string(), "{written}");
    }
}

#[test]
fn what_is_no_schedule_is_refused_by_name() {
    let refused = |text: &str| {
        let read: Result<OptimizerConfig, _> = serde_json::from_str(&format!(r#"{{ "schedule": {text} }}"#));
        read.map_err(|error| error.to_string()).and_then(|config| config.validate().map_err(|error| error.to_string()))
    };
    for (text, words) in [
        (r#""wave""#, "unknown variant `wave`"),
        ("3", "the name of a schedule"),
        (r#"{ "kind": "cosine", "min_lr": 0.1 }"#, "min_lr"),
        (r#"{ "kind": "cosine", "min_lr_ratio": 1.5 }"#, "min_lr_ratio is 1.5"),
        (r#"{ "kind": "wsd", "decay_steps": 3, "decay_ratio": 0.1 }"#, "one of the two"),
        (r#"{ "kind": "wsd", "decay_ratio": 2 }"#, "decay_ratio is 2"),
        (r#"{ "kind": "polynomial", "power": 0 }"#, "power is 0"),
        (r#"{ "kind": "cosine_with_restarts", "cycles": 0 }"#, "cycles is 0"),
    ] {
        let said = refused(text).unwrap_err();
        assert!(said.contains(words), "{text}: {said}");
    }
    assert_eq!(refused(r#"{ "kind": "wsd" }"#), Ok(()));
}

#[test]
fn a_warm_up_is_so_many_steps_or_a_share_of_them_rounded_up() {
    let config =
        |warmup_steps, warmup_ratio| OptimizerConfig { warmup_steps, warmup_ratio, ..OptimizerConfig::default() };
    assert_eq!(config(3, 0.0).warmup(100), 3);
    assert_eq!(config(0, 0.031).warmup(100), 4);
    assert_eq!((0..4).map(|step| config(0, 0.5).factor(step, 4)).collect::<Vec<_>>(), [0.0, 0.5, 1.0, 0.5]);
    assert!(config(3, 0.1).validate().unwrap_err().to_string().contains("optimizer.warmup_ratio"));
    assert!(config(0, 1.1).validate().is_err());
}

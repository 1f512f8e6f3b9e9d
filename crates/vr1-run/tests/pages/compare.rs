//! Runs beside each other.

use std::path::PathBuf;

use serde_json::json;
use vr1_run::{Comparison, RunError, RunFolder, StepMetrics, Summary, compare};

use crate::{
    chromium::Chromium,
    fixture::{Made, data, scores},
};

/// Three seeds of one recipe, a shorter run of another, and one of that which was interrupted.
fn runs(folder: &tempfile::TempDir) -> Vec<PathBuf> {
    let made = |name: &str, made: Made| {
        let dir = folder.path().join(name);
        Made { every: 1000, ..made }.write(&dir);
        dir
    };
    let other = || Made { learning_rate: 1e-4, ..Made::default() };
    vec![
        made("a", Made { seed: 1, ..Made::default() }),
        made("b", Made { seed: 2, ..Made::default() }),
        made("c", Made { seed: 3, ..Made::default() }),
        made("short", Made { steps: 20, ..other() }),
        made("cut", Made { finished: false, ..other() }),
    ]
}

fn parsed(comparison: &Comparison) -> serde_json::Value {
    serde_json::to_value(comparison).unwrap()
}

#[test]
fn runs_that_differ_in_the_seed_alone_are_one_with_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let dirs: Vec<PathBuf> = ["a", "b", "c"].iter().map(|name| folder.path().join(name)).collect();
    // After: 0.5, 0.6, 0.7, whose mean is 0.6 with the error 0.1/sqrt(3); before: 0.2, 0.3, 0.4; each changed by 0.3.
    for (seed, dir) in dirs.iter().enumerate() {
        let mut run = RunFolder::create(dir).unwrap();
        run.write_config(&json!({"system": "x", "seed": seed, "optimizer": {"learning_rate": 0.1}})).unwrap();
        run.append_metrics(&StepMetrics::new(1).with("reward", seed as f64)).unwrap();
        let at = |base: f64| scores(&[("accuracy", base + 0.1 * seed as f64), ("length", 10.0)]);
        run.write_summary(&Summary { before: at(0.2), after: at(0.5), steps: 1, seconds: 3.0, ..Summary::default() })
            .unwrap();
    }
    let found = compare(&dirs).unwrap();
    let json = parsed(&found);
    assert_eq!((json["groups"].as_array().unwrap().len(), &json["differences"]), (1, &json!([])));
    let after = &json["groups"][0]["scores"]["accuracy"]["after"];
    assert!((after["standard_error"].as_f64().unwrap() - 0.1 / 3_f64.sqrt()).abs() < 1e-12 && after["runs"] == 3);
    let told = found.told();
    let row =
        |words: &str| told.lines().any(|line| line.split_whitespace().collect::<Vec<_>>().join(" ").contains(words));
    assert!(row("accuracy a (3 runs) 30.0 ± 5.8 % 60.0 ± 5.8 % +30.0 ± 0.0 points"), "{told}");
    assert!(row("length a (3 runs) 10.000 ± 0.000"), "{told}");
    assert!(told.contains("the recipes differ in nothing but the seed"), "{told}");
}

#[test]
fn what_differs_is_listed_by_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let dirs: Vec<PathBuf> = ["x", "y"].iter().map(|name| folder.path().join(name)).collect();
    let configs = [
        json!({"seed": 1, "steps": 2, "lora": {"rank": 8}, "stages": [{"steps": 1}, {"steps": 2}]}),
        json!({"seed": 1, "steps": 2, "stages": [{"steps": 1}, {"steps": 3}]}),
    ];
    for (dir, config) in dirs.iter().zip(configs) {
        RunFolder::create(dir).unwrap().write_config(&config).unwrap();
    }
    let json = parsed(&compare(&dirs).unwrap());
    assert_eq!(
        json["differences"],
        json!([{"key": "lora.rank", "values": ["8", null]}, {"key": "stages.1.steps", "values": ["2", "3"]}])
    );
    let error = compare(&[dirs[0].clone(), folder.path().join("none")]).unwrap_err();
    assert!(matches!(error, RunError::NoRun(_)), "{error}");
}

#[test]
fn runs_of_different_lengths_and_unfinished_ones_stand_together() {
    let folder = tempfile::tempdir().unwrap();
    let found = compare(&runs(&folder)).unwrap();
    let json = parsed(&found);
    let groups: Vec<_> = json["groups"].as_array().unwrap().iter().map(|group| group["runs"].clone()).collect();
    assert_eq!(groups, [json!([0, 1, 2]), json!([3]), json!([4])]);
    assert_eq!((&json["runs"][3]["steps"], &json["runs"][4]["seconds"]), (&json!(20), &serde_json::Value::Null));
    let page = folder.path().join("compared.html");
    found.write_page(&page).unwrap();
    let data = data(&page);
    let reward = data["charts"].as_array().unwrap().iter().find(|chart| chart["id"] == "reward").unwrap();
    let series = reward["series"].as_array().unwrap();
    let lengths: Vec<usize> = series.iter().map(|one| one["points"].as_array().unwrap().len()).collect();
    assert_eq!(lengths, [60, 20, 60]);
    assert_eq!(series[0]["band"].as_array().unwrap().len(), 60);
    assert!(series[1].get("band").is_none(), "one run has no error");
    // By hand, at the first step: the mean of the three runs' own.
    let own = |seed| Made { seed, ..Made::default() }.metrics(1).get("reward").unwrap();
    let mean = (own(1) + own(2) + own(3)) / 3.0;
    assert!((series[0]["points"][0][1].as_f64().unwrap() - mean).abs() < 1e-4);
}

#[test]
fn a_browser_shows_every_run_in_every_curve() {
    let Some(mut browser) = Chromium::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("compared.html");
    compare(&runs(&folder)).unwrap().write_page(&page).unwrap();
    for (name, width, scheme) in [("light", 1440, "light"), ("phone-dark", 390, "dark")] {
        browser.look(width, 900, scheme);
        browser.open_file(&page);
        browser.until("document.querySelectorAll('.chart svg').length === document.querySelectorAll('.chart').length");
        assert_eq!(browser.value("document.documentElement.scrollWidth"), width);
        assert_eq!(browser.value("document.querySelectorAll('[data-chart=reward] .legend button').length"), 3);
        assert_eq!(browser.value("new Set([...document.querySelectorAll('[data-chart=reward] path[data-series]')].map((one) => one.style.stroke)).size"), 3);
        assert_eq!(
            browser.value(
                "[...document.querySelectorAll('#differences tbody td:first-child')].map((one) => one.textContent)"
            ),
            json!(["optimizer.learning_rate", "steps"])
        );
        browser.keep(&format!("compare-{name}"), false);
        browser.value("document.getElementById('curves').scrollIntoView()");
        browser.keep(&format!("compare-{name}-curves"), false);
    }
    assert_eq!(browser.complaints, Vec::<String>::new());
    assert_eq!(browser.fetched(), Vec::<String>::new());
}

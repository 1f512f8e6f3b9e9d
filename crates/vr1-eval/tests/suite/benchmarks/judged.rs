use std::cell::RefCell;

use serde_json::{Value, json};
use std::ops::ControlFlow;
use vr1_eval::{Ask, Asking, EvalConfig, Extraction, Turns};

use super::{config, fixture, marked};

/// A judge that answers by a script and remembers what it was asked.
struct Script<F> {
    answer: F,
    asked: RefCell<Vec<Asking>>,
}

impl<F: Fn(&Asking) -> Option<String>> Script<F> {
    fn new(answer: F) -> Self {
        Self { answer, asked: RefCell::default() }
    }
}

impl<F> std::fmt::Debug for Script<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Script").field("asked", &self.asked).finish_non_exhaustive()
    }
}

impl<F: Fn(&Asking) -> Option<String>> Ask for Script<F> {
    fn name(&self) -> &str {
        "a script"
    }

    fn ask(&self, asking: &Asking) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
        self.asked.borrow_mut().push(asking.clone());
        (self.answer)(asking).ok_or_else(|| "the judge is asleep".into())
    }
}

const CRITERIA: [&str; 10] = [
    "Faithfulness-Step",
    "Faithfulness-Token",
    "Informativeness-Step",
    "Repetition-Token",
    "Hallucination",
    "Redundancy",
    "Semantic Coverage-Step",
    "Reasoning Alignment",
    "Commonsense",
    "Missing Step",
];

/// Ratings from 1 to 10, and an overall score that is not their mean.
fn ratings() -> String {
    let mut ratings: serde_json::Map<String, Value> =
        CRITERIA.iter().zip(1..=10).map(|(name, rating)| ((*name).to_owned(), json!(rating))).collect();
    ratings.insert("Overall Score".to_owned(), json!(9));
    Value::Object(ratings).to_string()
}

fn vrc(judge: &dyn Ask, config: &EvalConfig) -> (Vec<vr1_eval::Record>, vr1_eval::Summary) {
    let completions = json!({"completions": {"vrc_0": "3 x 4 makes 12.", "vrc_1": "It is red."}});
    marked("vrc-bench", &fixture("vrc-bench"), &completions, config, Some(judge))
}

#[test]
fn vrc_bench_recomputes_the_mean_of_ten_criteria_or_takes_the_judges_own() {
    let judge = Script::new(|asking: &Asking| match &asking.schema {
        Some(_) => Some(ratings()),
        None => Some(if asking.user.contains("3 x 4 makes") { "1" } else { "0" }.to_owned()),
    });
    let (_, summary) = vrc(&judge, &config(Extraction::Robust));
    assert_eq!(summary.headline, "final_answer");
    assert_eq!(summary.score().unwrap().value, 0.5);
    assert!((summary.metrics["reasoning_steps"].value - 0.55).abs() < 1e-12, "1 to 10 have the mean 5.5");
    assert_eq!(summary.metrics["Missing Step"].value, 1.0);
    assert_eq!(summary.groups["category"]["Visual Reasoning"]["final_answer"].value, 0.0);
    let asked = judge.asked.borrow().clone();
    assert_eq!(asked.len(), 4);
    for name in CRITERIA {
        assert!(asked[0].system.contains(name) && asked[0].schema.as_ref().unwrap()["properties"].get(name).is_some());
    }
    assert!(
        asked[0]
            .user
            .ends_with("Ground Truth : Step 1: read the legend.\nStep 2: 3 x 4 = 12.\nLLM Response : 3 x 4 makes 12.")
    );
    assert!(asked[1].user.contains("\nGround Truth: 12\n"), "the final answer is compared with the final answer");
    drop(asked);

    judge.asked.borrow_mut().clear();
    let (_, summary) = vrc(&judge, &config(Extraction::Published));
    assert_eq!(summary.metrics["reasoning_steps"].value, 0.9, "what the judge calls overall");
    assert!(
        judge.asked.borrow()[1].user.contains("Ground Truth: Step 1: read the legend."),
        "as published, with the steps"
    );
}

#[test]
fn a_judge_that_fails_or_rambles_leaves_an_answer_without_a_verdict() {
    let judge = Script::new(|asking: &Asking| match &asking.schema {
        Some(_) => Some(ratings()),
        None => asking.user.contains("3 x 4 makes").then(|| "1".to_owned()),
    });
    let (records, summary) = vrc(&judge, &config(Extraction::Robust));
    assert_eq!((summary.count, summary.missing), (2, 1));
    assert_eq!((summary.score().unwrap().value, summary.score().unwrap().count), (1.0, 1));
    let why = summary.why_missing.unwrap();
    assert!(why.contains("row 2") && why.ends_with("the judge is asleep"), "{why}");
    assert_eq!(records[1].missing.as_deref(), Some("the judge is asleep"));

    let rambles =
        Script::new(|asking: &Asking| Some(asking.schema.as_ref().map_or_else(|| "yes".to_owned(), |_| ratings())));
    let why = vrc(&rambles, &config(Extraction::Robust)).1.why_missing.unwrap();
    assert!(why.ends_with("the judge's final should be 0 or 1, and is \"yes\""), "{why}");
    let half = Script::new(|_: &Asking| Some(r#"{"Hallucination": 11}"#.to_owned()));
    assert!(vrc(&half, &config(Extraction::Robust)).1.why_missing.unwrap().contains("Faithfulness-Step"));
}

#[test]
fn vrc_bench_can_be_asked_in_llamav_o1s_turns() {
    let judge =
        Script::new(|asking: &Asking| Some(asking.schema.as_ref().map_or_else(|| "1".to_owned(), |_| ratings())));
    let config = EvalConfig { turns: Turns::Staged, ..config(Extraction::Robust) };
    let (records, _) = vrc(&judge, &config);
    // The script gives each turn the same words; the reasoning and the conclusion are judged.
    assert_eq!(records[0].completion, "3 x 4 makes 12.\n\n\n3 x 4 makes 12.");
    assert!(judge.asked.borrow()[0].user.ends_with("LLM Response : 3 x 4 makes 12.\n\n\n3 x 4 makes 12."));
}

#[test]
fn what_a_judge_extracts_is_marked_by_mathvistas_rule() {
    let completions = super::expected("mathvista");
    let judge = Script::new(|asking: &Asking| {
        Some(if asking.user.contains("figure 2 show") { "(c)" } else { "7.9" }.to_owned())
    });
    let (records, _) =
        marked("mathvista", &fixture("mathvista"), &completions, &config(Extraction::Robust), Some(&judge));
    let mark = |id: &str| records.iter().find(|record| record.id == id).unwrap().marks["accuracy"];
    assert_eq!((mark("2"), mark("4"), mark("3")), (1.0, 1.0, 0.0), "a letter, and a number cut to a whole one");
    assert_eq!(judge.asked.borrow().len(), 8);
}

#[test]
fn mathverse_is_extracted_and_then_scored() {
    let completions = super::expected("mathverse");
    let judge = Script::new(|asking: &Asking| {
        let scoring = asking.user.ends_with("Judgement:");
        Some(
            if scoring {
                if asking.user.contains("Student's answer: EXTRACTED") { "1" } else { "no" }
            } else {
                "EXTRACTED"
            }
            .to_owned(),
        )
    });
    let (records, summary) =
        marked("mathverse", &fixture("mathverse"), &completions, &config(Extraction::Robust), Some(&judge));
    assert_eq!(summary.score().unwrap().value, 1.0);
    assert_eq!(records[0].answer.as_deref(), Some("EXTRACTED"));
}

#[test]
fn a_benchmark_that_only_a_judge_can_score_asks_for_one() {
    let questions = vr1_eval::Benchmark::named("vrc-bench").unwrap().open(&fixture("vrc-bench"), None).unwrap();
    let processor = vr1_processor::Processor::from_dir(super::TINY.as_ref()).unwrap();
    let mut engine = vr1_rollout::Scripted::new(processor.tokenizer().clone(), |_, _| panic!("nobody is asked"));
    let mut who =
        vr1_eval::Answering { engine: &mut engine, processor: &processor, model: "script", judge: None, reward: None };
    let error = vr1_eval::evaluate(&questions, &mut who, &config(Extraction::Robust), None, &mut |_, _| {
        ControlFlow::Continue(())
    })
    .unwrap_err();
    assert_eq!(error.to_string(), "vrc-bench is scored by a language model, and no judge is given");
}

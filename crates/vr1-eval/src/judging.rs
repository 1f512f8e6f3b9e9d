//! What a language model is asked about an answer, and how its verdict becomes marks.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::benchmark::{Benchmark, Judging};
use crate::benchmarks::mathvista_rule;
use crate::extraction::{Extraction, How};
use crate::{Ask, Asking, Item, Mark};

/// What a model said of an answer, by what it was asked.
pub(crate) type Said = Map<String, Value>;

/// The ten criteria of VRC-Bench, each with what it asks and what a high and a low rating mean.
const CRITERIA: [(&str, &str); 10] = [
    (
        "Faithfulness-Step",
        "how well the steps align with the steps of the ground truth; 10: all of them do, 1: most do not",
    ),
    ("Faithfulness-Token", "the same within each step, word by word; 10: they mirror it, 1: mostly wrong or made up"),
    (
        "Informativeness-Step",
        "whether all relevant information is extracted; 10: almost all that is critical, 1: very little",
    ),
    ("Repetition-Token", "steps repeated or paraphrased without need; 10: none, 1: excessively many"),
    ("Hallucination", "irrelevant or invented steps; 10: none, all is grounded, 1: mostly invented"),
    ("Redundancy", "steps that add nothing; 10: none, very concise, 1: excessively many"),
    (
        "Semantic Coverage-Step",
        "how well the essential elements of meaning are covered; 10: almost completely, 1: very poorly",
    ),
    (
        "Reasoning Alignment",
        "how the chain as a whole aligns with the reference; 10: very closely, 1: fundamentally not",
    ),
    ("Commonsense", "commonsense that is needed and missing; 10: nothing is missing, 1: almost all is"),
    ("Missing Step", "necessary steps that are missing; 10: none that is critical, 1: major gaps"),
];
const OVERALL: &str = "Overall Score";

/// Asks what the benchmark asks, unless `said` has it from the same model under the same rule.
pub(crate) fn ask(
    benchmark: Benchmark,
    item: &Item,
    completion: &str,
    (extraction, judge): (Extraction, &dyn Ask),
    said: Option<&Said>,
) -> Result<Said, String> {
    let rule = json!(extraction);
    let same = |said: &&Said| said.get("by") == Some(&json!(judge.name())) && said.get("rule") == Some(&rule);
    if let Some(said) = said.filter(same) {
        return Ok(said.clone());
    }
    let mut said = Said::from_iter([("by".to_owned(), json!(judge.name())), ("rule".to_owned(), rule)]);
    for (name, asking) in questions(benchmark, item, completion, extraction) {
        // A scorer is told what was extracted.
        let extracted = said.get("extraction").and_then(Value::as_str).unwrap_or_default();
        let user = asking.user.replace(EXTRACTED, extracted);
        let asking = Asking { user, ..asking };
        let answer = judge.ask(&asking).map_err(|error| error.to_string())?;
        said.insert(name.to_owned(), answer.trim().into());
    }
    mark(benchmark, item, &said, extraction).map(|_| said)
}

/// Where a question repeats what was extracted before it.
const EXTRACTED: &str = "\u{FDD0}";

fn questions(benchmark: Benchmark, item: &Item, completion: &str, rule: Extraction) -> Vec<(&'static str, Asking)> {
    let plain =
        |system: &str, user: String, max_tokens| Asking { system: system.to_owned(), user, max_tokens, schema: None };
    let question = &item.sample.question;
    let extract = || {
        let system = "You extract the final answer from a model's response to a problem. Say the answer alone: for a choice its \
                      letter or its words, otherwise the value as it is written. Say null where there is none.";
        (
            "extraction",
            plain(system, format!("Question: {question}\n\nModel response: {completion}\n\nExtracted answer:"), 256),
        )
    };
    let score = |answer: &str| {
        let system = "You compare a student's answer with the correct one. Say 1 if they mean the same, be it in another form \
                      or unit, and 0 if they do not or if there is no answer. Say nothing else.";
        let user = format!(
            "Question: {question}\nStandard answer: {}\nStudent's answer: {answer}\nJudgement:",
            item.gold.said()
        );
        ("score", plain(system, user, 8))
    };
    match benchmark.0.judging {
        Judging::None => Vec::new(),
        Judging::Extract => vec![extract()],
        Judging::ExtractAndScore => vec![extract(), score(EXTRACTED)],
        Judging::Score => vec![score(completion)],
        Judging::Steps => {
            let steps = item.sample.fields.get("steps").and_then(Value::as_str).unwrap_or_default();
            // The published program compares with the steps, and not with the final answer.
            let truth = if rule == Extraction::Published { steps } else { &item.sample.solution };
            let last = format!(
                "   Evaluate the following answer based on Accuracy:\nQuestion: {question}\nGround Truth: {truth}\nModel \
                 Prediction: {completion}\nMatch the meaning of the ground truth with the model prediction and if it matches \
                 give a 1. Otherwise 0.\nStrictly return only the numeric score, without any additional commentary"
            );
            let helpful = "You are a helpful Assistant. Provide helpful response to the user's question.";
            let user = format!("{question}\nGround Truth : {steps}\nLLM Response : {completion}");
            let steps = Asking { system: rubric(), user, max_tokens: 500, schema: Some(schema()) };
            vec![("steps", steps), ("final", plain(helpful, last, 10))]
        }
    }
}

fn rubric() -> String {
    let criterion =
        |(number, (name, what)): (usize, &(&str, &str))| format!("{}. {name} (1-10): {what}.\n", number + 1);
    let criteria: String = CRITERIA.iter().enumerate().map(criterion).collect();
    format!(
        "You are a reasoning evaluator designed to assess the alignment, coherence, and quality of reasoning steps in text \
         responses. Your task is to evaluate reasoning steps between the *ground truth* and the *LLM response* using the \
         following metrics:\n{criteria}Read both with care, and compare them step by step. Higher is always better. {OVERALL} is \
         the mean of the ten. Return only a JSON object with these eleven numbers."
    )
}

fn schema() -> Value {
    let names: Vec<&str> = CRITERIA.iter().map(|(name, _)| *name).chain([OVERALL]).collect();
    let properties: Map<String, Value> =
        names.iter().map(|name| ((*name).to_owned(), json!({ "type": "number" }))).collect();
    json!({ "type": "object", "properties": properties, "required": names, "additionalProperties": false })
}

/// What the verdict makes of an answer.
pub(crate) fn mark(benchmark: Benchmark, item: &Item, said: &Said, rule: Extraction) -> Result<Mark, String> {
    let text = |name: &str| said.get(name).and_then(Value::as_str).unwrap_or_default();
    let share = |name: &str| {
        let number = text(name).trim().trim_start_matches("Judgement:").trim().parse::<f64>().ok();
        let number = number.filter(|number| (0.0..=1.0).contains(number));
        number.ok_or_else(|| format!("the judge's {name} should be 0 or 1, and is {:?}", text(name)))
    };
    let judged = |answer: Option<String>, marks| Mark { answer, marks, how: Some(How::Judge), ..Mark::default() };
    match benchmark.0.judging {
        Judging::None => Ok(Mark::default()),
        Judging::Extract => Ok(mathvista_rule(item, text("extraction")).by(How::Judge)),
        Judging::ExtractAndScore | Judging::Score => {
            let answer = said.get("extraction").and_then(Value::as_str).map(str::to_owned);
            Ok(judged(answer, BTreeMap::from([("accuracy".to_owned(), share("score")?)])))
        }
        Judging::Steps => {
            let ratings = ratings(text("steps"))?;
            let mut marks = BTreeMap::from([("final_answer".to_owned(), share("final")?)]);
            let overall = match rule {
                Extraction::Published => ratings[CRITERIA.len()],
                Extraction::Robust => ratings[..CRITERIA.len()].iter().sum::<f64>() / CRITERIA.len() as f64,
            };
            marks.insert("reasoning_steps".to_owned(), overall / 10.0);
            marks.extend(CRITERIA.iter().zip(&ratings).map(|((name, _), rating)| ((*name).to_owned(), rating / 10.0)));
            Ok(judged(None, marks))
        }
    }
}

/// The ten ratings and the overall one.
fn ratings(text: &str) -> Result<Vec<f64>, String> {
    let budget = vr1_reward::Budget::new(vr1_reward::Limits::default());
    let found = vr1_reward::json_in(text, vr1_reward::Fence::Last, &budget, "a judge's ratings").ok().flatten();
    let object = found
        .as_ref()
        .and_then(Value::as_object)
        .ok_or_else(|| format!("the judge's ratings are no JSON object: {text:?}"))?;
    let names = CRITERIA.iter().map(|(name, _)| *name).chain([OVERALL]);
    let rating = |name: &str| {
        let number = object.get(name).and_then(Value::as_f64).filter(|number| (1.0..=10.0).contains(number));
        number.ok_or_else(|| format!("the judge's {name:?} should be from 1 to 10, and is {:?}", object.get(name)))
    };
    names.map(rating).collect()
}

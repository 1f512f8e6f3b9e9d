//! Rows that are made with models that follow a script, in memory, over an engine and behind a server.

mod journal;
mod teachers;

use std::collections::VecDeque;
use std::error::Error;
use std::path::Path;

use regex::Regex;
use serde_json::json;
use vr1_agent::{
    Call, Choose, Deduplicate, EngineTeacher, Failure, Filtering, Journal, Judging, Keep, Kept, Making, Prompted,
    Replied, Reply, Scoring, ServerTeacher, StepWords, Tally, Teacher, Wanted, Wording, make,
};
use vr1_data::{Dataset, Media, Picture, Sample};
use vr1_processor::{Layout, Message, Part, Processor, Role, Tokenizer};
use vr1_remote::{Chat, ServerConfig};
use vr1_reward::{Program, Registry};
use vr1_rollout::{Sampling, Scripted, Ticket};

/// Questions `q0`, `q1` and so on, whose solutions are their numbers.
struct Questions(Vec<Sample>);

impl Questions {
    fn new(count: usize) -> Self {
        let shown = || vec![Media::Image(Picture::from(image::RgbImage::new(2, 2)))];
        let sample = |i: usize| Sample {
            id: format!("s{i}"),
            question: format!("q{i}"),
            solution: i.to_string(),
            media: shown(),
            ..Sample::default()
        };
        Self((0..count).map(sample).collect())
    }
}

impl Dataset for Questions {
    fn name(&self) -> &str {
        "questions"
    }
    fn len(&self) -> usize {
        self.0.len()
    }
    fn get(&self, index: usize) -> vr1_data::Result<Sample> {
        Ok(self.0[index].clone())
    }
}

/// The question as it is, and a beginning.
struct Plain(&'static str);

impl Wording for Plain {
    fn ask(&self, sample: &Sample) -> Result<Prompted, Box<dyn Error + Send + Sync>> {
        let user = Message::user(vec![Picture::from(image::RgbImage::new(2, 2))], sample.question.as_str());
        Ok(Prompted { messages: vec![user], prefill: self.0.to_owned() })
    }
    fn judged(&self, sample: &Sample) -> Result<Option<String>, Box<dyn Error + Send + Sync>> {
        Ok(sample.fields.get("number").and_then(|number| number.as_str()).map(str::to_owned))
    }
    fn grade(&self, sample: &Sample, paths: &str) -> Result<Vec<Message>, Box<dyn Error + Send + Sync>> {
        Ok(vec![Message::text(Role::User, format!("Grade {}:\n{paths}", sample.question))])
    }
    fn same(&self, sample: &Sample) -> Result<String, Box<dyn Error + Send + Sync>> {
        Ok(sample.fields["mood"].as_str().unwrap().to_owned())
    }
}

fn making(wording: &dyn Wording, completions: usize) -> Making<'_> {
    Making {
        wording,
        sampling: Sampling::default(),
        completions,
        steps: None,
        read: vec![],
        judging: None,
        filters: vec![],
        scoring: None,
        keep: Keep::default(),
        deduplicate: None,
    }
}

/// Answers by a function, the last asked first, and ends after so many calls.
struct Script<F> {
    answer: F,
    waiting: VecDeque<(Ticket, Call)>,
    asked: u64,
    left: usize,
}

impl<F: FnMut(&Call) -> Result<Vec<Reply>, Failure>> Script<F> {
    fn new(answer: F) -> Self {
        Self { answer, waiting: VecDeque::new(), asked: 0, left: usize::MAX }
    }
}

impl<F: FnMut(&Call) -> Result<Vec<Reply>, Failure>> Teacher for Script<F> {
    fn name(&self) -> &str {
        "script"
    }
    fn at_once(&self) -> usize {
        3
    }
    fn submit(&mut self, call: Call) -> vr1_agent::Result<Ticket> {
        self.asked += 1;
        self.waiting.push_back((Ticket(self.asked), call));
        Ok(Ticket(self.asked))
    }
    fn poll(&mut self) -> vr1_agent::Result<Vec<Replied>> {
        let Some((ticket, call)) = self.waiting.pop_back() else { return Ok(vec![]) };
        if self.left == 0 {
            return Ok(vec![(ticket, Err(Failure::Model("the power is out".to_owned())))]);
        }
        self.left -= 1;
        Ok(vec![(ticket, (self.answer)(&call))])
    }
}

fn said(text: &str) -> Reply {
    Reply { text: text.to_owned(), cut: false, tokens: text.len() }
}

/// The last words of a call.
fn last(call: &Call) -> String {
    let parts = call.messages.last().unwrap().parts.iter();
    parts.filter_map(|part| if let Part::Text(text) = part { Some(text.as_str()) } else { None }).collect()
}

fn run(
    making: &Making<'_>,
    samples: &Questions,
    teacher: &mut dyn Teacher,
    journal: &Path,
) -> vr1_agent::Result<(Vec<Kept>, Tally)> {
    let mut rows = vec![];
    let mut row = |kept: Kept| {
        rows.push(kept);
        Ok(())
    };
    let mut journal = Journal::open(journal)?;
    let tally = make(making, samples, samples.len(), teacher, &mut journal, &mut row, &mut |_| {})?;
    Ok((rows, tally))
}

/// The same in a folder of its own.
fn rows(making: &Making<'_>, samples: &Questions, teacher: &mut dyn Teacher) -> (Vec<Kept>, Tally) {
    let folder = tempfile::tempdir().unwrap();
    run(making, samples, teacher, &folder.path().join("answers.jsonl")).unwrap()
}

fn completions(rows: &[Kept]) -> Vec<(String, String)> {
    let row = |row: &Kept| (row.sample.id.clone(), row.sample.fields["completion"].as_str().unwrap().to_owned());
    rows.iter().map(row).collect()
}

fn reason<'t>(tally: &'t Tally, reason: &str) -> (usize, Option<&'t str>) {
    tally.dropped.0.get(reason).map_or((0, None), |(count, more)| (*count, more.as_deref()))
}

#[test]
fn rows_come_in_the_samples_order_with_the_beginning_before_the_answer() {
    let wording = Plain("<think>");
    let mut teacher = Script::new(|call: &Call| {
        assert_eq!((call.prefill.as_str(), call.count), ("<think>", 2));
        Ok(vec![said(&format!("{} a", last(call))), said(&format!("{} b", last(call)))])
    });
    let (rows, tally) = rows(&making(&wording, 2), &Questions::new(5), &mut teacher);
    let expected: Vec<(String, String)> =
        (0..5).flat_map(|i| ["a", "b"].map(|way| (format!("s{i}"), format!("<think>q{i} {way}")))).collect();
    assert_eq!(completions(&rows), expected);
    assert_eq!(rows.iter().map(|row| row.attempt).collect::<Vec<_>>(), [0, 1].repeat(5));
    assert_eq!((tally.questions, tally.calls, tally.answers, tally.kept), (5, 5, 10, 10));
    assert_eq!(tally.dropped.count(), 0);
}

#[test]
fn seeds_differ_from_call_to_call_and_follow_from_the_recipes() {
    let wording = Plain("");
    let seeds = |seed: u64| {
        let mut seeds = vec![];
        let mut teacher = Script::new(|call: &Call| {
            seeds.push((call.question, call.sampling.seed));
            Ok(vec![said("x")])
        });
        let making = Making { sampling: Sampling { seed, ..Sampling::default() }, ..making(&wording, 1) };
        rows(&making, &Questions::new(4), &mut teacher);
        seeds.sort_unstable();
        seeds
    };
    let first = seeds(7);
    assert_eq!(first, seeds(7));
    assert_ne!(first, seeds(8));
    let mut distinct: Vec<u64> = first.iter().map(|(_, seed)| *seed).collect();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), 4);
    assert!(distinct.iter().all(|seed| *seed < 1 << 31));
}

#[test]
fn a_model_that_gives_fewer_answers_than_asked_for_is_asked_for_the_rest() {
    let (wording, mut asked) = (Plain(""), vec![]);
    let mut teacher = Script::new(|call: &Call| {
        asked.push((call.name.clone(), call.count));
        Ok(vec![said(&call.name)])
    });
    let (rows, _) = rows(&making(&wording, 3), &Questions::new(1), &mut teacher);
    let names = ["answers 1", "answers 2", "answers 3"];
    assert_eq!(completions(&rows).into_iter().map(|(_, text)| text).collect::<Vec<_>>(), names);
    assert_eq!(asked, [("answers 1".to_owned(), 3), ("answers 2".to_owned(), 2), ("answers 3".to_owned(), 1)]);
}

#[test]
fn answers_are_dropped_for_reasons_that_are_counted() {
    let wording = Plain("");
    let mut teacher = Script::new(|call: &Call| match call.question {
        0 => Ok(vec![Reply { cut: true, ..said("Answer: 0") }, said("no number")]),
        1 => Ok(vec![said("Answer: 1"), said("Answer: 7")]),
        2 => Err(Failure::Call("too long".to_owned())),
        _ => Ok(vec![said("Answer: 3, I think"), said("Sorry. Answer: 3")]),
    });
    let registry = Registry::default();
    let program = Program::parse(
        "terms: { right: 'exact(completion, solution)', one: 'length(completion) / 100' }\ntotal: right + one",
        &registry,
    )
    .unwrap();
    let filter = |of: &str, pattern: &str, wanted| Filtering {
        of: of.to_owned(),
        pattern: Regex::new(pattern).unwrap(),
        wanted,
    };
    let making = Making {
        read: vec![("number".to_owned(), Regex::new(r"Answer: (\d+)").unwrap())],
        judging: Some(Judging { program: &program, term: Some("right"), at_least: 1.0 }),
        filters: vec![filter("completion", "^Sorry", Wanted::Absent), filter("number", r"^\d$", Wanted::Found)],
        ..making(&wording, 2)
    };
    let (rows, tally) = rows(&making, &Questions::new(4), &mut teacher);
    let kept = [("s1", "Answer: 1"), ("s3", "Answer: 3, I think")].map(|(id, text)| (id.to_owned(), text.to_owned()));
    assert_eq!(completions(&rows), kept);
    assert_eq!(rows[0].sample.fields["number"], "1");
    assert_eq!(rows[0].sample.fields["reward"], 1.0);
    assert_eq!(reason(&tally, "cut off"), (1, None));
    assert_eq!(reason(&tally, "no `number` in it"), (1, Some("no number")));
    assert_eq!(reason(&tally, "a reward below 1"), (1, None));
    assert_eq!(reason(&tally, "a call that failed"), (2, Some("too long")));
    assert_eq!(reason(&tally, "`completion` matches \"^Sorry\""), (1, Some("Sorry. Answer: 3")));
    assert_eq!((tally.answers, tally.dropped.count(), tally.kept), (6, 6, 2));
}

#[test]
fn a_question_keeps_as_many_as_it_may_and_those_that_are_to_be() {
    let (wording, texts) = (Plain(""), ["three three", "one", "two two two", "four"]);
    let kept = |keep: Keep, graded: bool| {
        let mut teacher = Script::new(|call: &Call| match call.name.starts_with("grades") {
            true => Ok(vec![said("I find: [20, 30, 90, 30]")]),
            false => Ok(texts.map(said).to_vec()),
        });
        let scoring = graded.then_some(Scoring { from: 1.0, to: 100.0, tries: 1 });
        let (rows, tally) = rows(&Making { keep, scoring, ..making(&wording, 4) }, &Questions::new(1), &mut teacher);
        assert_eq!(reason(&tally, "another of its question was chosen").0, 4 - rows.len());
        completions(&rows).into_iter().map(|(_, text)| text).collect::<Vec<_>>()
    };
    let keep = |count, choose| Keep { per_question: count, choose };
    assert_eq!(kept(keep(None, Choose::First), false), texts);
    assert_eq!(kept(keep(Some(2), Choose::First), false), ["three three", "one"]);
    assert_eq!(kept(keep(Some(2), Choose::Shortest), false), ["one", "four"]);
    assert_eq!(kept(keep(Some(1), Choose::Best), true), ["two two two"]);
    assert_eq!(kept(keep(Some(2), Choose::Best), true), ["one", "two two two"], "of equals the first");
}

#[test]
fn what_may_not_come_twice_comes_once_unless_other_pictures_are_shown() {
    let wording = Plain("");
    let mut samples = Questions::new(4);
    samples.0[1].question = "Q0 ".to_owned();
    samples.0[2].question = "q0".to_owned();
    samples.0[2].media = vec![Media::Image(Picture::from(image::RgbImage::new(3, 2)))];
    let ids = |deduplicate| {
        let mut teacher = Script::new(|call: &Call| {
            let answer = if call.question == 1 { "b" } else { "a" };
            Ok(vec![said(answer), said("a")])
        });
        let read = vec![("mood".to_owned(), Regex::new("[ab]").unwrap())];
        let (rows, tally) =
            rows(&Making { deduplicate: Some(deduplicate), read, ..making(&wording, 2) }, &samples, &mut teacher);
        assert_eq!(reason(&tally, "there is one like it").0, 8 - rows.len());
        rows.iter()
            .map(|row| row.sample.id.clone() + row.sample.fields["completion"].as_str().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(Deduplicate::Question), ["s0a", "s2a", "s3a"]);
    assert_eq!(ids(Deduplicate::Answer), ["s0a", "s1b", "s2a", "s3a"]);
    assert_eq!(ids(Deduplicate::Words), ["s0a", "s1b", "s2a"]);
}

#[test]
fn a_path_is_a_call_a_step_and_one_that_is_no_json_is_asked_for_again_without_a_trace() {
    let (wording, words) = (Plain(""), StepWords::default());
    let mut asked: Vec<(String, usize, String)> = vec![];
    let step = |title: &str, next: &str| said(&json!({"title": title, "content": 1, "next_action": next}).to_string());
    let mut teacher = Script::new(|call: &Call| {
        asked.push((call.name.clone(), call.messages.len(), last(call)));
        Ok(vec![match call.name.as_str() {
            "path 0, step 1, try 1" => said("Well, {\"title\": \"Look"),
            "path 0, step 1, try 2" => {
                said("```json\n{\"title\": \"Look\", \"content\": \"two\", \"next_action\": \"continue\"}\n```")
            }
            "path 0, step 2, try 1" => step("Count", "final_answer"),
            "path 0, answer, try 1" => said("{\"title\": \"FINAL ANSWER\", \"content\": 2}"),
            name if name.starts_with("path 1,") => said("never"),
            name if name.contains("answer") => said("{\"content\": \"three\"}"),
            _ => step("On", "continue"),
        }])
    });
    let steps = Some(StepWords { at_most: 3, ..words.clone() });
    let (rows, tally) = rows(&Making { steps, ..making(&wording, 3) }, &Questions::new(1), &mut teacher);
    let fields = &rows[0].sample.fields;
    assert_eq!(fields["path"], "Look: two\nCount: 1");
    assert_eq!(fields["answer"], "2");
    assert_eq!(fields["steps"][1]["next_action"], "final_answer");
    assert_eq!(fields["completion"], "<think>\nLook: two\nCount: 1\n</think>\n<answer>2</answer>");
    assert_eq!(rows[1].sample.fields["path"], "On: 1\nOn: 1\nOn: 1", "a path has so many steps at most");
    assert_eq!((rows.len(), rows[1].attempt), (2, 2));
    assert_eq!(reason(&tally, "a step that is no JSON"), (1, Some("never")));
    let of = |name: &str| asked.iter().find(|(known, ..)| known == name).unwrap();
    // The question, the primed turn, and what asks for the step; then the step and what asks for the next.
    assert_eq!((of("path 0, step 1, try 1").1, &of("path 0, step 1, try 1").2), (3, &words.next));
    assert_eq!(
        (of("path 0, step 1, try 2").1, &of("path 0, step 1, try 2").2),
        (3, &format!("{}\n\n{}", words.next, words.again))
    );
    assert_eq!((of("path 0, step 2, try 1").1, &of("path 0, step 2, try 1").2), (5, &words.next));
    assert_eq!((of("path 0, answer, try 1").1, &of("path 0, answer, try 1").2), (7, &words.last));
    assert!(!asked.iter().any(|(name, ..)| name == "path 1, step 1, try 4"));
}

#[test]
fn paths_are_graded_in_one_call_which_is_made_again_where_it_does_not_grade_each() {
    let (wording, mut asked) = (Plain(""), vec![]);
    let mut teacher = Script::new(|call: &Call| match call.name.as_str() {
        "answers 1" => Ok(vec![said("first"), said("second")]),
        name => {
            asked.push(last(call));
            Ok(vec![said(match (call.question, name) {
                (0, "grades, try 1") => "The first is 7 of 100, the second 9.",
                (0, "grades, try 2") => "[7, 101]",
                (0, _) => "Here: [7, 9.5]",
                _ => "I would rather not.",
            })])
        }
    });
    let scoring = Some(Scoring { from: 1.0, to: 100.0, tries: 3 });
    let mut samples = Questions::new(2);
    samples.0[0].question = "Why?".to_owned();
    let (rows, tally) = rows(&Making { scoring, ..making(&wording, 2) }, &samples, &mut teacher);
    assert_eq!(asked.iter().filter(|words| **words == "Grade Why?:\nPath 1:\nfirst\n\nPath 2:\nsecond").count(), 3);
    assert_eq!(rows.iter().map(|row| row.sample.fields["score"].as_f64().unwrap()).collect::<Vec<_>>(), [7.0, 9.5]);
    assert_eq!(asked.len(), 6);
    assert_eq!(reason(&tally, "no grade for each"), (2, Some("I would rather not.")));
}

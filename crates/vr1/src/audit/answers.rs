//! Whether answers can be read: by the verifiers of a reward program, or else by what answers in general are.

use std::collections::BTreeMap;

use vr1_data::Sample;
use vr1_reward::{Outcome, Program, Rollout, box_in, only_number};

use super::finding::{Finding, Kind};

/// What answers are read by.
pub(crate) struct Answers {
    pub(crate) program: Option<Program>,
}

/// How a row's own answer was read.
pub(crate) struct Answered {
    shape: Shape,
    /// The most of each term that the answer earns in any of its forms.
    terms: Vec<(String, f32)>,
}

/// What kind of answer one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Shape {
    Number,
    Letter,
    YesNo,
    Rectangle,
    Words,
}

impl Shape {
    fn of(answer: &str) -> Self {
        let plain = answer.trim().trim_end_matches('.').trim_start_matches('$').trim_end_matches('$');
        let bare = plain.trim_matches(['(', ')', ' ']);
        let says = |words: &[&str]| words.iter().any(|word| plain.eq_ignore_ascii_case(word));
        match () {
            () if bare.len() == 1 && bare.starts_with(|c: char| c.is_ascii_uppercase()) => Self::Letter,
            () if says(&["yes", "no", "true", "false"]) => Self::YesNo,
            () if box_in(plain).is_some() => Self::Rectangle,
            () if only_number(plain).is_some() && !plain.contains(char::is_whitespace) => Self::Number,
            () => Self::Words,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Number => "a number",
            Self::Letter => "a letter",
            Self::YesNo => "yes or no",
            Self::Rectangle => "a box",
            Self::Words => "words",
        }
    }
}

impl Answers {
    /// Reads a row's own answer as a model would give it.
    ///
    /// # Errors
    /// Where it is empty, or the program can score none of its forms.
    pub(crate) fn read(&self, sample: &Sample) -> Result<Answered, String> {
        if sample.solution.trim().is_empty() {
            return Err("the answer is empty".to_owned());
        }
        let shape = Shape::of(&sample.solution);
        let Some(program) = &self.program else { return Ok(Answered { shape, terms: vec![] }) };
        let solution = &sample.solution;
        let response = sample.fields.get("response").and_then(|response| response.as_str()).unwrap_or_default();
        let forms = [
            format!("<think>It can be seen.</think>\n<answer>{solution}</answer>"),
            format!("<think>\nIt can be seen.\n</think>\n<answer>\n{solution}\n</answer>"),
            format!("<answer>\\boxed{{{solution}}}</answer>"),
            format!("<answer>```json\n{solution}\n```</answer>"),
            format!("The answer is \\boxed{{{solution}}}."),
            solution.clone(),
            response.to_owned(),
        ];
        let (mut best, mut failed): (Option<Outcome>, Option<String>) = (None, None);
        for form in forms.iter().filter(|form| !form.is_empty()) {
            let rollout = Rollout {
                prompt: &sample.question,
                completion: form,
                solution,
                tokens: form.split_whitespace().count(),
                finished: true,
                fields: &sample.fields,
            };
            match program.outcome(&rollout).and_then(|outcome| outcome.reward().map(|_| outcome)) {
                Ok(outcome) => best = Some(best.map_or(outcome.clone(), |best| greater(best, &outcome))),
                Err(error) => failed = failed.or(Some(error.to_string())),
            }
        }
        match best {
            Some(best) => Ok(Answered { shape, terms: known(best) }),
            None => Err(format!("{:?}: {}", short(solution), failed.unwrap_or_default())),
        }
    }
}

/// The greater value of each term.
fn greater(mut best: Outcome, other: &Outcome) -> Outcome {
    for ((_, best), (_, other)) in best.terms.iter_mut().zip(&other.terms) {
        *best = match (*best, *other) {
            (Some(a), Some(b)) => Some(a.max(b)),
            (a, b) => a.or(b),
        };
    }
    best
}

fn known(outcome: Outcome) -> Vec<(String, f32)> {
    outcome.terms.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

fn short(text: &str) -> String {
    text.chars().take(60).collect()
}

/// A share of rows whose answers are of one kind: those of the others are odd.
const NEARLY_ALL: f64 = 0.95;
/// Fewer rows say nothing.
const ENOUGH: usize = 20;

/// How the answers of all rows were read.
#[derive(Default)]
pub(crate) struct Readings {
    shapes: BTreeMap<Shape, Vec<(u32, String)>>,
    /// Of each term how many rows earn something of it, and those that do not.
    earned: BTreeMap<String, (usize, Vec<(u32, String)>)>,
    rows: usize,
}

impl Readings {
    pub(crate) fn add(&mut self, row: u32, answer: &str, answered: Answered) {
        self.rows += 1;
        let of_shape = self.shapes.entry(answered.shape).or_default();
        // Of a kind that is common nobody asks which they are.
        of_shape.push((row, if of_shape.len() < 4096 { short(answer) } else { String::new() }));
        for (term, value) in answered.terms {
            let (earning, idle) = self.earned.entry(term).or_default();
            match value > 0.0 {
                true => *earning += 1,
                false => idle.push((row, short(answer))),
            }
        }
    }

    /// Answers that are not as nearly all others are.
    pub(crate) fn odd<'a>(&'a self, place: impl Fn(u32) -> String + 'a) -> Vec<Finding> {
        let mut findings = Vec::new();
        let many = |count: usize| self.rows >= ENOUGH && count as f64 >= NEARLY_ALL * self.rows as f64;
        if let Some((usual, _)) = self.shapes.iter().find(|(shape, rows)| **shape != Shape::Words && many(rows.len())) {
            let others = self.shapes.iter().filter(|(shape, _)| *shape != usual);
            for (shape, rows) in others {
                for (row, answer) in rows {
                    let reason = format!("{answer:?} is {}; nearly all answers are {}", shape.name(), usual.name());
                    findings.push(Finding::new(Kind::OddAnswer, &place(*row), reason));
                }
            }
        }
        for (term, (earning, idle)) in &self.earned {
            if *earning * 2 > self.rows {
                for (row, answer) in idle {
                    let reason =
                        format!("its own answer, {answer:?}, earns nothing of `{term}`, as those of {earning} rows do");
                    findings.push(Finding::new(Kind::Answer, &place(*row), reason));
                }
            }
        }
        findings
    }
}

use regex::Regex;
use serde_json::Value;
use vr1_agent::{Choose, Filtering, Wanted};
use vr1_reward::Program;

use super::row::Row;
use super::words::Words;
use super::{MakeRecipe, TeacherConfig};
use crate::{Error, Result};

/// A key and what is wrong with its value.
type Fault = (String, String);

/// What answers bring themselves, beside their pieces.
const TAKEN: [&str; 8] = ["question", "solution", "id", "completion", "attempt", "reward", "score", "paths"];

/// The most answers of a question.
const MOST: usize = 65_536;

impl MakeRecipe {
    /// What a second look finds: the key and the reason.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        let fault = |key: &str, reason: String| Err((key.to_owned(), reason));
        self.source.check().map_err(|reason| ("source".to_owned(), reason))?;
        if self.source.is_endless() && self.samples.limit().is_none() {
            return fault("samples", "must be a number: what is drawn has no end".to_owned());
        }
        if let TeacherConfig::Server(server) = &self.model {
            server.validate().map_err(|error| ("model".to_owned(), error.to_string()))?;
        }
        self.sampling.validate().map_err(|error| ("sampling".to_owned(), error.to_string()))?;
        if self.sampling.seed != 0 {
            return fault("sampling.seed", "is the recipe's own, `seed`".to_owned());
        }
        if !(1..=MOST).contains(&self.completions) {
            return fault("completions", format!("is {}, and must be from 1 to {MOST}", self.completions));
        }
        if let Some(steps) = &self.steps {
            if !self.ask.prefill.is_empty() {
                return fault("ask.prefill", "has no place beside `steps`, whose answers are JSON".to_owned());
            }
            if !(1..=1000).contains(&steps.at_most) {
                return fault("steps.at_most", format!("is {}, and must be from 1 to 1000", steps.at_most));
            }
            if !(1..=100).contains(&steps.tries) {
                return fault("steps.tries", format!("is {}, and must be from 1 to 100", steps.tries));
            }
        }
        let own: &[&str] = if self.steps.is_some() { &["path", "steps", "answer"] } else { &[] };
        if let Some(name) = self.read.keys().find(|name| TAKEN.iter().chain(own).any(|taken| *taken == name.as_str())) {
            return fault(&format!("read.{name}"), "is a name that answers have already; take another".to_owned());
        }
        self.patterns().map_err(|error| ("read".to_owned(), error.to_string()))?;
        self.filters().map_err(|error| ("filter".to_owned(), error.to_string()))?;
        self.check_kept()?;
        Words::new(self).map_err(|error| ("ask".to_owned(), error.to_string()))?;
        Row::new(&self.row).map_err(|error| ("row".to_owned(), error.to_string()))?;
        if self.row.is_empty() || self.row.contains_key("made") {
            return fault(
                "row",
                "must have a column, and none called `made`, which says where a row came from".to_owned(),
            );
        }
        match self.out.extension().and_then(|end| end.to_str()) {
            Some("jsonl" | "parquet") => Ok(()),
            _ => fault("out", format!("is {:?}, and must end in .jsonl or .parquet", self.out.display())),
        }
    }

    fn check_kept(&self) -> Result<(), Fault> {
        let fault = |key: &str, reason: &str| Err((key.to_owned(), reason.to_owned()));
        let keep = &self.keep;
        if self.reward.is_none() && (keep.term.is_some() || self.judged.is_some()) {
            let key = if self.judged.is_some() { "judged" } else { "keep.term" };
            return fault(key, "needs a `reward`");
        }
        if !keep.at_least.is_finite() {
            return fault("keep.at_least", "must be finite");
        }
        if keep.choose == Choose::Best && self.reward.is_none() && self.score.is_none() {
            return fault("keep.choose", "is `best`, and there is neither a `reward` nor a `score` to tell");
        }
        let Some(score) = &self.score else { return Ok(()) };
        if !(score.from.is_finite() && score.to.is_finite() && score.from < score.to) {
            return fault("score.from", "must be below `to`, and both finite");
        }
        if !(1..=100).contains(&score.tries) {
            return fault("score.tries", "must be from 1 to 100");
        }
        match score.text.contains("paths") {
            true => Ok(()),
            false => fault("score.text", "must show `{{ paths }}`"),
        }
    }

    /// The pieces of answers.
    pub(crate) fn patterns(&self) -> Result<Vec<(String, Regex)>> {
        let pattern = |(name, text): (&String, &String)| Ok((name.clone(), regex(name, text)?));
        self.read.iter().map(pattern).collect()
    }

    pub(crate) fn filters(&self) -> Result<Vec<Filtering>> {
        let filter = |filter: &super::FilterConfig| {
            let (text, wanted) = match (&filter.matches, &filter.lacks) {
                (Some(text), None) => (text, Wanted::Found),
                (None, Some(text)) => (text, Wanted::Absent),
                _ => {
                    return Err(Error::Recipe(format!("`{}`: either `matches` or `lacks`, one of the two", filter.of)));
                }
            };
            Ok(Filtering { of: filter.of.clone(), pattern: regex(&filter.of, text)?, wanted })
        };
        self.filter.iter().map(filter).collect()
    }

    /// That a program has the term that counts.
    pub(crate) fn check_term(&self, program: Option<&Program>) -> Result<()> {
        let (Some(program), Some(term)) = (program, &self.keep.term) else { return Ok(()) };
        if program.term_names().any(|known| known == term) {
            return Ok(());
        }
        let known = program.term_names().map(Value::from).map(|name| name.to_string()).collect::<Vec<_>>();
        Err(Error::Recipe(format!("keep.term: the reward has no term {term:?}; it has {}", known.join(", "))))
    }
}

fn regex(name: &str, text: &str) -> Result<Regex> {
    Regex::new(text).map_err(|error| Error::Recipe(format!("`{name}`: no pattern: {error}")))
}

use serde_json::Value as Json;

use crate::{Error, Fields, Outcome, Program, Result, Rollout};

/// A recorded rollout: one line of `rollouts/step-N.jsonl.zst`, or of a file a user wrote.
///
/// # Example
/// ```
/// use vr1_reward::{Program, Record, Registry};
/// let record = Record::parse(r#"{"prompt":"1+2?","completion":"<answer>3</answer>","solution":3,"level":"easy"}"#)?;
/// assert_eq!(record.fields["level"], "easy");
/// let program = Program::builtin("r1v_counting", &Registry::default())?;
/// let outcome = program.outcome(&record.rollout())?;
/// assert_eq!(serde_json::to_string(&outcome).unwrap(), r#"{"total":1.0,"terms":{"accuracy":1.0,"format":0.0}}"#);
/// # Ok::<(), vr1_reward::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The question; empty where the row has none.
    pub prompt: String,
    /// What the model answered.
    pub completion: String,
    /// The reference answer; what is no text in JSON is written as JSON.
    pub solution: String,
    /// The completion's length in tokens; its words where the row does not say.
    pub tokens: usize,
    /// Whether the model ended it; yes where the row does not say.
    pub finished: bool,
    /// Every other key of the row, and what stands in an object `fields` of it.
    pub fields: Fields,
}

impl Record {
    /// Reads one line of JSON.
    ///
    /// # Errors
    /// Where it is no JSON object, has no `completion`, or a key has the wrong type.
    pub fn parse(line: &str) -> Result<Self> {
        let row = |reason: String| Error::Row { reason };
        let json: Json = serde_json::from_str(line).map_err(|error| row(format!("not JSON: {error}")))?;
        let Json::Object(mut fields) = json else {
            return Err(row("a row is a JSON object with `prompt`, `completion` and `solution`".into()));
        };
        let wrong = |key: &str, wanted: &str, found: &Json| row(format!("`{key}` must be {wanted}, and is {found}"));
        let mut text = |key: &str| match fields.remove(key) {
            None | Some(Json::Null) => Ok(None),
            Some(Json::String(text)) => Ok(Some(text)),
            Some(other) if key == "solution" => Ok(Some(other.to_string())),
            Some(other) => Err(wrong(key, "a text", &other)),
        };
        let prompt = text("prompt")?.unwrap_or_default();
        let completion = text("completion")?.ok_or_else(|| row("there is no `completion`".into()))?;
        let solution = text("solution")?.unwrap_or_default();
        let tokens = match fields.remove("tokens") {
            None | Some(Json::Null) => completion.split_whitespace().count(),
            Some(json) => json
                .as_u64()
                .and_then(|tokens| usize::try_from(tokens).ok())
                .ok_or_else(|| wrong("tokens", "a whole number", &json))?,
        };
        let finished = match fields.remove("finished") {
            None | Some(Json::Null) => true,
            Some(json) => json.as_bool().ok_or_else(|| wrong("finished", "true or false", &json))?,
        };
        match fields.shift_remove("fields") {
            Some(Json::Object(own)) => fields.extend(own),
            Some(other) => drop(fields.insert("fields".to_owned(), other)),
            None => {}
        }
        Ok(Self { prompt, completion, solution, tokens, finished, fields })
    }

    /// Reads one line of bytes, which may not be UTF-8.
    ///
    /// # Errors
    /// As [`Record::parse`]; invalid UTF-8 says at which byte.
    pub fn parse_bytes(line: &[u8]) -> Result<Self> {
        let text = std::str::from_utf8(line)
            .map_err(|error| Error::Row { reason: format!("not UTF-8 at byte {}", error.valid_up_to()) })?;
        Self::parse(text)
    }

    /// What a reward sees of it.
    #[must_use]
    pub fn rollout(&self) -> Rollout<'_> {
        Rollout {
            prompt: &self.prompt,
            completion: &self.completion,
            solution: &self.solution,
            tokens: self.tokens,
            finished: self.finished,
            fields: &self.fields,
        }
    }
}

impl Program {
    /// Scores recorded rollouts on all cores, each as a group of one; where `group_size` is above 1, in groups of
    /// neighbours. The results are in the records' order; a total that is missing is an error.
    ///
    /// # Example
    /// ```
    /// use vr1_reward::{Program, Record, Registry};
    /// let program = Program::builtin("r1v_counting", &Registry::default())?;
    /// let rows = [r#"{"completion":"<answer>3</answer>","solution":"3"}"#, r#"{"prompt":"?"}"#];
    /// let records: Vec<_> = rows.iter().map(|row| Record::parse(row)).collect();
    /// let outcomes = program.score_records(&records, 1);
    /// assert_eq!(outcomes[0].as_ref().unwrap().total, Some(1.0));
    /// assert_eq!(outcomes[1].as_ref().unwrap_err().to_string(), "there is no `completion`");
    /// # Ok::<(), vr1_reward::Error>(())
    /// ```
    #[must_use]
    pub fn score_records(&self, records: &[Result<Record>], group_size: usize) -> Vec<Result<Outcome>> {
        use rayon::prelude::*;
        let group = |records: &[Result<Record>]| {
            let sound: Vec<Rollout<'_>> = records.iter().flatten().map(Record::rollout).collect();
            let mut outcomes = self.outcomes(&sound).into_iter();
            let each = |record: &Result<Record>| match record {
                // One outcome for each sound record, in order.
                Ok(_) => {
                    let outcome = outcomes.next().unwrap_or(Err(Error::Missing { name: "total".into() }))?;
                    outcome.reward().map(|_| outcome)
                }
                Err(error) => Err(error.clone()),
            };
            records.iter().map(each).collect::<Vec<_>>()
        };
        records.par_chunks(group_size.max(1)).flat_map_iter(group).collect()
    }
}

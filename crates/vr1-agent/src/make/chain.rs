use serde::{Deserialize, Serialize};
use serde_json::Value;
use vr1_data::Fields;
use vr1_processor::{Message, Role};

use super::answer::{object, text_of};
use super::{Failure, Reply};

/// What a model is told that reasons in steps, each a call of its own that gives JSON: `title`, `content`, and `next_action`,
/// which is `continue` or `final_answer`; then a last call gives the answer.
///
/// Insight-V's loop ([arXiv:2411.14432](https://arxiv.org/abs/2411.14432), `data_generation.py`). Its primed turn is
/// published; the others are in our words, after the gist of its own.
///
/// # Differences from the published script
/// - A step that is no JSON is asked for again without a trace in the conversation; there the asking stays in it.
/// - A path one of whose steps is no JSON after all tries is dropped; there it ends with a step called `Error`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StepWords {
    /// What the model is said to have said first; nothing where it is empty.
    pub begin: String,
    /// What asks for a step.
    pub next: String,
    /// What is added where it gave none.
    pub again: String,
    /// What asks for the answer.
    pub last: String,
    /// The most steps of a path.
    pub at_most: usize,
    /// How often a step is asked for.
    pub tries: usize,
}

impl Default for StepWords {
    /// Insight-V's: at most 16 steps, each asked for up to three times.
    fn default() -> Self {
        Self {
            begin: "Thank you! I will now think step by step following my instructions, starting at the beginning after \
                    decomposing the problem."
                .to_owned(),
            next: "Go on with the next step of your reasoning, as one JSON object with the keys 'title', 'content' and \
                   'next_action'. Take ONE step at a time. A step whose next_action is 'continue' must be very different from \
                   the steps before it; if there is nothing new to say, set next_action to 'final_answer'. Do NOT give the \
                   answer itself in this round."
                .to_owned(),
            again: "What you said was not valid JSON. Respond with one JSON object with the keys 'title', 'content' and \
                    'next_action', and with nothing else."
                .to_owned(),
            last: "Now give the final answer, based on nothing but your reasoning above. Respond with one JSON object: \
                   {\"title\": \"FINAL ANSWER\", \"content\": \"the answer\"}."
                .to_owned(),
            at_most: 16,
            tries: 3,
        }
    }
}

/// A path on its way: what a model said step by step.
#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) attempt: usize,
    steps: Vec<Value>,
    said: Vec<String>,
    tries: usize,
    /// Whether the reasoning is over, and the answer is asked for.
    reasoned: bool,
    tokens: usize,
    asking: bool,
    /// What came of it in the end: the answer, or why there is none.
    end: Option<Result<String, (String, Option<String>)>>,
}

impl Chain {
    pub(crate) fn new(attempt: usize) -> Self {
        let (steps, said) = (Vec::new(), Vec::new());
        Self { attempt, steps, said, tries: 0, reasoned: false, tokens: 0, asking: false, end: None }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.end.is_some()
    }

    /// The next call: its name, and what is said in it behind the question. Nothing while one is under way, and at the end.
    pub(crate) fn next(&mut self, words: &StepWords) -> Option<(String, Vec<Message>)> {
        if self.asking || self.is_done() {
            return None;
        }
        self.asking = true;
        let what = if self.reasoned { "answer".to_owned() } else { format!("step {}", self.steps.len() + 1) };
        let name = format!("path {}, {what}, try {}", self.attempt, self.tries + 1);
        let mut turns = vec![];
        if !words.begin.is_empty() {
            turns.push(Message::text(Role::Assistant, words.begin.as_str()));
        }
        for said in &self.said {
            turns.push(Message::text(Role::User, words.next.as_str()));
            turns.push(Message::text(Role::Assistant, said.as_str()));
        }
        let wanted = if self.reasoned { &words.last } else { &words.next };
        let wanted = if self.tries > 0 { format!("{wanted}\n\n{}", words.again) } else { wanted.clone() };
        turns.push(Message::text(Role::User, wanted));
        Some((name, turns))
    }

    pub(crate) fn take(&mut self, words: &StepWords, replied: Result<Vec<Reply>, Failure>) {
        self.asking = false;
        let reply = match replied.map(|replies| replies.into_iter().next().unwrap_or_default()) {
            Ok(reply) => reply,
            Err(failure) => {
                self.end = Some(Err(("a call that failed".to_owned(), Some(failure.reason()))));
                return;
            }
        };
        self.tokens += reply.tokens;
        let step = object(&reply.text).filter(|step| step.get("content").is_some_and(|content| !content.is_null()));
        let Some(step) = step else {
            self.tries += 1;
            if self.tries >= words.tries {
                let what = if self.reasoned { "an answer" } else { "a step" };
                self.end = Some(Err((format!("{what} that is no JSON"), Some(reply.text))));
            }
            return;
        };
        self.tries = 0;
        if self.reasoned {
            self.end = Some(Ok(text_of(&step["content"])));
            return;
        }
        // A path that has gone as far as it may is asked for its answer.
        let over = step.get("next_action").and_then(Value::as_str) == Some("final_answer");
        self.said.push(Value::from(step.clone()).to_string());
        self.steps.push(step.into());
        self.reasoned = over || self.steps.len() >= words.at_most;
    }

    /// The path, the answer and the tokens of both, or why there is none.
    pub(crate) fn finish(self) -> Result<(Fields, String, usize), (String, Option<String>)> {
        let answer = self.end.unwrap_or_else(|| Err(("a path without an end".to_owned(), None)))?;
        let line = |step: &Value| format!("{}: {}", text_of(&step["title"]), text_of(&step["content"]));
        let path = self.steps.iter().map(line).collect::<Vec<_>>().join("\n");
        let completion = format!("<think>\n{path}\n</think>\n<answer>{answer}</answer>");
        let mut pieces = Fields::new();
        pieces.insert("path".to_owned(), path.into());
        pieces.insert("steps".to_owned(), self.steps.into());
        pieces.insert("answer".to_owned(), answer.into());
        Ok((pieces, completion, self.tokens))
    }
}

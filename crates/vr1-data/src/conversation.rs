//! The `conversations` of a row: one question with its answer, or a staged conversation.

use serde_json::Value;

use crate::Turn;
use crate::sample::STAGES;

/// A question, the answer that counts as right, and, of several exchanges, each.
#[derive(Debug, Clone)]
pub(crate) struct Conversation {
    pub(crate) question: String,
    pub(crate) solution: String,
    pub(crate) turns: Vec<Turn>,
}

impl Conversation {
    /// Reads a list of messages, `human` and `gpt` in turn.
    pub(crate) fn parse(messages: Option<Value>) -> Result<Self, String> {
        let messages = match messages {
            Some(Value::Array(messages)) => messages,
            Some(_) => return Err("conversations: not a list".to_owned()),
            None => return Err("conversations: missing".to_owned()),
        };
        let count = messages.len();
        if count == 0 || count % 2 == 1 || count > 2 * STAGES.len() {
            return Err(format!(
                "conversations: {count} messages, should be questions with their answers, one to four"
            ));
        }
        let values: Vec<Value> =
            messages.into_iter().enumerate().map(|(at, m)| value(at, m)).collect::<Result<_, _>>()?;
        let question = text(0, &values[0])?.to_owned();
        let solution = solution(count - 1, &values[count - 1])?;
        let turns = match count {
            2 => vec![],
            _ => values.chunks_exact(2).enumerate().map(|(i, pair)| turn(i, pair)).collect::<Result<_, _>>()?,
        };
        Ok(Self { question, solution, turns })
    }

    /// Every text of the user's.
    pub(crate) fn prompts(&mut self) -> impl Iterator<Item = &mut String> {
        std::iter::once(&mut self.question).chain(self.turns.iter_mut().map(|turn| &mut turn.prompt))
    }
}

/// What message number `at` says, if it is from whom it should be.
fn value(at: usize, mut message: Value) -> Result<Value, String> {
    let from = if at.is_multiple_of(2) { "human" } else { "gpt" };
    match message.get("from") {
        Some(Value::String(found)) if found == from => {}
        Some(found) => return Err(format!("conversations[{at}].from: {found}, should be \"{from}\"")),
        None => return Err(format!("conversations[{at}].from: missing, should be \"{from}\"")),
    }
    message.get_mut("value").map(Value::take).ok_or_else(|| format!("conversations[{at}].value: missing"))
}

fn turn(number: usize, exchange: &[Value]) -> Result<Turn, String> {
    let at = 2 * number;
    let (prompt, answer) = (text(at, &exchange[0])?, text(at + 1, &exchange[1])?);
    Ok(Turn { name: STAGES[number].to_owned(), prompt: prompt.to_owned(), answer: answer.to_owned() })
}

fn text(at: usize, value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| format!("conversations[{at}].value: {value} is no text"))
}

fn solution(at: usize, answer: &Value) -> Result<String, String> {
    match answer {
        Value::String(text) => Ok(text.replace("<answer>", "").replace("</answer>", "").trim().to_owned()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Array(_) => Ok(spaced(answer)),
        other => Err(format!("conversations[{at}].value: {other} is no text, number or list")),
    }
}

/// JSON with a space after each comma and colon.
fn spaced(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(spaced).collect::<Vec<_>>().join(", ")),
        Value::Object(items) => {
            let item = |(key, value): (&String, &Value)| format!("{}: {}", Value::from(key.as_str()), spaced(value));
            format!("{{{}}}", items.iter().map(item).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

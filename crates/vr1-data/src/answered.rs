//! A question and the answer that counts as right, under whatever keys a row has them.

use serde_json::Value;

use crate::asked::{self, has};
use crate::faults::{keys, shortened};
use crate::files::Root;
use crate::shown;
use crate::spoken::{Piece, Spoken, messages, present, spaced, turns};
use crate::{Fields, Speaker};

/// The keys that conversations with their last answer stand under.
const CONVERSATIONS: [&str; 2] = ["conversations", "messages"];

/// The keys of questions, and of the answers to them: of several the first is it.
const QUESTIONS: [&str; 5] = ["problem", "question", "query", "instruction", "prompt"];
const ANSWERS: [&str; 5] = ["answer", "solution", "response", "output", "completion"];

/// What is asked, and what counts as right.
#[derive(Debug)]
pub(crate) struct Answered {
    /// All that is said before the last answer.
    pub(crate) asked: Vec<Spoken>,
    /// Of several exchanges, what is said to each.
    pub(crate) answers: Vec<String>,
    pub(crate) solution: String,
    /// The last answer whole, where the solution stood in it.
    pub(crate) response: Option<String>,
}

/// The key that a row's question stands under.
pub(crate) fn key(fields: &Fields) -> Result<&'static str, String> {
    if let Some(key) = CONVERSATIONS.into_iter().find(|key| has(fields, key)) {
        return Ok(key);
    }
    let known = || format!("{}; {}", CONVERSATIONS.join(", "), QUESTIONS.join(", "));
    match QUESTIONS.into_iter().find(|key| has(fields, key)) {
        None => Err(format!("no question: the row has the keys {}; questions stand under {}", keys(fields), known())),
        Some(key) if ANSWERS.iter().any(|key| has(fields, key)) => Ok(key),
        Some(key) => {
            let (has, known) = (keys(fields), ANSWERS.join(", "));
            Err(format!("{key}: without an answer; the row has the keys {has}; answers stand under {known}"))
        }
    }
}

impl Answered {
    /// Takes what stands under `key`, which is what [`key`] says.
    pub(crate) fn take(fields: &mut Fields, key: &'static str, root: Root<'_>) -> Result<Self, String> {
        let (asked, answer, at) = if CONVERSATIONS.contains(&key) {
            conversation(key, present(fields, key).unwrap_or_default(), root)?
        } else {
            let asked = match key {
                "instruction" => asked::take(fields, key, root)?,
                _ => turns(key, present(fields, key).unwrap_or_default(), Speaker::User, root)?,
            };
            let at = ANSWERS.into_iter().find(|key| has(fields, key)).unwrap_or("answer");
            (asked, present(fields, at).unwrap_or_default(), at.to_owned())
        };
        let asked = asked::below_system(fields, asked)?;
        let spoken = asked.iter().filter(|turn| turn.speaker != Speaker::System);
        for (turn, speaker) in spoken.zip([Speaker::User, Speaker::Assistant].into_iter().cycle()) {
            if turn.speaker != speaker {
                let (who, should) = (turn.speaker.name(), speaker.name());
                return Err(format!("{}: said by the {who}, should be by the {should}", turn.at));
            }
        }
        shown::check(&asked)?;
        let (solution, response) = solved(&at, &answer)?;
        let said = asked.iter().filter(|turn| turn.speaker == Speaker::Assistant);
        let mut answers: Vec<String> = said.map(words).collect();
        if !answers.is_empty() {
            answers.push(match &answer {
                Value::String(text) => text.clone(),
                _ => solution.clone(),
            });
        }
        Ok(Self { asked, answers, solution, response })
    }
}

/// The messages of a conversation, its last answer, and where that stands.
fn conversation(key: &str, value: Value, root: Root<'_>) -> Result<(Vec<Spoken>, Value, String), String> {
    let mut list = messages(key, value, root)?;
    let Some(last) = list.pop() else { return Err(format!("{key}: an empty list")) };
    if last.speaker != Speaker::Assistant {
        let who = last.speaker.name();
        return Err(format!("{}: said by the {who}; a conversation ends with the assistant's answer", last.at));
    }
    if list.iter().all(|turn| turn.speaker == Speaker::System) {
        return Err(format!("{key}: an answer without a question"));
    }
    if last.pieces.iter().any(|piece| !matches!(piece, Piece::Words(_))) {
        return Err(format!("{}: an answer shows no image or video", last.at));
    }
    let said = Value::String(words(&last));
    Ok((list, said, last.at))
}

fn words(turn: &Spoken) -> String {
    let text = |piece: &Piece| match piece {
        Piece::Words(text) => text.clone(),
        _ => String::new(),
    };
    turn.pieces.iter().map(text).collect()
}

/// The solution in an answer, and the answer whole where it says more.
fn solved(at: &str, answer: &Value) -> Result<(String, Option<String>), String> {
    match answer {
        Value::String(text) => Ok(match in_last_answer(text) {
            Some(inside) => {
                let bare = format!("<answer>{inside}</answer>") == text.trim();
                (inside.trim().to_owned(), (!bare).then(|| text.clone()))
            }
            None => (text.trim().to_owned(), None),
        }),
        Value::Number(number) => Ok((number.to_string(), None)),
        Value::Array(_) => Ok((spaced(answer), None)),
        other => Err(format!("{at}: {} is no text, number or list", shortened(other))),
    }
}

/// What stands in the last `<answer>` that is closed and has no other in it.
fn in_last_answer(text: &str) -> Option<&str> {
    const OPEN: &str = "<answer>";
    const CLOSE: &str = "</answer>";
    let closed = |(at, _): (usize, &str)| {
        let inside = &text[at + OPEN.len()..];
        let end = inside.find(CLOSE)?;
        (!inside[..end].contains(OPEN)).then_some(&inside[..end])
    };
    text.rmatch_indices(OPEN).find_map(closed)
}

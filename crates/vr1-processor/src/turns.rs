use std::collections::BTreeSet;

use crate::{ChatTemplate, Ending, Message, Role, Tokenizer};

/// Words that no template writes; one a turn.
const WORDS: [&str; 4] = ["WordsOfTheFirst", "WordsOfTheSecond", "WordsOfTheThird", "WordsOfTheFourth"];

impl ChatTemplate {
    /// The added tokens that the template puts around turns, found out by rendering a conversation: those that say who
    /// speaks, and the one that ends an answer.
    ///
    /// What it writes around the last answer alone is left out but for that end: there some templates put the beginning
    /// of a thought.
    pub(crate) fn turns(&self, tokenizer: &Tokenizer) -> (BTreeSet<u32>, BTreeSet<u32>) {
        let [question, answer, again, last] = WORDS;
        let turns = [(Role::User, question), (Role::Assistant, answer), (Role::User, again), (Role::Assistant, last)];
        let turns: Vec<Message> = turns.into_iter().map(|(role, text)| Message::text(role, text)).collect();
        let instructed: Vec<Message> =
            std::iter::once(Message::text(Role::System, "WordsOfTheSystem")).chain(turns.iter().cloned()).collect();
        let (mut roles, mut ends) = (BTreeSet::new(), BTreeSet::new());
        for conversation in [instructed, turns] {
            // A template may take no system prompt.
            let Ok(rendered) = self.render(&conversation, Ending::Closed, tokenizer) else { continue };
            let text = rendered.text();
            let (Some(through), Some(end)) = (text.find(again), text.find(last)) else { continue };
            for (range, id) in tokenizer.added_in(text) {
                if text[range.clone()].trim().is_empty() {
                    continue; // some vocabularies have white space among their added tokens
                }
                if range.start < through {
                    roles.insert(id);
                } else if range.start > end {
                    ends.insert(id);
                    break;
                }
            }
        }
        (roles, ends)
    }
}

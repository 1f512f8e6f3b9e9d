use std::fmt;

use crate::{Error, Result};

/// Which of the two agents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The one that reasons and does not answer.
    Reasoner,
    /// The one that judges the reasoning and answers.
    Summariser,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reasoner => "reasoner",
            Self::Summariser => "summariser",
        })
    }
}

/// What the two agents are told. `{question}` stands for the sample's question, `{reasoning}` for the reasoner's path.
///
/// What is put in their places is not searched for further ones: a question may spell `{reasoning}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentPrompts {
    /// The reasoner's, with `{question}`.
    pub reasoner: String,
    /// The summariser's, with `{question}` and `{reasoning}`.
    pub summariser: String,
}

impl AgentPrompts {
    /// The reasoner's words in Insight-V's `infer_two_models.py`.
    pub const REASONER: &str =
        "{question}\n\nPerform step-by-step reasoning of the problem. Only provide the reasoning process.";

    /// The summariser's words in Insight-V's `infer_two_models.py`; `shold` and the two spaces are its own, and its
    /// models were trained on them.
    pub const SUMMARISER: &str = "I will give you a reasoning process of the question. You should determine whether \
        the reasoning process is correct about the question. If it is correct, please summarize the answer based on \
        the reasoning process. If it is incorrect, answer the question and ignore the reasoning process. You shold \
        directly give the summarization or answer as you are directly answer the QUESTION  without saying your \
        judgement about the reasoning process.\n\nQUESTION: {question}\n\nREASON PROCESS: {reasoning}";

    /// Checks that each template shows what it must.
    ///
    /// # Errors
    /// [`Error::Template`] with the placeholder that is not there.
    pub fn validate(&self) -> Result<()> {
        let wanted = [
            (Role::Reasoner, &self.reasoner, "{question}"),
            (Role::Summariser, &self.summariser, "{question}"),
            (Role::Summariser, &self.summariser, "{reasoning}"),
        ];
        match wanted.into_iter().find(|(_, template, placeholder)| !template.contains(placeholder)) {
            Some((role, _, placeholder)) => Err(Error::Template { role, placeholder }),
            None => Ok(()),
        }
    }

    /// The reasoner's words about a question.
    pub fn for_reasoner(&self, question: &str) -> String {
        fill(&self.reasoner, &[("{question}", question)])
    }

    /// The summariser's words about a question and a path of reasoning.
    pub fn for_summariser(&self, question: &str, reasoning: &str) -> String {
        fill(&self.summariser, &[("{question}", question), ("{reasoning}", reasoning)])
    }
}

impl Default for AgentPrompts {
    /// Insight-V's.
    fn default() -> Self {
        Self { reasoner: Self::REASONER.into(), summariser: Self::SUMMARISER.into() }
    }
}

/// One pass from the left: what was put in is not looked at again.
fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let (mut filled, mut rest) = (String::new(), template);
    let next = |rest: &str| values.iter().filter_map(|&(name, value)| Some((rest.find(name)?, name, value))).min();
    while let Some((at, name, value)) = next(rest) {
        filled.push_str(&rest[..at]);
        filled.push_str(value);
        rest = &rest[at + name.len()..];
    }
    filled + rest
}

/// The path of reasoning in what the reasoner said, as the summariser is shown it: what stands between the last
/// `<thoughts>` and the first `</thoughts>` behind it, or everything where it opened or closed none, between new ones
/// (Insight-V, `infer_two_models.py`).
///
/// # Example
/// ```
/// use vr1_agent::thoughts;
/// assert_eq!(thoughts("<thoughts>\nTwo and two.\n</thoughts> 4"), "<thoughts>\n\nTwo and two.\n</thoughts>\n");
/// assert_eq!(thoughts("Two and two."), "<thoughts>\nTwo and two.</thoughts>\n");
/// ```
pub fn thoughts(said: &str) -> String {
    let path = said.rsplit_once("<thoughts>").map_or(said, |(_, behind)| behind);
    let path = path.split_once("</thoughts>").map_or(path, |(before, _)| before);
    format!("<thoughts>\n{path}</thoughts>\n")
}

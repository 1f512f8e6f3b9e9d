//! A language model that judges answers, behind an OpenAI-compatible server.

use std::time::Duration;

use serde_json::Value;
use vr1_remote::{Chat, ChatMessage, ChatPart, ChatRequest, Format};
use vr1_reward::{Param, Registry, Signature, Type};

use crate::{Ask, Asking};

/// What the judge is told: to compare in meaning, and to say nothing but the number.
const INSTRUCTIONS: &str = "You compare a student's answer with the correct one. Find the final answer in what the student \
                            wrote. Say 1.0 if it means the same as the correct answer, and 0.0 if it does not or if there \
                            is none. Say nothing else.";

/// A verdict is a short number.
const MAX_TOKENS: u32 = 8;

/// A judge at `URL/chat/completions`, as vLLM, SGLang, Ollama and OpenAI serve it; at temperature 0.
///
/// ```no_run
/// use vr1_eval::Judge;
/// use vr1_reward::{Program, Registry};
///
/// let mut registry = Registry::default();
/// Judge::new("http://localhost:8000/v1", "Qwen/Qwen2.5-7B-Instruct").register(&mut registry);
/// let program = Program::parse("terms: { right: 'judge(answer, solution)' }\ntotal: right", &registry)?;
/// # Ok::<(), vr1_reward::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Judge(Chat);

/// How long an answer may take, unless it is told.
const DEADLINE: Duration = Duration::from_secs(30);

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JudgeError {
    /// The server did not answer.
    #[error(transparent)]
    Server(#[from] vr1_remote::Error),
    /// What came back is no verdict.
    #[error("{endpoint}: model `{model}` should say a number from 0 to 1, and said {said}")]
    Verdict {
        /// What was asked.
        endpoint: String,
        /// The model.
        model: String,
        /// Its words.
        said: String,
    },
}

impl Judge {
    /// The judge `model` of the server at `url`, such as `http://localhost:8000/v1`; an answer may take half a minute. A server that is
    /// busy, fails or closes the connection is asked again within that time.
    pub fn new(url: &str, model: &str) -> Self {
        Self(Chat::unlimited(url, model).with_deadline(DEADLINE))
    }

    /// This judge with the server's key.
    #[must_use]
    pub fn with_key(self, key: &str) -> Self {
        Self(self.0.with_key(key))
    }

    /// This judge, whose answer may take `timeout`, with all that is tried for it.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self(self.0.with_deadline(timeout))
    }

    /// How right `answer` is, from 0 to 1.
    ///
    /// # Errors
    /// If the server cannot be asked, or says something else than such a number.
    pub fn verdict(&self, answer: &str, solution: &str) -> Result<f32, JudgeError> {
        let words = format!("Student's answer: {answer}\nCorrect answer: {solution}\nSay 1.0 or 0.0:");
        let said = self.send(INSTRUCTIONS, &words, MAX_TOKENS, None)?;
        let verdict = said.trim().parse().ok().filter(|score| (0.0..=1.0).contains(score));
        verdict.ok_or_else(|| JudgeError::Verdict {
            endpoint: self.0.endpoint().to_owned(),
            model: self.0.model().to_owned(),
            said: Value::from(said).to_string(),
        })
    }

    /// What the model answers.
    fn send(&self, system: &str, user: &str, max_tokens: u32, format: Option<Format>) -> vr1_remote::Result<String> {
        let messages = vec![ChatMessage::system(system), ChatMessage::user(vec![ChatPart::Text(user.to_owned())])];
        let max_tokens = Some(max_tokens as usize);
        let request = ChatRequest { temperature: Some(0.0), max_tokens, format, ..ChatRequest::new(messages) };
        let answer = self.0.ask(&request)?;
        Ok(answer.choices.into_iter().next().map_or_else(String::new, |choice| choice.text)) // there is one
    }

    /// Makes this judge the verifier `judge(answer, solution)` of reward programs. A rollout's deadline does not run while
    /// it is waited for; several answers are judged at a time.
    pub fn register(self, registry: &mut Registry) {
        let doc = "A language model's judgement of whether the answer means the same as the solution.";
        let params = vec![Param::answer("answer", Type::Text), Param::required("solution", Type::Text)];
        registry.register_typed("judge", Signature::new(doc, params).waiting(), move |args| {
            let (answer, solution) = (args.text(0)?, args.text(1)?);
            let verdict = args.budget().wait(|| self.verdict(answer, solution));
            verdict.map_err(|e| vr1_reward::Error::verifier("judge", e.to_string()))
        });
    }
}

impl Ask for Judge {
    fn name(&self) -> &str {
        self.0.model()
    }

    fn ask(&self, asking: &Asking) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
        let format = asking.schema.clone().map(Format::Schema);
        Ok(self.send(&asking.system, &asking.user, asking.max_tokens, format)?)
    }
}

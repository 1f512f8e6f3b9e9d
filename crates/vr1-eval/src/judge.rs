//! A language model that judges answers, behind an OpenAI-compatible server.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
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
pub struct Judge {
    endpoint: String,
    model: String,
    key: Option<String>,
    agent: ureq::Agent,
    /// How long an answer may take, with all that is tried for it.
    deadline: Duration,
}

/// How long the first pause is before a server is asked again; each later one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// Why a server did not answer once.
struct Attempt {
    source: ureq::Error,
    /// Whether it may answer when it is asked again, and when it says so itself.
    passes: bool,
    after: Option<Duration>,
}

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JudgeError {
    /// The server was not reached, refused, or took too long.
    #[error("{endpoint}: {source}")]
    Server {
        /// What was asked.
        endpoint: String,
        /// Why.
        source: Box<ureq::Error>,
    },
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
    /// What came back holds no words of the model.
    #[error("{endpoint}: model `{model}` should answer in words, and said {said}")]
    Silent {
        /// What was asked.
        endpoint: String,
        /// The model.
        model: String,
        /// The server's answer.
        said: String,
    },
}

impl Judge {
    /// The judge `model` of the server at `url`, such as `http://localhost:8000/v1`; an answer may take half a minute. A server that is
    /// not reached, closes, has too much to do (429) or fails (5xx) is asked again within that time, after 0.25 s, 0.5 s and so on, or
    /// when it says itself (`Retry-After`).
    #[must_use]
    pub fn new(url: &str, model: &str) -> Self {
        let endpoint = format!("{}/chat/completions", url.trim_end_matches('/'));
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        Self { endpoint, model: model.to_owned(), key: None, agent, deadline: Duration::from_secs(30) }
    }

    /// This judge with the server's key.
    #[must_use]
    pub fn with_key(self, key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..self }
    }

    /// This judge, whose answer may take `timeout`, with all that is tried for it.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { deadline: timeout, ..self }
    }

    /// How right `answer` is, from 0 to 1.
    ///
    /// # Errors
    /// If the server cannot be asked, or says something else than such a number.
    pub fn verdict(&self, answer: &str, solution: &str) -> Result<f32, JudgeError> {
        let words = format!("Student's answer: {answer}\nCorrect answer: {solution}\nSay 1.0 or 0.0:");
        let body = json!({
            "model": self.model, "temperature": 0, "max_tokens": MAX_TOKENS,
            "messages": [{"role": "system", "content": INSTRUCTIONS}, {"role": "user", "content": words}],
        });
        let (endpoint, model) = (self.endpoint.clone(), self.model.clone());
        let said = self.send(&body)?;
        let verdict = said.trim().parse().ok().filter(|score| (0.0..=1.0).contains(score));
        verdict.ok_or_else(|| JudgeError::Verdict { endpoint, model, said: Value::from(said).to_string() })
    }

    /// What the model answers to `body`.
    fn send(&self, body: &Value) -> Result<String, JudgeError> {
        let (end, mut pause) = (Instant::now() + self.deadline, FIRST_PAUSE);
        let answer = loop {
            let error = match self.attempt(body, end.saturating_duration_since(Instant::now())) {
                Ok(answer) => break answer,
                Err(error) => error,
            };
            let wait = error.after.unwrap_or(pause);
            if !error.passes || Instant::now() + wait >= end {
                return Err(JudgeError::Server { endpoint: self.endpoint.clone(), source: Box::new(error.source) });
            }
            std::thread::sleep(wait);
            pause *= 2;
        };
        let said = answer["choices"][0]["message"]["content"].as_str();
        said.map(str::to_owned).ok_or_else(|| JudgeError::Silent {
            endpoint: self.endpoint.clone(),
            model: self.model.clone(),
            said: answer.to_string(),
        })
    }

    /// Asks once.
    fn attempt(&self, body: &Value, left: Duration) -> Result<Value, Attempt> {
        let mut request = self.agent.post(&self.endpoint).config().timeout_global(Some(left)).build();
        if let Some(key) = &self.key {
            request = request.header("Authorization", format!("Bearer {key}"));
        }
        // Whom nobody reaches, or who closes, may be there again; an answer that is no JSON stays what it is.
        let lost = |source: ureq::Error| {
            let passes = !matches!(source, ureq::Error::Timeout(_) | ureq::Error::BadUri(_) | ureq::Error::Json(_));
            Attempt { source, passes, after: None }
        };
        let mut response = request.send_json(body).map_err(lost)?;
        let status = response.status();
        if !status.is_success() {
            let after =
                response.headers().get("retry-after").and_then(|after| after.to_str().ok()?.trim().parse().ok());
            let passes = status.as_u16() == 429 || status.is_server_error();
            let after = after.map(Duration::from_secs);
            return Err(Attempt { source: ureq::Error::StatusCode(status.as_u16()), passes, after });
        }
        response.body_mut().read_json::<Value>().map_err(lost)
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
        &self.model
    }

    fn ask(&self, asking: &Asking) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
        let mut body = json!({
            "model": self.model, "temperature": 0, "max_tokens": asking.max_tokens,
            "messages": [{"role": "system", "content": asking.system}, {"role": "user", "content": asking.user}],
        });
        if let Some(schema) = &asking.schema {
            let schema = json!({"name": "answer", "strict": true, "schema": schema});
            body["response_format"] = json!({"type": "json_schema", "json_schema": schema});
        }
        Ok(self.send(&body)?)
    }
}

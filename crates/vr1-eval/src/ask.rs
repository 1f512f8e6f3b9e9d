use serde_json::Value;

/// What a language model is asked by a benchmark.
#[derive(Debug, Clone, PartialEq)]
pub struct Asking {
    /// What it is told beforehand.
    pub system: String,
    /// The question.
    pub user: String,
    /// The longest answer, in tokens.
    pub max_tokens: u32,
    /// The JSON schema that the answer should keep to, where it should be JSON.
    pub schema: Option<Value>,
}

/// A language model that judges answers.
pub trait Ask: std::fmt::Debug {
    /// Which one: what another has said of an answer is asked anew.
    fn name(&self) -> &str;

    /// What it says.
    ///
    /// # Errors
    /// If it cannot be asked.
    fn ask(&self, asking: &Asking) -> Result<String, Box<dyn std::error::Error + Send + Sync>>;
}

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, UndefinedBehavior};
use serde_json::Value;
use vr1_data::{Said, Sample};

use crate::{Error, Result};

/// A text with `{{ question }}`, `{{ solution }}` and the sample's own fields in it, in the Jinja language.
#[derive(Debug, Clone)]
pub struct Template {
    environment: Environment<'static>,
}

impl Template {
    /// Parses `source`.
    ///
    /// # Errors
    /// If it is no template; the error says where.
    pub fn new(source: &str) -> Result<Self> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        let syntax = SyntaxConfig::builder().keep_trailing_newline(true).build();
        environment.set_syntax(syntax.map_err(|e| Error::Template { text: source.to_owned(), reason: e.to_string() })?);
        environment
            .add_template_owned("text", source.to_owned())
            .map_err(|e| Error::Template { text: source.to_owned(), reason: format!("{e:#}") })?;
        Ok(Self { environment })
    }

    /// The text for `sample`.
    ///
    /// # Errors
    /// If the text asks for a field that the sample does not have; the error names the sample.
    pub fn render(&self, sample: &Sample) -> Result<String> {
        self.with_question(sample, &sample.question)
    }

    /// The text for `sample` as the user says it: where it holds the question, the media are in their places in it, and
    /// else before the words.
    ///
    /// # Errors
    /// As [`render`](Self::render).
    pub fn ask(&self, sample: &Sample) -> Result<Said> {
        Said::asking(sample, |question| self.with_question(sample, question))
    }

    fn with_question(&self, sample: &Sample, question: &str) -> Result<String> {
        let mut context = sample.fields.clone();
        context.insert("question".to_owned(), Value::from(question));
        context.insert("solution".to_owned(), Value::from(sample.solution.as_str()));
        self.environment
            .get_template("text")
            .and_then(|template| template.render(minijinja::value::Serde(context)))
            .map_err(|e| {
                let fields: Vec<&str> = sample.fields.keys().map(String::as_str).collect();
                let reason = format!("{e:#}; the sample has question, solution, {}", fields.join(", "));
                Error::Field { sample: sample.id.clone(), reason }
            })
    }
}

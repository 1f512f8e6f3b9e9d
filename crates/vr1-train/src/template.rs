use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, UndefinedBehavior};
use serde_json::Value;
use vr1_data::Sample;

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
        let mut context = sample.fields.clone();
        context.insert("question".to_owned(), Value::from(sample.question.as_str()));
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

use std::fs;
use std::path::Path;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde, Value as Jinja};
use minijinja::{Environment, ErrorKind};
use minijinja_contrib::pycompat::unknown_method_callback;
use serde_json::{Map, Value, json};

use crate::control::token_name;
use crate::json_text::{Indent, dump};
use crate::marks::Marks;
use crate::rendered::Rendered;
use crate::tokenizer::optional_json;
use crate::{Error, Message, Part, Result, Tokenizer};

/// What stands after the last message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The opening of the assistant's next turn, for it to speak.
    Open,
    /// Nothing.
    Closed,
}

/// How a template wants a message's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    /// As a list of `{"type": …}` parts.
    Parts,
    /// As one string; such a template takes no media.
    Words,
}

/// A conversation made into text by a checkpoint's own Jinja template.
///
/// Templates run as transformers runs them: `trim_blocks` and `lstrip_blocks`, Python's string methods,
/// `raise_exception`, `strftime_now`, `tojson` as `json.dumps` writes it, `break` and `continue`, and the tokenizer's
/// `bos_token` and `eos_token` as variables. Whether a template reads content as a list of parts or as a string is
/// found out once, by trying it.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    source: String,
    origin: String,
    variables: Map<String, Value>,
    content: Content,
}

impl ChatTemplate {
    /// The template of Qwen2-VL and Qwen2.5-VL: `<|im_start|>role`, a line break, the content, `<|im_end|>`, with
    /// the system prompt "You are a helpful assistant." where a conversation has none of its own.
    pub const QWEN2_VL: &'static str = include_str!("qwen2_vl.jinja");

    /// Reads the template of a checkpoint directory: `chat_template.jinja`, else `chat_template.json`, else the one
    /// in `tokenizer_config.json`; `None` when there is none.
    ///
    /// # Errors
    /// When a file is broken, or the template is not valid Jinja.
    pub fn from_dir(dir: &Path) -> Result<Option<Self>> {
        let tokenizer = optional_json(&dir.join("tokenizer_config.json"))?;
        let path = dir.join("chat_template.jinja");
        let (source, path) = if path.is_file() {
            (Some(fs::read_to_string(&path).map_err(|source| Error::io(&path, source))?), path)
        } else {
            let path = dir.join("chat_template.json");
            match template_of(&optional_json(&path)?) {
                Some(source) => (Some(source), path),
                None => (template_of(&tokenizer), dir.join("tokenizer_config.json")),
            }
        };
        source.map(|source| Self::new(&source, &tokenizer, &path.display().to_string())).transpose()
    }

    /// Compiles a template; `tokenizer_config` gives the names of special tokens, `origin` names the template in
    /// errors.
    ///
    /// # Errors
    /// When it is not valid Jinja.
    pub fn new(source: &str, tokenizer_config: &Map<String, Value>, origin: &str) -> Result<Self> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|e| Error::Template { origin: origin.into(), reason: reason(&e) })?);
        environment.set_unknown_method_callback(unknown_method_callback);
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("strftime_now", strftime_now);
        environment.add_filter("tojson", tojson);
        environment
            .add_template_owned("chat", without_generation_tags(source))
            .map_err(|e| Error::Template { origin: origin.into(), reason: reason(&e) })?;
        let mut variables = Map::new();
        for key in ["bos_token", "eos_token", "pad_token", "unk_token"] {
            if let Some(name) = tokenizer_config.get(key).and_then(token_name) {
                variables.insert(key.into(), name.into());
            }
        }
        let mut template =
            Self { environment, source: source.into(), origin: origin.into(), variables, content: Content::Parts };
        template.content = template.wanted_content();
        Ok(template)
    }

    /// The template's text.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Sets a variable that the template reads, such as `add_vision_id` or `date_string`.
    #[must_use]
    pub fn with_variable(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }

    /// Writes `chat_template.jinja`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, dir: &Path) -> Result<()> {
        let path = dir.join("chat_template.jinja");
        fs::write(&path, &self.source).map_err(|source| Error::io(path, source))
    }

    /// The conversation as text, each image as the template's placeholder. The tokenizer says what roles, ends and media
    /// are, so that one spelt in a message's words is known to be words ([`Voice`](crate::Voice)).
    ///
    /// # Errors
    /// When the template refuses the conversation (`raise_exception`) or fails.
    pub fn render(&self, messages: &[Message], ending: Ending, tokenizer: &Tokenizer) -> Result<Rendered> {
        self.render_with_tools(messages, &[], ending, tokenizer)
    }

    /// As [`render`](Self::render), with the JSON schemas of tools the assistant may call.
    ///
    /// # Errors
    /// As [`render`](Self::render).
    pub fn render_with_tools(
        &self,
        messages: &[Message],
        tools: &[Value],
        ending: Ending,
        tokenizer: &Tokenizer,
    ) -> Result<Rendered> {
        let marks = Marks::unused_in(messages, tools);
        let mut marked = Vec::new();
        let messages = messages
            .iter()
            .map(|message| {
                let texts = marks.mark(message, tokenizer, &mut marked);
                let mut rendered = json!({ "role": message.role.as_str(), "content": self.content(message, texts)? });
                let calls = tool_calls(message);
                if !calls.is_empty() {
                    let calls = calls.iter().map(|call| marks.mark_json(call, tokenizer, &mut marked)).collect();
                    rendered["tool_calls"] = Value::Array(calls);
                }
                Ok(rendered)
            })
            .collect::<Result<Vec<Value>>>()?;
        let tools: Vec<Value> = tools.iter().map(|tool| marks.mark_json(tool, tokenizer, &mut marked)).collect();
        let text = self.run(&messages, &tools, ending).map_err(|e| self.failed(&e))?;
        marks.read(&text, &marked).ok_or_else(|| Error::Template {
            origin: self.origin.clone(),
            reason: "it tears apart a special token spelt in a message's words".into(),
        })
    }

    fn run(
        &self,
        messages: &[Value],
        tools: &[Value],
        ending: Ending,
    ) -> std::result::Result<String, minijinja::Error> {
        let mut variables = self.variables.clone();
        variables.insert("messages".into(), messages.into());
        variables.insert("tools".into(), if tools.is_empty() { Value::Null } else { tools.into() });
        variables.insert("documents".into(), Value::Null);
        variables.insert("add_generation_prompt".into(), (ending == Ending::Open).into());
        self.environment.get_template("chat")?.render(Jinja::from(Serde(&variables)))
    }

    fn content(&self, message: &Message, texts: Vec<String>) -> Result<Value> {
        if self.content == Content::Words {
            if message.has_media() {
                let reason = "it takes words alone, and the conversation has an image or a video".into();
                return Err(Error::Template { origin: self.origin.clone(), reason });
            }
            return Ok(texts.concat().into());
        }
        let mut texts = texts.into_iter();
        let parts = message.parts.iter().filter_map(|part| match part {
            Part::Text(_) => Some(json!({ "type": "text", "text": texts.next().unwrap_or_default() })),
            Part::Image(_) => Some(json!({ "type": "image" })),
            Part::Video(_) => Some(json!({ "type": "video" })),
            Part::ToolCall { .. } => None,
        });
        Ok(Value::Array(parts.collect()))
    }

    /// Parts, unless a message of one part shows as the list it stands in, or not at all, while a string shows.
    fn wanted_content(&self) -> Content {
        const PROBE: &str = "probeofthecontent";
        let shows = |content: Value| {
            let rendered = self.run(&[json!({ "role": "user", "content": content })], &[], Ending::Open);
            rendered.is_ok_and(|text| {
                let text = text.to_lowercase();
                text.contains(PROBE) && !text.contains("\"type\"") && !text.contains("'type'")
            })
        };
        match shows(json!([{ "type": "text", "text": PROBE }])) || !shows(PROBE.into()) {
            true => Content::Parts,
            false => Content::Words,
        }
    }

    fn failed(&self, error: &minijinja::Error) -> Error {
        Error::Template { origin: self.origin.clone(), reason: reason(error) }
    }
}

/// A message's calls of functions, as transformers hands them to templates.
fn tool_calls(message: &Message) -> Vec<Value> {
    let call = |part: &Part| match part {
        Part::ToolCall { name, arguments } => {
            Some(json!({ "type": "function", "function": { "name": name, "arguments": arguments } }))
        }
        _ => None,
    };
    message.parts.iter().filter_map(call).collect()
}

/// `chat_template`: a string, or a list of named ones of which "default" counts.
fn template_of(config: &Map<String, Value>) -> Option<String> {
    match config.get("chat_template")? {
        Value::String(source) => Some(source.clone()),
        Value::Array(named) => {
            let default = named.iter().find(|entry| entry.get("name").and_then(Value::as_str) == Some("default"));
            Some(default.or(named.first())?.get("template")?.as_str()?.into())
        }
        _ => None,
    }
}

/// `{% generation %}` and `{% endgeneration %}` mark what an assistant said and print nothing; as an `if` that always
/// holds they keep their control of white space.
fn without_generation_tags(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        let Some(len) = rest[start..].find("%}") else { break };
        let tag = &rest[start..start + len + 2];
        let name = tag[2..len].trim_matches(['-', '+']).trim();
        out.push_str(&rest[..start]);
        match name {
            "generation" => out.push_str(&tag.replacen("generation", "if true", 1)),
            "endgeneration" => out.push_str(&tag.replacen("endgeneration", "endif", 1)),
            _ => out.push_str(tag),
        }
        rest = &rest[start + len + 2..];
    }
    out.push_str(rest);
    out
}

fn reason(error: &minijinja::Error) -> String {
    let place = error.line().map(|line| format!(" (line {line})")).unwrap_or_default();
    match error.detail() {
        Some(detail) if error.kind() == ErrorKind::InvalidOperation => format!("{detail}{place}"),
        Some(detail) => format!("{}: {detail}{place}", error.kind()),
        None => format!("{}{place}", error.kind()),
    }
}

fn raise_exception(message: String) -> std::result::Result<String, minijinja::Error> {
    Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
}

fn strftime_now(format: String) -> std::result::Result<String, minijinja::Error> {
    use std::fmt::Write;
    let mut out = String::new();
    write!(out, "{}", chrono::Local::now().format(&format)).map_err(|_| {
        minijinja::Error::new(ErrorKind::InvalidOperation, format!("strftime_now: bad format {format:?}"))
    })?;
    Ok(out)
}

/// `json.dumps(x, ensure_ascii=False, indent, separators, sort_keys)`.
fn tojson(value: Jinja, kwargs: Kwargs) -> std::result::Result<Jinja, minijinja::Error> {
    let indent: Option<usize> = kwargs.get("indent")?;
    let separators: Option<Vec<String>> = kwargs.get("separators")?;
    let sort_keys = kwargs.get::<Option<bool>>("sort_keys")?.unwrap_or(false);
    let _: Option<bool> = kwargs.get("ensure_ascii")?;
    kwargs.assert_all_used()?;
    let tree = serde_json::to_value(&value)
        .map_err(|e| minijinja::Error::new(ErrorKind::BadSerialization, format!("tojson: {e}")))?;
    let (item, key) = match separators.as_deref() {
        Some([item, key]) => (item.as_str(), key.as_str()),
        _ if indent.is_some() => (",", ": "),
        _ => (", ", ": "),
    };
    Ok(Jinja::from_safe_string(dump(&tree, &Indent { width: indent, item, key, sort_keys })))
}

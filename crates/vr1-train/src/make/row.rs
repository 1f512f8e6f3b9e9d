use serde_json::Value;
use vr1_data::{Fields, Media, NewRow, Picture, Pictures, Sample};

use crate::{Error, Result, Template};

/// What stands for what a sample shows.
const MEDIA: &str = "media";

/// The row of a recipe, ready to be filled.
pub(crate) struct Row(Vec<(String, Cell)>);

enum Cell {
    /// What the sample shows.
    Media,
    /// A field alone, as it is.
    Field(String, Box<Template>),
    /// Words.
    Words(Box<Template>),
    /// What is no text.
    Plain(Value),
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
}

impl Row {
    pub(crate) fn new(row: &Fields) -> Result<Self> {
        let cell = |(name, value): (&String, &Value)| {
            let cell = if value == MEDIA { Cell::Media } else { Cell::new(value)? };
            Ok((name.clone(), cell))
        };
        Ok(Self(row.iter().map(cell).collect::<Result<_>>()?))
    }

    /// The row of a sample, with where it came from.
    pub(crate) fn of(&self, sample: &Sample, made: Value) -> Result<NewRow> {
        let mut row = NewRow::default();
        for (name, cell) in &self.0 {
            if matches!(cell, Cell::Media) {
                row.fields.insert(name.clone(), Value::Null);
                row.pictures.push((name.clone(), pictures(name, sample)?));
            } else {
                row.fields.insert(name.clone(), cell.value(sample)?);
            }
        }
        row.fields.insert("made".to_owned(), made);
        Ok(row)
    }
}

/// What a column shows: a list under a name such as `images`, else one picture.
fn pictures(name: &str, sample: &Sample) -> Result<Pictures> {
    let fault = |reason: String| Error::Field { sample: sample.id.clone(), reason };
    let picture = |media: &Media| match media {
        Media::Image(picture) => Ok(picture.clone()),
        _ => Err(fault(format!("`row.{name}`: a video cannot be written into rows"))),
    };
    let mut all: Vec<Picture> = sample.media.iter().map(picture).collect::<Result<_>>()?;
    match all.len() {
        _ if name.ends_with('s') => Ok(Pictures::List(all)),
        0 | 1 => Ok(Pictures::One(all.pop())),
        count => Err(fault(format!("it shows {count} pictures, and `row.{name}` is of one; `images` is a list"))),
    }
}

impl Cell {
    fn new(value: &Value) -> Result<Self> {
        Ok(match value {
            Value::String(text) => {
                let template = Box::new(Template::new(text)?);
                match field(text) {
                    Some(name) => Self::Field(name.to_owned(), template),
                    None => Self::Words(template),
                }
            }
            Value::Array(items) => Self::List(items.iter().map(Self::new).collect::<Result<_>>()?),
            Value::Object(fields) => {
                let cell = |(name, value): (&String, &Value)| Ok((name.clone(), Self::new(value)?));
                Self::Object(fields.iter().map(cell).collect::<Result<_>>()?)
            }
            other => Self::Plain(other.clone()),
        })
    }

    fn value(&self, sample: &Sample) -> Result<Value> {
        Ok(match self {
            Self::Media => Value::Null, // it stands in a column of its own
            Self::Field(name, template) => match sample.fields.get(name) {
                Some(value) if !["question", "solution"].contains(&name.as_str()) => value.clone(),
                _ => template.render(sample)?.into(),
            },
            Self::Words(template) => template.render(sample)?.into(),
            Self::Plain(value) => value.clone(),
            Self::List(items) => items.iter().map(|item| item.value(sample)).collect::<Result<_>>()?,
            Self::Object(fields) => {
                let value = |(name, cell): &(String, Self)| Ok((name.clone(), cell.value(sample)?));
                Value::Object(fields.iter().map(value).collect::<Result<Fields>>()?)
            }
        })
    }
}

/// The name of a field that a template is, and nothing else: such a value is taken as it is, numbers and lists too.
fn field(text: &str) -> Option<&str> {
    let name = text.trim().strip_prefix("{{")?.strip_suffix("}}")?.trim();
    let plain = |letter: char| letter.is_alphanumeric() || letter == '_';
    (!name.is_empty() && name.chars().all(plain)).then_some(name)
}

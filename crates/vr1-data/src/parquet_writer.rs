//! Rows of JSON as parquet: what kind each column is, then the rows, so many at a time.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Float64Array, Int64Array, ListArray, NullArray, RecordBatch, StringArray,
    StructArray,
};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{ArrowError, DataType, Field, Fields, Schema};
use parquet::arrow::ArrowWriter;
use serde_json::Value;

use crate::{Error, Result};

/// How many rows are held at a time.
const ROWS: usize = 256;

/// What the values of a column are.
#[derive(Debug, Clone, PartialEq)]
enum Kind {
    Null,
    Bool,
    Int,
    Float,
    Text,
    /// A path, whose file's bytes stand in the row.
    Picture,
    List(Box<Self>),
    Object(Vec<(String, Self)>),
}

/// Writes the rows of a file of JSON as parquet; `pictured` are the columns of paths below `beside` whose files go into it.
pub(crate) fn convert(rows: &Path, out: &Path, beside: &Path, pictured: &[String]) -> Result<()> {
    let fault = |error: &dyn std::fmt::Display| Error::io(out, std::io::Error::other(error.to_string()));
    let mut columns: Vec<(String, Kind)> = vec![];
    each(rows, &mut |row| {
        join_fields(&mut columns, kinds_of(row, pictured));
        Ok(())
    })?;
    let fields: Fields = columns.iter().map(|(name, kind)| Field::new(name, kind.arrow(), true)).collect();
    let schema = Arc::new(Schema::new(fields));
    let file = File::create(out).map_err(|error| Error::io(out, error))?;
    let mut writer = ArrowWriter::try_new(file, schema.clone(), None).map_err(|error| fault(&error))?;
    let mut held: Vec<Value> = vec![];
    let mut write = |held: &mut Vec<Value>| -> Result<()> {
        let column = |(name, kind): &(String, Kind)| {
            kind.array(&held.iter().map(|row| &row[name.as_str()]).collect::<Vec<_>>(), beside)
        };
        let arrays: Vec<ArrayRef> = columns.iter().map(column).collect::<Result<_, _>>().map_err(|e| fault(&e))?;
        let batch = RecordBatch::try_new(schema.clone(), arrays).map_err(|error| fault(&error))?;
        writer.write(&batch).map_err(|error| fault(&error))?;
        held.clear();
        Ok(())
    };
    each(rows, &mut |row| {
        held.push(row);
        if held.len() == ROWS { write(&mut held) } else { Ok(()) }
    })?;
    if !held.is_empty() {
        write(&mut held)?;
    }
    writer.close().map_err(|error| fault(&error))?;
    Ok(())
}

fn each(rows: &Path, to: &mut dyn FnMut(Value) -> Result<()>) -> Result<()> {
    let io = |error: std::io::Error| Error::io(rows, error);
    for line in BufReader::new(File::open(rows).map_err(io)?).lines() {
        to(serde_json::from_str(&line.map_err(io)?).map_err(|error| io(error.into()))?)?;
    }
    Ok(())
}

fn kinds_of(row: Value, pictured: &[String]) -> Vec<(String, Kind)> {
    let Value::Object(row) = row else { return vec![] };
    let kind = |(name, value): (String, Value)| {
        let kind = match (pictured.contains(&name), &value) {
            (true, Value::Array(_)) => Kind::List(Box::new(Kind::Picture)),
            (true, _) => Kind::Picture,
            _ => Kind::of(&value),
        };
        (name, kind)
    };
    row.into_iter().map(kind).collect()
}

/// The kinds of two rows' columns; one that a row lacks is the other's.
fn join_fields(known: &mut Vec<(String, Kind)>, more: Vec<(String, Kind)>) {
    for (name, kind) in more {
        match known.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = std::mem::replace(known, Kind::Null).join(kind),
            None => known.push((name, kind)),
        }
    }
}

impl Kind {
    fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(_) => Self::Bool,
            Value::Number(number) if number.is_i64() => Self::Int,
            Value::Number(_) => Self::Float,
            Value::String(_) => Self::Text,
            Value::Array(items) => {
                Self::List(Box::new(items.iter().map(Self::of).fold(Self::Null, |known, item| known.join(item))))
            }
            Value::Object(fields) => {
                Self::Object(fields.iter().map(|(name, value)| (name.clone(), Self::of(value))).collect())
            }
        }
    }

    fn join(self, other: Self) -> Self {
        match (self, other) {
            (a, b) if a == b => a,
            (Self::Null, kind) | (kind, Self::Null) => kind,
            (Self::Int, Self::Float) | (Self::Float, Self::Int) => Self::Float,
            (Self::List(a), Self::List(b)) => Self::List(Box::new(a.join(*b))),
            (Self::Object(mut a), Self::Object(b)) => {
                join_fields(&mut a, b);
                Self::Object(a)
            }
            _ => Self::Text,
        }
    }

    fn arrow(&self) -> DataType {
        match self {
            Self::Null => DataType::Null,
            Self::Bool => DataType::Boolean,
            Self::Int => DataType::Int64,
            Self::Float => DataType::Float64,
            Self::Text => DataType::Utf8,
            Self::Picture => DataType::Struct(picture_fields()),
            Self::List(item) => DataType::List(Arc::new(Field::new("item", item.arrow(), true))),
            // Parquet has no struct of nothing.
            Self::Object(fields) if fields.is_empty() => DataType::Utf8,
            Self::Object(fields) => {
                DataType::Struct(fields.iter().map(|(name, kind)| Field::new(name, kind.arrow(), true)).collect())
            }
        }
    }

    /// The values as a column; `beside` is what pictures' paths are relative to.
    fn array(&self, values: &[&Value], beside: &Path) -> Result<ArrayRef, ArrowError> {
        let there = || NullBuffer::from(values.iter().map(|value| !value.is_null()).collect::<Vec<bool>>());
        Ok(match self {
            Self::Null => Arc::new(NullArray::new(values.len())),
            Self::Bool => Arc::new(values.iter().map(|value| value.as_bool()).collect::<BooleanArray>()),
            Self::Int => Arc::new(values.iter().map(|value| value.as_i64()).collect::<Int64Array>()),
            Self::Float => Arc::new(values.iter().map(|value| value.as_f64()).collect::<Float64Array>()),
            Self::Text => texts(values),
            Self::Object(fields) if fields.is_empty() => texts(values),
            Self::Picture => pictures(values, beside, there())?,
            Self::List(item) => {
                let empty = vec![];
                let items = |value: &'_ &Value| value.as_array().map_or(0, Vec::len);
                let lengths = OffsetBuffer::from_lengths(values.iter().map(items));
                let all: Vec<&Value> = values.iter().flat_map(|value| value.as_array().unwrap_or(&empty)).collect();
                let field = Arc::new(Field::new("item", item.arrow(), true));
                Arc::new(ListArray::try_new(field, lengths, item.array(&all, beside)?, Some(there()))?)
            }
            Self::Object(fields) => {
                let column = |(name, kind): &(String, Self)| {
                    kind.array(&values.iter().map(|value| &value[name.as_str()]).collect::<Vec<_>>(), beside)
                };
                let arrays = fields.iter().map(column).collect::<Result<Vec<_>, _>>()?;
                let fields: Fields = fields.iter().map(|(name, kind)| Field::new(name, kind.arrow(), true)).collect();
                Arc::new(StructArray::try_new(fields, arrays, Some(there()))?)
            }
        })
    }
}

/// Texts as they are; of anything else its JSON.
fn texts(values: &[&Value]) -> ArrayRef {
    let text = |value: &&Value| match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    Arc::new(values.iter().map(text).collect::<StringArray>())
}

fn picture_fields() -> Fields {
    vec![Field::new("bytes", DataType::Binary, true), Field::new("path", DataType::Utf8, true)].into()
}

fn pictures(values: &[&Value], beside: &Path, there: NullBuffer) -> Result<ArrayRef, ArrowError> {
    let read = |path: &str| {
        let path = beside.join(path);
        std::fs::read(&path).map_err(|error| ArrowError::IoError(path.display().to_string(), error))
    };
    let bytes = values.iter().map(|value| value.as_str().map(read).transpose()).collect::<Result<Vec<_>, _>>()?;
    let bytes: BinaryArray = bytes.iter().map(Option::as_deref).collect();
    let name = |value: &&Value| Some(value.as_str()?.rsplit('/').next()?.to_owned());
    let names: StringArray = values.iter().map(name).collect();
    Ok(Arc::new(StructArray::try_new(picture_fields(), vec![Arc::new(bytes), Arc::new(names)], Some(there))?))
}

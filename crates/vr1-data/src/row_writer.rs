//! Rows that are written: as JSON, one a line, with their pictures in files beside them, or as parquet with the pictures inside.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{Error, Fields, Picture, Result};

/// The folder of pictures beside rows.
const MEDIA: &str = "media";

/// A row to be written.
#[derive(Debug, Clone, Default)]
pub struct NewRow {
    /// Its values; a column of pictures has its place here too, whatever its value.
    pub fields: Fields,
    /// The columns that show something, by name.
    pub pictures: Vec<(String, Pictures)>,
}

/// What a column of pictures holds.
#[derive(Debug, Clone)]
pub enum Pictures {
    /// A picture, or none.
    One(Option<Picture>),
    /// A list of them.
    List(Vec<Picture>),
}

/// Writes rows to a file that is whole or not there: JSONL or parquet, by how its name ends.
///
/// Beside JSONL, pictures are `media/HASH.png` or `.jpg`, each written once; in parquet they are `struct<bytes, path>`, as `datasets`
/// writes them. A column is of the kind that all its rows have; where they differ, it is text.
#[derive(Debug)]
pub struct RowWriter {
    out: PathBuf,
    /// The rows on their way, as JSON.
    rows: PathBuf,
    /// The folder that pictures' paths are relative to.
    beside: PathBuf,
    kind: Kind,
    file: BufWriter<File>,
    pictured: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Json,
    Parquet,
}

impl RowWriter {
    /// A writer of `out`, whose rows are in the folder `scratch` before they are whole.
    ///
    /// # Errors
    /// If the name ends in neither `.jsonl` nor `.parquet`, or a folder cannot be made.
    pub fn create(out: &Path, scratch: &Path) -> Result<Self> {
        let kind = match out.extension().and_then(|end| end.to_str()) {
            Some("jsonl") => Kind::Json,
            #[cfg(feature = "parquet")]
            Some("parquet") => Kind::Parquet,
            _ => {
                let source = std::io::Error::other("rows are written to a file that ends in .jsonl or .parquet");
                return Err(Error::io(out, source));
            }
        };
        let beside = match kind {
            Kind::Json => out.parent().map_or_else(PathBuf::new, Path::to_owned),
            Kind::Parquet => scratch.to_owned(),
        };
        let rows = scratch.join("rows.jsonl");
        fs::create_dir_all(scratch).map_err(|error| Error::io(scratch, error))?;
        let file = File::create(&rows).map_err(|error| Error::io(&rows, error))?;
        Ok(Self { out: out.to_owned(), rows, beside, kind, file: BufWriter::new(file), pictured: vec![] })
    }

    /// Writes a row, and its pictures where they are not there yet.
    ///
    /// # Errors
    /// If a picture cannot be read, or something cannot be written.
    pub fn write(&mut self, row: NewRow) -> Result<()> {
        let NewRow { mut fields, pictures } = row;
        for (name, shown) in pictures {
            let value = match shown {
                Pictures::One(picture) => picture.map_or(Ok(Value::Null), |picture| self.keep(&picture))?,
                Pictures::List(list) => list.iter().map(|picture| self.keep(picture)).collect::<Result<_>>()?,
            };
            fields.insert(name.clone(), value);
            if !self.pictured.contains(&name) {
                self.pictured.push(name);
            }
        }
        // Where nothing is shown, a row of JSON has no such key.
        if self.kind == Kind::Json {
            fields.retain(|name, value| !(value.is_null() && self.pictured.contains(name)));
        }
        let mut line = serde_json::to_vec(&fields).unwrap_or_default(); // an object of JSON is JSON
        line.push(b'\n');
        self.file.write_all(&line).map_err(|error| Error::io(&self.rows, error))
    }

    /// Keeps a picture and gives its path.
    fn keep(&self, picture: &Picture) -> Result<Value> {
        let file = picture.file()?;
        let path = format!("{MEDIA}/{}.{}", blake3::hash(&file.bytes).to_hex(), file.extension);
        let (folder, whole) = (self.beside.join(MEDIA), self.beside.join(&path));
        if !whole.exists() {
            fs::create_dir_all(&folder).map_err(|error| Error::io(&folder, error))?;
            let part = whole.with_extension("part");
            let written = fs::write(&part, &file.bytes).and_then(|()| fs::rename(&part, &whole));
            written.map_err(|error| Error::io(&whole, error))?;
        }
        Ok(path.into())
    }

    /// The file, whole.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(self) -> Result<()> {
        let Self { out, rows, beside, kind, file, pictured } = self;
        file.into_inner().map_err(|error| Error::io(&rows, error.into_error()))?;
        let part = match kind {
            Kind::Json => rows,
            #[cfg(feature = "parquet")]
            Kind::Parquet => {
                let part = rows.with_extension("parquet");
                crate::parquet_writer::convert(&rows, &part, &beside, &pictured)?;
                fs::remove_file(&rows).map_err(|error| Error::io(&rows, error))?;
                part
            }
            #[cfg(not(feature = "parquet"))]
            Kind::Parquet => {
                let _ = (beside, pictured);
                rows
            }
        };
        fs::rename(&part, &out).map_err(|error| Error::io(&out, error))
    }
}

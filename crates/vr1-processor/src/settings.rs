use std::fs;
use std::path::Path;

use serde_json::{Map, Value};

use crate::resize::Resample;
use crate::{Error, Result};

/// The largest side, or other such number, that a setting may have.
pub(crate) const MAX_SIDE: u64 = 1 << 13;

pub(crate) fn read_json(path: &Path) -> Result<Value> {
    let text = fs::read_to_string(path).map_err(|source| Error::Io { path: path.to_path_buf(), source })?;
    serde_json::from_str(&text).map_err(|source| Error::Json { path: path.to_path_buf(), source })
}

/// Writes a file of settings.
pub(crate) fn write_json(path: &Path, config: Map<String, Value>) -> Result<()> {
    let text = format!("{:#}\n", Value::Object(config));
    fs::write(path, text).map_err(|source| Error::Io { path: path.to_path_buf(), source })
}

/// The block of `processor_config.json` under a key, where there is one, and the file's name.
pub(crate) fn block(dir: &Path, key: &str) -> Result<Option<(Value, String)>> {
    let path = dir.join("processor_config.json");
    if !path.is_file() {
        return Ok(None);
    }
    let block = read_json(&path)?.get_mut(key).map(Value::take).filter(|block| !block.is_null());
    Ok(block.map(|block| (block, path.display().to_string())))
}

/// Typed reading of one JSON object; a `null` counts as absent, as transformers writes it.
pub(crate) struct Settings<'a> {
    map: &'a Map<String, Value>,
    file: &'a str,
}

impl<'a> Settings<'a> {
    pub(crate) fn new(config: &'a Value, file: &'a str) -> Result<Self> {
        match config.as_object() {
            Some(map) => Ok(Self { map, file }),
            None => Err(Error::Setting { file: file.into(), key: "".into(), reason: "not a JSON object".into() }),
        }
    }

    /// The file, or where else the settings came from.
    pub(crate) fn file(&self) -> &str {
        self.file
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    pub(crate) fn wrong<T>(&self, key: &str, reason: String) -> Result<T> {
        Err(Error::Setting { file: self.file.into(), key: key.into(), reason })
    }

    pub(crate) fn flag(&self, key: &str, default: bool) -> Result<bool> {
        match self.get(key) {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => self.wrong(key, format!("{other} is not true or false")),
        }
    }

    pub(crate) fn whole(&self, key: &str, default: u64) -> Result<u64> {
        match self.get(key) {
            None => Ok(default),
            Some(value) => match value.as_u64() {
                Some(number) => Ok(number),
                None => self.wrong(key, format!("{value} is not a whole number")),
            },
        }
    }

    pub(crate) fn positive(&self, key: &str, default: f64) -> Result<f64> {
        match self.get(key) {
            None => Ok(default),
            Some(value) => match value.as_f64().filter(|number| *number > 0.0) {
                Some(number) => Ok(number),
                None => self.wrong(key, format!("{value} is not a number above zero")),
            },
        }
    }

    pub(crate) fn channels(&self, key: &str, default: [f64; 3]) -> Result<[f64; 3]> {
        let Some(value) = self.get(key) else { return Ok(default) };
        let numbers: Option<Vec<f64>> = value
            .as_array()
            .map(|list| list.iter().filter_map(Value::as_f64).collect())
            .or(value.as_f64().map(|v| vec![v; 3]));
        match numbers.map(<[f64; 3]>::try_from) {
            Some(Ok(numbers)) => Ok(numbers),
            _ => self.wrong(key, format!("{value} is not one number for each of three channels")),
        }
    }

    pub(crate) fn resample(&self, default: Resample) -> Result<Resample> {
        let number = self.whole("resample", default.to_pillow() as u64)?;
        match Resample::from_pillow(number as i64) {
            Some(resample) => Ok(resample),
            None => self.wrong("resample", format!("{number}; known are 1 (lanczos), 2 (bilinear) and 3 (bicubic)")),
        }
    }

    /// `size` in any of its spellings: `{shortest_edge, longest_edge}` or `{min_pixels, max_pixels}`.
    pub(crate) fn size(&self) -> Result<(Option<u64>, Option<u64>)> {
        let Some(value) = self.get("size") else { return Ok((None, None)) };
        let Some(map) = value.as_object() else { return self.wrong("size", format!("{value} is not an object")) };
        let size = Settings { map, file: self.file };
        let bound =
            |today: &str, before: &str, outer: &str| match (size.get(today).or(size.get(before)), self.get(outer)) {
                (_, Some(_)) => Ok(None),
                (Some(value), None) => match value.as_u64() {
                    Some(number) => Ok(Some(number)),
                    None => self.wrong(&format!("size.{today}"), format!("{value} is not a whole number")),
                },
                (None, None) => self.wrong(&format!("size.{today}"), "missing".into()),
            };
        Ok((bound("shortest_edge", "min_pixels", "min_pixels")?, bound("longest_edge", "max_pixels", "max_pixels")?))
    }

    /// A side in pixels, or another number that must be at least 1 and may not be absurd.
    pub(crate) fn side(&self, key: &str, default: u32) -> Result<u32> {
        match self.whole(key, u64::from(default))? {
            number @ 1..=MAX_SIDE => Ok(number as u32),
            number => self.wrong(key, format!("{number} is not between 1 and {MAX_SIDE}")),
        }
    }

    /// What is inside an object under a key: reads it with the keys' names as they are inside.
    pub(crate) fn inside<T>(&self, key: &str, read: impl FnOnce(&Settings<'_>) -> Result<T>) -> Result<Option<T>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let Some(map) = value.as_object() else { return self.wrong(key, format!("{value} is not an object")) };
        let inner = Settings { map, file: self.file };
        read(&inner).map(Some).map_err(|error| match error {
            Error::Setting { file, key: inside, reason } => {
                Error::Setting { file, key: format!("{key}.{inside}"), reason }
            }
            other => other,
        })
    }

    /// Height and width under a key, written as one number, as a pair, or as an object of `height` and `width` or of one
    /// edge, which then counts for both.
    pub(crate) fn sides(&self, key: &str, default: [u32; 2]) -> Result<[u32; 2]> {
        let number = |value: &Value| {
            value.as_u64().and_then(|n| u32::try_from(n).ok()).filter(|n| (1..=MAX_SIDE).contains(&u64::from(*n)))
        };
        let sides = match self.get(key) {
            None => return Ok(default),
            Some(Value::Array(pair)) => match pair.as_slice() {
                [height, width] => number(height).zip(number(width)),
                _ => None,
            },
            Some(Value::Object(map)) => {
                let edge = |key: &str| map.get(key).and_then(number);
                let square = edge("shortest_edge").or(edge("longest_edge")).map(|edge| (edge, edge));
                edge("height").zip(edge("width")).or(square)
            }
            Some(value) => number(value).map(|side| (side, side)),
        };
        match (sides, self.get(key)) {
            (Some((height, width)), _) => Ok([height, width]),
            (None, value) => {
                let value = value.map(Value::to_string).unwrap_or_default();
                self.wrong(key, format!("{value} is no height and width between 1 and {MAX_SIDE}"))
            }
        }
    }

    /// Refuses a step that the processor does not have.
    pub(crate) fn refuse_unknown_steps(&self, known: &[&str]) -> Result<()> {
        let asked = |value: &Value| value != &Value::Bool(false) && !value.is_null();
        let unknown = |key: &str| key.starts_with("do_") && !known.contains(&key);
        match self.map.iter().find(|(key, value)| unknown(key) && asked(value)) {
            Some((key, _)) => self.wrong(key, "this step is not one of its class's and is not implemented".into()),
            None => Ok(()),
        }
    }

    /// Refuses that a step is switched off which the class cannot do without.
    pub(crate) fn require_steps(&self, steps: &[&str]) -> Result<()> {
        match steps.iter().find(|step| self.get(step) == Some(&Value::Bool(false))) {
            Some(step) => self.wrong(step, "its class cannot do without this step".into()),
            None => Ok(()),
        }
    }

    /// Refuses a class whose steps are others.
    pub(crate) fn refuse_other_types(&self, key: &str, known: &[&str]) -> Result<()> {
        match self.get(key) {
            Some(kind) if !kind.as_str().is_some_and(|kind| known.contains(&kind)) => {
                self.wrong(key, format!("{kind} is unknown; known are {}", known.join(", ")))
            }
            _ => Ok(()),
        }
    }
}

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{Error, Result};

/// Keys of a checkpoint's `config.json` as a struct.
///
/// # Errors
/// If a key is missing or of the wrong type; the error names it, with dots between levels.
pub fn read_config<T: DeserializeOwned>(json: &Map<String, Value>) -> Result<T> {
    serde_path_to_error::deserialize(Value::Object(json.clone())).map_err(|error| {
        let (path, reason) = (error.path().to_string(), error.inner());
        Error::Config(if path == "." { reason.to_string() } else { format!("`{path}`: {reason}") })
    })
}

/// Keys of a checkpoint's `config.json` with those that it leaves out as its class in transformers has them: files lack
/// whatever equals that. A key that is null is not left out.
pub fn with_defaults(json: &Map<String, Value>, defaults: Value) -> Map<String, Value> {
    let mut keys = match defaults {
        Value::Object(defaults) => defaults,
        _ => Map::new(),
    };
    keys.extend(json.clone());
    keys
}

/// Checks that sizes of a model are possible.
///
/// # Errors
/// If one is below 1 or so large that no checkpoint has it; the error names its key.
pub fn check_sizes(sizes: &[(&str, i64)]) -> Result<()> {
    const MOST: i64 = 1 << 30;
    match sizes.iter().find(|(_, size)| !(1..=MOST).contains(size)) {
        Some((key, size)) => Err(Error::Config(format!("`{key}`: {size} is not between 1 and {MOST}"))),
        None => Ok(()),
    }
}

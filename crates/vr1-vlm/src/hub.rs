use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// The directory of a model: `model` itself where it is one, else the snapshot of a Hub id.
///
/// # Errors
/// When there is neither.
pub fn resolve(model: &str) -> Result<PathBuf> {
    let path = Path::new(model);
    match path.is_dir() {
        true => Ok(path.to_path_buf()),
        false => Err(Error::Model { model: model.into(), reason: "no such directory".into() }),
    }
}

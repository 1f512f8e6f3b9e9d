//! The pictures that a page holds within itself.

use std::{collections::BTreeMap, fs::File, io::Read, path::PathBuf};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Serialize;

use crate::report::rows::Picture;

/// Thumbnails by the name of their file, as `data:` addresses.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Thumbnails {
    taken: BTreeMap<String, String>,
    #[serde(skip)]
    folder: PathBuf,
    #[serde(skip)]
    left: usize,
}

/// The bytes of one; what is larger is no thumbnail.
pub(crate) const LARGEST: usize = 128 << 10;
/// The bytes of all of a page.
const ALL: usize = 2_500_000;

impl Thumbnails {
    /// Those in `folder`.
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { taken: BTreeMap::new(), folder, left: ALL }
    }

    /// Takes a picture's into the page; where there is none, or no room, the picture is shown by its size alone.
    pub(crate) fn take(&mut self, picture: &mut Picture) {
        let Some(file) = picture.file.take() else { return };
        if !self.taken.contains_key(&file) {
            let Some(bytes) = jpeg(&self.folder.join(&file)).filter(|bytes| bytes.len() <= self.left) else { return };
            self.left -= bytes.len();
            self.taken.insert(file.clone(), format!("data:image/jpeg;base64,{}", BASE64_STANDARD.encode(bytes)));
        }
        picture.file = Some(file);
    }
}

/// The bytes of a thumbnail, where the file is one: no link, a JPEG, and small.
pub(crate) fn jpeg(path: &std::path::Path) -> Option<Vec<u8>> {
    let plain = path.symlink_metadata().ok().filter(|found| found.is_file() && found.len() <= LARGEST as u64)?;
    let mut bytes = Vec::with_capacity(plain.len() as usize);
    File::open(path).ok()?.take(LARGEST as u64).read_to_end(&mut bytes).ok()?;
    bytes.starts_with(&[0xff, 0xd8, 0xff]).then_some(bytes)
}

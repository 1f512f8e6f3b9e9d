//! The faces that text is set in, the chosen ones and those that stand in for them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cosmic_text::FontSystem;
use cosmic_text::fontdb::{Database, FaceInfo, Language, Source, Stretch, Style, Weight};

use crate::{Error, Result};

/// Faces by number, of which any of the first `choices` may be a text's own; what it lacks is looked for in all, in this
/// order.
#[derive(Debug, Clone)]
pub(crate) struct Typefaces {
    faces: Database,
    /// How many of them a text may be set in.
    pub(crate) choices: usize,
}

impl Typefaces {
    /// The faces of these files, or those of DejaVu, which stand behind any.
    pub(crate) fn open(fonts: &[PathBuf]) -> Result<Self> {
        let mut faces = Database::new();
        for path in fonts {
            let bytes = std::fs::read(path).map_err(|error| Error::io(path, error))?;
            let read = add(&mut faces, bytes).map_err(|reason| Error::Font { path: path.clone(), reason })?;
            let mut system = FontSystem::new_with_locale_and_db("en".to_owned(), faces.clone());
            let ids: Vec<_> = faces.faces().map(|face| face.id).skip(faces.len() - read).collect();
            if ids.into_iter().any(|id| system.get_font(id, Weight::NORMAL).is_none()) {
                return Err(Error::Font { path: path.clone(), reason: "a face in it cannot be read".to_owned() });
            }
        }
        let own = faces.len();
        for face in [dejavu::sans::regular(), dejavu::serif::regular(), dejavu::sans_mono::regular()] {
            add(&mut faces, face).map_err(|reason| Error::Font { path: Path::new("DejaVu").to_owned(), reason })?;
        }
        Ok(Self { choices: if own == 0 { faces.len() } else { own }, faces })
    }

    /// What shapes text in them.
    pub(crate) fn system(&self) -> FontSystem {
        FontSystem::new_with_locale_and_db("en".to_owned(), self.faces.clone())
    }

    /// What the library knows a face by.
    pub(crate) fn family(number: usize) -> String {
        format!("face {number}")
    }
}

/// Adds the faces of a file, and says how many there are. All are entered as upright faces of ordinary weight under names of
/// their own: which comes first is then a matter of their order and of nothing that a file claims.
fn add(faces: &mut Database, bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Result<usize, String> {
    let collection = bytes.as_ref().strip_prefix(b"ttcf").and_then(|rest| rest.get(4..8)?.try_into().ok());
    if collection.is_some_and(|count| u32::from_be_bytes(count) as usize > bytes.as_ref().len() / 4) {
        return Err("a collection with more faces than it has room for".to_owned());
    }
    let mut read = Database::new();
    read.load_font_source(Source::Binary(Arc::new(bytes)));
    for face in read.faces() {
        let name = Typefaces::family(faces.len());
        faces.push_face_info(FaceInfo {
            families: vec![(name.clone(), Language::English_UnitedStates)],
            post_script_name: name,
            style: Style::Normal,
            weight: Weight::NORMAL,
            stretch: Stretch::Normal,
            monospaced: false,
            ..face.clone()
        });
    }
    match read.len() {
        0 => Err("no typeface in it: not TTF, OTF or TTC, or broken".to_owned()),
        count => Ok(count),
    }
}

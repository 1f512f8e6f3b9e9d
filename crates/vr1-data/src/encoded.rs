//! Pictures inside rows: as base64, alone or in a data URI.

use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::{DecodePaddingMode, general_purpose};

use crate::Picture;

/// With `=` at the end or without, as people write it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A shorter text is a path: no picture has so few bytes.
const SHORTEST: usize = 44;

/// Bytes of a kind, which may be empty, as a data URI.
pub(crate) fn data_uri(kind: &str, bytes: &[u8]) -> String {
    let mut uri = format!("data:{kind};base64,");
    uri.reserve(bytes.len() / 3 * 4 + 4);
    general_purpose::STANDARD.encode_string(bytes, &mut uri);
    uri
}

/// Whether bytes begin as the pictures that can be decoded do.
pub(crate) fn begins_as_picture(bytes: &[u8]) -> bool {
    image::guess_format(bytes).is_ok_and(|format| format.reading_enabled())
}

/// The picture that base64 or a data URI is.
pub(crate) fn bytes(text: &str, at: &Path) -> Result<Picture, String> {
    picture(text, at).unwrap_or_else(|| decoded(text.trim(), at))
}

/// The picture that a text is, where it is one and no path: a data URI, or base64 of what begins as a picture does.
/// `at` says in errors where it stands.
pub(crate) fn picture(text: &str, at: &Path) -> Option<Result<Picture, String>> {
    let trimmed = text.trim();
    let scheme = trimmed.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("data:"));
    if !scheme {
        return looks_encoded(trimmed).then(|| decoded(trimmed, at));
    }
    Some(match trimmed.split_once(',') {
        Some((head, body)) if head.to_ascii_lowercase().ends_with(";base64") => decoded(body, at),
        Some(_) => Err("a data URI that is not in base64".to_owned()),
        None => Err("a data URI without data".to_owned()),
    })
}

/// Whether the beginning of a text decodes to that of a picture. `/9j/`, as a JPEG begins, could begin a path too; but
/// no path has so many letters and nothing else.
fn looks_encoded(text: &str) -> bool {
    let Some(head) = text.as_bytes().get(..SHORTEST) else { return false };
    general_purpose::STANDARD_NO_PAD.decode(head).is_ok_and(|bytes| begins_as_picture(&bytes))
}

fn decoded(text: &str, at: &Path) -> Result<Picture, String> {
    let whole: String;
    let plain = if text.bytes().any(|byte| byte.is_ascii_whitespace()) {
        whole = text.split_ascii_whitespace().collect();
        &whole
    } else {
        text
    };
    let bytes = BASE64.decode(plain).map_err(|e| format!("not base64: {e}"))?;
    if !begins_as_picture(&bytes) {
        return Err(format!("{} bytes that do not begin as a picture does", bytes.len()));
    }
    Ok(Picture::Encoded { bytes: Arc::from(bytes), at: Arc::from(at) })
}

//! What is a path to a file on this machine, and what is not.

use std::path::Path;

/// How many characters of a path an error repeats; of a longer one both ends.
const REPEATED: usize = 200;

/// Why no file of this machine can stand under a path: it is empty, or an address.
pub(crate) fn not_local(path: &Path) -> Option<&'static str> {
    let text = path.to_str()?;
    if text.trim().is_empty() {
        return Some("is an empty path");
    }
    is_address(text).then_some("is an address: nothing is fetched, files must be on this machine")
}

/// Whether a text begins as an address does: with a scheme of two letters or more and `://`, or with `data:`.
fn is_address(text: &str) -> bool {
    let Some((scheme, rest)) = text.trim_start().split_once(':') else { return false };
    let named = scheme.len() > 1
        && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    named && (rest.starts_with("//") || scheme.eq_ignore_ascii_case("data"))
}

/// A path as an error repeats it: whole, or its two ends.
pub(crate) fn brief(path: &str) -> String {
    let count = path.chars().count();
    if count <= REPEATED {
        return path.to_owned();
    }
    let first: String = path.chars().take(REPEATED / 2).collect();
    let last: String = path.chars().skip(count - REPEATED / 2).collect();
    format!("{first}…{last}")
}

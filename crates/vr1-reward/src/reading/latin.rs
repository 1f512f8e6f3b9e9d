/// Whether words of this character's script run on without it: a Latin letter or a digit.
pub(super) fn is_latin(c: char) -> bool {
    let code = u32::from(c);
    c.is_ascii_alphanumeric() || c.is_alphabetic() && matches!(code, 0xAA..=0x24F | 0x1E00..=0x1EFF)
}

/// Whether the letter belongs to a script that puts no spaces between words, so that a digit may follow it and be a
/// number of its own: `共5个`.
pub(super) fn is_unspaced(c: char) -> bool {
    matches!(u32::from(c), 0x0E00..=0x0EFF | 0x1100..=0x11FF | 0x2E80..=0x9FFF | 0xAC00..=0xD7FF | 0xF900..=0xFAFF | 0x2_0000..)
}

//! What a file of rows is when it is none: told once, and not row by row.

use std::io::BufRead;

use serde::de::IgnoredAny;

/// What a file is that begins like this and is no text in UTF-8.
pub(crate) fn no_text(beginning: &[u8]) -> Option<&'static str> {
    Some(match beginning {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] | [0, 0, 0, _, ..] => UTF_32,
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => UTF_16,
        [0x1f, 0x8b, ..] => "compressed by gzip, not UTF-8 text: unpack it",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "compressed by zstd, not UTF-8 text: unpack it",
        [b'P', b'K', 3, 4, ..] => "a zip archive, not UTF-8 text: unpack it",
        [b'P', b'A', b'R', b'1', ..] => "a parquet file, whose name should end in .parquet",
        [_, 0, 0, 0, ..] => UTF_32,
        [_, 0, ..] | [0, _, ..] => UTF_16,
        _ => return None,
    })
}

const UTF_16: &str = "UTF-16, not UTF-8: save it as UTF-8";
const UTF_32: &str = "UTF-32, not UTF-8: save it as UTF-8";

/// Whether a line is the beginning of a JSON object that does not end in it.
pub(crate) fn is_begun(line: &[u8]) -> bool {
    let begun = || serde_json::from_slice::<IgnoredAny>(line).is_err_and(|e| e.is_eof());
    line.trim_ascii_start().starts_with(b"{") && begun()
}

/// What a file is in which an object that is begun on a line goes on over the lines below it.
pub(crate) fn over_lines(rest: impl BufRead) -> Option<&'static str> {
    match serde_json::Deserializer::from_reader(rest).into_iter::<IgnoredAny>().next()? {
        Ok(_) => Some("one JSON object over many lines; rows are objects of one line each, or one JSON array of them"),
        Err(e) if e.is_eof() && e.line() > 2 => {
            Some("one JSON object over many lines, without its end; rows are objects of one line each")
        }
        Err(_) => None,
    }
}

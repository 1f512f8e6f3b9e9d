use super::signs::plain;

/// What an answer to a question of yes or no says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum YesNo {
    /// Yes.
    Yes,
    /// No.
    No,
}

/// Marks that end the first word. A question mark asks, and a stroke, as in `yes/no`, leaves it open.
const MARKS: &[char] = &[
    '.', ',', ':', ';', '!', ')', ']', '}', '"', '\'', '…', '—', '–', '。', '、', '】', '》', '\n', '\r', '|', '<',
    '>', '=',
];
/// What emphasises words and is no mark.
const EMPHASIS: &[char] = &['*', '_', '`', '~'];

/// Yes or no, where the text says so: the word it begins with, if a mark follows, whatever comes then; else the only one
/// of both words in it.
pub(crate) fn yes_no(text: &str) -> Option<YesNo> {
    let text = plain(text).to_lowercase();
    let start = text.trim_start_matches(|c: char| !c.is_alphanumeric());
    let word = |word: &str| match word {
        "yes" => Some(YesNo::Yes),
        "no" => Some(YesNo::No),
        _ => None,
    };
    let (first, rest) = start.split_at(start.find(|c: char| !c.is_alphanumeric()).unwrap_or(start.len()));
    if let Some(said) = word(first) {
        let rest = rest.trim_start_matches(EMPHASIS);
        let dash =
            rest.starts_with(' ') && rest.trim_start().starts_with(['-', '–', '—', '(', ':', '.', ',', ';', '!']);
        if rest.starts_with(MARKS) || dash {
            return Some(said);
        }
    }
    let mut said = text.split(|c: char| !c.is_alphanumeric()).filter_map(word);
    let first = said.next()?;
    said.all(|other| other == first).then_some(first)
}

//! Numbers as they are written.

use super::latin::is_unspaced;
use super::signs::plain;

/// Digits and the sign of a power.
const POWERS: &[char] = &['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹', '⁻'];

/// What digits that belong together say.
#[derive(Debug, Clone, PartialEq)]
enum Says {
    /// One number.
    One(f64),
    /// No single number: a clock, a list, `10,5`. Its parts, for who wants them all.
    Parts(Vec<f64>),
}

/// A numeral, its sign included, and where it stands in bytes.
#[derive(Debug, Clone, PartialEq)]
struct Numeral {
    start: usize,
    end: usize,
    says: Says,
}

/// The numbers that stand in a text, in order.
///
/// A comma or a space between groups of three digits belongs to the number (`1,234`, `10 000`), a fraction is one
/// (`1/2`, `½`, `2½`), and digits behind a letter are part of a word (`CO2`). What commas, colons or points join otherwise
/// gives its parts.
pub fn numbers_in(text: &str) -> impl Iterator<Item = f64> {
    let text = plain(text).into_owned();
    let mut at = 0;
    let numerals = std::iter::from_fn(move || {
        let found = next(&text, at)?;
        at = found.end;
        Some(found)
    });
    numerals.flat_map(|found| match found.says {
        Says::One(number) => vec![number],
        Says::Parts(parts) => parts,
    })
}

/// The number a text is or states: the whole text, or the one number in it. Two different ones state none, and what has
/// digits and is no number (`10,5`, `10:30`) states none either.
#[must_use]
pub fn only_number(text: &str) -> Option<f64> {
    let text = text.trim();
    if let Some(number) = finite(text) {
        return Some(number);
    }
    let text = plain(text);
    let (mut at, mut only) = (0, None);
    while let Some(found) = next(&text, at) {
        at = found.end;
        match (found.says, only) {
            (Says::Parts(_), _) => return None,
            (Says::One(number), Some(before)) if number != before => return None,
            (Says::One(number), _) => only = Some(number),
        }
    }
    only
}

/// The number that the text is from beginning to end.
pub(crate) fn whole_number(text: &str) -> Option<f64> {
    let text = plain(text.trim());
    let found = next(&text, 0)?;
    match found.says {
        Says::One(number) if found.start == 0 && found.end == text.len() => Some(number),
        _ => None,
    }
}

fn finite(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

fn digit_at(bytes: &[u8], at: usize) -> bool {
    bytes.get(at).is_some_and(u8::is_ascii_digit)
}

/// Where digits end that are joined by single marks, from `at` on.
fn run(bytes: &[u8], at: usize) -> usize {
    let mut end = at;
    while digit_at(bytes, end) || matches!(bytes.get(end), Some(b',' | b'.' | b':' | b'/')) && digit_at(bytes, end + 1)
    {
        end += 1;
    }
    end
}

/// The length of a space that may stand inside a number; LaTeX writes it `\,`.
fn space(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at..)? {
        [b' ', ..] => Some(1),
        [b'\\', b',', ..] => Some(2),
        _ => None,
    }
}

/// The next numeral at or behind `from`.
fn next(text: &str, from: usize) -> Option<Numeral> {
    let bytes = text.as_bytes();
    let mut at = from;
    while at < bytes.len() {
        let before = text.get(..at).and_then(|before| before.chars().next_back());
        // `No.5` is 5, and so is `...5`.
        let point = bytes[at] == b'.'
            && digit_at(bytes, at + 1)
            && !before.is_some_and(|before| before == '.' || before.is_alphanumeric());
        if !point && !bytes[at].is_ascii_digit() {
            at += 1;
            continue;
        }
        let end = run(bytes, at);
        if before.is_some_and(|before| before.is_alphabetic() && !is_unspaced(before)) {
            at = end;
            continue;
        }
        let (end, says) = read(text, at, end);
        // A hyphen straight after a digit or letter joins, as in `3-4` or `x-1`.
        let sign = before.filter(|sign| matches!(sign, '-' | '+'));
        let joined = sign.is_some() && text[..at - 1].ends_with(char::is_alphanumeric);
        let start = at - usize::from(sign.is_some() && !joined);
        let says = match says {
            Says::One(number) if sign == Some('-') && !joined => Says::One(-number),
            other => other,
        };
        return Some(Numeral { start, end, says });
    }
    None
}

/// What the digits from `at` to `end` say, and those behind that belong to them.
fn read(text: &str, at: usize, end: usize) -> (usize, Says) {
    let bytes = text.as_bytes();
    let (piece, whole) = (&text[at..end], text[at..end].bytes().all(|byte| byte.is_ascii_digit()));
    if let Some(found) = if whole { spaced(text, at, end).or_else(|| mixed(text, at, end)) } else { None } {
        return found;
    }
    let (end, says) = match finite(piece) {
        Some(number) => match exponent(bytes, end) {
            Some(longer) => (longer, finite(&text[at..longer]).map_or(Says::Parts(vec![number]), Says::One)),
            None => (end, Says::One(number)),
        },
        None => (end, commas(piece).or_else(|| fraction(piece)).map_or_else(|| Says::Parts(parts(piece)), Says::One)),
    };
    // A power is not its base.
    match says {
        Says::One(number) if text[end..].starts_with(POWERS) => (end, Says::Parts(vec![number])),
        says => (end, says),
    }
}

/// The end of `e5` or `E-3` behind a number.
fn exponent(bytes: &[u8], at: usize) -> Option<usize> {
    let mut end = at + usize::from(matches!(bytes.get(at), Some(b'e' | b'E')));
    if end == at {
        return None;
    }
    end += usize::from(matches!(bytes.get(end), Some(b'-' | b'+')));
    let digits = bytes[end..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    (digits > 0).then_some(end + digits)
}

/// Whether digits can be the first of groups of three.
fn leads(digits: &str) -> bool {
    (1..=3).contains(&digits.len()) && !digits.starts_with('0')
}

/// `1,234,567.8`: commas between groups of three digits alone.
fn commas(piece: &str) -> Option<f64> {
    let (whole, rest) = piece.split_at(piece.find('.').unwrap_or(piece.len()));
    let mut groups = whole.split(',');
    let sound =
        leads(groups.next()?) && groups.all(|group| group.len() == 3 && group.bytes().all(|b| b.is_ascii_digit()));
    if sound { finite(&format!("{}{rest}", whole.replace(',', ""))) } else { None }
}

/// `1/2`.
fn fraction(piece: &str) -> Option<f64> {
    let (over, under) = piece.split_once('/')?;
    let whole = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| finite(digits)).flatten();
    let (over, under) = (whole(over)?, whole(under)?);
    (under != 0.0).then_some(over / under)
}

fn parts(piece: &str) -> Vec<f64> {
    let pieces = piece.split([',', ':', '/']);
    pieces
        .flat_map(|part| finite(part).map_or_else(|| part.split('.').filter_map(finite).collect(), |one| vec![one]))
        .collect()
}

/// `10 000`: groups of three digits behind a space.
fn spaced(text: &str, at: usize, end: usize) -> Option<(usize, Says)> {
    let bytes = text.as_bytes();
    let mut digits = text[at..end].to_owned();
    let mut last = end;
    if !leads(&digits) {
        return None;
    }
    while let Some(width) = space(bytes, last) {
        let (from, to) = (last + width, run(bytes, last + width));
        let (group, rest) = text[from..to].split_at((to - from).min(3));
        let whole = group.len() == 3 && group.bytes().all(|byte| byte.is_ascii_digit());
        let decimals = rest.strip_prefix('.').is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()));
        if !whole || !(rest.is_empty() || decimals) {
            break;
        }
        digits.push_str(&text[from..to]);
        last = to;
        if decimals {
            break;
        }
    }
    (last > end).then(|| (last, finite(&digits).map_or(Says::Parts(Vec::new()), Says::One)))
}

/// `2 1/2`: a whole number before a fraction.
fn mixed(text: &str, at: usize, end: usize) -> Option<(usize, Says)> {
    let bytes = text.as_bytes();
    let from = end + space(bytes, end)?;
    let to = run(bytes, from);
    let part = fraction(&text[from..to])?;
    Some((to, Says::One(finite(&text[at..end])? + part)))
}

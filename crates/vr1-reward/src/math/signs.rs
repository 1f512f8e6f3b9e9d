//! Signs of Unicode, numbers in `\text{…}` and exponents of ten, as the plain characters they stand for.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Regex};

use crate::reading::vulgar;

struct Patterns {
    text_number: Regex,
    gap: Regex,
    exponent: Regex,
}

static PATTERNS: LazyLock<Patterns> = LazyLock::new(|| {
    let regex = |pattern: &str| Regex::new(pattern).expect("the patterns are constants");
    Patterns {
        text_number: regex(
            r"\\(?:text(?:bf|it|rm|normal|sf|tt|md|up|sl)?|math(?:rm|bf|it|sf|tt)|mbox|emph)\s*\{\s*([-+]?[.\d](?:[\d.,/%\s]|\\%|\\,|\{,\})*)\}",
        ),
        gap: regex(r"(\d)\s*(?:\\[,;: ]|~|\\thinspace\b)+\s*(\d)"),
        exponent: regex(r"(^|[^\w.])(\d+\.?\d*|\.\d+)[eE]([-+]?\d+)\b"),
    }
});

/// The text with every sign as what it stands for: `x²` is `x^2`, `2½` is `2\frac{1}{2}`, `９` is 9, `\text{17}` is 17,
/// `2\,500` is `2 500` and `1e5` is 100000.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    let mut text = if text.is_ascii() { Cow::Borrowed(text) } else { Cow::Owned(spelled(text)) };
    if text.contains(['\\', '~']) {
        // The innermost first; deeper ones are no number.
        for _ in 0..3 {
            let Cow::Owned(changed) =
                PATTERNS.text_number.replace_all(&text, |found: &Captures<'_>| bare(&text, found))
            else {
                break;
            };
            text = Cow::Owned(changed);
        }
        if let Cow::Owned(changed) = PATTERNS.gap.replace_all(&text, "$1 $2") {
            text = Cow::Owned(changed);
        }
    }
    let digit =
        |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'+' | b'-'));
    let bytes = text.as_bytes();
    let exponent = (1..bytes.len())
        .any(|at| matches!(bytes[at], b'e' | b'E') && digit(bytes.get(at - 1)) && digit(bytes.get(at + 1)));
    if exponent
        && let Cow::Owned(changed) = PATTERNS.exponent.replace_all(&text, |found: &Captures<'_>| {
            let written = moved(&found[2], &found[3]).unwrap_or_else(|| format!("({}*10^({}))", &found[2], &found[3]));
            format!("{}{written}", &found[1])
        })
    {
        text = Cow::Owned(changed);
    }
    text
}

/// The decimal with its point moved by as many places as the exponent says, where it stays short.
fn moved(decimal: &str, exponent: &str) -> Option<String> {
    const MOST: i32 = 40;
    let places: i32 = exponent.parse().ok().filter(|places: &i32| places.abs() <= MOST)?;
    let (whole, fraction) = decimal.split_once('.').unwrap_or((decimal, ""));
    let width = usize::try_from(MOST).ok()?;
    let digits = format!("{}{whole}{fraction}{}", "0".repeat(width), "0".repeat(width));
    let point = width + whole.len();
    let point =
        if places < 0 { point - places.unsigned_abs() as usize } else { point + places.unsigned_abs() as usize };
    let (whole, fraction) = digits.split_at(point);
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    let whole = if whole.is_empty() { "0" } else { whole };
    Some(if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") })
}

/// The number of a `\text{…}`, kept apart from what stands beside it.
fn bare(text: &str, found: &Captures<'_>) -> String {
    let (whole, number) = (&found[0], found[1].trim());
    let start = found.get(0).map_or(0, |whole| whole.start());
    let end = start + whole.len();
    if text[..start].ends_with(['^', '_']) {
        return format!("{{{number}}}");
    }
    let before = if text[..start].ends_with(char::is_alphanumeric) { " " } else { "" };
    let after = if text[end..].starts_with(char::is_alphanumeric) { " " } else { "" };
    format!("{before}{number}{after}")
}

fn spelled(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if let Some(first) = raised(c) {
            let run = run(first, &mut chars, raised);
            // `¹⁄₂`.
            if run.bytes().all(|b| b.is_ascii_digit()) && chars.next_if(|c| matches!(c, '⁄' | '∕' | '/')).is_some()
            {
                let below = chars.peek().copied().and_then(lowered);
                let Some(first) = below else {
                    out.push_str(&format!("^({run})/"));
                    continue;
                };
                chars.next();
                let below = self::run(first, &mut chars, lowered);
                out.push_str(&format!("\\frac{{{run}}}{{{below}}}"));
                continue;
            }
            let alone = run.len() == 1 && !chars.peek().is_some_and(|next| next.is_numeric() || *next == '.');
            out.push_str(&if alone { format!("^{run}") } else { format!("^({run})") });
        } else if let Some(first) = lowered(c) {
            out.push_str(&format!("_{{{}}}", run(first, &mut chars, lowered)));
        } else if let Some((above, below)) = vulgar(c) {
            out.push_str(&format!("\\frac{{{above}}}{{{below}}}"));
        } else if let Some(root) = root(c) {
            let of: String = std::iter::from_fn(|| chars.next_if(char::is_ascii_digit)).collect();
            out.push_str(&if of.is_empty() { format!("{root} ") } else { format!("{root}{{{of}}}") });
        } else {
            push(c, &mut out);
        }
    }
    out
}

fn root(c: char) -> Option<&'static str> {
    Some(match c {
        '√' => "\\sqrt",
        '∛' => "\\sqrt[3]",
        '∜' => "\\sqrt[4]",
        _ => return None,
    })
}

/// The raised or lowered characters that follow, as plain ones.
fn run(first: char, chars: &mut std::iter::Peekable<std::str::Chars<'_>>, plain: fn(char) -> Option<char>) -> String {
    let mut run = String::from(first);
    while let Some(next) = chars.peek().copied().and_then(plain) {
        run.push(next);
        chars.next();
    }
    run
}

fn raised(c: char) -> Option<char> {
    Some(match c {
        '⁰' => '0',
        '¹' => '1',
        '²' => '2',
        '³' => '3',
        '⁴'..='⁹' => digit(c, '⁴', 4),
        '⁺' => '+',
        '⁻' => '-',
        '⁽' => '(',
        '⁾' => ')',
        'ⁿ' => 'n',
        'ⁱ' => 'i',
        'ˣ' => 'x',
        'ʸ' => 'y',
        'ᵏ' => 'k',
        'ᵐ' => 'm',
        _ => return None,
    })
}

fn lowered(c: char) -> Option<char> {
    Some(match c {
        '₀'..='₉' => digit(c, '₀', 0),
        '₊' => '+',
        '₋' => '-',
        '₍' => '(',
        '₎' => ')',
        'ₐ' => 'a',
        'ᵢ' => 'i',
        'ⱼ' => 'j',
        'ₖ' => 'k',
        'ₘ' => 'm',
        'ₙ' => 'n',
        'ₓ' => 'x',
        _ => return None,
    })
}

/// The digit that stands as far behind `value` as `c` behind `from`.
fn digit(c: char, from: char, value: u32) -> char {
    char::from_digit((c as u32 - from as u32 + value) % 10, 10).unwrap_or('0')
}

/// The zeros of the decimal digits of other scripts.
const ZEROS: [char; 10] = ['٠', '۰', '०', '০', '੦', '૦', '௦', '౦', '๐', '０'];

fn push(c: char, out: &mut String) {
    match c {
        c if c.is_ascii() => out.push(c),
        '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{ad}' | '\u{202a}'..='\u{202e}' => {}
        c if c.is_whitespace() => out.push(' '),
        '−' | '‐' | '‑' | '‒' | '﹣' => out.push('-'),
        '∕' | '⁄' => out.push('/'),
        '∶' => out.push(':'),
        '’' | '‘' | 'ʼ' | '′' => out.push('\''),
        '“' | '”' | '″' => out.push('"'),
        '٪' => out.push('%'),
        '٫' => out.push('.'),
        '٬' | '،' | '、' => out.push(','),
        '。' => out.push('.'),
        'º' => out.push('°'),
        '℃' => out.push_str("°C"),
        '℉' => out.push_str("°F"),
        '㎜' => out.push_str("mm"),
        '㎝' => out.push_str("cm"),
        '㎞' => out.push_str("km"),
        '㎎' => out.push_str("mg"),
        '㎏' => out.push_str("kg"),
        '㎠' => out.push_str("cm^2"),
        '㎡' => out.push_str("m^2"),
        '㎢' => out.push_str("km^2"),
        '㎤' => out.push_str("cm^3"),
        '㎥' => out.push_str("m^3"),
        // The full width of what is printed in ASCII.
        '！'..='～' if !c.is_numeric() => out.extend(char::from_u32(c as u32 - 0xFEE0)),
        // Letters and digits of mathematics: alphabets and ten digits, one style behind the other.
        '\u{1D400}'..='\u{1D6A3}' => {
            let place = (c as u32 - 0x1D400) % 52;
            out.extend(char::from_u32(if place < 26 { 65 + place } else { 71 + place }));
        }
        '\u{1D7CE}'..='\u{1D7FF}' => out.push(digit(c, '\u{1D7CE}', 0)),
        c => match ZEROS.iter().find(|zero| (**zero as u32..**zero as u32 + 10).contains(&(c as u32))) {
            Some(zero) => out.push(digit(c, *zero, 0)),
            None => out.push(c),
        },
    }
}

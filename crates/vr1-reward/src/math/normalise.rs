//! LaTeX as people and models write it, brought to what the parser reads.

use std::sync::LazyLock;

use regex::Regex;

/// Which boxes of a text count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Boxes {
    /// All of them, in order.
    All,
    /// The last, and those before it that belong to the same answer.
    Last,
}

struct Patterns {
    spaces: Regex,
    thousands: Regex,
    words: Regex,
    percent: Regex,
    infinity: Regex,
    dots: Regex,
    text_unit: Regex,
    unit: Regex,
    degrees: Regex,
    doubled: Regex,
}

/// Words for a quantity's unit that may follow a number without a mark.
const UNITS: &str = "millimeter|millimetre|centimeter|centimetre|decimeter|kilometer|kilometre|meter|metre|mile|yard|\
    feet|foot|inch|inche|acre|hectare|square|cubic|sq|cu|cm|mm|dm|km|ft|yd|mi|gram|kilogram|kg|mg|lb|pound|ounce|oz|ton|\
    liter|litre|gallon|ml|second|sec|minute|min|hour|hr|day|week|month|year|yr|degree|deg|radian|rad|unit|\
    dollar|cent|rupee|euro|rs|mph|kmph|kmh|kph|volt|ohm|watt|joule|newton|point|digit|percentage point|coin|mark|number|\
    student|people|person|men|man|women|woman|child|children|soldier|boy|girl|apple|orange|ball|toy|tile|edge|side|way|\
    time|round|pie|page|book|ticket|card|mtr|mt|gm|m|g|s|h|l|t|c|d|o|th|st|nd|rd";

static PATTERNS: LazyLock<Patterns> = LazyLock::new(|| {
    let regex = |pattern: &str| Regex::new(pattern).expect("the patterns are constants");
    Patterns {
        spaces: regex(r"\\!\s*|\\displaystyle|\\text\s*\{\s*\}"),
        thousands: regex(r"(\d)\s*\{\s*,\s*\}\s*"),
        words: regex(
            r",?\s*\\(?:text|textbf|textrm|textnormal|mbox|mathrm)\s*\{\s*,?\s*(?:and|or)\s*\}|,?\s*\b(?:and|or)\b",
        ),
        percent: regex(r"\s*(?:\\text\s*\{\s*)?\b(?:[Pp]ercentage|[Pp]ercent|[Pp]ct)\b(?:\s*\})?"),
        infinity: regex(r"(^|[^\\a-zA-Z])inf(?:inity)?\b"),
        dots: regex(r",?\s*\\(?:ldots|dots|cdots)\b"),
        text_unit: regex(
            r"\\(?:text|textbf|textit|textrm|textnormal|mbox|mathrm|mathit|mathbf)\s*\{[^{}]*\}\s*(?:\^\s*[{(]?-?\d[})]?|\{\^\d\})?\s*\.?\s*$",
        ),
        unit: regex(&format!(r"(\d|\}}|\s|^)\s*(?:(?:{UNITS})(?:s|es)?\.?)(?:\s*\^\s*[{{(]?-?\d[}})]?)?\s*$")),
        degrees: regex(r"\d\s*(°|\^\s*\{?\s*\\circ\s*\}?)\s*[CF]$"),
        doubled: regex(r"\\\\([a-zA-Z])"),
    }
});

/// The text with its boxes opened, its units gone and its words for marks replaced.
pub(crate) fn normalised(latex: &str, boxes: Boxes) -> String {
    let patterns = &*PATTERNS;
    let mut text = boxed(latex, boxes).replace(['\n', '\t', '\r'], " ");
    if text.contains(['$', '"', '\'']) {
        text = text.replace("\\$", "").replace(['$', '"', '\''], "");
    }
    let contains_word = |text: &str, words: &[&str]| words.iter().any(|word| text.contains(word));
    if text.contains('\\') {
        text = patterns.spaces.replace_all(&text, "").into_owned();
        if !text.contains("matrix") && !text.contains("array") {
            text = patterns.doubled.replace_all(&text, r"\$1").into_owned();
        }
        text = patterns.dots.replace_all(&text, " ").into_owned();
    }
    if text.contains('{') {
        text = patterns.thousands.replace_all(&text, "$1,").into_owned();
    }
    if contains_word(&text, &["and", "or"]) {
        text = patterns.words.replace_all(&text, ",").into_owned();
    }
    if contains_word(&text, &["ercent", "ct"]) {
        text = patterns.percent.replace_all(&text, r"\%").into_owned();
    }
    if text.contains("inf") {
        text = patterns.infinity.replace_all(&text, r"$1\infty ").into_owned();
    }
    // A text that is all of the answer is read where it holds a number, and stays a word where not.
    if let Some(inside) = text_command(text.trim()).filter(|inside| inside.contains(|c: char| c.is_ascii_digit())) {
        text = inside.to_owned();
    }
    let text = without_units(text.trim());
    let text = text.trim();
    if text.starts_with('.') { format!("0{text}") } else { text.to_owned() }
}

fn without_units(text: &str) -> String {
    let patterns = &*PATTERNS;
    let mut text = text;
    if text.contains(['°', '^'])
        && let Some(found) = patterns.degrees.captures(text)
    {
        text = text[..found.get(1).map_or(0, |sign| sign.end())].trim_end();
    }
    let cut = patterns.text_unit.find(text).map(|found| text[..found.start()].trim_end());
    if let Some(rest) = cut.filter(|rest| !rest.is_empty()) {
        text = rest;
    }
    for _ in 0..2 {
        let Some(found) = patterns.unit.captures(text) else { break };
        // Group 1 is always there: what the unit follows.
        let keep = found.get(1).map_or(0, |before| before.end());
        let rest = text[..keep].trim_end();
        // A letter by itself, or behind an operator, is an answer and no unit.
        let operator = rest.ends_with(['=', '+', '-', '*', '/', '<', '>', '^', '×', '·', '±']);
        if operator || !rest.contains(|c: char| c.is_ascii_digit()) {
            break;
        }
        text = rest;
    }
    text.to_owned()
}

/// What stands in the boxes of a text; the text itself where there is none.
pub(super) fn boxed(text: &str, boxes: Boxes) -> String {
    let mut found: Vec<(usize, usize, &str)> = Vec::new();
    let mut limit = text.len();
    loop {
        let start = text[..limit].rfind("\\boxed").max(text[..limit].rfind("\\fbox"));
        let Some(start) = start else { break };
        let after = start + if text[start..].starts_with("\\boxed") { 6 } else { 5 };
        let open = after + text[after..].find(|c: char| !c.is_whitespace()).unwrap_or(0);
        let content = text[open..limit.max(open)].starts_with('{').then(|| closed(&text[open..limit])).flatten();
        let Some(length) = content else {
            // Without a brace of its own, the rest is what was meant.
            if found.is_empty() && open < limit {
                found.push((start, limit, text[open..limit].trim_start_matches('{')));
            }
            break;
        };
        let inside = text[open + 1..open + length].trim();
        let end = open + length + 1;
        if boxes == Boxes::Last
            && let Some((next, _, next_inside)) = found.last()
            && !belongs(&text[end..*next], inside, next_inside)
        {
            break;
        }
        if found.last().is_none_or(|(_, _, next)| *next != inside) {
            found.push((start, end, inside));
        } else if let Some(last) = found.last_mut() {
            last.0 = start;
        }
        limit = start;
    }
    if found.is_empty() {
        return text.to_owned();
    }
    let parts: Vec<&str> = found.iter().rev().map(|(_, _, inside)| *inside).collect();
    parts.join(",")
}

/// Whether two boxes are one answer: close together, or joined by a comma or a word.
fn belongs(between: &str, inside: &str, next: &str) -> bool {
    let length = between.chars().count();
    let words = || between.split(|c: char| !c.is_alphanumeric()).any(|word| word == "and" || word == "or");
    length < 10 || (length < 70 && inside != next && (between.contains([',', ';']) || words()))
}

/// The place of the brace that closes the first one.
fn closed(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

/// The inside of a `\text{…}` that is all of a text.
pub(super) fn text_command(text: &str) -> Option<&str> {
    const COMMANDS: [&str; 7] = ["text", "textbf", "textit", "textrm", "textnormal", "mbox", "emph"];
    let (name, inside) = text.strip_prefix('\\')?.strip_suffix('}')?.split_once('{')?;
    let mut depth = 1_i32;
    let all = inside.chars().all(|c| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        depth > 0
    });
    (all && COMMANDS.contains(&name.trim_end())).then_some(inside)
}

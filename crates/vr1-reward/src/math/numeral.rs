//! Numerals as they are written: digits, groups of three behind a space, a decimal point.

/// The numeral that begins at `at`, without its spaces, and where it ends.
///
/// `3 000 000` and `1.234 567` are one number; `12 5`, `0 500` and `1 0000` are two numerals.
pub(super) fn numeral(chars: &[char], at: usize) -> (String, usize) {
    let mut end = digits(chars, at);
    let mut text: String = chars[at..end].iter().collect();
    let groupable = !text.is_empty() && text.len() <= 3 && !text.starts_with('0');
    if groupable {
        end = groups(chars, end, &mut text);
    }
    let point = chars.get(end) == Some(&'.') && chars.get(end + 1).is_some_and(char::is_ascii_digit);
    if point {
        let start = end + 1;
        end = digits(chars, start);
        text.push('.');
        text.extend(&chars[start..end]);
        if end - start == 3 {
            end = groups(chars, end, &mut text);
        }
    }
    (text, end)
}

fn digits(chars: &[char], at: usize) -> usize {
    at + chars[at..].iter().take_while(|c| c.is_ascii_digit()).count()
}

/// Takes up the groups of three that follow, one space before each; all of them, or none where another numeral follows.
fn groups(chars: &[char], at: usize, text: &mut String) -> usize {
    let (mut end, whole) = (at, text.len());
    while chars.get(end).is_some_and(|c| *c == ' ') && chars.get(end + 1).is_some_and(char::is_ascii_digit) {
        let group = digits(chars, end + 1);
        if group - end != 4 {
            // A mixed number's numerator: `1 234 1/2`.
            if chars.get(group) == Some(&'/') {
                return end;
            }
            text.truncate(whole);
            return at;
        }
        text.extend(&chars[end + 1..group]);
        end = group;
    }
    end
}

use std::borrow::Cow;

/// A text with signs of Unicode as the plain ones they stand for: full-width letters, digits and marks (`（Ｂ）`, `７`),
/// digits of other alphabets, vulgar fractions (`½` is `1/2`, `2½` is `2 1/2`), the minus sign, and spaces of every width;
/// what has no width goes.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    let mut behind_fraction = false;
    for c in text.chars() {
        let (fraction, sign) = (vulgar(c), plain_sign(c));
        if sign == '\0' {
            continue;
        }
        // `2½5` is not `21/25`.
        let runs_on = fraction.is_some() || (sign.is_ascii_digit() && behind_fraction);
        if runs_on && out.ends_with(|before: char| before.is_ascii_digit()) {
            out.push(' ');
        }
        match fraction {
            Some((over, under)) => out.push_str(&format!("{over}/{under}")),
            None => out.push(sign),
        }
        behind_fraction = fraction.is_some();
    }
    Cow::Owned(out)
}

/// The ASCII sign for `c`, itself where there is none, NUL where it is nothing to be seen.
fn plain_sign(c: char) -> char {
    let code = u32::from(c);
    let digit = |first: u32| char::from_digit((code - first) % 10, 10).unwrap_or(c);
    let letter = |a: u8, first: u32| char::from_u32(u32::from(a) + code - first).unwrap_or(c);
    match code {
        // U+FF01 to U+FF5E are ASCII at the width of an ideograph.
        0xFF01..=0xFF5E => char::from_u32(code - 0xFEE0).unwrap_or(c),
        // Letters in circles and brackets.
        0x24B6..=0x24CF => letter(b'A', 0x24B6),
        0x24D0..=0x24E9 => letter(b'a', 0x24D0),
        0x249C..=0x24B5 => letter(b'a', 0x249C),
        0x1D7CE..=0x1D7FF => digit(0x1D7CE),
        0x0660..=0x0669 => digit(0x0660),
        0x06F0..=0x06F9 => digit(0x06F0),
        0x00A0 | 0x2000..=0x200A | 0x202F | 0x205F | 0x3000 => ' ',
        0x200B..=0x200F | 0x2060 | 0xFEFF => '\0',
        0x2212 | 0xFE63 => '-',
        0x2044 | 0x2215 => '/',
        0x201C..=0x201F | 0x00AB | 0x00BB | 0x300C..=0x300F => '"',
        0x2018..=0x201B => '\'',
        _ => c,
    }
}

/// What a vulgar fraction is over what.
pub(crate) fn vulgar(c: char) -> Option<(u8, u8)> {
    Some(match c {
        '½' => (1, 2),
        '⅓' => (1, 3),
        '⅔' => (2, 3),
        '¼' => (1, 4),
        '¾' => (3, 4),
        '⅕' => (1, 5),
        '⅖' => (2, 5),
        '⅗' => (3, 5),
        '⅘' => (4, 5),
        '⅙' => (1, 6),
        '⅚' => (5, 6),
        '⅐' => (1, 7),
        '⅛' => (1, 8),
        '⅜' => (3, 8),
        '⅝' => (5, 8),
        '⅞' => (7, 8),
        '⅑' => (1, 9),
        '⅒' => (1, 10),
        '↉' => (0, 3),
        _ => return None,
    })
}

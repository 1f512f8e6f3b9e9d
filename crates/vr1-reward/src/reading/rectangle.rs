//! Boxes as they are written.

use std::sync::LazyLock;

use regex::Regex;

use super::signs::plain;
use crate::value::BBox;

/// What JSON or Python reads as a number.
const NUMBER: &str = r"[-+]?(?:[0-9][0-9_]*\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?";

static COORDINATE: LazyLock<Regex> = LazyLock::new(|| Regex::new(NUMBER).expect("the pattern is a constant"));

/// Four numbers in brackets, or points in brackets with commas between.
static FORMS: LazyLock<Regex> = LazyLock::new(|| {
    let list = |count: usize| vec![format!(r"\s*{NUMBER}\s*"); count].join(",");
    let (four, two) = (list(4), list(2));
    let point = format!(r"(?:\[{two}\]|\({two}\))");
    let pattern = format!(r"\[{four}(?:,\s*)?\]|\({four}(?:,\s*)?\)|{point}(?:\s*,\s*{point})*");
    Regex::new(&pattern).expect("the pattern is a constant")
});

/// The first box in a text: four numbers in square or round brackets, or two points, `(x1,y1),(x2,y2)` or
/// `[[x1,y1],[x2,y2]]`, as Qwen2-VL writes them between `<|box_start|>` and `<|box_end|>`. One point is no box, and three
/// or more are none.
#[must_use]
pub fn box_in(text: &str) -> Option<BBox> {
    let text = plain(text);
    let text = match text.contains(['【', '】', '〔', '〕', '、']) {
        true => text.replace(['【', '〔'], "[").replace(['】', '〕'], "]").replace('、', ",").into(),
        false => text,
    };
    let four = |found: regex::Match<'_>| {
        let mut numbers = COORDINATE.find_iter(found.as_str()).map(|number| coordinate(number.as_str()));
        let bbox = [numbers.next()??, numbers.next()??, numbers.next()??, numbers.next()??];
        numbers.next().is_none().then_some(bbox)
    };
    FORMS.find_iter(&text).find_map(four)
}

fn coordinate(text: &str) -> Option<f64> {
    let number = if text.contains('_') { text.replace('_', "").parse() } else { text.parse() };
    number.ok().filter(|number: &f64| number.is_finite())
}

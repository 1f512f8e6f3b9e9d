//! The functions of the language: plain, total, each as long as its input.

use std::borrow::Cow;

use super::functions::Shape::{self, Boxes, List, Number, Rectangle, Sized, Text, Whatever};
use super::functions::{Function, Gives, Run};
use super::node::Range;
use crate::{Budget, Result, Value};

pub(crate) static FUNCTIONS: &[Function] = &[
    // Numbers.
    function("min", &[Number, Number], Gives::Number, |r| fold(r, f64::min), |v, _| fold_numbers(v, f64::min))
        .variadic(),
    function("max", &[Number, Number], Gives::Number, |r| fold(r, f64::max), |v, _| fold_numbers(v, f64::max))
        .variadic(),
    function("clamp", &[Number, Number, Number], Gives::Number, clamp_range, |v, _| {
        Ok(Value::Number(number(&v[0]).min(number(&v[2])).max(number(&v[1]))))
    }),
    function("abs", &[Number], Gives::Number, abs_range, |v, _| Ok(Value::Number(number(&v[0]).abs()))),
    function("round", &[Number], Gives::Number, |r| monotone(r, f64::round), |v, _| finite(number(&v[0]).round())),
    function("floor", &[Number], Gives::Number, |r| monotone(r, f64::floor), |v, _| finite(number(&v[0]).floor())),
    function("ceil", &[Number], Gives::Number, |r| monotone(r, f64::ceil), |v, _| finite(number(&v[0]).ceil())),
    function("exp", &[Number], Gives::Number, |r| monotone(r, f64::exp), |v, _| finite(number(&v[0]).exp())).partial(),
    function("ln", &[Number], Gives::Number, any_range, |v, _| finite(number(&v[0]).ln())).partial(),
    function("sqrt", &[Number], Gives::Number, |_| Range::COUNT, |v, _| finite(number(&v[0]).sqrt())).partial(),
    function("cos", &[Number], Gives::Number, |_| Range { low: -1.0, high: 1.0 }, |v, _| finite(number(&v[0]).cos())),
    function("pow", &[Number, Number], Gives::Number, any_range, |v, _| finite(number(&v[0]).powf(number(&v[1]))))
        .partial(),
    // Conversions.
    function("to_number", &[Whatever], Gives::Number, any_range, |v, b| to_number(&v[0], b)).partial(),
    function("to_text", &[Whatever], Gives::Text, any_range, |v, _| {
        Ok(match std::mem::replace(&mut v[0], Value::Missing) {
            Value::Missing => Value::Missing,
            text @ Value::Text(_) => text,
            other => owned(other.to_text().into_owned()),
        })
    }),
    function("is_missing", &[Whatever], Gives::Boolean, |_| Range::UNIT, |v, _| Ok(Value::Bool(v[0].is_missing()))),
    // Texts.
    function("length", &[Sized], Gives::Number, |_| Range::COUNT, |v, b| length(&v[0], b)),
    function(
        "word_count",
        &[Text],
        Gives::Number,
        |_| Range::COUNT,
        |v, b| {
            let text = text(&v[0], b, "word_count")?;
            Ok(Value::Number(text.split_whitespace().count() as f64))
        },
    ),
    function("words", &[Text], Gives::Texts, any_range, |v, b| {
        pieces(v, b, "words", |t| t.split_whitespace().collect())
    }),
    function("lines", &[Text], Gives::Texts, any_range, |v, b| pieces(v, b, "lines", |t| t.lines().collect())),
    function("lower", &[Text], Gives::Text, any_range, |v, b| Ok(owned(text(&v[0], b, "lower")?.to_lowercase()))),
    function("upper", &[Text], Gives::Text, any_range, |v, b| Ok(owned(text(&v[0], b, "upper")?.to_uppercase()))),
    function("trim", &[Text], Gives::Text, any_range, |v, b| part(v, b, "trim", str::trim)),
    function("contains", &[Sized, Whatever], Gives::Boolean, |_| Range::UNIT, |v, b| contains(&v[0], &v[1], b)),
    function(
        "starts_with",
        &[Text, Text],
        Gives::Boolean,
        |_| Range::UNIT,
        |v, b| Ok(Value::Bool(text(&v[0], b, "starts_with")?.starts_with(plain(&v[1])))),
    ),
    function(
        "ends_with",
        &[Text, Text],
        Gives::Boolean,
        |_| Range::UNIT,
        |v, b| Ok(Value::Bool(text(&v[0], b, "ends_with")?.ends_with(plain(&v[1])))),
    ),
    function(
        "occurrences",
        &[Text, Text],
        Gives::Number,
        |_| Range::COUNT,
        |v, b| {
            let (whole, of) = (text(&v[0], b, "occurrences")?, plain(&v[1]));
            Ok(Value::Number(if of.is_empty() { 0.0 } else { whole.matches(of).count() as f64 }))
        },
    ),
    function("replace", &[Text, Text, Text], Gives::Text, any_range, |v, b| {
        let whole = text(&v[0], b, "replace")?;
        let (from, to) = (plain(&v[1]), plain(&v[2]));
        if from.is_empty() {
            return Ok(owned(whole.to_owned()));
        }
        b.spend_bytes(whole.matches(from).count().saturating_mul(to.len()), "replace")?;
        Ok(owned(whole.replace(from, to)))
    }),
    function("split", &[Text, Text], Gives::Texts, any_range, |v, b| {
        let at = plain(&v[1]).to_owned();
        pieces(v, b, "split", |t| if at.is_empty() { vec![t] } else { t.split(at.as_str()).collect() })
    }),
    function("join", &[List, Text], Gives::Text, any_range, |v, b| {
        let Value::List(items) = &v[0] else { return Ok(Value::Missing) };
        let texts: Vec<Cow<'_, str>> = items.iter().map(Value::to_text).collect();
        let between = plain(&v[1]);
        b.spend_bytes(texts.iter().map(|t| t.len() + between.len()).sum(), "join")?;
        Ok(owned(texts.join(between)))
    }),
    function("between", &[Text, Text, Text], Gives::Text, any_range, between).partial(),
    function("last_tag", &[Text, Text], Gives::Text, any_range, |v, b| {
        let tag = plain(&v[1]).to_owned();
        optional_part(v, b, "last_tag", |t| crate::last_tagged(t, &tag))
    })
    .partial(),
    function("first_tag", &[Text, Text], Gives::Text, any_range, |v, b| {
        let tag = plain(&v[1]).to_owned();
        optional_part(v, b, "first_tag", |t| crate::first_tagged(t, &tag))
    })
    .partial(),
    // Lists.
    function("first", &[List], Gives::Item, any_range, |v, _| {
        Ok(items(&v[0]).first().cloned().unwrap_or(Value::Missing))
    })
    .partial(),
    function("last", &[List], Gives::Item, any_range, |v, _| {
        Ok(items(&v[0]).last().cloned().unwrap_or(Value::Missing))
    })
    .partial(),
    function("mean", &[List], Gives::Number, any_range, |v, b| {
        let numbers = numbers(&v[0], b, "mean")?;
        let sum: f64 = numbers.iter().sum();
        if numbers.is_empty() { Ok(Value::Missing) } else { finite(sum / numbers.len() as f64) }
    })
    .partial(),
    function("largest", &[List], Gives::Number, any_range, |v, b| {
        Ok(numbers(&v[0], b, "largest")?.into_iter().reduce(f64::max).map_or(Value::Missing, Value::Number))
    })
    .partial(),
    function("smallest", &[List], Gives::Number, any_range, |v, b| {
        Ok(numbers(&v[0], b, "smallest")?.into_iter().reduce(f64::min).map_or(Value::Missing, Value::Number))
    })
    .partial(),
    function("sort", &[List], Gives::SameList, any_range, sort),
    function("unique", &[List], Gives::SameList, any_range, unique),
    function("numbers", &[Text], Gives::Numbers, any_range, |v, b| {
        let text = text(&v[0], b, "numbers")?;
        Ok(Value::List(crate::reading::numbers_in(text).map(Value::Number).collect()))
    }),
    // Boxes.
    function("box", &[Whatever], Gives::Rectangle, any_range, |v, b| {
        b.spend_bytes(v[0].as_text().map_or(0, str::len), "box")?;
        Ok(crate::verify::first_box(&v[0]).map_or(Value::Missing, Value::Box))
    })
    .partial(),
    function("boxes", &[Whatever], Gives::Boxes, any_range, |v, b| {
        b.spend_bytes(v[0].as_text().map_or(0, str::len), "boxes")?;
        Ok(crate::verify::labelled_boxes(&v[0], b)?.map_or(Value::Missing, Value::Boxes))
    })
    .partial(),
    function(
        "area",
        &[Rectangle],
        Gives::Number,
        |_| Range::COUNT,
        |v, _| match &v[0] {
            Value::Box([x1, y1, x2, y2]) => finite((x2 - x1).max(0.0) * (y2 - y1).max(0.0)),
            _ => Ok(Value::Missing),
        },
    ),
    function("rescale", &[Rectangle, Number, Number, Number, Number], Gives::Rectangle, any_range, |v, _| {
        let Value::Box(bbox) = v[0] else { return Ok(Value::Missing) };
        let (x, y) = (number(&v[3]) / number(&v[1]), number(&v[4]) / number(&v[2]));
        let scaled = [bbox[0] * x, bbox[1] * y, bbox[2] * x, bbox[3] * y];
        Ok(if scaled.iter().all(|c| c.is_finite()) { Value::Box(scaled) } else { Value::Missing })
    })
    .partial(),
    function("labels", &[Boxes], Gives::Texts, any_range, |v, _| match &v[0] {
        Value::Boxes(boxes) => Ok(Value::List(boxes.iter().map(|b| owned(b.label.clone())).collect())),
        _ => Ok(Value::Missing),
    }),
];

const fn function(
    name: &'static str,
    params: &'static [Shape],
    gives: Gives,
    range: fn(&[Range]) -> Range,
    run: Run,
) -> Function {
    Function { name, params, variadic: false, gives, partial: false, range, run }
}

fn any_range(_: &[Range]) -> Range {
    Range::ANY
}

fn fold(ranges: &[Range], by: fn(f64, f64) -> f64) -> Range {
    ranges
        .iter()
        .copied()
        .reduce(|a, b| Range { low: by(a.low, b.low), high: by(a.high, b.high) })
        .unwrap_or(Range::ANY)
}

fn monotone(ranges: &[Range], of: fn(f64) -> f64) -> Range {
    Range { low: of(ranges[0].low), high: of(ranges[0].high) }
}

fn abs_range(ranges: &[Range]) -> Range {
    let Range { low, high } = ranges[0];
    let low_end = if ranges[0].contains(0.0) { 0.0 } else { low.abs().min(high.abs()) };
    Range { low: low_end, high: low.abs().max(high.abs()) }
}

fn clamp_range(ranges: &[Range]) -> Range {
    let (x, low, high) = (ranges[0], ranges[1], ranges[2]);
    Range { low: x.low.min(high.low).max(low.low), high: x.high.min(high.high).max(low.high) }
}

/// The number of a value already checked to be one.
fn number(value: &Value<'_>) -> f64 {
    value.as_number().unwrap_or(f64::NAN)
}

/// The text of a value already checked to be one.
fn plain<'v>(value: &'v Value<'_>) -> &'v str {
    value.as_text().unwrap_or("")
}

fn text<'v>(value: &'v Value<'_>, budget: &Budget, place: &str) -> Result<&'v str> {
    let text = plain(value);
    budget.spend_bytes(text.len(), place)?;
    Ok(text)
}

fn owned<'a>(text: String) -> Value<'a> {
    Value::Text(Cow::Owned(text))
}

/// Infinite and undefined numbers are missing.
pub(crate) fn finite<'a>(number: f64) -> Result<Value<'a>> {
    Ok(if number.is_finite() { Value::Number(number) } else { Value::Missing })
}

fn fold_numbers<'a>(values: &[Value<'a>], by: fn(f64, f64) -> f64) -> Result<Value<'a>> {
    Ok(values.iter().map(number).reduce(by).map_or(Value::Missing, Value::Number))
}

fn items<'v, 'a>(value: &'v Value<'a>) -> &'v [Value<'a>] {
    match value {
        Value::List(items) => items,
        _ => &[],
    }
}

fn numbers(value: &Value<'_>, budget: &Budget, place: &str) -> Result<Vec<f64>> {
    let items = items(value);
    budget.spend(items.len() as u64, place)?;
    let each = items.iter().filter(|item| !item.is_missing());
    each.map(|item| {
        item.as_number().ok_or_else(|| crate::Error::Type {
            place: place.into(),
            expected: "a list of numbers".into(),
            found: item.describe(),
        })
    })
    .collect()
}

fn to_number<'a>(value: &Value<'a>, budget: &Budget) -> Result<Value<'a>> {
    match value {
        Value::Number(number) => finite(*number),
        Value::Bool(value) => Ok(Value::Number(f64::from(*value))),
        Value::Text(text) => {
            budget.spend_bytes(text.len(), "to_number")?;
            Ok(crate::reading::only_number(text).map_or(Value::Missing, Value::Number))
        }
        _ => Ok(Value::Missing),
    }
}

fn length<'a>(value: &Value<'a>, budget: &Budget) -> Result<Value<'a>> {
    let length = match value {
        Value::Text(text) => {
            budget.spend_bytes(text.len(), "length")?;
            text.chars().count()
        }
        Value::List(items) => items.len(),
        Value::Boxes(boxes) => boxes.len(),
        _ => return Ok(Value::Missing),
    };
    Ok(Value::Number(length as f64))
}

fn contains<'a>(whole: &Value<'a>, part: &Value<'a>, budget: &Budget) -> Result<Value<'a>> {
    Ok(Value::Bool(match whole {
        Value::Text(text) => {
            budget.spend_bytes(text.len(), "contains")?;
            part.as_text().is_some_and(|part| text.contains(part))
        }
        Value::List(items) => {
            budget.spend(items.len() as u64 * part.reading(), "contains")?;
            items.iter().any(|item| item == part)
        }
        _ => false,
    }))
}

/// A part of a text, which stays a borrowed part of the rollout where the text was one.
fn part<'a>(values: &mut [Value<'a>], budget: &Budget, place: &str, of: fn(&str) -> &str) -> Result<Value<'a>> {
    optional_part(values, budget, place, |text| Some(of(text)))
}

fn optional_part<'a>(
    values: &mut [Value<'a>],
    budget: &Budget,
    place: &str,
    of: impl Fn(&str) -> Option<&str>,
) -> Result<Value<'a>> {
    text(&values[0], budget, place)?;
    Ok(match std::mem::replace(&mut values[0], Value::Missing) {
        Value::Text(Cow::Borrowed(text)) => of(text).map_or(Value::Missing, |part| Value::Text(Cow::Borrowed(part))),
        Value::Text(Cow::Owned(text)) => of(&text).map_or(Value::Missing, |part| owned(part.to_owned())),
        _ => Value::Missing,
    })
}

fn pieces<'a>(
    values: &mut [Value<'a>],
    budget: &Budget,
    place: &str,
    of: impl Fn(&str) -> Vec<&str>,
) -> Result<Value<'a>> {
    let whole = text(&values[0], budget, place)?.len();
    let list = match std::mem::replace(&mut values[0], Value::Missing) {
        Value::Text(Cow::Borrowed(text)) => {
            of(text).into_iter().map(|piece| Value::Text(Cow::Borrowed(piece))).collect::<Vec<_>>()
        }
        Value::Text(Cow::Owned(text)) => of(&text).into_iter().map(|piece| owned(piece.to_owned())).collect(),
        _ => Vec::new(),
    };
    budget.spend((list.len() + whole / 64) as u64, place)?;
    Ok(Value::List(list))
}

fn between<'a>(values: &mut [Value<'a>], budget: &Budget) -> Result<Value<'a>> {
    let (open, close) = (plain(&values[1]).to_owned(), plain(&values[2]).to_owned());
    optional_part(values, budget, "between", |text| {
        let start = text.find(&open)? + open.len();
        let length = text[start..].find(&close)?;
        Some(&text[start..start + length])
    })
}

fn sort<'a>(values: &mut [Value<'a>], budget: &Budget) -> Result<Value<'a>> {
    let Value::List(mut items) = std::mem::replace(&mut values[0], Value::Missing) else { return Ok(Value::Missing) };
    // About the comparisons a sort makes; it cannot be stopped half-way.
    let size: u64 = items.iter().map(Value::reading).sum();
    budget.spend(2 * size * u64::from((items.len() as u64).max(2).ilog2()), "sort")?;
    items.sort_by(|a, b| match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.total_cmp(b),
        (a, b) => a.to_text().cmp(&b.to_text()),
    });
    Ok(Value::List(items))
}

fn unique<'a>(values: &mut [Value<'a>], budget: &Budget) -> Result<Value<'a>> {
    #[derive(PartialEq, Eq, Hash)]
    enum Key<'v> {
        Text(&'v str),
        Number(u64),
        Other(String),
    }
    let Value::List(items) = std::mem::replace(&mut values[0], Value::Missing) else { return Ok(Value::Missing) };
    let mut seen = std::collections::HashSet::new();
    let mut keep = Vec::with_capacity(items.len());
    for item in &items {
        budget.spend(8 + 2 * item.reading(), "unique")?;
        keep.push(seen.insert(match item {
            Value::Text(text) => Key::Text(text),
            Value::Number(number) => Key::Number(number.to_bits()),
            other => Key::Other(format!("{other:?}")),
        }));
    }
    drop(seen);
    Ok(Value::List(items.into_iter().zip(keep).filter_map(|(item, keep)| keep.then_some(item)).collect()))
}

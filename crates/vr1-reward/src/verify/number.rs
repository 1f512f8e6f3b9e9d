use std::sync::LazyLock;

use regex::Regex;

use super::{reference, score};
use crate::{Param, Registry, Signature, Type};

static NUMBER: LazyLock<Regex> = LazyLock::new(|| {
    // Thousands separators only where every group has three digits, so that `1, 2` stays two numbers.
    // The pattern is a constant that the tests use.
    Regex::new(r"[-+−]?(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?|[0-9]*\.?[0-9]+)(?:[eE][-+]?[0-9]+)?")
        .expect("the pattern is a constant")
});

fn parse(text: &str) -> Option<f64> {
    let plain = text.replace(',', "").replace('−', "-");
    plain.parse::<f64>().ok().filter(|number| number.is_finite())
}

/// The numbers that stand in a text, in order.
pub(crate) fn numbers_in(text: &str) -> impl Iterator<Item = f64> + '_ {
    NUMBER.find_iter(text).filter_map(move |found| {
        // A hyphen straight after a digit or letter joins, as in `3-4` or `x-1`.
        let before = text[..found.start()].chars().next_back();
        let joined = before.is_some_and(char::is_alphanumeric);
        let digits = found.as_str();
        parse(if joined { digits.trim_start_matches(['-', '+', '−']) } else { digits })
    })
}

/// The number a text is or states: the whole text, or the one number in it. Two different ones state none.
pub(crate) fn only_number(text: &str) -> Option<f64> {
    let text = text.trim();
    if let Some(number) = parse(text) {
        return Some(number);
    }
    let mut numbers = numbers_in(text);
    let first = numbers.next()?;
    numbers.all(|number| number == first).then_some(first)
}

pub(super) fn register(registry: &mut Registry) {
    let signature = Signature::new(
        "1 where answer and solution state the same number; an answer with two different numbers states none. \
         `compat='float'` is VLM-R1's rule, the whole text or nothing.",
        vec![
            Param::answer("answer", Type::Any),
            Param::required("solution", Type::Any),
            Param::number("tolerance", 0.0),
            Param::number("relative", 0.0),
            Param::choice("compat", &["none", "float"]),
        ],
    );
    registry.register_typed("number", signature, |args| {
        let (answer, gold) = (args.value(0).to_text(), args.value(1).to_text());
        args.budget().spend_bytes(answer.len() + gold.len(), "number")?;
        let read = |text: &str| if args.text(4) == Ok("float") { text.trim().parse().ok() } else { only_number(text) };
        let (Some(answer), Some(gold)) = (read(&answer), read(reference(&gold))) else { return Ok(0.0) };
        let slack = args.number(2)?.max(args.number(3)? * f64::abs(gold));
        Ok(score((answer - gold).abs() <= slack))
    });
}

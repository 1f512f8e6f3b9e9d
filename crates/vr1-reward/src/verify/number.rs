use super::{reference, score};
use crate::reading::only_number;
use crate::{Param, Registry, Signature, Type};

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

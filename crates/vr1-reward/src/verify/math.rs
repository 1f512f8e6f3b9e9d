use super::{reference, score};
use crate::math::{MathConfig, answer_equal, math_equal};
use crate::{Param, Registry, Signature, Type};

pub(super) fn register(registry: &mut Registry) {
    let signature = Signature::new(
        "1 where answer and solution are mathematically the same, as Math-Verify judges it. `within='answer'` takes the \
         text for the answer itself, read for its number where it holds words, `'prose'` looks for the answer in it. `compat='swapped'`: the answer is taken for \
         the reference and the reference for the answer, as every published system does.",
        vec![
            Param::answer("answer", Type::Any),
            Param::required("solution", Type::Any),
            Param::choice("within", &["answer", "prose"]),
            Param::choice("compat", &["none", "swapped"]),
        ],
    );
    registry.register_typed("math", signature, |args| {
        let (answer, gold) = (args.value(0).to_text(), args.value(1).to_text());
        args.budget().spend_bytes(answer.len() + gold.len(), "math")?;
        let (answer, gold) = (answer.trim(), reference(&gold));
        if answer == gold {
            return Ok(score(!gold.is_empty()));
        }
        // Plain numbers, by far the most common, need no parser.
        if let (Ok(a), Ok(b)) = (answer.parse::<i64>(), gold.parse::<i64>()) {
            return Ok(score(a == b));
        }
        args.budget().spend(2_000, "math")?;
        let prose = args.text(2)? == "prose";
        let (gold, answer) = if args.text(3)? == "swapped" { (answer, gold) } else { (gold, answer) };
        Ok(score(if prose { math_equal(gold, answer, MathConfig::default()) } else { answer_equal(gold, answer) }))
    });
}

use super::{reference, score};
use crate::{Param, Registry, Signature, Type};

pub(super) fn register(registry: &mut Registry) {
    let signature = Signature::new(
        "1 where answer and solution are mathematically the same.",
        vec![Param::answer("answer", Type::Any), Param::required("solution", Type::Any)],
    );
    registry.register_typed("math", signature, |args| {
        let (answer, gold) = (args.value(0).to_text(), args.value(1).to_text());
        args.budget().spend_bytes(answer.len() + gold.len(), "math")?;
        let (answer, gold) = (answer.trim(), reference(&gold));
        if answer == gold {
            return Ok(score(!gold.is_empty()));
        }
        let pair = (super::only_number(answer), super::only_number(gold));
        Ok(score(matches!(pair, (Some(a), Some(b)) if a == b)))
    });
}

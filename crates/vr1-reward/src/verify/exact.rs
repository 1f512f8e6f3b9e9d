use super::{reference, score};
use crate::{Param, Registry, Signature, Type};

pub(super) fn register(registry: &mut Registry) {
    let signature = Signature::new(
        "1 where answer and solution are the same text, space around them aside; an empty one earns nothing.",
        vec![
            Param::answer("answer", Type::Text),
            Param::required("solution", Type::Any),
            Param::choice("case", &["sensitive", "ignore"]),
        ],
    );
    registry.register_typed("exact", signature, |args| {
        let gold = args.value(1).to_text();
        let (answer, gold) = (args.text(0)?.trim(), reference(&gold));
        args.budget().spend_bytes(answer.len().min(gold.len()), "exact")?;
        Ok(score(
            !gold.is_empty()
                && match args.text(2)? {
                    "ignore" => answer.len() < 4 * gold.len() + 4 && answer.to_lowercase() == gold.to_lowercase(),
                    _ => answer == gold,
                },
        ))
    });
    let signature = Signature::new(
        "VLM-R1's `all_match`: 1 where both are the same after newlines become spaces, the final dots go and all is lower case.",
        vec![Param::answer("answer", Type::Text), Param::required("solution", Type::Any)],
    );
    registry.register_typed("all_match", signature, |args| {
        let gold = args.value(1).to_text();
        args.budget().spend_bytes(args.text(0)?.len() + gold.len(), "all_match")?;
        let (answer, gold) = (clean(args.text(0)?), clean(reference(&gold)));
        Ok(score(!gold.is_empty() && answer == gold))
    });
}

/// VLM-R1's `clean_text`.
pub(super) fn clean(text: &str) -> String {
    text.replace('\n', " ").trim().trim_end_matches('.').to_lowercase()
}

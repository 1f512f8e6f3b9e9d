use std::sync::LazyLock;

use regex::Regex;

use super::score;
use crate::{Param, Registry, Signature, Type};

/// Patterns of the systems; `(?s)` is Python's DOTALL, `\A…\z` its fullmatch, `\A` its match.
static STYLES: LazyLock<Vec<(&str, Regex)>> = LazyLock::new(|| {
    let rec = r"(?s)<think>.*?</think>\s*<answer>.*?";
    let four = r"\[\d+,\s*\d+,\s*\d+,\s*\d+\]";
    let patterns = [
        ("fullmatch", r"(?s)\A<think>.*?</think>\s*<answer>.*?</answer>\z".to_owned()),
        ("base", r"(?s)\A.*?</think>\s*<answer>.*?</answer>\z".to_owned()),
        ("prefix", r"(?s)\A<think>.*?</think>\s*<answer>.*?</answer>".to_owned()),
        ("prefix_one_line", r"\A<think>.*?</think>\s*<answer>.*?</answer>".to_owned()),
        ("rec", format!(r"{rec}\{{.*{four}.*\}}.*?</answer>")),
        ("rec_internvl", format!(r"{rec}{four}.*?</answer>")),
        ("rec_glm", r"(?s)<think>(.*?)<answer>(.*?)</answer>".to_owned()),
    ];
    let compile =
        |(name, pattern): (&'static str, String)| (name, Regex::new(&pattern).expect("the patterns are constants"));
    patterns.into_iter().map(compile).collect()
});

pub(super) fn register(registry: &mut Registry) {
    let signature = Signature::new(
        "1 where the completion is `<think>…</think> <answer>…</answer>`. `style`: all of it (fullmatch), with the \
         prompt's own `<think>` before it (base), at its beginning (prefix; prefix_one_line without line breaks), or \
         anywhere with a box of four integers in the answer (rec, in braces; rec_internvl, without; rec_glm, no box).",
        vec![
            Param::answer("completion", Type::Text),
            Param::choice(
                "style",
                &["fullmatch", "base", "prefix", "prefix_one_line", "rec", "rec_internvl", "rec_glm"],
            ),
        ],
    );
    registry.register_typed("format", signature, |args| {
        let (completion, style) = (args.text(0)?, args.text(1)?);
        args.budget().spend_bytes(completion.len() * 2, "format")?;
        let found = STYLES.iter().find(|(name, _)| *name == style);
        Ok(score(found.is_some_and(|(_, regex)| regex.is_match(completion))))
    });
}

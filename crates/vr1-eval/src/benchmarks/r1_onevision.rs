//! R1-Onevision-Bench (Yang et al., [arXiv:2503.10615](https://arxiv.org/abs/2503.10615)): 942 questions of five subjects and four
//! grades.

use crate::Gold;
use crate::benchmark::{Judging, Layout, Spec};
use crate::choices::{numbered, options_in};
use crate::gold::ToPixels;
use crate::item::Item;
use crate::mark::Mark;
use crate::row::{Fault, Row};
use crate::rows::Files;

pub(super) static SPEC: Spec = Spec {
    name: "r1-onevision-bench",
    about: "five subjects in four grades; options and mathematical answers (R1-Onevision)",
    layout: Layout::Rows {
        files: &[Files { names: &["R1-Onevision-Bench.tsv"], columns: &[("id", &["index"])], media: "" }],
        item,
    },
    headline: "accuracy",
    published,
    summarise: None,
    judging: Judging::None,
    max_tokens: 2048,
};

fn item(mut row: Row) -> Result<Item, Fault> {
    let choices = row.optional("choices").unwrap_or_default();
    let mut options = options_in(&choices);
    if options.is_empty() {
        options = row.list("choices").unwrap_or_default();
    }
    if options.is_empty() {
        options = options_in(&row.sample.question);
    }
    if !choices.is_empty() && options.first().is_some_and(|option| !row.sample.question.contains(option.as_str())) {
        row.sample.question =
            format!("{}\nChoices:\n{}", row.sample.question, crate::choices::listed(&options, "", "."));
    }
    let gold = match numbered(&row.sample.solution, options.len()) {
        Some(right) => Gold::Option { right, options },
        None => Gold::Math(row.sample.solution.clone()),
    };
    let groups = row.groups(&["level", "category"]);
    Ok(row.into_item("{question}", gold, groups))
}

/// The order that its checkers recommend is the robust one: the last `<answer>`, an answer phrase or box, a letter.
fn published(item: &Item, completion: &str, scale: ToPixels) -> Mark {
    item.gold.mark(completion, scale)
}

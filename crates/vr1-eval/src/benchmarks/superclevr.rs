//! SuperCLEVR-200: R1-V's counting out of domain (Chen et al., *R1-V*, 2025; pictures of Li et al., *Super-CLEVR*,
//! [arXiv:2212.00259](https://arxiv.org/abs/2212.00259)).

use std::sync::LazyLock;

use regex::Regex;

use crate::Gold;
use crate::benchmark::{Judging, Layout, Spec};
use crate::extraction::How;
use crate::gold::ToPixels;
use crate::item::Item;
use crate::mark::Mark;
use crate::row::{Fault, Row};
use crate::rows::Files;

pub(super) static SPEC: Spec = Spec {
    name: "superclevr",
    about: "counting, 200 questions out of R1-V's domain; numbers (R1-V, Super-CLEVR)",
    layout: Layout::Rows {
        files: &[Files {
            names: &["superclevr_test200_counting_problems.jsonl"],
            columns: &[("answer", &["ground_truth"])],
            media: "",
        }],
        item,
    },
    headline: "accuracy",
    published,
    summarise: None,
    judging: Judging::None,
    max_tokens: 256,
};

fn item(row: Row) -> Result<Item, Fault> {
    let value = row.sample.solution.trim().parse::<f64>().ok().filter(|number| number.is_finite());
    let value = value.ok_or_else(|| row.fault("answer", format!("{:?} is no number", row.sample.solution)))?;
    let template = "{question} First output the thinking process in <think> </think> and final answer (number) in <answer> \
                    </answer> tags.";
    Ok(row.into_item(template, Gold::Number { value, places: None }, Vec::new()))
}

static COUNT: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"<answer>\s*([0-9]+)\s*</answer>").expect("the pattern is a constant"));

/// R1-V's rule: digits alone in an `<answer>`, the first such.
fn published(item: &Item, completion: &str, _: ToPixels) -> Mark {
    let Gold::Number { value, .. } = item.gold else { return Mark::default() };
    match COUNT.captures(completion) {
        Some(found) => Mark::of(found[1].to_owned(), found[1].parse() == Ok(value)).by(How::Published),
        None => Mark::unread(&["accuracy"]),
    }
}

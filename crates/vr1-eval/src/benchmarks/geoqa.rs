//! GeoQA as R1-V tests it: 754 questions of geometry (Chen et al., *GeoQA*, [arXiv:2105.14517](https://arxiv.org/abs/2105.14517)).

use vr1_reward::{MathConfig, math_equal};

use crate::Gold;
use crate::benchmark::{Judging, Layout, Spec};
use crate::extraction::How;
use crate::gold::ToPixels;
use crate::item::Item;
use crate::mark::Mark;
use crate::row::{Fault, Row};
use crate::rows::Files;

pub(super) static SPEC: Spec = Spec {
    name: "geoqa",
    about: "geometry; mathematical answers (R1-V, GeoQA)",
    layout: Layout::Rows {
        files: &[Files { names: &["geoqa_test_prompts.jsonl"], columns: &[("answer", &["ground_truth"])], media: "" }],
        item,
    },
    headline: "accuracy",
    published,
    summarise: None,
    judging: Judging::None,
    max_tokens: 1024,
};

fn item(row: Row) -> Result<Item, Fault> {
    let gold = Gold::Math(row.sample.solution.clone());
    let template = "{question} Output the thinking process in <think> </think> and final answer (number) in <answer> \
                    </answer> tags.";
    Ok(row.into_item(template, gold, Vec::new()))
}

/// R1-V's rule: Math-Verify on the whole completion, taken for the reference, as it is called there.
fn published(item: &Item, completion: &str, _: ToPixels) -> Mark {
    let Gold::Math(gold) = &item.gold else { return Mark::default() };
    let right = math_equal(completion, gold, MathConfig::default());
    Mark { answer: None, ..Mark::of(String::new(), right) }.by(How::Published)
}

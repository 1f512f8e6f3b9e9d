//! Referring expressions as VLM-R1 tests them (Shen et al., [arXiv:2504.07615](https://arxiv.org/abs/2504.07615)): RefCOCO, RefCOCO+
//! and RefCOCOg (Yu et al., [arXiv:1608.00272](https://arxiv.org/abs/1608.00272)) in domain, LISA-Grounding (Lai et al.,
//! [arXiv:2308.00692](https://arxiv.org/abs/2308.00692)) out of it.

use std::sync::LazyLock;

use regex::Regex;
use vr1_reward::{IouRule, box_in};

use crate::Gold;
use crate::benchmark::{Judging, Layout, Spec};
use crate::extraction::How;
use crate::gold::{ToPixels, scaled};
use crate::item::Item;
use crate::mark::Mark;
use crate::row::{Fault, Row};
use crate::rows::Files;

pub(super) static SPEC: Spec = Spec {
    name: "rec",
    about: "referring expressions, RefCOCO/+/g and LISA-Grounding; boxes (VLM-R1)",
    layout: Layout::Rows {
        files: &[Files { names: &["refcoco*_val.json", "lisa_test.json"], columns: &[], media: "" }],
        item,
    },
    headline: "accuracy",
    published,
    summarise: None,
    judging: Judging::None,
    max_tokens: 256,
};

fn item(row: Row) -> Result<Item, Fault> {
    let bbox = box_in(&row.sample.solution).ok_or_else(|| format!("solution: {:?} is no box", row.sample.solution))?;
    let mut groups = vec![("file".to_owned(), row.file.clone())];
    groups.extend(row.groups(&["dataset_name"]));
    let template = "{question} First output the thinking process in <think> </think> tags and then output the final answer \
                    in <answer> </answer> tags. Output the final answer in JSON format.";
    Ok(row.into_item(template, Gold::Box(bbox), groups))
}

static LAST_BOX: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?s)\{.*\[([0-9]+),\s*([0-9]+),\s*([0-9]+),\s*([0-9]+)]\s*.*\}").expect("the pattern is a constant")
});

/// VLM-R1's rule: of the first `<answer>` the last four integers in braces; none are the box `[0, 0, 0, 0]`. An overlap of
/// one pixel is none.
fn published(item: &Item, completion: &str, scale: ToPixels) -> Mark {
    let Gold::Box(gold) = &item.gold else { return Mark::default() };
    let inside = completion.split_once("<answer>").and_then(|(_, rest)| rest.split_once("</answer>"));
    let found = inside.and_then(|(inside, _)| {
        let groups = LAST_BOX.captures(inside)?;
        let mut bbox = [0.0; 4];
        for (slot, group) in bbox.iter_mut().zip(groups.iter().skip(1)) {
            *slot = group?.as_str().parse().ok()?;
        }
        Some(bbox)
    });
    match found {
        Some(found) => Mark::overlap(scaled(found, scale), *gold, IouRule::VlmR1).by(How::Published),
        None => Mark::unread(&["accuracy", "iou"]),
    }
}

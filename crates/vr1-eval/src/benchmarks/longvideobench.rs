//! LongVideoBench (Wu et al., [arXiv:2407.15754](https://arxiv.org/abs/2407.15754)), validation: videos up to an hour.

use std::sync::LazyLock;

use regex::Regex;

use crate::Gold;
use crate::benchmark::{Judging, Layout, Spec};
use crate::choices::listed;
use crate::extraction::How;
use crate::gold::{ToPixels, letter};
use crate::item::Item;
use crate::mark::Mark;
use crate::row::{Fault, Row};
use crate::rows::Files;

pub(super) static SPEC: Spec = Spec {
    name: "longvideobench",
    about: "long videos; options (LongVideoBench, validation)",
    layout: Layout::Rows {
        files: &[
            Files {
                names: &["lvb_val.json"],
                columns: &[("answer", &["correct_choice"]), ("video", &["video_path"])],
                media: "videos",
            },
            Files {
                names: &["validation-*.parquet"],
                columns: &[("answer", &["correct_choice"]), ("video", &["video_path"])],
                media: "videos",
            },
        ],
        item,
    },
    headline: "accuracy",
    published,
    summarise: None,
    judging: Judging::None,
    max_tokens: 512,
};

fn item(mut row: Row) -> Result<Item, Fault> {
    let mut options = row.list("candidates")?;
    if options.is_empty() {
        options = row.options(&["option0", "option1", "option2", "option3", "option4"]);
        options.retain(|option| option != "N/A");
    }
    let right = row.sample.solution.parse().ok().filter(|right| *right < options.len());
    let none = || format!("{:?} is none of {} options, counted from 0", row.sample.solution, options.len());
    let right: usize = right.ok_or_else(|| row.fault("answer", none()))?;
    row.sample.question = format!("Question: {}\n{}", row.sample.question, listed(&options, "", "."));
    let groups = row.groups(&["duration_group", "question_category", "topic_category"]);
    let gold = Gold::Option { right, options };
    Ok(row.into_item("{question}\nAnswer with the option's letter from the given choices directly.", gold, groups))
}

static LEAD: LazyLock<Regex> = LazyLock::new(|| {
    let leads = "The best answer is|The correct answer is|The answer is|The answer|The best option is|The correct option \
                 is|Best answer:|Best option:";
    Regex::new(leads).expect("the pattern is a constant")
});

/// The authors' rule, as lmms-eval has it: the first letter from A to E once a lead such as "The answer is" is gone. They
/// guess where there is none; here it is wrong.
fn published(item: &Item, completion: &str, _: ToPixels) -> Mark {
    let Gold::Option { right, .. } = item.gold else { return Mark::default() };
    let said = LEAD.replace_all(completion.trim(), "");
    match said.chars().find(|c| ('A'..='E').contains(c)) {
        Some(found) => Mark::of(found.to_string(), found == letter(right)).by(How::Published),
        None => Mark::unread(&["accuracy"]),
    }
}

//! MMStar (Chen et al., [arXiv:2403.20330](https://arxiv.org/abs/2403.20330)): 1,500 questions that need the picture.

use crate::Gold;
use crate::benchmark::{Judging, Layout, Spec};
use crate::choices::options_in;
use crate::extraction::How;
use crate::gold::{ToPixels, letter};
use crate::item::Item;
use crate::mark::Mark;
use crate::row::{Fault, Row};
use crate::rows::Files;

pub(super) static SPEC: Spec = Spec {
    name: "mmstar",
    about: "questions that cannot be answered without the picture; options (MMStar)",
    layout: Layout::Rows {
        files: &[
            Files { names: &["mmstar.parquet"], columns: &[("id", &["index"])], media: "" },
            Files { names: &["MMStar.tsv"], columns: &[("id", &["index"])], media: "" },
        ],
        item,
    },
    headline: "accuracy",
    published,
    summarise: None,
    judging: Judging::None,
    max_tokens: 1024,
};

fn item(mut row: Row) -> Result<Item, Fault> {
    // VLMEvalKit's table has the options in columns of their own.
    let mut options = row.options(&["A", "B", "C", "D"]);
    if options.is_empty() {
        options = options_in(&row.sample.question);
    } else {
        row.sample.question = format!("{}\n{}", row.sample.question, crate::choices::listed(&options, "", "."));
    }
    let right = row.right_of(&options)?;
    let groups = row.groups(&["category", "l2_category"]);
    let gold = Gold::Option { right, options };
    Ok(row.into_item("{question}\nAnswer with the option's letter from the given choices directly.", gold, groups))
}

/// MMStar's rule: the letter that the text begins with, that is the first in brackets, or that follows "option" or "the
/// answer is" at the beginning.
fn published(item: &Item, completion: &str, _: ToPixels) -> Mark {
    let Gold::Option { right, .. } = item.gold else { return Mark::default() };
    let (answer, said) = (letter(right).to_ascii_lowercase(), completion.trim().to_lowercase());
    let leads = ["", "(", "option ", "the answer is "];
    let right = leads.iter().any(|lead| said.strip_prefix(lead).is_some_and(|rest| rest.starts_with(answer)));
    let first = said.chars().next().map(|c| c.to_string());
    Mark { answer: first, ..Mark::of(String::new(), right) }.by(How::Published)
}

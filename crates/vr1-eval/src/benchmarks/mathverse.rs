//! MathVerse (Zhang et al., [arXiv:2403.14624](https://arxiv.org/abs/2403.14624)), testmini: problems that say ever less in words and
//! more in the figure.

use crate::Gold;
use crate::benchmark::{Judging, Layout, Spec};
use crate::choices::options_in;
use crate::extraction::{How, places};
use crate::gold::ToPixels;
use crate::item::Item;
use crate::mark::Mark;
use crate::row::{Fault, Row};
use crate::rows::Files;

pub(super) static SPEC: Spec = Spec {
    name: "mathverse",
    about: "geometry and functions in six versions; options and mathematical answers (MathVerse, testmini)",
    layout: Layout::Rows {
        files: &[
            Files {
                names: &["testmini.parquet"],
                columns: &[("id", &["sample_index"]), ("question", &["query_cot"])],
                media: "",
            },
            Files {
                names: &["testmini.json"],
                columns: &[("id", &["sample_index"]), ("question", &["query_cot"])],
                media: "images",
            },
        ],
        item,
    },
    headline: "accuracy",
    published,
    summarise: None,
    judging: Judging::ExtractAndScore,
    max_tokens: 1024,
};

fn item(row: Row) -> Result<Item, Fault> {
    let row = row.flattened("metadata");
    let asked = row.optional("question_for_eval").unwrap_or_else(|| row.sample.question.clone());
    let gold = match row.text("question_type")?.as_str() {
        "multi-choice" => {
            let mut options = options_in(&asked);
            // Some questions have their options in the figure.
            options = if options.is_empty() { vec![String::new(); 5] } else { options };
            Gold::Option { right: row.right_of(&options)?, options }
        }
        _ => Gold::Math(row.sample.solution.clone()),
    };
    let groups = row.groups(&["problem_version", "question_type", "subject", "subfield"]);
    Ok(row.into_item("{question}", gold, groups))
}

/// The authors' quick match: what is extracted is the answer, letter by letter. Their extraction asks a language model; here
/// it is the robust one.
fn published(item: &Item, completion: &str, _: ToPixels) -> Mark {
    let said = places(completion).first().map_or("", |(_, said)| said.trim());
    Mark::of(said.to_owned(), said == item.sample.solution).by(How::Published)
}

//! A file of one's own.

use vr1_reward::box_in;

use crate::Gold;
use crate::benchmark::{Judging, Layout, Spec};
use crate::choices::{listed, numbered, options_in};
use crate::gold::{ToPixels, labelled};
use crate::item::Item;
use crate::mark::Mark;
use crate::row::{Fault, Row};
use crate::rows::Files;

pub(super) static SPEC: Spec = Spec {
    name: "file",
    about: "rows of one's own: question, answer, and options, images, category, metric where there are any",
    layout: Layout::Rows {
        files: &[
            Files { names: &["test*.parquet", "test.jsonl", "test.json"], columns: &[], media: "" },
            Files { names: &["test.tsv"], columns: &[("id", &["index"])], media: "" },
        ],
        item,
    },
    headline: "accuracy",
    published,
    summarise: None,
    judging: Judging::Score,
    max_tokens: 1024,
};

const METRICS: &str = "option, number, math, words, box or judge";

fn item(mut row: Row) -> Result<Item, Fault> {
    let column = if row.sample.fields.contains_key("options") { "options" } else { "choices" };
    let mut options = row.list(column)?;
    if !options.is_empty() && !options.iter().all(|option| row.sample.question.contains(option.as_str())) {
        row.sample.question = format!("{}\n{}", row.sample.question, listed(&options, "(", ")"));
    }
    if options.is_empty() {
        options = options_in(&row.sample.question);
    }
    // An option by its words or its letter.
    let by_words = options.iter().position(|option| *option == row.sample.solution);
    let right = by_words.or_else(|| numbered(&row.sample.solution, options.len()));
    let number = vr1_reward::only_number(&row.sample.solution).filter(|_| row.sample.solution.parse::<f64>().is_ok());
    let metric = row.optional("metric");
    let unfit = |what: &str| row.fault("answer", format!("{:?} is no {what}", row.sample.solution));
    let gold = match metric.as_deref() {
        Some("option") => match right {
            Some(right) => Gold::Option { right, options },
            None => {
                let letters = vec![String::new(); 8];
                Gold::Option { right: row.right_of(&letters)?, options: letters }
            }
        },
        Some("number") => Gold::Number { value: number.ok_or_else(|| unfit("number"))?, places: None },
        Some("math") => Gold::Math(row.sample.solution.clone()),
        Some("words") => Gold::Words(vec![row.sample.solution.clone()]),
        Some("box") => Gold::Box(box_in(&row.sample.solution).ok_or_else(|| unfit("box"))?),
        Some("judge") => Gold::Judged(row.sample.solution.clone()),
        Some(other) => return Err(format!("metric: {other:?}, and not {METRICS}")),
        None => match (right, number, box_in(&row.sample.solution)) {
            (Some(right), _, _) => Gold::Option { right, options },
            (None, Some(value), _) => Gold::Number { value, places: None },
            (None, None, Some(bbox))
                if labelled(&row.sample.solution, [1.0, 1.0]).is_none_or(|boxes| boxes.len() < 2) =>
            {
                Gold::Box(bbox)
            }
            _ => Gold::Math(row.sample.solution.clone()),
        },
    };
    let groups = row.groups(&["category", "level", "task", "subject"]);
    Ok(row.into_item("{question}", gold, groups))
}

/// It has no rule of its own.
fn published(item: &Item, completion: &str, scale: ToPixels) -> Mark {
    item.gold.mark(completion, scale)
}

//! A file of one's own.

use vr1_reward::box_in;

use crate::Gold;
use crate::benchmark::{Judging, Layout, Spec};
use crate::choices::{listed, numbered, options_in, right_of};
use crate::gold::{ToPixels, labelled};
use crate::item::Item;
use crate::mark::Mark;
use crate::row::{Fault, Row};
use crate::rows::Columns;

pub(super) static SPEC: Spec = Spec {
    name: "file",
    about: "rows of one's own: question, answer, and options, images, category, metric where there are any",
    layout: Layout::Rows {
        files: &["test.jsonl", "test.json", "test.tsv", "test.parquet"],
        columns: Columns {
            id: &["id", "index"],
            question: &["question", "problem", "prompt"],
            answer: &["answer", "solution"],
            images: &[&["image", "images", "image_path"]],
            video: None,
            folder: "",
        },
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
    row.solution = vr1_reward::last_tagged(&row.solution, "answer").unwrap_or(&row.solution).trim().to_owned();
    let column = if row.fields.contains_key("options") { "options" } else { "choices" };
    let mut options = row.list(column)?;
    if !options.is_empty() && !options.iter().all(|option| row.question.contains(option.as_str())) {
        row.question = format!("{}\n{}", row.question, listed(&options, "(", ")"));
    }
    if options.is_empty() {
        options = options_in(&row.question);
    }
    // An option by its words or its letter.
    let by_words = options.iter().position(|option| *option == row.solution);
    let right = by_words.or_else(|| numbered(&row.solution, options.len()));
    let number = vr1_reward::only_number(&row.solution).filter(|_| row.solution.parse::<f64>().is_ok());
    let metric = row.optional("metric");
    let unfit = |what: &str| format!("answer: {:?} is no {what}", row.solution);
    let gold = match metric.as_deref() {
        Some("option") => match right {
            Some(right) => Gold::Option { right, options },
            None => {
                let letters = vec![String::new(); 8];
                Gold::Option { right: right_of("answer", &row.solution, &letters)?, options: letters }
            }
        },
        Some("number") => Gold::Number { value: number.ok_or_else(|| unfit("number"))?, places: None },
        Some("math") => Gold::Math(row.solution.clone()),
        Some("words") => Gold::Words(vec![row.solution.clone()]),
        Some("box") => Gold::Box(box_in(&row.solution).ok_or_else(|| unfit("box"))?),
        Some("judge") => Gold::Judged(row.solution.clone()),
        Some(other) => return Err(format!("metric: {other:?}, and not {METRICS}")),
        None => match (right, number, box_in(&row.solution)) {
            (Some(right), _, _) => Gold::Option { right, options },
            (None, Some(value), _) => Gold::Number { value, places: None },
            (None, None, Some(bbox)) if labelled(&row.solution, [1.0, 1.0]).is_none_or(|boxes| boxes.len() < 2) => {
                Gold::Box(bbox)
            }
            _ => Gold::Math(row.solution.clone()),
        },
    };
    let groups = row.groups(&["category", "level", "task", "subject"]);
    Ok(row.into_item("{question}", gold, groups))
}

/// It has no rule of its own.
fn published(item: &Item, completion: &str, scale: ToPixels) -> Mark {
    item.gold.mark(completion, scale)
}

//! MathVista (Lu et al., [arXiv:2310.02255](https://arxiv.org/abs/2310.02255)), testmini: mathematics in figures.

use std::sync::LazyLock;

use regex::Regex;

use crate::Gold;
use crate::benchmark::{Judging, Layout, Spec};
use crate::choices::listed;
use crate::edits::distance;
use crate::extraction::How;
use crate::gold::ToPixels;
use crate::item::Item;
use crate::mark::Mark;
use crate::row::{Fault, Row};
use crate::rows::Files;

pub(super) static SPEC: Spec = Spec {
    name: "mathvista",
    about: "mathematics in figures; options, numbers and lists (MathVista, testmini)",
    layout: Layout::Rows {
        files: &[
            Files {
                names: &["data/testmini-*.parquet", "testmini-*.parquet"],
                columns: &[("id", &["pid"]), ("image", &["decoded_image"])],
                media: "",
            },
            Files { names: &["testmini.json", "data/testmini.json"], columns: &[("id", &["pid"])], media: "" },
        ],
        item,
    },
    headline: "accuracy",
    published,
    summarise: None,
    judging: Judging::Extract,
    max_tokens: 1024,
};

fn item(row: Row) -> Result<Item, Fault> {
    let mut row = row.flattened("metadata");
    let options = row.list("choices")?;
    let (kind, places) = (row.text("answer_type")?, row.optional("precision"));
    let places = places.and_then(|text| text.parse::<f64>().ok()).map(|places| places as u32);
    let number = || {
        row.sample
            .solution
            .trim()
            .parse::<f64>()
            .map_err(|_| row.fault("answer", format!("{:?} is no number", row.sample.solution)))
    };
    let gold = if row.text("question_type")? == "multi_choice" {
        let right = options.iter().position(|option| *option == row.sample.solution);
        let right =
            right.ok_or_else(|| row.fault("answer", format!("{:?} is none of its choices", row.sample.solution)))?;
        Gold::Option { right, options: options.clone() }
    } else {
        match kind.as_str() {
            "integer" => Gold::Number { value: number()?, places: Some(0) },
            "float" => Gold::Number { value: number()?, places },
            _ => Gold::Math(row.sample.solution.clone()),
        }
    };
    let hint = match (&gold, places) {
        (Gold::Option { .. }, _) => {
            "Please answer the question and provide the correct option letter, e.g., A, B, C, D, at the end."
        }
        (Gold::Number { places: Some(0), .. }, _) if kind == "integer" => {
            "Please answer the question requiring an integer answer and provide the final value, e.g., 1, 2, 3, at the end."
        }
        (Gold::Number { .. }, Some(1)) => {
            "Please answer the question requiring a floating-point number with one decimal place and provide the final \
             value, e.g., 1.2, 1.3, 1.4, at the end."
        }
        (Gold::Number { .. }, _) => {
            "Please answer the question requiring a floating-point number with two decimal places and provide the final \
             value, e.g., 1.23, 1.34, 1.45, at the end."
        }
        _ => {
            "Please answer the question requiring a Python list as an answer and provide the final list, e.g., [1, 2, 3], \
             [1.2, 1.3, 1.4], at the end."
        }
    };
    let unit = row.optional("unit").map(|unit| format!(" (Unit: {unit})")).unwrap_or_default();
    let choices =
        if options.is_empty() { String::new() } else { format!("\nChoices:\n{}", listed(&options, "(", ")")) };
    row.sample.question = format!("Question: {}{unit}{choices}", row.sample.question);
    let mut groups =
        row.groups(&["question_type", "answer_type", "language", "source", "category", "task", "context", "grade"]);
    groups.extend(row.list("skills")?.into_iter().map(|skill| ("skills".to_owned(), skill)));
    Ok(row.into_item(&format!("Hint: {hint}\n{{question}}"), gold, groups))
}

static QUOTED: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"The answer is "(.*)"\."#).expect("the pattern is a constant"));
static LETTER: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\(([a-zA-Z])\)").expect("the pattern is a constant"));

/// The authors' rules without a language model: the whole text, or what stands in `The answer is "…".`
fn published(item: &Item, completion: &str, _: ToPixels) -> Mark {
    let said = QUOTED.captures(completion).map_or(completion.trim(), |found| found.get(1).map_or("", |m| m.as_str()));
    normalised(item, said).by(How::Published)
}

/// What was extracted as MathVista marks it: of options the one it names by its letter, or the one that fewest edits make of
/// it; whole numbers are cut, others rounded, and all is compared as text.
pub(crate) fn normalised(item: &Item, said: &str) -> Mark {
    let said = said.trim();
    match &item.gold {
        Gold::Option { right, options } => {
            let named = LETTER.captures(said).map(|found| found[1].to_uppercase());
            let named = named.unwrap_or_else(|| said.to_owned());
            let by_letter = crate::choices::numbered(&named, options.len()).filter(|_| named.len() == 1);
            let by_letter = by_letter.filter(|_| named.chars().all(|c| c.is_ascii_uppercase()));
            let nearest = || (0..options.len()).min_by_key(|at| distance(&named, &options[*at]));
            match by_letter.or_else(nearest) {
                Some(found) => Mark::of(options[found].clone(), options[found] == options[*right]),
                None => Mark::unread(&["accuracy"]),
            }
        }
        Gold::Number { value, places } => match said.parse::<f64>() {
            Ok(found) => {
                let places = places.unwrap_or(0).min(12);
                let rounded = |number: f64| format!("{number:.*}", places as usize);
                let found = if places == 0 { found.trunc() } else { found };
                Mark::of(rounded(found), rounded(found) == rounded(*value))
            }
            Err(_) => Mark::unread(&["accuracy"]),
        },
        _ => Mark::of(said.to_owned(), said == item.sample.solution.trim()),
    }
}

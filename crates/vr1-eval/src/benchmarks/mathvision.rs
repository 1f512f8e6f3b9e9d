//! MATH-Vision (Wang et al., [arXiv:2402.14804](https://arxiv.org/abs/2402.14804)): 3,040 problems of competitions, 16 subjects, 5
//! levels.

use vr1_reward::{MathConfig, math_equal};

use crate::Gold;
use crate::benchmark::{Judging, Layout, Spec};
use crate::choices::listed;
use crate::extraction::How;
use crate::gold::{ToPixels, letter};
use crate::item::Item;
use crate::mark::Mark;
use crate::row::{Fault, Row, placed};
use crate::rows::Files;

pub(super) static SPEC: Spec = Spec {
    name: "mathvision",
    about: "problems of mathematical competitions; options and mathematical answers (MATH-Vision)",
    layout: Layout::Rows {
        files: &[
            Files { names: &["data/test-*.parquet"], columns: &[("image", &["decoded_image"])], media: "" },
            Files { names: &["data/testmini-*.parquet"], columns: &[("image", &["decoded_image"])], media: "" },
            Files { names: &["data/test.jsonl"], columns: &[], media: ".." },
        ],
        item,
    },
    headline: "accuracy",
    published,
    summarise: None,
    judging: Judging::None,
    max_tokens: 2048,
};

fn item(mut row: Row) -> Result<Item, Fault> {
    let options = row.list("options")?;
    let lettered = options.iter().enumerate().all(|(at, option)| *option == letter(at).to_string());
    let choices = if options.is_empty() || lettered { String::new() } else { listed(&options, "(", ")") + "\n" };
    let gold = if options.is_empty() {
        Gold::Math(row.sample.solution.clone())
    } else {
        Gold::Option { right: row.right_of(&options)?, options }
    };
    let numbered: Vec<_> = row.sample.media.drain(..).enumerate().map(|(at, picture)| (at + 1, picture)).collect();
    let (question, media, places) = placed(&format!("{}\n{choices}", row.sample.question), &numbered);
    (row.sample.question, row.sample.media) = (question, media);
    let mut groups = row.groups(&["subject", "level"]);
    groups.extend(
        row.optional("subject")
            .zip(row.optional("level"))
            .map(|(s, l)| ("subject and level".to_owned(), format!("{s}, {l}"))),
    );
    let template = "Please solve the problem step by step and put your answer in one \"\\boxed{}\". If it is a multiple choice \
                    question, only one letter is allowed in the \"\\boxed{}\".\n{question}";
    row.sample.places = places;
    Ok(row.into_item(template, gold, groups))
}

/// The authors' order: a letter at the beginning or the end, a number behind the last "is", the last box or what follows
/// "the answer is"; the same text as the answer or as the option's words, or equal to two decimal places.
fn published(item: &Item, completion: &str, _: ToPixels) -> Mark {
    let mut said = completion.trim().to_owned();
    for c in 'A'..='E' {
        let ends = [format!(" {c}."), format!(" ({c}).")];
        let begins = [format!("{c}\n"), format!("({c})\n"), format!("({c}) {c}\n")];
        if ends.iter().any(|end| said.ends_with(end)) || begins.iter().any(|begin| said.starts_with(begin)) {
            said = c.to_string();
        }
    }
    let behind_is = said.rsplit("is ").next().unwrap_or_default().trim_end_matches('.').to_owned();
    if behind_is.parse::<f64>().is_ok() {
        said = behind_is;
    }
    said = match said.rfind("oxed{") {
        Some(at) => {
            let inside = &said[at + "oxed{".len()..];
            crate::extraction::closing(inside).map_or(inside, |end| &inside[..end]).to_owned()
        }
        None => behind_phrase(&said),
    };
    // What is behind the last equals sign, without spaces and degrees.
    let said = said.rsplit(['=', '≈']).next().unwrap_or_default();
    let said = said.rsplit("\\approx").next().unwrap_or_default();
    let said = said.replace([' ', '$'], "").replace("^{\\circ}", "").replace("^\\circ", "");
    let said = said.trim_end_matches('.').trim_start_matches(':').trim_matches(|c| "(){}".contains(c));
    let config = MathConfig { decimals: 2, ..MathConfig::default() };
    let same = |gold: &str| {
        let boxed = |text: &str| format!("\\boxed{{{text}}}");
        !said.is_empty() && (said.eq_ignore_ascii_case(gold.trim()) || math_equal(&boxed(gold), &boxed(said), config))
    };
    let right = match &item.gold {
        Gold::Option { right, options } => {
            said.eq_ignore_ascii_case(&letter(*right).to_string()) || same(&options[*right])
        }
        _ => same(&item.sample.solution),
    };
    Mark::of(said.to_owned(), right).by(How::Published)
}

/// What follows the last "the answer is" or its like, up to the end of the line or sentence.
fn behind_phrase(said: &str) -> String {
    let mut said = said.to_owned();
    for flag in ["the final answer is", "the answer is", "the correct answer is", "the answer should be"] {
        for flag in [flag.to_owned(), flag.replacen("the", "The", 1)] {
            if let Some((_, behind)) = said.rsplit_once(&flag) {
                let line = behind.trim().lines().next().unwrap_or_default();
                said = line.split(". ").next().unwrap_or_default().to_owned();
            }
        }
    }
    said
}

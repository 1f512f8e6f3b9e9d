//! MMMU (Yue et al., [arXiv:2311.16502](https://arxiv.org/abs/2311.16502)), validation: college questions of 30 subjects in six
//! disciplines.

use vr1_data::Media;

use super::mmmu_published::published;
use crate::Gold;
use crate::benchmark::{Judging, Layout, Spec};
use crate::choices::listed;
use crate::item::Item;
use crate::row::{Fault, Row, placed, python_list};
use crate::rows::Files;

pub(super) static SPEC: Spec = Spec {
    name: "mmmu",
    about: "college questions of 30 subjects; options and open answers (MMMU, validation)",
    layout: Layout::Rows {
        files: &[Files {
            names: &["*/validation-*.parquet"],
            columns: &[("images", &["image_1", "image_2", "image_3", "image_4", "image_5", "image_6", "image_7"])],
            media: "",
        }],
        item,
    },
    headline: "accuracy",
    published,
    summarise: None,
    judging: Judging::None,
    max_tokens: 1024,
};

/// The disciplines and their subjects.
const DISCIPLINES: [(&str, &str); 6] = [
    ("Art and Design", "Art Art_Theory Design Music"),
    ("Business", "Accounting Economics Finance Manage Marketing"),
    ("Science", "Biology Chemistry Geography Math Physics"),
    (
        "Health and Medicine",
        "Basic_Medical_Science Clinical_Medicine Diagnostics_and_Laboratory_Medicine Pharmacy Public_Health",
    ),
    ("Humanities and Social Science", "History Literature Sociology Psychology"),
    (
        "Tech and Engineering",
        "Agriculture Architecture_and_Engineering Computer_Science Electronics Energy_and_Power Materials \
         Mechanical_Engineering",
    ),
];

fn item(mut row: Row) -> Result<Item, Fault> {
    let options = row.list("options")?;
    let several = row.text("question_type")? == "multiple-choice";
    let pictures: Vec<(usize, Media)> =
        row.sample.media.drain(..).enumerate().map(|(at, picture)| (at + 1, picture)).collect();
    let stem = if several {
        format!("{}\n\n{}", row.sample.question, listed(&options, "(", ")"))
    } else {
        row.sample.question.clone()
    };
    let (question, media, places) = placed(&stem, &pictures);
    (row.sample.question, row.sample.media) = (question, media);
    let (gold, template) = if several {
        let right = row.right_of(&options)?;
        (
            Gold::Option { right, options },
            "{question}\n\nAnswer with the option's letter from the given choices directly.",
        )
    } else {
        let answers =
            if row.sample.solution.trim_start().starts_with('[') { python_list(&row.sample.solution) } else { None };
        let answers = answers.unwrap_or_else(|| vec![row.sample.solution.clone()]);
        (Gold::Words(answers), "{question}\n\nAnswer the question using a single word or phrase.")
    };
    // `validation_Accounting_1`
    let subject =
        row.sample.id.split_once('_').and_then(|(_, rest)| rest.rsplit_once('_')).map_or("", |(subject, _)| subject);
    let discipline = DISCIPLINES.iter().find(|(_, subjects)| subjects.split_whitespace().any(|known| known == subject));
    let mut groups = row.groups(&["question_type", "topic_difficulty"]);
    groups.extend(discipline.map(|(name, _)| ("discipline".to_owned(), (*name).to_owned())));
    groups.extend((!subject.is_empty()).then(|| ("subject".to_owned(), subject.to_owned())));
    row.sample.places = places;
    Ok(row.into_item(template, gold, groups))
}

//! easy-VQA's test part (Zhou, *Easy Visual Question Answering*, 2019).

use std::path::Path;

use vr1_data::{Dataset, EasyVqa, EasyVqaSplit};

use crate::benchmark::{Judging, Layout, Spec};
use crate::extraction::How;
use crate::gold::ToPixels;
use crate::item::Item;
use crate::mark::Mark;
use crate::{Gold, Result};

pub(super) static SPEC: Spec = Spec {
    name: "easy-vqa",
    about: "shapes and colours, the test part; one of 13 words (easy-VQA)",
    layout: Layout::Own(open),
    headline: "accuracy",
    published,
    summarise: None,
    judging: Judging::None,
    max_tokens: 256,
};

fn open(path: &Path, _: Option<&Path>) -> Result<Vec<Item>> {
    let set = EasyVqa::open(path, EasyVqaSplit::Test)?;
    let file = path.join("test").join("questions.json");
    let item = |index: usize| {
        let sample = set.get(index)?;
        let kind = sample.fields.get("kind").and_then(|kind| kind.as_str()).unwrap_or_default().to_owned();
        Ok(Item {
            at: format!("{}:{}", file.display(), index + 1),
            template: "{question} Choose between the following options: {choices_text}".to_owned(),
            gold: Gold::Words(vec![sample.solution.clone()]),
            size: None,
            groups: vec![("kind".to_owned(), kind), ("answer".to_owned(), sample.solution.clone())],
            sample,
        })
    };
    (0..set.len()).map(item).collect()
}

/// The text is the word.
fn published(item: &Item, completion: &str, _: ToPixels) -> Mark {
    let said = completion.trim().to_lowercase();
    let right = said == item.sample.solution;
    Mark::of(said, right).by(How::Published)
}

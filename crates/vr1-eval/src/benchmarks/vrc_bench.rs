//! VRC-Bench (Thawakar et al., *LlamaV-o1*, [arXiv:2501.06186](https://arxiv.org/abs/2501.06186)): the steps of an answer and its end,
//! as a language model judges them.

use vr1_data::Turn;

use crate::Gold;
use crate::benchmark::{Judging, Layout, Spec};
use crate::gold::ToPixels;
use crate::item::Item;
use crate::mark::Mark;
use crate::row::{Fault, Row};
use crate::rows::Files;

pub(super) static SPEC: Spec = Spec {
    name: "vrc-bench",
    about: "steps of reasoning and final answers, as a language model judges them (LlamaV-o1)",
    layout: Layout::Rows {
        files: &[Files {
            names: &["data/test-*.parquet", "test-*.parquet"],
            columns: &[("id", &["idx"]), ("answer", &["final_answer"])],
            media: "",
        }],
        item,
    },
    headline: "final_answer",
    published,
    summarise: None,
    judging: Judging::Steps,
    max_tokens: 1024,
};

/// What LlamaV-o1 asks in its four turns; the first follows the question.
const TURNS: [(&str, &str); 4] = [
    (
        "summary",
        "\nSummarize how you will approach the problem and explain the steps you will take to reach the answer.",
    ),
    (
        "caption",
        "Provide a detailed description of the image, particularly emphasizing the aspects related to the question.",
    ),
    (
        "reasoning",
        "Provide a chain-of-thought, logical explanation of the problem. This should outline step-by-step reasoning.",
    ),
    ("conclusion", "State the final answer in a clear and direct format. It must match the correct answer exactly."),
];

fn item(mut row: Row) -> Result<Item, Fault> {
    row.sample.fields.insert("steps".to_owned(), row.steps()?.into());
    if row.sample.question.contains("Choices") {
        row.sample.question.push_str("\nPlease select the correct option by its letter.");
    }
    let groups = row.groups(&["category"]);
    let gold = Gold::Judged(row.sample.solution.clone());
    let turn = |(at, (name, prompt)): (usize, (&str, &str))| Turn {
        name: name.to_owned(),
        prompt: if at == 0 { format!("{}{prompt}", row.sample.question) } else { prompt.to_owned() },
        answer: String::new(),
    };
    let turns = TURNS.into_iter().enumerate().map(turn).collect();
    let mut item = row.into_item("{question}", gold, groups);
    item.sample.turns = turns;
    Ok(item)
}

/// Only the judge marks.
fn published(_: &Item, _: &str, _: ToPixels) -> Mark {
    Mark::default()
}

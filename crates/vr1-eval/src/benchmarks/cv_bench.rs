//! CV-Bench (Tong et al., *Cambrian-1*, [arXiv:2406.16860](https://arxiv.org/abs/2406.16860)): counting, relations, depth and
//! distance.

use vr1_reward::{MathConfig, math_equal};

use crate::Gold;
use crate::benchmark::{Judged, Judging, Layout, Spec};
use crate::extraction::How;
use crate::gold::{ToPixels, letter};
use crate::interval::Estimate;
use crate::item::Item;
use crate::mark::Mark;
use crate::row::{Fault, Row};
use crate::rows::Files;
use crate::summary::Summary;

pub(super) static SPEC: Spec = Spec {
    name: "cv-bench",
    about: "counting, relations, depth and distance; options (Cambrian-1)",
    layout: Layout::Rows {
        files: &[
            Files { names: &["test_*.parquet"], columns: &[("id", &["idx"]), ("question", &["prompt"])], media: "" },
            Files { names: &["test.parquet"], columns: &[("id", &["idx"]), ("question", &["prompt"])], media: "" },
            Files {
                names: &["test*.jsonl"],
                columns: &[("id", &["idx"]), ("question", &["prompt"]), ("image", &["filename"])],
                media: "",
            },
        ],
        item,
    },
    headline: "accuracy",
    published,
    summarise: Some(summarise),
    judging: Judging::None,
    max_tokens: 1024,
};

fn item(row: Row) -> Result<Item, Fault> {
    let options = row.list("choices")?;
    let right = row.right_of(&options)?;
    let groups = row.groups(&["type", "task", "source"]);
    let gold = Gold::Option { right, options };
    Ok(row.into_item("{question}\nAnswer with the option's letter from the given choices directly.", gold, groups))
}

/// VisualThinker-R1-Zero's rule: what stands in the first `<answer>` of one line, or all of the text, is the option, its
/// letter or its letter in brackets, as a text or in mathematics.
fn published(item: &Item, completion: &str, _: ToPixels) -> Mark {
    let Gold::Option { right, options } = &item.gold else { return Mark::default() };
    let tagged = vr1_reward::first_tagged(completion, "answer").filter(|inside| !inside.contains('\n'));
    let said = tagged.unwrap_or(completion).trim();
    let letter = letter(*right);
    let forms = [options[*right].clone(), letter.to_string(), format!("({letter})")];
    let same =
        |form: &String| said == form || said == form.to_lowercase() || math_equal(said, form, MathConfig::default());
    Mark::of(said.to_owned(), forms.iter().any(same)).by(How::Published)
}

/// Cambrian-1's own number: half is the mean of ADE20K's and COCO's accuracy, half Omni3D's.
fn summarise(judged: &[Judged<'_>], summary: &mut Summary) {
    let of = |source: &str| -> Vec<f64> {
        let from = |item: &Item| item.groups.iter().any(|(name, value)| name == "source" && value == source);
        judged.iter().filter(|j| from(j.item)).filter_map(|j| j.mark.marks.get("accuracy").copied()).collect()
    };
    let (ade, coco, omni) = (of("ADE20K"), of("COCO"), of("Omni3D"));
    let whole = Estimate::weighted(&[(0.25, &ade), (0.25, &coco), (0.5, &omni)]);
    summary.metrics.extend(whole.map(|whole| ("cv_bench".to_owned(), whole)));
}

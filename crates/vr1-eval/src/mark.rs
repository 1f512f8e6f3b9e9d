use std::collections::BTreeMap;

use vr1_reward::{BBox, IouRule, LabelledBox, box_iou};

use crate::extraction::How;

/// What came of an answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Mark {
    /// The answer that was read.
    pub answer: Option<String>,
    /// Where it stood; nothing where none could be read.
    pub how: Option<How>,
    /// How right it is, by the name of the metric.
    pub marks: BTreeMap<String, f64>,
    /// The boxes it names, where boxes are asked for.
    pub boxes: Vec<LabelledBox>,
    /// Why there is no verdict, where there is none.
    pub missing: Option<String>,
}

impl Mark {
    /// An answer that is right or wrong.
    pub(crate) fn of(answer: String, right: bool) -> Self {
        let marks = BTreeMap::from([("accuracy".to_owned(), f64::from(u8::from(right)))]);
        Self { answer: Some(answer), marks, ..Self::default() }
    }

    /// A completion without an answer: 0 by every metric.
    pub(crate) fn unread(metrics: &[&str]) -> Self {
        Self { marks: metrics.iter().map(|name| ((*name).to_owned(), 0.0)).collect(), ..Self::default() }
    }

    /// A box: right where it overlaps the right one by more than half.
    pub(crate) fn overlap(found: BBox, gold: BBox, rule: IouRule) -> Self {
        let iou = box_iou(found, gold, rule);
        let mut mark = Self::of(format!("{found:?}"), iou > 0.5);
        mark.marks.insert("iou".to_owned(), iou);
        mark
    }

    /// Boxes, which are judged together with those of all other questions.
    pub(crate) fn boxes(boxes: Vec<LabelledBox>) -> Self {
        Self { answer: Some(format!("{} boxes", boxes.len())), boxes, ..Self::default() }
    }

    /// The same answer, found by another rule.
    pub(crate) fn by(self, how: How) -> Self {
        Self { how: Some(how), ..self }
    }
}

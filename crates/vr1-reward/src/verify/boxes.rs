use std::sync::LazyLock;

use regex::Regex;

use crate::reading::{Fence, box_in, json_in};
use crate::value::{BBox, LabelledBox};
use crate::{Budget, Error, Param, Registry, Result, Signature, Type, Value};

/// What VLM-R1 looks for: integers, no space before a comma.
static FOUR_INTEGERS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\[([0-9]+),\s*([0-9]+),\s*([0-9]+),\s*([0-9]+)\]").expect("the pattern is a constant")
});

/// How the overlap of two boxes is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IouRule {
    /// Intersection over union of continuous rectangles.
    #[default]
    Continuous,
    /// The same, but an overlap of at most one pixel along an axis is none: VLM-R1's rule.
    VlmR1,
}

/// Intersection over union of two boxes `[x1, y1, x2, y2]`, in [0, 1].
///
/// `IoU = |A∩B| / (|A| + |B| − |A∩B|)`; 0 where the union is empty.
///
/// # Example
/// ```
/// use vr1_reward::{box_iou, IouRule};
/// let iou = box_iou([0.0, 0.0, 2.0, 2.0], [1.0, 0.0, 3.0, 2.0], IouRule::Continuous);
/// assert!((iou - 1.0 / 3.0).abs() < 1e-12);
/// // Two boxes that overlap by one pixel have no overlap in VLM-R1.
/// assert_eq!(box_iou([0.0, 0.0, 2.0, 2.0], [1.0, 0.0, 3.0, 2.0], IouRule::VlmR1), 0.0);
/// ```
#[must_use]
pub fn box_iou(a: BBox, b: BBox, rule: IouRule) -> f64 {
    let width = a[2].min(b[2]) - a[0].max(b[0]);
    let height = a[3].min(b[3]) - a[1].max(b[1]);
    let least = if rule == IouRule::VlmR1 { 1.0 } else { 0.0 };
    let inter = if width > least && height > least { width * height } else { 0.0 };
    let union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter;
    let iou = inter / union;
    if union > 0.0 && iou.is_finite() { iou.clamp(0.0, 1.0) } else { 0.0 }
}

/// VLM-R1's box.
fn four_integers(text: &str) -> Option<BBox> {
    let groups = FOUR_INTEGERS.captures(text)?;
    let mut bbox = [0.0; 4];
    for (slot, group) in bbox.iter_mut().zip(groups.iter().skip(1)) {
        *slot = group?.as_str().parse().ok()?;
    }
    bbox.iter().all(|c: &f64| c.is_finite()).then_some(bbox)
}

/// The numbers of a list that holds this many and nothing else.
fn numbers<const N: usize>(value: &Value<'_>) -> Option<[f64; N]> {
    let Value::List(items) = value else { return None };
    let numbers: Vec<f64> = items.iter().filter_map(Value::as_number).filter(|number| number.is_finite()).collect();
    if items.len() == N { numbers.try_into().ok() } else { None }
}

/// The box a value is, or the first one in it.
pub(crate) fn first_box(value: &Value<'_>) -> Option<BBox> {
    match value {
        Value::Box(bbox) => Some(*bbox),
        Value::Text(text) => box_in(text),
        Value::List(items) => match items.as_slice() {
            _ if items.len() == 4 && items.iter().all(|item| item.as_number().is_some()) => numbers(value),
            [from, to] if numbers::<2>(from).is_some() => {
                let ([x1, y1], [x2, y2]) = (numbers(from)?, numbers(to)?);
                Some([x1, y1, x2, y2])
            }
            _ => first_box(items.first()?),
        },
        Value::Boxes(boxes) => boxes.first().map(|b| b.bbox),
        Value::Record(fields) => first_box(&Value::from_json(fields.get("bbox_2d").or_else(|| fields.get("bbox"))?)),
        _ => None,
    }
}

/// The labelled boxes a value holds: JSON objects with `bbox_2d` and `label`, or a text with such JSON in it.
pub(crate) fn labelled_boxes(value: &Value<'_>, budget: &Budget) -> Result<Option<Vec<LabelledBox>>> {
    let Value::Text(text) = value else { return Ok(labelled(value)) };
    let json = json_in(text, Fence::Last, budget, "the boxes of a text")?;
    Ok(json.and_then(|json| labelled(&Value::from_json(&json))))
}

/// The same of what is no text.
pub(super) fn labelled(value: &Value<'_>) -> Option<Vec<LabelledBox>> {
    match value {
        Value::Boxes(boxes) => Some(boxes.clone()),
        Value::Box(bbox) => Some(vec![LabelledBox { bbox: *bbox, label: String::new() }]),
        Value::Record(fields) => {
            let bbox = first_box(value)?;
            let label = fields.get("label").and_then(serde_json::Value::as_str).unwrap_or("").to_owned();
            Some(vec![LabelledBox { bbox, label }])
        }
        Value::List(items) => items.iter().map(|item| labelled(item).and_then(|mut found| found.pop())).collect(),
        _ => None,
    }
}

pub(super) fn register(registry: &mut Registry) {
    let signature = Signature::new(
        "Intersection over union of the first box of the answer and the solution's, from 0 to 1; above `threshold`, \
         where one is given, 1 and else 0. Coordinates `in='thousandths'` become pixels by `width` and `height`; \
         `resized_width` and `resized_height` map from the image the model saw to the original. `compat='vlm_r1'`: \
         integers alone are a box, and an overlap of one pixel is none.",
        vec![
            Param::answer("answer", Type::Any),
            Param::required("solution", Type::Any),
            Param::number("threshold", -1.0),
            Param::choice("units", &["pixels", "thousandths"]),
            Param { kind: Type::Any, ..Param::number("width", 0.0) },
            Param { kind: Type::Any, ..Param::number("height", 0.0) },
            Param { kind: Type::Any, ..Param::number("resized_width", 0.0) },
            Param { kind: Type::Any, ..Param::number("resized_height", 0.0) },
            Param::choice("compat", &["none", "vlm_r1"]),
        ],
    );
    registry.register_typed("iou", signature, |args| {
        let compat = args.text(8)? == "vlm_r1";
        let (answer, gold) = (args.value(0), args.value(1));
        args.budget().spend_bytes(answer.as_text().map_or(0, str::len), "iou")?;
        let found = match answer {
            Value::Text(text) if compat => four_integers(text),
            other => first_box(other),
        };
        let Some(mut bbox) = found else { return Ok(0.0) };
        let Some(gold) = first_box(gold) else {
            let reason = format!("the solution holds no box: {}", gold.describe());
            return Err(Error::verifier("iou", reason));
        };
        let (width, height) = (args.number(4)?, args.number(5)?);
        let (from_width, from_height) = match args.text(3)? {
            "thousandths" => (1000.0, 1000.0),
            _ => (args.number(6)?, args.number(7)?),
        };
        if from_width > 0.0 || from_height > 0.0 {
            if !(width > 0.0 && height > 0.0 && from_width > 0.0 && from_height > 0.0) {
                let reason =
                    format!("scaling needs both sizes, and they are {from_width}×{from_height} and {width}×{height}");
                return Err(Error::verifier("iou", reason));
            }
            let (x, y) = (width / from_width, height / from_height);
            bbox = [bbox[0] * x, bbox[1] * y, bbox[2] * x, bbox[3] * y];
        }
        let iou = box_iou(bbox, gold, if compat { IouRule::VlmR1 } else { IouRule::Continuous });
        let threshold = args.number(2)?;
        Ok(if threshold < 0.0 { iou as f32 } else { super::score(iou > threshold) })
    });
}

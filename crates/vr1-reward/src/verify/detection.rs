use super::boxes::{IouRule, box_iou, labelled};
use super::score;
use crate::reading::{Fence, json_in};
use crate::value::{BBox, LabelledBox};
use crate::{Args, Error, Param, Registry, Result, Signature, Type, Value};

/// The thresholds of COCO's mean: 0.50, 0.55, …, 0.95.
fn thresholds() -> impl Iterator<Item = f64> {
    (0..10).map(|step| 0.5 + 0.05 * f64::from(step))
}

/// What becomes of predictions whose label the reference does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unknown {
    /// Each such label is a class with an average precision of 0.
    Counts,
    /// They are left out, as VLM-R1 does, and so are free.
    Dropped,
}

pub(super) fn register(registry: &mut Registry) {
    let params = || {
        vec![
            Param::answer("answer", Type::Any),
            Param::required("solution", Type::Any),
            Param::choice("compat", &["none", "vlm_r1"]),
        ]
    };
    let unknown = |compat: &str| if compat == "vlm_r1" { Unknown::Dropped } else { Unknown::Counts };
    let doc = "COCO's mean average precision over IoU 0.50 to 0.95 of labelled boxes; labels the solution does not have \
               count against it (`compat='vlm_r1'`: they are dropped).";
    registry.register_typed("map", Signature::new(doc, params()), move |args| {
        let Sides { found, gold, .. } = sides(args, Fence::Last)?;
        Ok(average_precision(&found, &gold, &thresholds().collect::<Vec<_>>(), unknown(args.text(2)?)) as f32)
    });
    let doc = "Average precision at IoU 0.5, otherwise as `map`.";
    registry.register_typed("ap50", Signature::new(doc, params()), move |args| {
        let Sides { found, gold, .. } = sides(args, Fence::Last)?;
        Ok(average_precision(&found, &gold, &[0.5], unknown(args.text(2)?)) as f32)
    });
    let doc = "VLM-R1's odLength: the mean average precision times min(1, boxes in the solution / boxes in the answer); \
               1 where both say None.";
    registry.register_typed("od_length", Signature::new(doc, params()), move |args| {
        let gold_text = args.value(1).to_text();
        let none = |text: &str| text.trim() == "None";
        if none(super::reference(&gold_text)) {
            return Ok(score(none(&args.value(0).to_text())));
        }
        let Sides { found, named, gold } = sides(args, Fence::Last)?;
        let map = average_precision(&found, &gold, &thresholds().collect::<Vec<_>>(), unknown(args.text(2)?));
        let crowd = if named > gold.len() { gold.len() as f64 / named as f64 } else { 1.0 };
        Ok((map * crowd) as f32)
    });
    let doc = "VLM-R1's weighted_sum: 0.7·position + 0.3·completeness of greedily matched boxes (IoU ≥ 0.5); 1 where both \
               say none.";
    let pair = vec![Param::answer("answer", Type::Any), Param::required("solution", Type::Any)];
    registry.register_typed("weighted_sum", Signature::new(doc, pair), |args| {
        let (answer, gold) = (args.value(0).to_text(), args.value(1).to_text());
        let none = |text: &str| text.trim().trim_end_matches('.').eq_ignore_ascii_case("none");
        if none(super::reference(&gold)) {
            return Ok(score(none(&answer)));
        }
        let Sides { found, gold, .. } = sides(args, Fence::First)?;
        Ok(detection_score(&found, &gold) as f32)
    });
}

struct Sides {
    found: Vec<LabelledBox>,
    /// How many boxes the answer names, those that cannot be read among them.
    named: usize,
    gold: Vec<LabelledBox>,
}

/// Boxes of answer and solution; an answer that cannot be read has none, a solution that cannot is an error.
fn sides(args: &Args<'_>, fence: Fence) -> Result<Sides> {
    let (answer, gold) = (args.value(0), args.value(1));
    let size = |value: &Value<'_>| value.as_text().map_or(64, str::len);
    args.budget().spend_bytes(4 * (size(answer) + size(gold)), args.name())?;
    let json = |text: &str| json_in(text, fence, args.budget(), args.name());
    let (found, named) = match answer {
        Value::Text(text) => json(text)?.map_or((Vec::new(), 0), |json| named_boxes(&Value::from_json(&json))),
        other => named_boxes(other),
    };
    let reference = match gold {
        Value::Text(text) => json(super::reference(text))?.and_then(|json| labelled(&Value::from_json(&json))),
        other => labelled(other),
    };
    let Some(gold) = reference else {
        let reason = format!("the solution holds no labelled boxes: {}", gold.describe());
        return Err(Error::verifier(args.name(), reason));
    };
    args.budget().spend((found.len() as u64).saturating_mul(gold.len() as u64 + 16), args.name())?;
    Ok(Sides { found, named, gold })
}

/// The boxes of an answer that can be read, and how many it names.
fn named_boxes(answer: &Value<'_>) -> (Vec<LabelledBox>, usize) {
    match answer {
        Value::List(items) => (items.iter().filter_map(labelled).flatten().collect(), items.len()),
        other => {
            let found = labelled(other).unwrap_or_default();
            let named = found.len();
            (found, named)
        }
    }
}

/// COCO evaluates at most this many boxes of a class.
const MAX_DETECTIONS: usize = 100;

/// The mean over classes and thresholds of the precision at 101 levels of recall, all scores alike.
fn average_precision(found: &[LabelledBox], gold: &[LabelledBox], thresholds: &[f64], unknown: Unknown) -> f64 {
    if gold.is_empty() {
        return f64::from(u8::from(found.is_empty()));
    }
    let mut classes: Vec<&str> = gold.iter().map(|b| b.label.as_str()).collect();
    if unknown == Unknown::Counts {
        classes.extend(found.iter().map(|b| b.label.as_str()));
    }
    classes.sort_unstable();
    classes.dedup();
    let mut sum = 0.0;
    for class in &classes {
        let of = |boxes: &[LabelledBox]| -> Vec<[f64; 4]> {
            boxes.iter().filter(|b| b.label == *class).map(|b| b.bbox).collect()
        };
        let (mut predictions, truths) = (of(found), of(gold));
        predictions.truncate(MAX_DETECTIONS);
        if truths.is_empty() {
            continue;
        }
        for threshold in thresholds {
            sum += class_precision(&predictions, &truths, *threshold);
        }
    }
    sum / (classes.len() * thresholds.len()) as f64
}

fn class_precision(predictions: &[BBox], truths: &[BBox], threshold: f64) -> f64 {
    precision_over_recall(&boxes_hit(predictions, truths, threshold), truths.len())
}

/// Which predictions hit a box of the truth: each in its turn takes the box it overlaps most, among those that are not taken
/// and that it overlaps by `threshold` or more; of equals the last, as COCO has it.
#[must_use]
pub fn boxes_hit(predictions: &[BBox], truths: &[BBox], threshold: f64) -> Vec<bool> {
    let mut taken = vec![false; truths.len()];
    let hit = |prediction: &BBox| {
        let mut best = threshold.min(1.0 - 1e-10);
        let mut matched = None;
        for (at, truth) in truths.iter().enumerate().filter(|(at, _)| !taken[*at]) {
            let iou = box_iou(*prediction, *truth, IouRule::Continuous);
            if iou >= best {
                best = iou;
                matched = Some(at);
            }
        }
        matched.map(|at| taken[at] = true).is_some()
    };
    predictions.iter().map(hit).collect()
}

/// COCO's average precision of predictions in their order, the surest first, of which `hits` says which are right: the mean
/// over 101 levels of recall of the best precision at that recall or more. `truths` is how many could be found.
///
/// # Example
/// ```
/// use vr1_reward::precision_over_recall;
/// assert_eq!(precision_over_recall(&[true, false], 1), 1.0);
/// // Half is found, with a precision of one half: at 51 of the 101 levels.
/// assert!((precision_over_recall(&[false, true], 2) - 0.5 * 51.0 / 101.0).abs() < 1e-12);
/// ```
#[must_use]
pub fn precision_over_recall(hits: &[bool], truths: usize) -> f64 {
    let mut found = 0_usize;
    let point = |(index, hit): (usize, &bool)| {
        found += usize::from(*hit);
        (found as f64 / truths as f64, found as f64 / (index + 1) as f64)
    };
    let mut curve: Vec<(f64, f64)> = hits.iter().enumerate().map(point).collect();
    // Precision never rises again with recall.
    for at in (1..curve.len()).rev() {
        curve[at - 1].1 = curve[at - 1].1.max(curve[at].1);
    }
    let at = |level: f64| {
        let first = curve.partition_point(|(recall, _)| *recall < level);
        curve.get(first).map_or(0.0, |(_, precision)| *precision)
    };
    // Multiplied and not divided, as NumPy spaces its levels.
    (0..=100).map(|level| at(f64::from(level) * 0.01)).sum::<f64>() / 101.0
}

fn detection_score(found: &[LabelledBox], gold: &[LabelledBox]) -> f64 {
    if gold.is_empty() || found.is_empty() {
        return f64::from(u8::from(gold.is_empty() && found.is_empty()));
    }
    let mut pairs: Vec<(f64, usize, usize)> = Vec::new();
    for (g, truth) in gold.iter().enumerate() {
        for (f, prediction) in found.iter().enumerate() {
            let iou = box_iou(prediction.bbox, truth.bbox, IouRule::Continuous);
            if iou >= 0.5 {
                pairs.push((iou, g, f));
            }
        }
    }
    // The greatest overlap first; of equals the first written.
    pairs.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2)));
    let (mut gold_taken, mut found_taken) = (vec![false; gold.len()], vec![false; found.len()]);
    let (mut position, mut matched) = (0.0, 0_usize);
    for (iou, g, f) in pairs {
        if gold_taken[g] || found_taken[f] {
            continue;
        }
        (gold_taken[g], found_taken[f]) = (true, true);
        matched += 1;
        if gold[g].label.to_lowercase() == found[f].label.to_lowercase() {
            position += iou;
        }
    }
    let (n_gold, n_found) = (gold.len() as f64, found.len() as f64);
    let missed = (n_gold - matched as f64) / n_gold + (n_found - matched as f64) / n_found;
    0.7 * position / n_gold + 0.3 * (1.0 - missed / 2.0)
}

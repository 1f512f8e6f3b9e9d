//! COCO's average precision over the pictures of a set, behind OVDEval's suppression of what lies on one object.

use std::collections::{BTreeMap, BTreeSet};

use vr1_reward::{BBox, IouRule, LabelledBox, box_iou, boxes_hit, precision_over_recall};

use crate::interval::Estimate;

/// COCO looks at so many boxes of a class in a picture.
const MAX_DETECTIONS: usize = 100;
/// What OVDEval takes for one object.
const SAME_OBJECT: f64 = 0.5;

/// What was found in a picture, and what there is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Detections<'a> {
    /// In the order they were named: a language model gives no scores, and all are equal.
    pub(crate) found: &'a [LabelledBox],
    pub(crate) truths: &'a [LabelledBox],
}

/// What remains where of all boxes on one object, an overlap above one half, the surest alone is kept. Of equals that is the
/// last that was named, since OVDEval takes the last of its sorted scores; one that is kept for another object stays.
fn suppressed<'a>(picture: &Detections<'a>) -> Vec<&'a LabelledBox> {
    let (mut kept, mut removed) = (BTreeSet::new(), BTreeSet::new());
    for truth in picture.truths {
        let on =
            |(_, found): &(usize, &LabelledBox)| box_iou(truth.bbox, found.bbox, IouRule::Continuous) > SAME_OBJECT;
        let on: Vec<usize> = picture.found.iter().enumerate().filter(on).map(|(at, _)| at).collect();
        if let Some((last, others)) = on.split_last() {
            kept.insert(*last);
            removed.extend(others.iter().copied());
        }
    }
    let stays = |(at, _): &(usize, &LabelledBox)| kept.contains(at) || !removed.contains(at);
    picture.found.iter().enumerate().filter(stays).map(|(_, found)| found).collect()
}

/// What was hit in a picture, by class.
type Picture<'a> = BTreeMap<&'a str, Hits>;

/// A class in a picture: how many there are, and at each threshold which of its predictions hit one.
struct Hits {
    truths: usize,
    at: Vec<Vec<bool>>,
}

/// The mean over sets of their NMS-AP: of each the mean over classes that have truths and over the overlaps 0.50, 0.55, …,
/// 0.95 of the average precision. Its interval is a bootstrap's, of pictures within their set. Nothing where no set has
/// a truth.
pub(crate) fn nms_average_precision(sets: &[&[Detections<'_>]]) -> Option<Estimate> {
    let sets: Vec<Vec<Picture<'_>>> = sets.iter().map(|images| images.iter().map(hits).collect()).collect();
    let mean = |drawn: &mut dyn FnMut(usize) -> Vec<usize>| {
        let values = sets.iter().filter_map(|images| average_precision(images, &drawn(images.len())));
        let values: Vec<f64> = values.collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    };
    let value = mean(&mut |count| (0..count).collect())?;
    let count = sets.iter().map(Vec::len).sum();
    Some(Estimate::bootstrapped(value, count, |draw| mean(draw).unwrap_or(value)))
}

fn hits<'a>(picture: &Detections<'a>) -> Picture<'a> {
    let found = suppressed(picture);
    let labels: BTreeSet<&str> =
        picture.truths.iter().map(|b| b.label.as_str()).chain(found.iter().map(|b| b.label.as_str())).collect();
    let of = |label: &'a str| {
        let truths: Vec<BBox> = picture.truths.iter().filter(|b| b.label == label).map(|b| b.bbox).collect();
        let own = found.iter().filter(|b| b.label == label).take(MAX_DETECTIONS);
        let own: Vec<BBox> = own.map(|b| b.bbox).collect();
        let at = (0..10).map(|step| boxes_hit(&own, &truths, 0.5 + 0.05 * f64::from(step))).collect();
        (label, Hits { truths: truths.len(), at })
    };
    labels.into_iter().map(of).collect()
}

/// A set's value on the pictures drawn of it; nothing where these show no object.
fn average_precision(images: &[Picture<'_>], drawn: &[usize]) -> Option<f64> {
    let mut classes: BTreeMap<&str, Vec<&Hits>> = BTreeMap::new();
    for at in drawn {
        images[*at].iter().for_each(|(label, hits)| classes.entry(label).or_default().push(hits));
    }
    let of_class = |pictures: Vec<&Hits>| {
        let truths: usize = pictures.iter().map(|hits| hits.truths).sum();
        // A class of which there is nothing to find is not counted, as in COCO.
        (truths > 0).then(|| {
            let at = |step: usize| {
                let hits: Vec<bool> = pictures.iter().flat_map(|picture| &picture.at[step]).copied().collect();
                precision_over_recall(&hits, truths)
            };
            (0..10).map(at).sum::<f64>() / 10.0
        })
    };
    let values: Vec<f64> = classes.into_values().filter_map(of_class).collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

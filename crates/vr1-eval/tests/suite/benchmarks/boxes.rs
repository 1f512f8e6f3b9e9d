use vr1_eval::{BoxUnits, EvalConfig, Extraction};

use super::{agrees, config, expected, fixture, groups_agree, marked};

#[test]
fn a_box_is_right_where_it_overlaps_the_truth_by_more_than_half() {
    let [robust, _] = agrees("rec", &fixture("rec"));
    let expected = expected("rec");
    assert!((robust.metrics["iou"].value - expected["iou"].as_f64().unwrap()).abs() < 1e-12);
    groups_agree(&robust, &expected, "accuracy");
}

/// The embedded model sees 112 x 84 pixels as its processor resizes them.
#[test]
fn boxes_in_pixels_of_the_resized_picture_or_in_thousandths_are_mapped_back() {
    let expected = expected("rec");
    let overlap = |boxes| {
        let config = EvalConfig { boxes, ..config(Extraction::Robust) };
        let (records, _) = marked("rec", &fixture("rec"), &expected, &config, None);
        (records[0].marks["iou"], records[0].seen.unwrap())
    };
    let (original, seen) = overlap(BoxUnits::Original);
    let said = [10.0, 20.0, 60.0, 70.0];
    let gold = [10.5, 20.0, 60.0, 70.0];
    let mapped = |[width, height]: [f64; 2]| {
        let scale = [112.0 / width, 84.0 / height];
        let bbox: [f64; 4] = std::array::from_fn(|i| said[i] * scale[i % 2]);
        vr1_reward::box_iou(bbox, gold, vr1_reward::IouRule::Continuous)
    };
    assert!((original - mapped([112.0, 84.0])).abs() < 1e-12);
    assert!((overlap(BoxUnits::Seen).0 - mapped(seen.map(f64::from))).abs() < 1e-12);
    assert!((overlap(BoxUnits::Thousandths).0 - mapped([1000.0, 1000.0])).abs() < 1e-12);
    assert!(overlap(BoxUnits::Thousandths).0 < 0.01 && original > 0.9);
}

/// pycocotools says the average precision of what OVDEval's suppression leaves.
#[test]
fn ovdeval_has_cocos_average_precision_behind_its_suppression() {
    let expected = expected("ovdeval");
    let (records, summary) = marked("ovdeval", &fixture("ovdeval"), &expected, &config(Extraction::Robust), None);
    groups_agree(&summary, &expected, "nms_ap");
    let score = summary.score().unwrap();
    assert!((score.value - expected["nms_ap"].as_f64().unwrap()).abs() < 1e-12, "{score:?}");
    assert!(score.low <= score.value && score.value <= score.high);
    // Labels are asked for by name, and not those first that are there.
    assert!(records[0].prompt.contains("detect the following objects: ['blue car', 'red car']. Output"));
}

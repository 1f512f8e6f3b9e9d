use proptest::prelude::*;

use super::gives;

/// Whether the first box of a text is this one.
fn is(text: &str, [x1, y1, x2, y2]: [f64; 4]) -> bool {
    let iou = gives("iou(completion, solution)", text, &format!("[{x1}, {y1}, {x2}, {y2}]"));
    iou.is_some_and(|iou| (iou - 1.0).abs() < 1e-6)
}

/// Whether a text holds no box.
fn is_none(text: &str) -> bool {
    gives("is_missing(box(completion))", text, "") == Some(1.0)
}

#[test]
fn a_box_is_four_numbers_or_two_points() {
    let bbox = [10.0, 20.0, 110.0, 220.0];
    for text in [
        "<|box_start|>(10,20),(110,220)<|box_end|>",
        "<box>(10,20),(110,220)</box>",
        "(10, 20, 110, 220)",
        "[10, 20, 110, 220]",
        "[[10, 20], [110, 220]]",
        "[(10, 20), (110, 220)]",
        "((10, 20), (110, 220))",
        "[[10, 20, 110, 220]]",
        "[10，20，110，220]",
        "［10，20，110，220］",
        "（10，20），（110，220）",
        "【10、20、110、220】",
        "[1e1, 2.0E1, 110., +220]",
        "[1_0, 20, 110, 2_20,]",
        "The picture is (640, 480): (10,20),(110,220)",
        "in [640 x 480], [10,\n20,\n110,\n220]",
        "{\"bbox_2d\": [10, 20, 110, 220], \"label\": \"dog (a)\"}",
        "(10,20),(110,220) and (1,2),(3,4)",
    ] {
        assert!(is(text, bbox), "{text:?}");
    }
    assert!(is("[.5, -1, 1.05e1, 2]", [0.5, -1.0, 10.5, 2.0]));
    for text in [
        "(30,40)",
        "[30, 40]",
        "[1, 2, 3]",
        "[0, 7, 512, 19, 998]",
        "[10, 20, 110, 220)",
        "[[1,2],[3,4],[5,6]]",
        "(1,2),(3,4),(5,6),(7,8)",
        "10, 20, 110, 220",
        "[1, 2, 3, 1e999]",
        "(1,2) or (3,4)",
    ] {
        assert!(is_none(text), "{text:?}");
    }
}

/// What stands before the first number, between the points and behind the last number.
const FORMS: [(&str, &str, &str); 5] =
    [("[", ",", "]"), ("(", ",", ")"), ("(", "),(", ")"), ("[[", "],[", "]]"), ("（", "），（", "）")];

#[test]
fn a_box_in_a_field_has_the_same_forms() {
    for field in ["fields.flat", "fields.points", "fields.record", "fields.words"] {
        assert_eq!(gives(&format!("iou(completion, {field})"), "(1,2),(3,4)", ""), Some(1.0), "{field}");
    }
}

proptest! {
    #[test]
    fn every_way_to_write_a_box_says_the_same(
        corner in prop::array::uniform2(-1000.0_f64..1000.0),
        size in prop::array::uniform2(1.0_f64..1000.0),
        exponents in any::<bool>(),
        space in "[ ]{0,2}",
        words in "[a-z ]{0,8}",
    ) {
        let bbox = [corner[0], corner[1], corner[0] + size[0], corner[1] + size[1]];
        let [a, b, c, d] = bbox.map(|x| if exponents { format!("{x:e}") } else { x.to_string() });
        for (first, between, last) in FORMS {
            for comma in [",", "，"] {
                let text = format!("{words}{first}{a}{comma}{space}{b}{space}{between}{space}{c}{comma}{d}{last}{words}");
                prop_assert!(is(&text, bbox), "{}", &text);
                let text = format!("{words}<|box_start|>{first}{a}{comma}{b}{between}{c}{comma}{d}{last}<|box_end|>");
                prop_assert!(is(&text, bbox), "{}", &text);
            }
        }
        let (point, three) = (format!("({a},{b})"), format!("[{a},{b},{c}]"));
        prop_assert!(is_none(&point) && is_none(&three));
    }

    #[test]
    fn any_text_is_read(text in "\\PC{0,24}|[\\[\\](),.0-9eE_+-]{0,40}") {
        prop_assert!(gives("iou(completion, '[1, 2, 3, 4]')", &text, "").is_some_and(f32::is_finite));
    }
}

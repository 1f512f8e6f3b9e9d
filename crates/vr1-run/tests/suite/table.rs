//! The table before → after lines up and reckons the change.

use vr1_run::{Row, Summary, Unit, before_after_table, summary_rows};

fn row(name: &str, before: f64, after: f64, unit: Unit) -> Row {
    Row { name: name.into(), before, after, unit }
}

#[test]
fn columns_line_up_whatever_stands_in_them() {
    let rows = [
        row("accuracy", 0.3125, 0.5, Unit::Percent),
        row("exactitude hors domaine", 1.0, 0.0, Unit::Percent),
        row("длина", 123.456, 7.0, Unit::Number),
        row("iou", f64::NAN, 0.5, Unit::Number),
    ];
    let expected = "\
held out                  before   after         change
-----------------------  -------  ------  -------------
accuracy                  31.2 %  50.0 %   +18.8 points
exactitude hors domaine  100.0 %   0.0 %  -100.0 points
длина                    123.456   7.000       -116.456
iou                            -   0.500              -
";
    assert_eq!(before_after_table("held out", &rows), expected);
}

#[test]
fn no_rows_make_a_heading_alone() {
    assert_eq!(before_after_table("x", &[]).lines().count(), 2);
}

#[test]
fn a_summary_becomes_rows_of_all_its_scores() {
    let scores = |scores: &[(&str, f64)]| scores.iter().map(|&(name, value)| (name.to_owned(), value)).collect();
    let summary = Summary {
        before: scores(&[("accuracy", 0.25), ("completion_length", 30.0)]),
        after: scores(&[("accuracy", 0.5), ("box_iou", 0.5)]),
        ..Summary::default()
    };
    let rows = summary_rows(&summary);
    let names: Vec<_> = rows.iter().map(|row| (row.name.as_str(), row.unit)).collect();
    let expected = [("accuracy", Unit::Percent), ("box_iou", Unit::Number), ("completion_length", Unit::Number)];
    assert_eq!(names, expected);
    assert_eq!(rows[0], row("accuracy", 0.25, 0.5, Unit::Percent));
    assert!(rows[1].before.is_nan() && rows[2].after.is_nan());
}

//! Plots show every series they are given, and no input breaks them.

use vr1_run::{Series, Stroke, plot, plot_svg};

fn series(name: &str, ys: &[f64], stroke: Stroke) -> Series {
    let points = ys.iter().enumerate().map(|(x, &y)| (x as f64, y)).collect();
    Series { name: name.into(), points, stroke }
}

/// The points of the polylines, in pixels.
fn lines(svg: &str) -> Vec<Vec<(f64, f64)>> {
    let points =
        svg.split("<polyline").skip(1).map(|tag| tag.split("points=\"").nth(1).unwrap().split('"').next().unwrap());
    let point = |pair: &str| pair.split_once(',').map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap())).unwrap();
    points
        .map(|points| points.split_whitespace().map(point).collect::<Vec<_>>())
        .filter(|line| line.len() > 3)
        .collect()
}

#[test]
fn a_line_rises_where_its_values_rise() {
    let svg = plot_svg(&[series("reward", &[0.0, 1.0, 2.0, 4.0], Stroke::Line)], "Reward", "step", "mean").unwrap();
    let lines = lines(&svg);
    assert_eq!(lines.len(), 1);
    let [a, b, c, d] = lines[0][..] else { panic!("four points: {lines:?}") };
    assert!(a.0 < b.0 && b.0 < c.0 && c.0 < d.0);
    assert!(a.1 > b.1 && b.1 > c.1 && c.1 > d.1, "SVG counts downwards");
    let close = |x: f64, y: f64| (x - y).abs() <= 2.0;
    assert!(close(2.0 * (a.1 - b.1), c.1 - d.1), "twice the rise is twice the height");
}

#[test]
fn titles_labels_and_names_are_there_and_escaped() {
    let all = [series("a<b", &[1.0, 2.0], Stroke::Smoothed), series("dots & such", &[1.0], Stroke::Points)];
    let svg = plot_svg(&all, "A \"title\" <i>", "step", "share").unwrap();
    for text in ["a&lt;b", "dots &amp; such", "&lt;i&gt;", "step", "share"] {
        assert!(svg.contains(text), "{text} in {svg}");
    }
    assert!(!svg.contains("a<b") && !svg.contains("<i>"));
}

#[test]
fn a_smoothed_series_has_its_mean_drawn_over_it() {
    let zigzag: Vec<f64> = (0..101).map(|x| f64::from(x % 2)).collect();
    let lines = lines(&plot_svg(&[series("z", &zigzag, Stroke::Smoothed)], "", "", "").unwrap());
    assert_eq!(lines.len(), 2);
    let height = |line: &[(f64, f64)]| {
        let ys = line[20..80].iter().map(|point| point.1);
        ys.clone().fold(f64::MIN, f64::max) - ys.fold(f64::MAX, f64::min)
    };
    assert!(height(&lines[1]) < 0.2 * height(&lines[0]));
}

#[test]
fn no_values_break_it() {
    let odd: [&[f64]; 8] = [
        &[],
        &[f64::NAN],
        &[f64::NAN, 1.0, f64::INFINITY, 2.0],
        &[0.0, 0.0, 0.0],
        &[1e-30, 2e-30],
        &[f64::MIN, f64::MAX],
        &[1e300, 1e300],
        &[-1e-6, 1e-6, 5e-324],
    ];
    for ys in odd {
        for stroke in [Stroke::Line, Stroke::Smoothed, Stroke::Points] {
            let svg = plot_svg(&[series("s", ys, stroke)], "t", "x", "y").unwrap();
            assert!(svg.trim_end().ends_with("</svg>") && !svg.contains("NaN"), "{ys:?}");
        }
    }
    assert!(plot_svg(&[], "t", "x", "y").unwrap().contains("</svg>"));
}

#[test]
fn a_plot_that_cannot_be_written_names_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("none/reward.svg");
    let error = plot(&[], "t", "x", "y", &path).unwrap_err();
    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    let path = folder.path().join("reward.svg");
    plot(&[series("s", &[1.0, 2.0], Stroke::Line)], "t", "x", "y", &path).unwrap();
    assert!(std::fs::read_to_string(path).unwrap().starts_with("<svg"));
}

//! Points of curves, short and few enough for a page.

use serde::{Serialize, Serializer};

/// A step and a number, which is `null` where it is not finite; with five digits, which is more than a screen shows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Point(pub(crate) f64, pub(crate) f64);

impl Serialize for Point {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (short(self.0, 12), short(self.1, 5)).serialize(serializer)
    }
}

/// A step, the least and the greatest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Band(pub(crate) f64, pub(crate) f64, pub(crate) f64);

impl Serialize for Band {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (short(self.0, 12), short(self.1, 5), short(self.2, 5)).serialize(serializer)
    }
}

/// A number with so many digits; none where it is not finite.
pub(crate) fn short(value: f64, digits: usize) -> Option<f64> {
    format!("{value:.*e}", digits.saturating_sub(1)).parse().ok().filter(|value: &f64| value.is_finite())
}

/// The points that a curve has at most.
pub(crate) const POINTS: usize = 400;

/// The least and the greatest of each stretch of points: peaks stay.
pub(crate) fn thinned(points: &[Point], most: usize) -> Vec<Point> {
    if points.len() <= most {
        return points.to_vec();
    }
    let stretch = |stretch: &[Point]| {
        let finite = || stretch.iter().enumerate().filter(|(_, point)| point.1.is_finite());
        let least = finite().min_by(|a, b| a.1.1.total_cmp(&b.1.1)).map(|(index, _)| index);
        let most = finite().max_by(|a, b| a.1.1.total_cmp(&b.1.1)).map(|(index, _)| index);
        let mut kept: Vec<usize> = least.into_iter().chain(most).collect();
        kept.sort_unstable();
        kept.dedup();
        kept.into_iter().map(|index| stretch[index]).collect::<Vec<_>>()
    };
    points.chunks(points.len().div_ceil(most / 2)).flat_map(stretch).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_stays_when_ten_thousand_points_are_thinned() {
        let mut points: Vec<Point> = (0..10_000).map(|step| Point(f64::from(step), 1.0)).collect();
        (points[4321].1, points[7000].1, points[9000].1) = (50.0, -50.0, f64::NAN);
        let thin = thinned(&points, POINTS);
        assert!(thin.len() <= POINTS);
        assert!(thin.contains(&Point(4321.0, 50.0)) && thin.contains(&Point(7000.0, -50.0)));
        assert!(thin.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn numbers_are_short_and_those_that_are_none_are_null() {
        assert_eq!(
            serde_json::to_string(&[Point(12345.0, 0.123456789), Point(2.0, f64::NAN)]).ok().as_deref(),
            Some("[[12345.0,0.12346],[2.0,null]]")
        );
    }
}

//! Intervals: Wilson's of shares, the bootstrap's of everything else.

use vr1_eval::{Estimate, Interval};

fn share(right: usize, count: usize) -> Estimate {
    let marks: Vec<f64> = (0..count).map(|i| if i < right { 1.0 } else { 0.0 }).collect();
    Estimate::mean(&marks).unwrap()
}

/// Values of statsmodels' `proportion_confint(…, method="wilson")`.
#[test]
fn a_share_has_wilsons_interval() {
    for (right, count, low, high) in [
        (0, 10, 0.0, 0.277_532_799_862_889_26),
        (10, 10, 0.722_467_200_137_110_6, 1.0),
        (5, 10, 0.236_593_090_512_563_94, 0.763_406_909_487_436_1),
        (165, 200, 0.766_355_688_517_51, 0.871_394_849_337_246_6),
    ] {
        let found = share(right, count);
        assert!((found.low - low).abs() < 1e-12 && (found.high - high).abs() < 1e-12, "{right} of {count}: {found:?}");
        assert_eq!((found.count, found.interval), (count, Interval::Wilson));
    }
    assert_eq!(Estimate::mean(&[]), None);
}

#[test]
fn what_is_no_share_has_a_bootstraps_that_is_the_same_every_time() {
    let marks: Vec<f64> = (0..400).map(|i| f64::from(i % 10) / 10.0).collect();
    let found = Estimate::mean(&marks).unwrap();
    assert_eq!(found.interval, Interval::Bootstrap);
    assert!((found.value - 0.45).abs() < 1e-12);
    // The standard error of the mean is 0.28723 / 20; a bootstrap's ends are within a tenth of it at 1000 draws, and so on.
    let error = 0.287_228_132 / 20.0;
    assert!((found.low - (0.45 - 1.96 * error)).abs() < 0.25 * error, "{found:?}");
    assert!((found.high - (0.45 + 1.96 * error)).abs() < 0.25 * error, "{found:?}");
    assert_eq!(Estimate::mean(&marks), Some(found));
}

#[test]
fn parts_are_weighed_and_drawn_each_within_itself() {
    let (sure, half) = ([1.0; 50], [0.0, 1.0].repeat(25));
    let found = Estimate::weighted(&[(0.5, &sure), (0.5, &half)]).unwrap();
    assert_eq!((found.value, found.count, found.interval), (0.75, 100, Interval::Bootstrap));
    assert!(found.low >= 0.5 && found.high <= 1.0, "half is certain: {found:?}");
    assert_eq!(Estimate::weighted(&[(0.5, &sure), (0.5, &[])]), None, "a part without marks has no mean");
}

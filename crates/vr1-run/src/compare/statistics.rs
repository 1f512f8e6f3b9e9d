//! A number that was measured several times.

use serde::Serialize;

/// A mean and how far it may be off.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Measured {
    /// None where nothing was measured.
    pub(crate) mean: Option<f64>,
    /// The standard error of the mean, from the deviation with one degree of freedom less; none of one measurement.
    pub(crate) standard_error: Option<f64>,
    pub(crate) runs: usize,
}

impl Measured {
    /// Of values, those that are not finite left out.
    pub(crate) fn of(values: impl Iterator<Item = f64>) -> Self {
        let values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
        let runs = values.len();
        let mean = (runs > 0).then(|| values.iter().sum::<f64>() / runs as f64);
        let standard_error = mean.filter(|_| runs > 1).map(|mean| {
            let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
            (squares / (runs - 1) as f64 / runs as f64).sqrt()
        });
        Self { mean, standard_error, runs }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_error_is_that_of_the_mean() {
        // Deviation (ddof 1) of 1, 2, 3, 4 is sqrt(5/3); over sqrt(4) that is 0.6455.
        let measured = Measured::of([1.0, 2.0, f64::NAN, 3.0, 4.0].into_iter());
        assert_eq!((measured.mean, measured.runs), (Some(2.5), 4));
        assert!((measured.standard_error.unwrap_or_default() - 0.645_497_2).abs() < 1e-6);
        assert_eq!(Measured::of([7.0].into_iter()), Measured { mean: Some(7.0), standard_error: None, runs: 1 });
        assert_eq!(Measured::of(std::iter::empty()), Measured { mean: None, standard_error: None, runs: 0 });
    }
}

/// The per-token estimate of KL(π ‖ π_ref), with `d = log π_ref − log π`
/// ([Schulman 2020](http://joschu.net/blog/kl-approx.html)).
///
/// # Example
/// A token that the reference finds e times as likely, `d = 1`:
/// ```
/// # #[cfg(feature = "tch")] {
/// use tch::Tensor;
/// use vr1_grpo::{GrpoConfig, KlEstimator, grpo_loss};
/// let (logprobs, reference) = (Tensor::from_slice2(&[[-2f64]]), Tensor::from_slice2(&[[-1f64]]));
/// let (advantages, mask) = (Tensor::from_slice(&[0f64]), Tensor::from_slice2(&[[1i64]]));
/// for (kl, expected) in [
///     (KlEstimator::K1, -1.0),
///     (KlEstimator::K2, 0.5),
///     (KlEstimator::K3, 1f64.exp() - 2.0),
///     (KlEstimator::Absolute, 1.0),
/// ] {
///     let config = GrpoConfig { kl, beta: 1.0, ..Default::default() };
///     let (loss, _) = grpo_loss(&logprobs, &logprobs, Some(&reference), &advantages, &mask, &config)?;
///     assert!((loss.double_value(&[]) - expected).abs() < 1e-12);
/// }
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum KlEstimator {
    /// `−d`: unbiased, may be negative; as a loss its gradient is that of `log π`.
    K1,
    /// `d²/2`: biased, small variance.
    K2,
    /// `exp(d) − d − 1`: never negative (GRPO).
    #[default]
    K3,
    /// `|d|`.
    Absolute,
}

/// Whether the KL term is weighted by the importance ratio.
///
/// # Example
/// A token twice as likely as when it was sampled, of which k2 is ½: weighted, it counts twice.
/// ```
/// # #[cfg(feature = "tch")] {
/// use tch::Tensor;
/// use vr1_grpo::{GrpoConfig, KlEstimator, KlWeight, grpo_loss};
/// let t = |x: f64| Tensor::from_slice2(&[[x]]);
/// let (advantages, mask) = (Tensor::from_slice(&[0f64]), Tensor::from_slice2(&[[1i64]]));
/// for (kl_weight, expected) in [(KlWeight::One, 0.5), (KlWeight::Ratio, 1.0)] {
///     let config = GrpoConfig { kl: KlEstimator::K2, kl_weight, beta: 1.0, ..Default::default() };
///     let (loss, _) = grpo_loss(&t(-2.0), &t(-2.0 - 2f64.ln()), Some(&t(-1.0)), &advantages, &mask, &config)?;
///     assert!((loss.double_value(&[]) - expected).abs() < 1e-12);
/// }
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum KlWeight {
    /// No (GRPO, TRL before 1.16).
    #[default]
    One,
    /// `ratio · kl`, through which gradient flows too: unbiased off-policy, and unbiased as a gradient on-policy (DeepSeek-V3.2,
    /// [arXiv:2512.02556](https://arxiv.org/abs/2512.02556); TRL 1.16's default).
    Ratio,
}

/// Whose gradient the KL term has.
///
/// # Example
/// `d = 1`: the value is that of k1, −1, and the slope −d that of k2 instead of k1's 1.
/// ```
/// # #[cfg(feature = "tch")] {
/// use tch::Tensor;
/// use vr1_grpo::{GrpoConfig, KlEstimator, KlGradient, grpo_loss};
/// let reference = Tensor::from_slice2(&[[-1f64]]);
/// let (advantages, mask) = (Tensor::from_slice(&[0f64]), Tensor::from_slice2(&[[1i64]]));
/// for (kl_gradient, slope) in [(KlGradient::Own, 1.0), (KlGradient::K2, -1.0)] {
///     let logprobs = Tensor::from_slice2(&[[-2f64]]).set_requires_grad(true);
///     let config = GrpoConfig { kl: KlEstimator::K1, kl_gradient, beta: 1.0, ..Default::default() };
///     let (loss, _) = grpo_loss(&logprobs, &logprobs.detach(), Some(&reference), &advantages, &mask, &config)?;
///     loss.backward();
///     assert_eq!((loss.double_value(&[]), logprobs.grad().double_value(&[0, 0])), (-1.0, slope));
/// }
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum KlGradient {
    /// That of the estimator itself.
    #[default]
    Own,
    /// That of [`KlEstimator::K2`], straight through: its expectation is the gradient of the KL divergence on-policy, which that of k1 and k3
    /// is not (verl's `k1+`, `k3+`; [arXiv:2510.01555](https://arxiv.org/abs/2510.01555)).
    K2,
}

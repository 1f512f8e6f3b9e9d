/// What a loss says about its batch. Plain numbers without gradient; means are over counted tokens unless said otherwise.
///
/// Where the ratio is one a sequence, its statistics are over sequences weighted by their tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GrpoStats {
    /// The loss itself: policy + β·KL − bonus·entropy, under the configured aggregation.
    pub loss: f64,
    /// The policy part, under the configured aggregation.
    pub policy_loss: f64,
    /// The mean estimate of KL(π ‖ π_ref), weighted as configured; 0 without reference log-probabilities.
    pub kl: f64,
    /// The mean entropy in nats, where entropies were handed in.
    pub entropy: Option<f64>,
    /// The mean importance ratio π/π_old; 1 on-policy.
    pub ratio_mean: f64,
    /// The smallest importance ratio.
    pub ratio_min: f64,
    /// The largest importance ratio.
    pub ratio_max: f64,
    /// The share of tokens that the clip (or cap) cuts: `clip_ratio_low + clip_ratio_high`.
    pub clip_ratio: f64,
    /// The share with ratio below 1 − ε and a negative advantage.
    pub clip_ratio_low: f64,
    /// The share with ratio above the upper bound and a positive advantage.
    pub clip_ratio_high: f64,
    /// The mean of `exp(r) − r − 1`, `r = log π − log π_old`: how far the update has moved from the policy that sampled, KL(π_old ‖ π).
    pub old_kl: f64,
    /// The mean advantage of the counted tokens.
    pub advantage_mean: f64,
    /// The share of tokens that carry the policy loss, after entropy and off-policy masks; 1 without them.
    pub active: f64,
    /// The mean correction factor for the sampler; 1 without correction.
    pub sampler_ratio_mean: f64,
    /// Counted tokens.
    pub tokens: i64,
    /// Sequences with at least one counted token.
    pub sequences: i64,
}

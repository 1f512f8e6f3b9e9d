//! Tensor arithmetic that objectives share: token log-probabilities, masked means, shape checks.

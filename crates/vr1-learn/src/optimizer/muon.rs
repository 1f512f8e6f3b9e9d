//! `M` rows, `N` columns of a layer's matrix.

use tch::Tensor;

const MOMENTUM: f64 = 0.95;
/// Root mean square of an AdamW update, in learning rates, as it was measured by Liu et al.
const UPDATE_SIZE: f64 = 0.2;
const NEWTON_SCHULZ_STEPS: usize = 5;

/// Bytes a number of the matrix that a step holds on the way, at most: a dozen matrices of its size.
pub(super) const HELD: u64 = 48;

/// One step of Muon on the matrix `parameter` `[M, N]`, of which nothing may be recorded:
/// `m ← μm + (1−μ)g`, `p ← (1 − ηλ)p − 0.2 η √max(M, N) · orthogonal(μm + (1−μ)g)`.
pub(super) fn muon(parameter: &Tensor, gradient: &Tensor, momentum: &Tensor, learning_rate: f64, weight_decay: f64) {
    let (mut parameter, mut momentum) = (parameter.shallow_clone(), momentum.shallow_clone());
    let _ = momentum.lerp_(gradient, 1.0 - MOMENTUM);
    let update = orthogonal(&gradient.lerp(&momentum, MOMENTUM)); // Nesterov's: the gradient counts once more
    let longer = parameter.size().into_iter().max().unwrap_or(1) as f64;
    let _ = parameter.g_mul_scalar_(1.0 - learning_rate * weight_decay);
    parameter -= update * (learning_rate * UPDATE_SIZE * longer.sqrt());
}

/// A matrix with the singular vectors of `matrix` `[M, N]` and singular values near one, from about 0.7 to 1.2: the
/// quintic Newton-Schulz iteration `X ← aX + (bA + cA²)X` with `A = XXᵀ` and the coefficients of Jordan et al., which
/// trade exactness for speed.
fn orthogonal(matrix: &Tensor) -> Tensor {
    let (a, b, c) = (3.4445, -4.7750, 2.0315);
    let tall = matrix.size()[0] > matrix.size()[1];
    let wide = if tall { matrix.tr() } else { matrix.shallow_clone() };
    let mut x = &wide / (wide.norm() + 1e-7);
    for _ in 0..NEWTON_SCHULZ_STEPS {
        let gram = x.matmul(&x.tr());
        let polynomial = &gram * b + gram.matmul(&gram) * c;
        x = &x * a + polynomial.matmul(&x);
    }
    if tall { x.tr() } else { x }
}

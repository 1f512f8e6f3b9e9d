use crate::{Engine, Group, Request, Result, Sequence};

/// The best of each request's completions by `score`, the first of equals; a NaN is worse than any number.
///
/// Best-of-n sampling (Stiennon et al., [arXiv:2009.01325](https://arxiv.org/abs/2009.01325)) over any engine.
///
/// # Errors
/// If the engine fails, or a score cannot be had.
pub fn best_of(
    engine: &mut dyn Engine,
    requests: Vec<Request>,
    mut score: impl FnMut(&Group, &Sequence) -> Result<f32>,
) -> Result<Vec<Sequence>> {
    let mut best = Vec::with_capacity(requests.len());
    for group in engine.generate(requests)? {
        let scores: Vec<f32> =
            group.sequences().iter().map(|sequence| score(&group, sequence)).collect::<Result<_>>()?;
        let better = |a: usize, b: usize| match scores[b] > scores[a] || (scores[a].is_nan() && !scores[b].is_nan()) {
            true => b,
            false => a,
        };
        let winner = (0..scores.len()).reduce(better).unwrap_or_default();
        best.extend(group.into_sequences().into_iter().nth(winner));
    }
    Ok(best)
}

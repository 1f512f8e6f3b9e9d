use crate::SampleKey;

/// The number in `[0, 1)` that decides a sampled token; it depends on its four arguments alone.
///
/// `completion` counts within its group, `position` is the token's place in the completion. SplitMix64 (Steele et al.,
/// OOPSLA 2014) is run over them in turn.
///
/// # Example
/// ```
/// use vr1_rollout::{SampleKey, uniform};
/// let key = SampleKey { dataset: 0, epoch: 2, index: 7 };
/// let u = uniform(1, key, 0, 3);
/// assert!((0.0..1.0).contains(&u));
/// assert_eq!(u, uniform(1, key, 0, 3));
/// assert_ne!(u, uniform(1, key, 1, 3));
/// assert_ne!(u, uniform(1, SampleKey { epoch: 3, ..key }, 0, 3));
/// ```
pub fn uniform(seed: u64, key: SampleKey, completion: usize, position: usize) -> f64 {
    (next(stream(seed, key, completion), position as u64) >> 11) as f64 / (1u64 << 53) as f64
}

/// What all numbers of a completion hang on but for the position: the state that [`uniform`] runs on from.
pub fn stream(seed: u64, key: SampleKey, completion: usize) -> u64 {
    let sets = u64::from(key.dataset) << 32 | u64::from(key.epoch);
    [sets, key.index, completion as u64].into_iter().fold(seed, next)
}

/// The state is mixed before a part meets it and not the part: equals would cancel, a seed and an epoch, say.
fn next(state: u64, part: u64) -> u64 {
    mix(mix(state) ^ part)
}

fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

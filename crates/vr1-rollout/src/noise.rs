/// The number in `[0, 1)` that decides a sampled token; it depends on its four arguments alone.
///
/// `sample` names the sample, `completion` counts within its group, `position` is the token's place in the completion.
/// SplitMix64 (Steele et al., OOPSLA 2014) is run over the four in turn.
///
/// # Example
/// ```
/// let u = vr1_rollout::uniform(1, "sat-7", 0, 3);
/// assert!((0.0..1.0).contains(&u));
/// assert_eq!(u, vr1_rollout::uniform(1, "sat-7", 0, 3));
/// assert_ne!(u, vr1_rollout::uniform(1, "sat-7", 1, 3));
/// ```
pub fn uniform(seed: u64, sample: &str, completion: usize, position: usize) -> f64 {
    let name = sample.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    let state = [name, completion as u64, position as u64].iter().fold(mix(seed), |state, &x| mix(state ^ mix(x)));
    (state >> 11) as f64 / (1u64 << 53) as f64
}

fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

//! The random choices of a scene, all from one stream.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::Scenes;

/// The stream of one sample.
pub(crate) type Stream = ChaCha8Rng;

/// The stream of sample `index`: the key itself holds everything that the sample may depend on, so two samples share a
/// stream only when they are the same.
pub(crate) fn stream(scenes: &Scenes, index: usize) -> Stream {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&scenes.seed.to_le_bytes());
    key[8..16].copy_from_slice(&(index as u64).to_le_bytes());
    key[16..20].copy_from_slice(&scenes.size.to_le_bytes());
    key[20] = scenes.task as u8;
    key[21] = scenes.split as u8;
    key[22..28].copy_from_slice(b"scenes");
    ChaCha8Rng::from_seed(key)
}

/// One of `items`, each as likely.
pub(crate) fn pick<T: Copy>(rng: &mut Stream, items: &[T]) -> T {
    items[rng.random_range(0..items.len())]
}

/// True with probability `p`.
pub(crate) fn chance(rng: &mut Stream, p: f64) -> bool {
    rng.random_bool(p)
}

/// A number between `low` and `high`.
pub(crate) fn between(rng: &mut Stream, low: f32, high: f32) -> f32 {
    low + (high - low) * rng.random::<f32>()
}

/// Puts `items` into a random order.
pub(crate) fn shuffle<T>(rng: &mut Stream, items: &mut [T]) {
    for i in (1..items.len()).rev() {
        items.swap(i, rng.random_range(0..=i));
    }
}

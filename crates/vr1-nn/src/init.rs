use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use tch::{Device, Kind, Tensor};

/// How a parameter starts when a model is made from random numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// All zero: biases.
    Zeros,
    /// All one: the scales of norms.
    Ones,
    /// Normal with mean zero and this standard deviation: matrices.
    Normal(f64),
    /// Uniform between minus and plus this: the first matrix of an adapter.
    Uniform(f64),
}

/// Numbers that depend on `seed` and `name` alone.
pub(crate) fn random(seed: u64, name: &str, shape: &[i64], init: Init) -> Tensor {
    let options = (Kind::Float, Device::Cpu);
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ fnv1a(name));
    let mut draw = |mut number: Box<dyn FnMut(&mut ChaCha8Rng) -> f64>| {
        let count = shape.iter().product::<i64>();
        Tensor::from_slice(&(0..count).map(|_| number(&mut rng) as f32).collect::<Vec<f32>>()).reshape(shape)
    };
    match init {
        Init::Zeros => Tensor::zeros(shape, options),
        Init::Ones => Tensor::ones(shape, options),
        Init::Normal(std) => draw(Box::new(move |rng| {
            let x: f64 = StandardNormal.sample(rng);
            x * std
        })),
        Init::Uniform(bound) => draw(Box::new(move |rng| bound * (2.0 * rng.random::<f64>() - 1.0))),
    }
}

/// FNV-1a, 64 bits: a hash that stays the same from release to release, as the seeds of stored models must.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

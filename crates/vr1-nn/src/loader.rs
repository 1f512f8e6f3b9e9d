use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Display;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use tch::{Device, Kind, Tensor};

use crate::{Checkpoint, Error, Parameters, Problems, Result};

/// How a parameter starts when a model is made from random numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// All zero: biases.
    Zeros,
    /// All one: the scales of norms.
    Ones,
    /// Normal with mean zero and this standard deviation: matrices.
    Normal(f64),
}

/// Where a model's parameters come from, and what was wrong with them.
///
/// Modules ask for their tensors by the checkpoint's names through a [`Path`]; asking never fails. [`Loader::finish`]
/// then gives all parameters, or one error that names every tensor that is missing, unexpected or of another shape.
#[derive(Debug)]
pub struct Loader {
    source: Source,
    device: Device,
    kind: Kind,
    state: RefCell<State>,
}

#[derive(Debug)]
enum Source {
    Files(Checkpoint),
    Random { seed: u64 },
    Copies(BTreeMap<String, Tensor>),
}

#[derive(Debug, Default)]
struct State {
    tensors: BTreeMap<String, Tensor>,
    problems: Problems,
    failure: Option<Error>,
}

impl Loader {
    /// A loader that copies tensors out of `checkpoint` to `device` as `kind`.
    pub fn from_checkpoint(checkpoint: Checkpoint, device: Device, kind: Kind) -> Self {
        Self { source: Source::Files(checkpoint), device, kind, state: RefCell::default() }
    }

    /// A loader that copies `parameters`.
    pub fn from_parameters(parameters: &Parameters, device: Device, kind: Kind) -> Self {
        let copies = parameters.iter().map(|(name, tensor)| (name.to_owned(), tensor.detach().copy())).collect();
        Self { source: Source::Copies(copies), device, kind, state: RefCell::default() }
    }

    /// A loader that draws every tensor from its [`Init`]; a tensor depends on `seed` and its own name alone.
    pub fn random(seed: u64, device: Device, kind: Kind) -> Self {
        Self { source: Source::Random { seed }, device, kind, state: RefCell::default() }
    }

    /// The root of the tree of names.
    pub fn root(&self) -> Path<'_> {
        Path { loader: self, prefix: String::new() }
    }

    /// The device that tensors are put on.
    pub fn device(&self) -> Device {
        self.device
    }

    /// All parameters that modules asked for; tensors in the files whose names are in `ignored` may go unused.
    ///
    /// # Errors
    /// If any tensor was missing, mis-shaped or of no floating-point kind, or the files hold one nobody asked for.
    pub fn finish(self, ignored: &[&str]) -> Result<Parameters> {
        let State { tensors, mut problems, failure } = self.state.into_inner();
        if let Some(error) = failure {
            return Err(error);
        }
        if let Source::Files(checkpoint) = &self.source {
            let unused = |name: &&str| !tensors.contains_key(*name) && !ignored.contains(name);
            problems.unexpected = checkpoint.names().filter(unused).map(str::to_owned).collect();
            if !problems.is_empty() {
                return Err(Error::Weights { path: checkpoint.path().to_owned(), problems });
            }
        }
        Ok(Parameters::new(tensors))
    }

    fn get(&self, name: String, shape: &[i64], init: Init) -> Tensor {
        let mut state = self.state.borrow_mut();
        if let Some(tensor) = state.tensors.get(&name) {
            return tensor.shallow_clone();
        }
        let tensor = match &self.source {
            Source::Random { seed } => random(*seed, &name, shape, init),
            // The same architecture asks for the same names.
            Source::Copies(tensors) => tensors.get(&name).map(Tensor::shallow_clone),
            Source::Files(checkpoint) => match checkpoint.shape(&name) {
                Some(found) if found != shape => {
                    state.problems.misshapen.push((name.clone(), shape.to_vec(), found.to_vec()));
                    None
                }
                None => {
                    state.problems.missing.push(name.clone());
                    None
                }
                Some(_) => match checkpoint.read(&name) {
                    Ok(Some(Ok(tensor))) => Some(tensor),
                    Ok(Some(Err(kind))) => {
                        state.problems.kinds.push((name.clone(), kind));
                        None
                    }
                    Ok(None) => None,
                    Err(error) => {
                        state.failure.get_or_insert(error);
                        None
                    }
                },
            },
        };
        // A stand-in, never seen: `finish` fails.
        let tensor = tensor.unwrap_or_else(|| Tensor::zeros(shape, (Kind::Float, Device::Cpu)));
        let tensor = tensor.to_device(self.device).to_kind(self.kind);
        state.tensors.insert(name, tensor.shallow_clone());
        tensor
    }
}

fn random(seed: u64, name: &str, shape: &[i64], init: Init) -> Option<Tensor> {
    let options = (Kind::Float, Device::Cpu);
    Some(match init {
        Init::Zeros => Tensor::zeros(shape, options),
        Init::Ones => Tensor::ones(shape, options),
        Init::Normal(std) => {
            let mut rng = ChaCha8Rng::seed_from_u64(seed ^ fnv1a(name));
            let count = shape.iter().product::<i64>();
            let normal = |_| {
                let x: f64 = StandardNormal.sample(&mut rng);
                (x * std) as f32
            };
            Tensor::from_slice(&(0..count).map(normal).collect::<Vec<f32>>()).reshape(shape)
        }
    })
}

/// FNV-1a, 64 bits: a hash that stays the same from release to release, as the seeds of stored models must.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// A place in the tree of parameter names, `model.layers.3.self_attn` say.
#[derive(Debug, Clone)]
pub struct Path<'a> {
    loader: &'a Loader,
    prefix: String,
}

impl Path<'_> {
    /// The place `name` below this one.
    #[must_use]
    pub fn sub(&self, name: impl Display) -> Self {
        Self { loader: self.loader, prefix: self.join(name) }
    }

    /// The parameter `name` at this place, of exactly this shape.
    pub fn get(&self, name: &str, shape: &[i64], init: Init) -> Tensor {
        self.loader.get(self.join(name), shape, init)
    }

    fn join(&self, name: impl Display) -> String {
        if self.prefix.is_empty() { name.to_string() } else { format!("{}.{name}", self.prefix) }
    }
}

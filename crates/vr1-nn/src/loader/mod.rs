mod path;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use tch::{Device, Kind, Tensor};

pub use self::path::Path;
use crate::adapter::AdapterSource;
use crate::adjoining::joint;
use crate::blocks::check_here;
use crate::init::random;
use crate::lora::merge;
use crate::parameters::is_adapter;
use crate::stored::place_of;
use crate::{Adapter, Checkpoint, Error, Hooked, Init, LayerShares, Names, Parameters, Problems, Result, Stored};

/// A model that is made of another's parameters; none of its own collect gradients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Derived {
    /// A model that stays as it is while the other is trained: what collects gradients there is copied, with what adjoins
    /// it in one [`Projections`](crate::Projections), and all else, which nothing moves, is shared.
    Copy,
    /// The model without its adapter; it shares every parameter.
    Base,
    /// The model with its adapter merged into the layers that it adapts; it shares all others but those that adjoin one of
    /// them in one [`Projections`](crate::Projections).
    Merged,
}

/// Where a model's parameters come from, and what was wrong with them.
///
/// Modules ask for their tensors by the checkpoint's names through a [`Path`]; asking never fails. [`Loader::finish`]
/// then gives all parameters, or one error that names every tensor that is missing, unexpected or of another shape.
#[derive(Debug)]
pub struct Loader {
    source: Source,
    adapter: Option<Adapter>,
    names: Names,
    device: Device,
    kind: Kind,
    /// The hooks of the layers of a model that this one shares parameters with.
    hooks: BTreeMap<String, Hooked>,
    /// The rank whose share of each layer stays, and how layers are dealt.
    share: Option<(usize, RefCell<LayerShares>)>,
    state: RefCell<State>,
}

#[derive(Debug)]
enum Source {
    Files(Checkpoint),
    Random {
        seed: u64,
    },
    Held(BTreeMap<String, Parameter>),
    /// Nothing: a number that is seen as many times as a tensor has places.
    Shapes,
}

/// A parameter of another model, and what becomes of it when it is asked for.
#[derive(Debug)]
enum Parameter {
    Shared(Tensor),
    Copied(Tensor),
    /// With `s · B A` of these added to it.
    Merged(Tensor, Tensor, Tensor, f64),
}

impl Parameter {
    fn tensor(&self) -> Tensor {
        match self {
            Self::Shared(tensor) => tensor.shallow_clone(),
            Self::Copied(tensor) => tensor.copy(),
            Self::Merged(tensor, a, b, scale) => tch::no_grad(|| merge(tensor, a, b, *scale)),
        }
    }
}

#[derive(Debug, Default)]
struct State {
    tensors: BTreeMap<String, Tensor>,
    problems: Problems,
    adapter_problems: Problems,
    /// Names that stand for another parameter, and that parameter's.
    ties: Vec<(String, String)>,
    /// How files hold those parameters that they do not hold whole.
    stored: BTreeMap<String, Stored>,
    /// Names of files that are parts of parameters, or other names of theirs.
    parts: BTreeSet<String>,
    /// Names of parameters that nothing is computed with.
    idle: BTreeSet<String>,
    /// Every linear layer by its name in files of both generations.
    linear: Vec<[String; 2]>,
    /// Places of the layers that are held one by one, with their hooks.
    layers: Vec<(String, Hooked)>,
    failure: Option<Error>,
}

impl Loader {
    fn new(source: Source, names: Names, device: Device, kind: Kind) -> Self {
        Self {
            source,
            adapter: None,
            names,
            device,
            kind,
            hooks: BTreeMap::new(),
            share: None,
            state: RefCell::default(),
        }
    }

    /// A loader that copies tensors out of `checkpoint` to `device` as `kind`.
    pub fn from_checkpoint(checkpoint: Checkpoint, device: Device, kind: Kind) -> Self {
        let names = checkpoint.family();
        Self::new(Source::Files(checkpoint), names, device, kind)
    }

    /// The same, which gives back of each layer, as soon as that is made, what belongs to others of so many ranks than this one, as
    /// [`LayerShares`] deals it: the model is never here whole, and cannot run before its layers are [brought together](crate::LayerHook).
    #[must_use]
    pub fn of_rank(self, rank: usize, ranks: usize) -> Self {
        Self { share: Some((rank, RefCell::new(LayerShares::new(ranks)))), ..self }
    }

    /// A loader of a model that is derived from one with `parameters`.
    ///
    /// # Errors
    /// If the adapter's settings are out of range, or what is to be copied or merged is not here.
    pub fn deriving(parameters: &Parameters, derived: Derived, device: Device, kind: Kind) -> Result<Self> {
        let held = parameters.iter().filter(|(name, _)| derived == Derived::Copy || !is_adapter(name));
        let held = held.map(|(name, tensor)| {
            let adaptation = if derived == Derived::Merged { parameters.adaptation(name) } else { None };
            let held = match adaptation {
                Some((a, b, scale)) => Parameter::Merged(tensor.detach(), a.detach(), b.detach(), scale),
                None if derived == Derived::Copy && tensor.requires_grad() => Parameter::Copied(tensor.detach()),
                None => Parameter::Shared(tensor.detach()),
            };
            (name.to_owned(), held)
        });
        let held: BTreeMap<String, Parameter> = held.collect();
        for (name, parameter) in &held {
            if let Parameter::Copied(tensor) | Parameter::Merged(tensor, ..) = parameter {
                check_here(name, tensor)?;
            }
        }
        let shares = |place: &str| {
            let below = |name: &str| name.strip_prefix(place).is_some_and(|rest| rest.starts_with('.'));
            held.iter().any(|(name, held)| below(name) && matches!(held, Parameter::Shared(_)))
        };
        let hooks = parameters.layers().iter().filter(|(place, _)| shares(place)).cloned().collect();
        let mut loader = Self { hooks, ..Self::new(Source::Held(held), parameters.names(), device, kind) };
        if let (Derived::Copy, Some(config)) = (derived, parameters.adapter()) {
            loader.adapter = Some(Adapter::new(config.clone(), AdapterSource::Held)?);
        }
        Ok(loader)
    }

    /// A loader of `parameters` themselves, for a model that is made of them and an adapter.
    ///
    /// # Errors
    /// If they have one already.
    pub fn adapting(parameters: Parameters, adapter: Adapter, device: Device, kind: Kind) -> Result<Self> {
        if parameters.adapter().is_some() {
            return Err(Error::Config("the model has an adapter already".to_owned()));
        }
        let held = parameters.iter().map(|(name, tensor)| (name.to_owned(), Parameter::Shared(tensor.detach())));
        let (held, names) = (Source::Held(held.collect()), parameters.names());
        let hooks = parameters.layers().iter().cloned().collect();
        Ok(Self { adapter: Some(adapter.of(names)?), hooks, ..Self::new(held, names, device, kind) })
    }

    /// A loader that draws every tensor from its [`Init`]; a tensor depends on `seed` and its own name alone. Files will have these
    /// `names`.
    pub fn random(seed: u64, names: Names, device: Device, kind: Kind) -> Self {
        Self::new(Source::Random { seed }, names, device, kind)
    }

    /// A loader whose tensors have names and shapes and take no room, however large they are: all zero. Files would have these `names`.
    pub fn shapes(names: Names) -> Self {
        Self::new(Source::Shapes, names, Device::Cpu, Kind::Float)
    }

    /// The root of the tree of names.
    pub fn root(&self) -> Path<'_> {
        Path { loader: self, prefix: String::new(), idle: false }
    }

    /// The device that tensors are put on.
    pub fn device(&self) -> Device {
        self.device
    }

    /// All parameters that modules asked for.
    ///
    /// # Errors
    /// If any tensor was missing, mis-shaped or of no floating-point kind, the files hold one nobody asked for, or an
    /// adapter targets layers that are not there.
    pub fn finish(self) -> Result<Parameters> {
        let State { tensors, mut problems, mut adapter_problems, ties, stored, parts, idle, linear, layers, failure } =
            self.state.into_inner();
        if let Some(error) = failure {
            return Err(error);
        }
        if let Source::Files(checkpoint) = &self.source {
            problems.untied = ties.iter().filter(|(name, of)| checkpoint.differ(name, of)).cloned().collect();
            let tied = |name: &str| ties.iter().any(|(tied, _)| tied == name);
            problems.finish(checkpoint, |name| tensors.contains_key(name) || parts.contains(name) || tied(name))?;
        }
        if let Some(adapter) = &self.adapter {
            adapter.picker.check(&linear)?;
            if let AdapterSource::File(checkpoint) = &adapter.source {
                adapter_problems.finish(checkpoint, |name| tensors.contains_key(name))?;
            }
        }
        let parameters = Parameters::new(tensors, self.names, self.adapter.map(|adapter| adapter.config));
        Ok(parameters.with_idle(idle).with_stored(stored).with_layers(layers))
    }

    fn get(&self, name: String, shape: &[i64], init: Init, stored: Stored) -> Tensor {
        self.get_into(name, shape, init, stored, None)
    }

    /// The same, read into `room` of that shape where it is read.
    fn get_into(&self, name: String, shape: &[i64], init: Init, stored: Stored, room: Option<&Tensor>) -> Tensor {
        let mut state = self.state.borrow_mut();
        if let Some(tensor) = state.tensors.get(&name) {
            return tensor.shallow_clone();
        }
        let options = (self.kind, self.device);
        let tensor = match &self.source {
            Source::Random { seed } => Some(random(*seed, &name, shape, init)),
            // The same architecture asks for the same names.
            Source::Held(tensors) => tensors.get(&name).map(Parameter::tensor),
            Source::Shapes => Some(Tensor::zeros([1], options).expand(shape, false)),
            Source::Files(checkpoint) => {
                let found = match stored {
                    Stored::Whole => read(checkpoint, &name, shape, (options, room), &mut state.problems),
                    _ => read_stored(checkpoint, &name, (shape, stored), options, &mut state),
                };
                found.unwrap_or_else(|error| {
                    state.failure.get_or_insert(error);
                    None
                })
            }
        };
        if stored != Stored::Whole {
            state.stored.insert(name.clone(), stored);
        }
        state.keep(name, tensor, options)
    }

    /// Parameters of these names and shapes, laid as rows of one tensor where they are not yet. That is made first, and they are read
    /// into it: what comes and goes between tensors that stay would leave holes in memory.
    fn get_adjoining(&self, parts: &[(String, Vec<i64>)], init: Init) -> Vec<Tensor> {
        let whole = match &self.source {
            Source::Held(_) | Source::Shapes => None,
            // What was asked for before lies where it lies.
            _ if parts.iter().any(|(name, _)| self.state.borrow().tensors.contains_key(name)) => None,
            Source::Files(_) | Source::Random { .. } => rows_of(parts, (self.kind, self.device)),
        };
        let mut rows = whole.into_iter().flatten();
        let laid = |(name, shape): &(String, Vec<i64>)| {
            let room = rows.next();
            let own = self.get_into(name.clone(), shape, init, Stored::Whole, room.as_ref());
            match room {
                Some(mut room) if own.size() == *shape && own.data_ptr() != room.data_ptr() => {
                    tch::no_grad(|| room.copy_(&own));
                    self.state.borrow_mut().tensors.insert(name.clone(), room.shallow_clone());
                    room
                }
                _ => own,
            }
        };
        let own: Vec<Tensor> = parts.iter().map(laid).collect();
        let absent = own.iter().zip(parts).any(|(tensor, (_, shape))| tensor.size() != *shape);
        if absent || own.iter().any(takes_no_room) || joint(&own).is_some() {
            return own;
        }
        let mut state = self.state.borrow_mut();
        let rows: Vec<i64> = own.iter().map(|tensor| tensor.size()[0]).collect();
        match tch::no_grad(|| Tensor::f_cat(&own, 0).and_then(|whole| whole.f_split_with_sizes(&rows, 0))) {
            Ok(views) => {
                let names = parts.iter().map(|(name, _)| name.clone());
                state.tensors.extend(names.zip(views.iter().map(Tensor::shallow_clone)));
                views
            }
            Err(error) => {
                state.failure.get_or_insert(error.into());
                own
            }
        }
    }

    /// One of the two matrices of an adapter; they are f32 whatever the model is.
    fn get_adapter(&self, source: &AdapterSource, name: String, shape: &[i64], init: Init) -> Tensor {
        let mut state = self.state.borrow_mut();
        let options = (Kind::Float, self.device);
        let tensor = match (source, &self.source) {
            (AdapterSource::Random { seed }, _) => Some(random(*seed, &name, shape, init)),
            (AdapterSource::Held, Source::Held(tensors)) => tensors.get(&name).map(Parameter::tensor),
            (AdapterSource::Held, _) => None,
            (AdapterSource::File(checkpoint), _) => {
                let found = read(checkpoint, &name, shape, (options, None), &mut state.adapter_problems);
                found.unwrap_or_else(|error| {
                    state.failure.get_or_insert(error);
                    None
                })
            }
        };
        state.keep(name, tensor, options)
    }
}

/// Whether it is a shape alone, one number that stands for all: held as such, it is given no room of its own.
fn takes_no_room(tensor: &Tensor) -> bool {
    tensor.numel() > 1 && tensor.stride().iter().all(|stride| *stride == 0)
}

/// Room for these, one behind the other; none where a broken config asks for more than there is.
fn rows_of(parts: &[(String, Vec<i64>)], options: (Kind, Device)) -> Option<Vec<Tensor>> {
    let rows: Vec<i64> = parts.iter().map(|(_, shape)| shape[0]).collect();
    let mut shape = parts.first()?.1.clone();
    shape[0] = rows.iter().try_fold(0i64, |sum, &rows| sum.checked_add(rows))?;
    Tensor::f_empty(&shape, options).and_then(|whole| whole.f_split_with_sizes(&rows, 0)).ok()
}

impl State {
    fn keep(&mut self, name: String, tensor: Option<Tensor>, (kind, device): (Kind, Device)) -> Tensor {
        // A stand-in, never seen: `finish` fails. It takes no room, whatever shape a broken config asks for.
        let tensor = tensor.unwrap_or_else(|| Tensor::zeros([0], (Kind::Float, Device::Cpu)));
        let tensor = tensor.to_device(device).to_kind(kind);
        self.tensors.insert(name, tensor.shallow_clone());
        tensor
    }
}

/// A tensor of exactly this shape, in `room` if there is any, or none and the reason among the `problems`.
fn read(
    checkpoint: &Checkpoint,
    name: &str,
    shape: &[i64],
    (options, room): ((Kind, Device), Option<&Tensor>),
    problems: &mut Problems,
) -> Result<Option<Tensor>> {
    match (checkpoint.shape(name), checkpoint.kind(name)) {
        (None, _) => problems.missing.push(name.to_owned()),
        (Some(found), _) if found != shape => {
            problems.misshapen.push((name.to_owned(), shape.to_vec(), found.to_vec()));
        }
        (Some(_), Some(stored)) => return checkpoint.read(name, stored, (options, room)).map(Some),
        (Some(_), None) => {
            problems.kinds.push((name.to_owned(), checkpoint.dtype(name).unwrap_or_default()));
        }
    }
    Ok(None)
}

/// The same of a parameter that files may hold otherwise.
fn read_stored(
    checkpoint: &Checkpoint,
    name: &str,
    (shape, stored): (&[i64], Stored),
    options: (Kind, Device),
    state: &mut State,
) -> Result<Option<Tensor>> {
    let whole = checkpoint.shape(name);
    match (stored, shape) {
        (Stored::Turned, &[count, rows, columns]) if whole != Some(shape) && whole.is_some() => {
            let found = read(checkpoint, name, &[count, columns, rows], (options, None), &mut state.problems)?;
            Ok(found.map(|turned| turned.transpose(1, 2).contiguous()))
        }
        (Stored::Called(other), _) if whole.is_none() => {
            let name = format!("{}{other}", place_of(name));
            let found = read(checkpoint, &name, shape, (options, None), &mut state.problems);
            state.parts.insert(name);
            found
        }
        (Stored::Apart(parts), &[count, rows, columns]) if whole.is_none() => {
            let tensor = Tensor::f_empty(shape, options)?;
            let (place, rows, mut found) = (place_of(name), rows / parts.len() as i64, true);
            for (number, (start, part)) in (0..count).flat_map(|i| (0..).zip(parts).map(move |part| (i, part))) {
                let name = format!("{place}{number}.{part}.weight");
                match read(checkpoint, &name, &[rows, columns], (options, None), &mut state.problems)? {
                    Some(own) => tch::no_grad(|| tensor.get(number).narrow(0, start * rows, rows).f_copy_(&own))?,
                    None => found = false,
                }
                state.parts.insert(name);
            }
            Ok(found.then_some(tensor))
        }
        _ => read(checkpoint, name, shape, (options, None), &mut state.problems),
    }
}

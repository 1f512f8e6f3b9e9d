//! Parameters of layers that lie each at one rank alone, and are brought to all while their layer runs: stage 3 of ZeRO.

mod laid;
mod turns;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tch::{Device, Tensor};
use vr1_nn::{Hooked, LayerHook, Run, Scattered};
use vr1_torch::take_gradient;
use vr1_vlm::Backbone;

use self::laid::{Layer, laid};
pub(crate) use self::turns::Stage;
use self::turns::Wish;
use crate::sharding::Shards;
use crate::world::World;
use crate::{Error, Result};

/// The layers of a model whose parameters ranks hold each a share of; nothing where each holds them all.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layers(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    world: World,
    /// Where the hooks of the model's layers are.
    hooked: Vec<Hooked>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    layers: Vec<Layer>,
    /// All trained parameters, and which rank each belongs to.
    parameters: Vec<Tensor>,
    shards: Shards,
    device: Device,
    /// The sums of gradients that belong to this rank.
    sums: Vec<Option<Tensor>>,
    /// The micro-batch and the part of it that are worked on.
    at: (usize, Stage),
    /// How many are [together](Layers::together) around what is done now.
    depth: usize,
    /// Whether all layers are here, whoever runs them.
    whole: bool,
    /// The layer that is [visited](Layers::visit).
    visited: Option<usize>,
    told: Told,
    /// Why the ranks no longer give each other anything.
    lost: Option<String>,
}

/// What was brought and summed, and how long that took.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Bytes of parameters.
    pub(crate) gathered: u64,
    /// Bytes of gradients.
    pub(crate) reduced: u64,
    pub(crate) gathering: Duration,
    pub(crate) reducing: Duration,
    /// For ranks that had more to run.
    pub(crate) waiting: Duration,
}

/// The hook of a layer, which is of no use once its learner is gone.
#[derive(Debug)]
struct Hook {
    shared: Weak<Shared>,
    layer: usize,
    place: String,
}

impl LayerHook for Hook {
    fn enter(&self, run: Run) -> vr1_torch::Result<()> {
        let gone = || Error::from(Scattered { place: self.place.clone() }.error());
        self.shared.upgrade().ok_or_else(gone).and_then(|shared| shared.enter(self.layer, run)).map_err(of_layer)
    }

    fn leave(&self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.leave(self.layer);
        }
    }

    fn learnt(&self) -> vr1_torch::Result<()> {
        let learnt = self.shared.upgrade().map_or(Ok(()), |shared| shared.learnt(self.layer));
        self.leave();
        learnt.map_err(of_layer)
    }
}

fn of_layer(error: Error) -> vr1_torch::Error {
    match error {
        Error::Torch(error) => error,
        Error::Tch(error) => error.into(),
        other => vr1_torch::Error::Layer(other.to_string()),
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn(&self, state: &mut State, wish: Option<&Wish>, gradients: Vec<Option<Tensor>>) -> Result<()> {
        if let Some(reason) = &state.lost {
            return Err(Error::Lost { rank: self.world.rank(), reason: reason.clone() });
        }
        let given = tch::no_grad(|| state.turn(&self.world, wish, gradients));
        given.inspect_err(|error| {
            let reason = match error {
                Error::Lost { reason, .. } => reason.clone(),
                other => other.to_string(),
            };
            state.lost = Some(reason);
        })
    }

    fn enter(&self, layer: usize, run: Run) -> Result<()> {
        let mut state = self.lock();
        if state.whole || state.layers[layer].here {
            return Ok(());
        }
        if state.depth == 0 {
            return Err(Scattered { place: state.layers[layer].place.clone() }.error().into());
        }
        state.layers[layer].take()?;
        let (micro_batch, stage) = state.at;
        let at = match run {
            Run::Forward => (micro_batch, stage, layer),
            Run::Backward => (micro_batch, Stage::Backward, 2 * (state.layers.len() - layer)),
        };
        let brought = self.turn(&mut state, Some(&Wish { at, layer, present: None }), Vec::new());
        state.layers[layer].here = true;
        drop(state);
        brought.inspect_err(|_| self.leave(layer))
    }

    fn leave(&self, layer: usize) {
        let mut state = self.lock();
        if state.layers[layer].here {
            state.layers[layer].here = false;
            // Memory that cannot be given back is held on.
            let _ = state.layers[layer].free();
        }
    }

    fn learnt(&self, layer: usize) -> Result<()> {
        let mut state = self.lock();
        let places = state.layers[layer].trained.clone();
        if places.is_empty() || !state.layers[layer].here {
            return Ok(());
        }
        let gradients: Vec<Option<Tensor>> =
            places.iter().map(|&place| take_gradient(&state.parameters[place])).collect();
        let present = Some(gradients.iter().map(Option::is_some).collect());
        let at = (state.at.0, Stage::Backward, 2 * (state.layers.len() - layer) + 1);
        self.turn(&mut state, Some(&Wish { at, layer, present }), gradients)
    }

    /// Nothing more is asked for; what others still need is given.
    fn end(&self) -> Result<()> {
        let mut state = self.lock();
        state.depth -= 1;
        if state.depth > 0 {
            return Ok(());
        }
        state.visited = None;
        let here: Vec<usize> = (0..state.layers.len()).filter(|&layer| state.layers[layer].here).collect();
        for layer in here {
            state.layers[layer].here = false;
            let _ = state.layers[layer].free();
        }
        let begun = Instant::now();
        let (gathering, reducing) = (state.told.gathering, state.told.reducing);
        let given = self.turn(&mut state, None, Vec::new());
        let given_for = (state.told.gathering - gathering) + (state.told.reducing - reducing);
        state.told.waiting += begun.elapsed().saturating_sub(given_for);
        given
    }

    fn free(&self) -> Result<()> {
        let mut state = self.lock();
        state.whole = false;
        state.layers.iter().try_for_each(Layer::free)
    }
}

impl Drop for Shared {
    /// Another can have the layers, as they are.
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        for (layer, hooked) in state.layers.iter().zip(&self.hooked) {
            let scattered = || Arc::new(Scattered { place: layer.place.clone() }) as Arc<dyn LayerHook>;
            hooked.set((!state.whole).then(scattered));
        }
    }
}

impl Layers {
    /// The layers of a model that is trained so, and which rank each trained parameter belongs to. All that was held is still held.
    ///
    /// # Errors
    /// If the model's layers are another learner's.
    pub(crate) fn of(model: &dyn Backbone, trained: &[(String, Tensor)], world: &World) -> Result<(Self, Shards)> {
        let hooked: Vec<Hooked> = model.parameters().layers().iter().map(|(_, hooked)| hooked.clone()).collect();
        if hooked.iter().any(|hooked| hooked.get().is_some_and(|hook| hook.is_taken())) {
            let (field, value) = ("sharding", "zero3".to_owned());
            return Err(Error::Setting { field, value, allowed: "of one learner of a model at a time" });
        }
        let (layers, shards) = laid(model, trained, world)?;
        let parameters: Vec<Tensor> = trained.iter().map(|(_, tensor)| tensor.shallow_clone()).collect();
        let sums = parameters.iter().map(|_| None).collect();
        let (device, at) = (model.device(), (0, Stage::Model));
        let (depth, whole, visited, told, lost) = (0, false, None, Told::default(), None);
        let kept = shards.clone();
        let state = State { layers, parameters, shards, device, sums, at, depth, whole, visited, told, lost };
        let shared = Shared { world: world.clone(), hooked, state: Mutex::new(state) };
        Ok((Self(Some(Arc::new(shared))), kept))
    }

    /// From here on this rank holds its share of them.
    pub(crate) fn begin(&self) -> Result<()> {
        let Some(shared) = &self.0 else { return Ok(()) };
        for (layer, hooked) in shared.hooked.iter().enumerate() {
            let place = shared.lock().layers[layer].place.clone();
            hooked.set(Some(Arc::new(Hook { shared: Arc::downgrade(shared), layer, place })));
        }
        shared.free()
    }

    /// Whether ranks hold each a share.
    pub(crate) fn are_apart(&self) -> bool {
        self.0.is_some()
    }

    /// Does `work`, in which layers may run, on all ranks, each as many as it has, and ends it with them.
    pub(crate) fn together<T, E: From<Error>>(&self, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let Some(shared) = &self.0 else { return work() };
        shared.lock().depth += 1;
        let made = work();
        shared.end()?;
        made
    }

    /// What is run next is of this micro-batch, and this part of it.
    pub(crate) fn at(&self, micro_batch: usize, stage: Stage) {
        if let Some(shared) = &self.0 {
            shared.lock().at = (micro_batch, stage);
        }
    }

    /// Brings the layer of the trained parameter at a place, and gives back the one before; of none, gives back alone.
    pub(crate) fn visit(&self, place: Option<usize>) -> Result<()> {
        let Some(shared) = &self.0 else { return Ok(()) };
        let mut state = shared.lock();
        let of = |place: usize| state.layers.iter().position(|layer| layer.trained.contains(&place));
        let (next, before) = (place.and_then(of), state.visited);
        if next == before {
            return Ok(());
        }
        state.visited = None;
        drop(state);
        if let Some(before) = before {
            shared.leave(before);
        }
        if let Some(next) = next {
            shared.enter(next, Run::Forward)?;
            shared.lock().visited = Some(next);
        }
        Ok(())
    }

    /// Brings them all to every rank, where they stay until they are [freed](Self::free): the bytes of them. All ranks call this.
    ///
    /// # Errors
    /// If a rank has no room; none holds any more than before then.
    pub(crate) fn gather_all(&self) -> Result<u64> {
        let Some(shared) = &self.0 else { return Ok(0) };
        let mut state = shared.lock();
        if state.whole {
            return Ok(0);
        }
        let taken = state.layers.iter().try_for_each(Layer::take);
        let before = state.told.gathered;
        let brought = shared
            .world
            .all(taken)
            .and_then(|_| tch::no_grad(|| (0..state.layers.len()).try_for_each(|layer| state.gather(layer, true))));
        if let Err(error) = brought {
            state.layers.iter().try_for_each(Layer::free)?;
            return Err(error);
        }
        state.whole = true;
        Ok(state.told.gathered - before)
    }

    /// Holds this rank's share alone.
    pub(crate) fn free(&self) -> Result<()> {
        self.0.as_ref().map_or(Ok(()), |shared| shared.free())
    }

    /// Does `work` while every rank holds them all.
    pub(crate) fn whole<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let was = self.0.as_ref().is_none_or(|shared| shared.lock().whole);
        self.gather_all()?;
        let made = work();
        if !was {
            self.free()?;
        }
        made
    }

    /// The sums of gradients that belong to this rank since this was last asked, by place among trained parameters.
    pub(crate) fn take_sums(&self) -> Vec<Option<Tensor>> {
        let Some(shared) = &self.0 else { return Vec::new() };
        shared.lock().sums.iter_mut().map(Option::take).collect()
    }

    /// What was brought and summed since this was last asked.
    pub(crate) fn take_told(&self) -> Told {
        self.0.as_ref().map(|shared| std::mem::take(&mut shared.lock().told)).unwrap_or_default()
    }
}

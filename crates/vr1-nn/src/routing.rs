//! `L` layers with experts, `E` experts, `N` tokens.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tch::{Device, Kind, Tensor};

/// What the routers of one pass over sequences did, and the loss that has them spread tokens.
///
/// With `f` the share of all layers' tokens that go through an expert and `p` the mean probability that it is given, the loss is
/// `E Σ f p` (Fedus et al., [arXiv:2101.03961](https://arxiv.org/abs/2101.03961), equations 4 to 6, over all layers together as
/// transformers computes it): where tokens are spread evenly it is the number of experts of a token. Its gradient comes by way of `p`
/// alone, in the backward pass that goes through the layers.
#[derive(Debug, Clone)]
pub struct Routing {
    weight: f64,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Of each layer how many tokens go through each expert, `[E]`, and the sum of the probabilities it is given, `[E]`.
    layers: BTreeMap<usize, (Tensor, Tensor)>,
    tokens: i64,
    /// The loss's gradient by the sum of a layer's probabilities, `[E]`; zero until all layers are known.
    gradient: Option<Tensor>,
}

impl Routing {
    /// Nothing yet; the loss counts `weight` times.
    pub fn new(weight: f64) -> Self {
        Self { weight, state: Arc::default() }
    }

    /// Takes down what the router of layer number `layer` did: the experts `chosen` `[N, k]`, and the sum of probabilities `given`
    /// `[E]`, f32. Gives the loss's gradient by that, which is filled in by [`settle`](Self::settle); none where the loss does not count.
    pub(crate) fn note(&self, layer: usize, chosen: &Tensor, given: &Tensor) -> Option<Tensor> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let count = given.size()[0];
        state.tokens = chosen.size()[0];
        // A layer that is run again in the backward pass does what it did.
        state.layers.entry(layer).or_insert_with(|| {
            let counts = Tensor::zeros([count], (Kind::Float, given.device()));
            let chosen = chosen.flatten(0, -1);
            let ones = chosen.ones_like().to_kind(Kind::Float);
            (counts.index_add(0, &chosen, &ones), given.detach())
        });
        if self.weight == 0.0 {
            return None;
        }
        Some(state.gradient.get_or_insert_with(|| given.detach().zeros_like()).shallow_clone())
    }

    /// All layers have been run: what tokens were spread over is known, and with it the loss's gradient.
    pub fn settle(&self) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(gradient) = &state.gradient else { return };
        tch::no_grad(|| {
            let counts: Vec<&Tensor> = state.layers.values().map(|(counts, _)| counts).collect();
            let rows = (state.layers.len() as i64 * state.tokens) as f64;
            let experts = gradient.size()[0] as f64;
            let sums = Tensor::stack(&counts, 0).sum_dim_intlist(0, false, Kind::Float);
            gradient.shallow_clone().copy_(&(sums * (self.weight * experts / (rows * rows))));
        });
    }

    /// How many tokens went through each expert and the sum of the probabilities that it was given, `[L, E]` each, f64 on the host;
    /// none where no layer has experts.
    pub fn taken(&self) -> Option<[Tensor; 2]> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.layers.is_empty() {
            return None;
        }
        let stacked = |of: fn(&(Tensor, Tensor)) -> &Tensor| {
            let all: Vec<&Tensor> = state.layers.values().map(of).collect();
            tch::no_grad(|| Tensor::stack(&all, 0).to_device(Device::Cpu).to_kind(Kind::Double))
        };
        Some([stacked(|(counts, _)| counts), stacked(|(_, given)| given)])
    }
}

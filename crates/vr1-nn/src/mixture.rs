//! `B` sequences, `T` tokens, `N = B·T`, `E` experts, `k` of them for each token, `D` width.

use tch::{Kind, Tensor};
use vr1_torch::{beside, gradients_collected, granted};

use crate::experts::{Experts, Lying};
use crate::{Activation, Bias, Error, GatedMlp, Init, Pass, Path, Result, Routing, Stored, check_sizes};

/// What a mixture of experts is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct MixtureConfig {
    /// Experts, `E`.
    pub count: i64,
    /// How many of them a token goes through, `k`.
    pub chosen: i64,
    /// Width inside an expert.
    pub inner: i64,
    /// What the experts' outputs are weighed with.
    pub weighing: Weighing,
    /// The experts' activation.
    pub activation: Activation,
    /// What the router is called.
    pub router: &'static str,
    /// Which way round the experts' matrices lie.
    pub lying: Lying,
    /// How files hold `gate_up_proj` and `down_proj`.
    pub stored: [Stored; 2],
    /// The gated MLP that every token goes through besides, `shared_experts`.
    pub shared: Option<Shared>,
}

/// A gated MLP beside the experts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shared {
    /// Width inside it.
    pub inner: i64,
    /// Whether its projections have biases.
    pub bias: Bias,
    /// Its activation.
    pub activation: Activation,
}

/// What the outputs of a token's experts are weighed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weighing {
    /// The probabilities that the router gives these among all experts, in f32.
    Probabilities,
    /// The same, divided by their sum.
    Renormalised,
    /// The softmax of the scores of these alone.
    OfChosen,
}

impl MixtureConfig {
    /// Checks the numbers; `keys` are what a file calls the number of experts, of those chosen and their width inside.
    ///
    /// # Errors
    /// If a number is not possible; its key is named.
    pub fn check(&self, keys: [&str; 3]) -> Result<()> {
        check_sizes(&[(keys[0], self.count), (keys[1], self.chosen), (keys[2], self.inner)])?;
        if self.chosen > self.count {
            let reason = format!("`{}`: {} of {} experts (`{}`)", keys[1], self.chosen, self.count, keys[0]);
            return Err(Error::Config(reason));
        }
        Ok(())
    }
}

/// A mixture of experts (Shazeer et al., [arXiv:1701.06538](https://arxiv.org/abs/1701.06538)): a router picks a few of many
/// gated MLPs for each token, and what these give is added, weighed.
#[derive(Debug)]
pub struct Mixture {
    router: Tensor,
    experts: Experts,
    shared: Option<GatedMlp>,
    chosen: i64,
    weighing: Weighing,
}

impl Mixture {
    /// A mixture for tokens of `width` numbers: the router, `experts` and, where there are any, `shared_experts` at `path`.
    pub fn new(path: &Path<'_>, width: i64, config: &MixtureConfig) -> Self {
        let sizes = (config.count, width, config.inner);
        let init = Init::Normal((1.0 / width as f64).sqrt());
        let shared = |shared: &Shared| {
            GatedMlp::new(&path.sub("shared_experts"), width, shared.inner, shared.bias, shared.activation)
        };
        Self {
            router: path.sub(config.router).get("weight", &[config.count, width], init),
            experts: Experts::new(&path.sub("experts"), sizes, config.lying, config.stored, config.activation),
            shared: config.shared.as_ref().map(shared),
            chosen: config.chosen,
            weighing: config.weighing,
        }
    }

    /// `[B, T, D]` to the same shape; what the router did is taken down in `routing`, as that of the layer with this number.
    ///
    /// # Panics
    /// As all operations of tensors do where libtorch refuses them: for want of memory.
    pub fn forward(&self, x: &Tensor, pass: Pass, routing: Option<(&Routing, usize)>) -> Tensor {
        let tokens = x.flatten(0, -2); // [N, D]
        let scores = tokens.linear(&self.router, None::<&Tensor>); // [N, E]
        let (chosen, weights) = self.route(&scores);
        let mut thought = self.experts.forward(&tokens, &chosen, &weights, pass).view_as(x);
        if let Some((routing, layer)) = routing {
            let given = scores.softmax(-1, None::<Kind>).sum_dim_intlist(0, false, Kind::Float); // [E]
            let gradient = routing.note(layer, &chosen, &given);
            if let Some(gradient) = gradient.filter(|_| gradients_collected() && given.requires_grad()) {
                thought = granted(beside(&thought, &given, &gradient));
            }
        }
        match &self.shared {
            Some(shared) => thought + shared.forward(x, pass),
            None => thought,
        }
    }

    /// The experts of each token and their weights, `[N, k]` each, in the kind of the scores `[N, E]`.
    fn route(&self, scores: &Tensor) -> (Tensor, Tensor) {
        if self.weighing == Weighing::OfChosen {
            let (best, chosen) = scores.topk(self.chosen, -1, true, true);
            return (chosen, best.softmax(-1, None::<Kind>));
        }
        let (best, chosen) = scores.softmax(-1, Kind::Float).topk(self.chosen, -1, true, true);
        let weights = match self.weighing {
            Weighing::Renormalised => &best / best.sum_dim_intlist(-1, true, None::<Kind>),
            Weighing::Probabilities | Weighing::OfChosen => best,
        };
        (chosen, weights.to_kind(scores.kind()))
    }
}

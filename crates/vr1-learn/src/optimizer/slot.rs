use tch::{Kind, Tensor};

use super::blockwise::Codebook;
use super::groups::ParameterGroup;
use super::numbers::Numbers;
use super::{Method, Moments, OptimizerConfig};

/// What is held of a parameter between steps.
#[derive(Debug)]
pub(super) struct Slot {
    /// Its place among all parameters.
    pub(super) place: usize,
    pub(super) name: String,
    /// The parameter itself.
    pub(super) parameter: Tensor,
    pub(super) rule: Rule,
    pub(super) rates: Rates,
    /// The parameter itself, where that is f32.
    pub(super) master: Numbers,
    pub(super) exp_avg: Numbers,
    pub(super) exp_avg_sq: Numbers,
    pub(super) step: Tensor,
}

/// What becomes of a parameter's gradient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    AdamW,
    Muon,
}

impl Rule {
    pub(super) fn new(method: Method, name: &str, parameter: &Tensor) -> Self {
        let layer = parameter.dim() == 2 && !name.contains("embed_tokens") && !name.contains("lm_head");
        if method == Method::Muon && layer { Self::Muon } else { Self::AdamW }
    }
}

/// At which rate a parameter learns at the highest, and how it decays.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rates {
    pub(super) learning_rate: f64,
    pub(super) weight_decay: f64,
}

impl Rates {
    pub(super) fn new(config: &OptimizerConfig, group: Option<&ParameterGroup>, parameter: &Tensor) -> Self {
        let learning_rate = group.and_then(|group| group.learning_rate).unwrap_or(config.learning_rate);
        let usual = if parameter.dim() > 1 { config.weight_decay } else { 0.0 };
        Self { learning_rate, weight_decay: group.and_then(|group| group.weight_decay).unwrap_or(usual) }
    }
}

/// Below so many numbers moments are f32 always.
const SMALL: usize = 4096;

impl Slot {
    pub(super) fn new(
        (place, name): (usize, String),
        rates: Rates,
        parameter: &Tensor,
        config: &OptimizerConfig,
        codebooks: &[Codebook; 2],
    ) -> Self {
        let rule = Rule::new(config.method, &name, parameter);
        let wide = |tensor: Tensor| match config.offload {
            true => Numbers::host(&tensor, parameter.device()),
            false => Numbers::Here(tensor),
        };
        let narrow = config.moments == Moments::Blockwise8bit && rule != Rule::Muon && parameter.numel() >= SMALL;
        let moment = |codebook: &Codebook| match narrow {
            true => Numbers::blockwise(parameter, codebook, config.offload),
            false => wide(Tensor::zeros(parameter.size(), (Kind::Float, parameter.device()))),
        };
        let [exp_avg, exp_avg_sq] = [0, 1].map(|i| moment(&codebooks[i]));
        let master = match parameter.kind() {
            Kind::Float => Numbers::Here(parameter.detach()),
            _ => wide(parameter.detach().to_kind(Kind::Float)),
        };
        let step = Tensor::zeros([], (Kind::Float, parameter.device()));
        let parameter = parameter.shallow_clone();
        Self { place, name, parameter, rule, rates, master, exp_avg, exp_avg_sq, step }
    }
    /// All that a step changes, as it lies.
    pub(super) fn changing(&self) -> impl Iterator<Item = &Tensor> {
        let numbers = [&self.master, &self.exp_avg, &self.exp_avg_sq].into_iter().flat_map(Numbers::tensors);
        numbers.map(|(_, tensor)| tensor).chain([&self.step])
    }

    /// The tensors that are held beside the parameter, by name: of a narrow one the f32 masters, too.
    pub(super) fn state(&self) -> impl Iterator<Item = (String, &Tensor)> {
        let master = (self.parameter.kind() != Kind::Float).then_some(("master", &self.master));
        let numbers = [("exp_avg", &self.exp_avg), ("exp_avg_sq", &self.exp_avg_sq)].into_iter().chain(master);
        let tensors = numbers.flat_map(move |(what, numbers)| {
            numbers.tensors().map(move |(part, tensor)| (format!("{what}{part}.{}", self.name), tensor))
        });
        tensors.chain([(format!("step.{}", self.name), &self.step)])
    }
}

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};
use vr1_torch::{AdamWStep, fused_adamw};

use super::muon::muon;
use crate::{Error, Result, Schedule};

/// How a gradient becomes an update.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// AdamW (Loshchilov & Hutter, [arXiv:1711.05101](https://arxiv.org/abs/1711.05101)).
    #[default]
    AdamW,
    /// Muon (Jordan et al., 2024, <https://kellerjordan.github.io/posts/muon/>) for the layers' matrices, AdamW for all
    /// else: embeddings, the output matrix, patches, norms and biases. Its updates are scaled to the size of AdamW's
    /// (Liu et al., [arXiv:2502.16982](https://arxiv.org/abs/2502.16982), section 2.2), so learning rate and weight decay
    /// mean the same for both. Meant for training from random weights.
    Muon,
}

/// An optimizer's settings; the defaults are those of Hugging Face's `TrainingArguments`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OptimizerConfig {
    /// How a gradient becomes an update.
    pub method: Method,
    /// Step size at its highest.
    pub learning_rate: f64,
    /// How it goes from step to step.
    pub schedule: Schedule,
    /// Steps of linear warm-up before that.
    pub warmup_steps: u64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Decoupled weight decay, on matrices alone.
    pub weight_decay: f64,
    /// Gradients are scaled down to this norm, over all parameters together.
    pub max_grad_norm: f64,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self {
            method: Method::AdamW,
            learning_rate: 1e-6,
            schedule: Schedule::Linear,
            warmup_steps: 0,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.0,
            max_grad_norm: 1.0,
        }
    }
}

impl OptimizerConfig {
    /// Checks every setting's range.
    ///
    /// # Errors
    /// If one is out of range; the error names it.
    pub fn validate(&self) -> Result<()> {
        let check = |field: &'static str, value: f64, allowed: &'static str, ok: bool| {
            if ok { Ok(()) } else { Err(Error::Setting { field, value: value.to_string(), allowed }) }
        };
        check("optimizer.learning_rate", self.learning_rate, "above 0", self.learning_rate > 0.0)?;
        check("optimizer.beta1", self.beta1, "in [0, 1)", (0.0..1.0).contains(&self.beta1))?;
        check("optimizer.beta2", self.beta2, "in [0, 1)", (0.0..1.0).contains(&self.beta2))?;
        check("optimizer.epsilon", self.epsilon, "above 0", self.epsilon > 0.0)?;
        check("optimizer.weight_decay", self.weight_decay, "0 or more", self.weight_decay >= 0.0)?;
        check("optimizer.max_grad_norm", self.max_grad_norm, "above 0", self.max_grad_norm > 0.0)
    }
}

/// AdamW, or Muon where [`Method::Muon`] is chosen, over named parameters. Parameters of a narrow kind (bf16, f16) have f32 masters, which the updates are added to:
/// at a learning rate of 1e-6 an update is smaller than half of bf16's last digit and would be lost.
#[derive(Debug)]
pub struct Optimizer {
    config: OptimizerConfig,
    names: Vec<String>,
    parameters: Vec<Tensor>,
    masters: Vec<Tensor>,
    exp_avgs: Vec<Tensor>,
    exp_avg_sqs: Vec<Tensor>,
    steps: Vec<Tensor>,
    rules: Vec<Rule>,
}

/// What becomes of a parameter's gradient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    AdamW { decays: bool },
    Muon,
}

impl Rule {
    fn new(method: Method, name: &str, parameter: &Tensor) -> Self {
        let layer = parameter.dim() == 2 && !name.contains("embed_tokens") && !name.contains("lm_head");
        match method {
            Method::Muon if layer => Self::Muon,
            _ => Self::AdamW { decays: parameter.dim() > 1 },
        }
    }
}

impl Optimizer {
    /// An optimizer of `parameters`, which already collect gradients.
    ///
    /// # Errors
    /// If a setting is out of range, or there is nothing to train.
    pub fn new(parameters: Vec<(String, Tensor)>, config: OptimizerConfig) -> Result<Self> {
        config.validate()?;
        if parameters.is_empty() {
            return Err(Error::NothingToTrain);
        }
        let (names, parameters): (Vec<_>, Vec<_>) = parameters.into_iter().unzip();
        let master = |p: &Tensor| if p.kind() == Kind::Float { p.detach() } else { p.detach().to_kind(Kind::Float) };
        let masters: Vec<Tensor> = parameters.iter().map(master).collect();
        let zeros = || masters.iter().map(Tensor::zeros_like).collect::<Vec<_>>();
        let steps = masters.iter().map(|p| Tensor::zeros([], (Kind::Float, p.device()))).collect();
        let rules = names.iter().zip(&masters).map(|(name, p)| Rule::new(config.method, name, p)).collect();
        let (exp_avgs, exp_avg_sqs) = (zeros(), zeros());
        Ok(Self { config, names, parameters, masters, exp_avgs, exp_avg_sqs, steps, rules })
    }

    /// The parameters, in the order of the gradients that [`step`](Self::step) takes.
    pub fn parameters(&self) -> &[Tensor] {
        &self.parameters
    }

    /// One step along `gradients`, f32 and one a parameter: the norm that they had before they were clipped. A parameter
    /// that had no part in the step, and so has none, is left alone, its moments too.
    ///
    /// # Errors
    /// If a gradient is not finite; the first parameter with such a one is named, and nothing is changed.
    pub fn step(&mut self, gradients: Vec<Option<Tensor>>, step: u64, steps: u64) -> Result<f64> {
        let (with_gradient, mut gradients): (Vec<usize>, Vec<Tensor>) =
            gradients.into_iter().enumerate().filter_map(|(i, gradient)| Some((i, gradient?))).unzip();
        if gradients.is_empty() {
            return Ok(0.0);
        }
        let norms: Vec<Tensor> = gradients.iter().map(|g| g.norm()).collect();
        let norm = Tensor::stack(&norms, 0).norm().double_value(&[]);
        if !norm.is_finite() {
            let bad = norms.iter().position(|n| !n.double_value(&[]).is_finite()).unwrap_or_default();
            let what = format!("the gradient of {}", self.names[with_gradient[bad]]);
            return Err(Error::NotFinite { what, step: step + 1 });
        }
        let scale = self.config.max_grad_norm / (norm + 1e-6);
        tch::no_grad(|| {
            if scale < 1.0 {
                gradients.iter_mut().for_each(|g| drop(g.g_mul_scalar_(scale)));
            }
            for decays in [true, false] {
                self.adamw(&with_gradient, &gradients, decays, step, steps)?;
            }
            self.muon(&with_gradient, &gradients, self.learning_rate(step, steps));
            self.narrow(&with_gradient);
            Ok(norm)
        })
    }

    /// Brings what was changed in f32 masters to the parameters themselves.
    fn narrow(&mut self, changed: &[usize]) {
        for &i in changed {
            if self.parameters[i].kind() != Kind::Float {
                self.parameters[i].copy_(&self.masters[i]);
            }
        }
    }

    /// All that a step changes, as it is now.
    pub(crate) fn copy_of_state(&self) -> Vec<Tensor> {
        tch::no_grad(|| self.changing().map(Tensor::copy).collect())
    }

    /// Puts back what [`copy_of_state`](Self::copy_of_state) gave.
    pub(crate) fn put_back(&mut self, state: &[Tensor]) {
        tch::no_grad(|| {
            self.changing().zip(state).for_each(|(mine, before)| mine.shallow_clone().copy_(before));
            self.narrow(&(0..self.parameters.len()).collect::<Vec<_>>());
        });
    }

    fn changing(&self) -> impl Iterator<Item = &Tensor> {
        [&self.masters, &self.exp_avgs, &self.exp_avg_sqs, &self.steps].into_iter().flatten()
    }

    /// Writes what a resumed run needs: moments, step counts and, of narrow parameters, the f32 masters.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, file: &Path) -> Result<()> {
        let tensors: Vec<(String, Tensor)> =
            self.state().map(|(name, tensor)| (name, tensor.to_device(tch::Device::Cpu).contiguous())).collect();
        Ok(Tensor::write_safetensors(&tensors, file)?)
    }

    /// Takes up what [`save`](Self::save) wrote.
    ///
    /// # Errors
    /// If the file cannot be read, or is of other parameters; nothing is changed then.
    pub fn restore(&mut self, file: &Path) -> Result<()> {
        let broken = |reason: String| Error::State { path: file.to_owned(), reason };
        let found = Tensor::read_safetensors(file).map_err(|error| broken(error.to_string()))?;
        let found: BTreeMap<String, Tensor> = found.into_iter().collect();
        let pairs = self.state().map(|(name, mine)| match found.get(&name) {
            Some(saved) if saved.size() == mine.size() => Ok((mine, saved)),
            Some(saved) => Err(broken(format!("{name} is {:?}, should be {:?}", saved.size(), mine.size()))),
            None => Err(broken(format!("{name} is missing"))),
        });
        let pairs: Vec<_> = pairs.collect::<Result<_>>()?;
        if pairs.len() != found.len() {
            return Err(broken(format!("{} tensors, should be {}", found.len(), pairs.len())));
        }
        tch::no_grad(|| pairs.into_iter().try_for_each(|(mut mine, saved)| Ok(mine.f_copy_(saved).map(drop)?)))
    }

    /// The state's tensors, the optimizer's own, by name.
    fn state(&self) -> impl Iterator<Item = (String, Tensor)> {
        self.names.iter().enumerate().flat_map(|(i, name)| {
            let narrow = self.parameters[i].kind() != Kind::Float;
            let always = [("exp_avg", &self.exp_avgs), ("exp_avg_sq", &self.exp_avg_sqs), ("step", &self.steps)];
            let lists = always.into_iter().chain(narrow.then_some(("master", &self.masters)));
            lists.map(move |(kind, list)| (format!("{kind}.{name}"), list[i].shallow_clone()))
        })
    }

    /// The learning rate at `step` of `steps`.
    pub fn learning_rate(&self, step: u64, steps: u64) -> f64 {
        self.config.learning_rate * self.config.schedule.factor(step, steps, self.config.warmup_steps)
    }

    fn adamw(&self, with_gradient: &[usize], gradients: &[Tensor], decays: bool, step: u64, steps: u64) -> Result<()> {
        let rule = Rule::AdamW { decays };
        let picked: Vec<usize> = (0..with_gradient.len()).filter(|&k| self.rules[with_gradient[k]] == rule).collect();
        let pick = |list: &[Tensor]| picked.iter().map(|&k| list[with_gradient[k]].shallow_clone()).collect::<Vec<_>>();
        let gradients: Vec<Tensor> = picked.iter().map(|&k| gradients[k].shallow_clone()).collect();
        let hyper = AdamWStep {
            learning_rate: self.learning_rate(step, steps),
            beta1: self.config.beta1,
            beta2: self.config.beta2,
            weight_decay: if decays { self.config.weight_decay } else { 0.0 },
            epsilon: self.config.epsilon,
        };
        let (masters, exp_avgs) = (pick(&self.masters), pick(&self.exp_avgs));
        Ok(fused_adamw(&masters, &gradients, &exp_avgs, &pick(&self.exp_avg_sqs), &pick(&self.steps), &hyper)?)
    }

    fn muon(&self, with_gradient: &[usize], gradients: &[Tensor], learning_rate: f64) {
        for (&i, gradient) in with_gradient.iter().zip(gradients).filter(|(i, _)| self.rules[**i] == Rule::Muon) {
            muon(&self.masters[i], gradient, &self.exp_avgs[i], learning_rate, self.config.weight_decay);
        }
    }
}

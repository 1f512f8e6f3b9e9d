use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};
use vr1_torch::{AdamWStep, fused_adamw};

use crate::{Error, Result, Schedule};

/// AdamW's settings; the defaults are those of Hugging Face's `TrainingArguments`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OptimizerConfig {
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

/// AdamW over named parameters. Parameters of a narrow kind (bf16, f16) have f32 masters, which the updates are added to:
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
    decayed: Vec<bool>,
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
        let decayed = masters.iter().map(|p| p.dim() > 1).collect();
        let (exp_avgs, exp_avg_sqs) = (zeros(), zeros());
        Ok(Self { config, names, parameters, masters, exp_avgs, exp_avg_sqs, steps, decayed })
    }

    /// One step from the gradients collected since the last, which are then dropped: the norm that they had before they
    /// were clipped.
    ///
    /// # Errors
    /// If a gradient is not finite; the first parameter with such a one is named, and nothing is changed.
    pub fn step(&mut self, step: u64, steps: u64) -> Result<f64> {
        let with_gradient: Vec<usize> =
            (0..self.parameters.len()).filter(|&i| self.parameters[i].grad().defined()).collect();
        let mut gradients: Vec<Tensor> =
            with_gradient.iter().map(|&i| self.parameters[i].grad().to_kind(Kind::Float)).collect();
        if gradients.is_empty() {
            return Ok(0.0);
        }
        let norms: Vec<Tensor> = gradients.iter().map(|g| g.norm()).collect();
        let norm = Tensor::stack(&norms, 0).norm().double_value(&[]);
        if !norm.is_finite() {
            let bad = norms.iter().position(|n| !n.double_value(&[]).is_finite()).unwrap_or_default();
            return Err(Error::GradientNotFinite { name: self.names[with_gradient[bad]].clone(), step });
        }
        let scale = self.config.max_grad_norm / (norm + 1e-6);
        tch::no_grad(|| {
            if scale < 1.0 {
                gradients.iter_mut().for_each(|g| drop(g.g_mul_scalar_(scale)));
            }
            for decay in [true, false] {
                self.update(&with_gradient, &gradients, decay, step, steps)?;
            }
            for (parameter, master) in self.parameters.iter_mut().zip(&self.masters) {
                if parameter.kind() != Kind::Float {
                    parameter.copy_(master);
                }
                parameter.zero_grad();
            }
            Ok(norm)
        })
    }

    /// The learning rate at `step` of `steps`.
    pub fn learning_rate(&self, step: u64, steps: u64) -> f64 {
        self.config.learning_rate * self.config.schedule.factor(step, steps, self.config.warmup_steps)
    }

    fn update(&self, with_gradient: &[usize], gradients: &[Tensor], decay: bool, step: u64, steps: u64) -> Result<()> {
        let picked: Vec<usize> =
            (0..with_gradient.len()).filter(|&k| self.decayed[with_gradient[k]] == decay).collect();
        let pick = |list: &[Tensor]| picked.iter().map(|&k| list[with_gradient[k]].shallow_clone()).collect::<Vec<_>>();
        let gradients: Vec<Tensor> = picked.iter().map(|&k| gradients[k].shallow_clone()).collect();
        let hyper = AdamWStep {
            learning_rate: self.learning_rate(step, steps),
            beta1: self.config.beta1,
            beta2: self.config.beta2,
            weight_decay: if decay { self.config.weight_decay } else { 0.0 },
            epsilon: self.config.epsilon,
        };
        let (masters, exp_avgs) = (pick(&self.masters), pick(&self.exp_avgs));
        Ok(fused_adamw(&masters, &gradients, &exp_avgs, &pick(&self.exp_avg_sqs), &pick(&self.steps), &hyper)?)
    }
}

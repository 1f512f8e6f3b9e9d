use serde::{Deserialize, Serialize};

use super::groups::ParameterGroup;
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

/// How AdamW's moments are held between steps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Moments {
    /// In f32, 8 bytes a parameter.
    #[default]
    #[serde(rename = "f32")]
    F32,
    /// In 8 bits each by block-wise dynamic quantisation (Dettmers et al., [arXiv:2110.02861](https://arxiv.org/abs/2110.02861)),
    /// 2 bytes a parameter: 256 numbers share a scale, as in bitsandbytes. Those of a parameter of fewer than 4,096 numbers, and
    /// Muon's, stay f32.
    #[serde(rename = "blockwise_8bit")]
    Blockwise8bit,
}

/// An optimizer's settings; the defaults are those of Hugging Face's `TrainingArguments`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OptimizerConfig {
    /// How a gradient becomes an update.
    pub method: Method,
    /// How moments are held.
    pub moments: Moments,
    /// Masters and moments lie in the host's memory, and are brought over piece by piece in a step; the update is the same.
    pub offload: bool,
    /// Step size at its highest.
    pub learning_rate: f64,
    /// How it goes from step to step.
    pub schedule: Schedule,
    /// Steps of linear warm-up before that.
    pub warmup_steps: u64,
    /// The same as a share of all steps, rounded up.
    #[serde(skip_serializing_if = "is_zero")]
    pub warmup_ratio: f64,
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
    /// How often the loss counts that has the routers of experts spread tokens, of each micro-batch by its tokens.
    pub router_aux_loss_coef: f64,
    /// Parameters with a learning rate or a weight decay of their own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<ParameterGroup>,
}

fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self {
            method: Method::AdamW,
            moments: Moments::F32,
            offload: false,
            learning_rate: 1e-6,
            schedule: Schedule::Linear,
            warmup_steps: 0,
            warmup_ratio: 0.0,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.0,
            max_grad_norm: 1.0,
            router_aux_loss_coef: 0.0,
            groups: Vec::new(),
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
        check(
            "optimizer.learning_rate",
            self.learning_rate,
            "above 0 and finite",
            self.learning_rate > 0.0 && self.learning_rate.is_finite(),
        )?;
        check("optimizer.beta1", self.beta1, "in [0, 1)", (0.0..1.0).contains(&self.beta1))?;
        check("optimizer.beta2", self.beta2, "in [0, 1)", (0.0..1.0).contains(&self.beta2))?;
        let finite = 0.0..f64::INFINITY;
        check(
            "optimizer.epsilon",
            self.epsilon,
            "above 0 and finite",
            self.epsilon > 0.0 && finite.contains(&self.epsilon),
        )?;
        check(
            "optimizer.weight_decay",
            self.weight_decay,
            "0 or more and finite",
            finite.contains(&self.weight_decay),
        )?;
        check("optimizer.max_grad_norm", self.max_grad_norm, "above 0", self.max_grad_norm > 0.0)?;
        let coefficient = self.router_aux_loss_coef;
        check("optimizer.router_aux_loss_coef", coefficient, "0 or more and finite", finite.contains(&coefficient))?;
        let ratio = self.warmup_ratio;
        check("optimizer.warmup_ratio", ratio, "in [0, 1]", (0.0..=1.0).contains(&ratio))?;
        let alone = "0 where there are `warmup_steps`";
        check("optimizer.warmup_ratio", ratio, alone, ratio == 0.0 || self.warmup_steps == 0)?;
        self.schedule.validate()?;
        self.groups.iter().try_for_each(ParameterGroup::validate)
    }

    /// Steps of warm-up, of so many.
    pub fn warmup(&self, steps: u64) -> u64 {
        if self.warmup_steps > 0 { self.warmup_steps } else { (steps as f64 * self.warmup_ratio).ceil() as u64 }
    }

    /// What learning rates are multiplied by at `step` (from 0) of `steps`.
    pub fn factor(&self, step: u64, steps: u64) -> f64 {
        self.schedule.factor(step, steps, self.warmup(steps))
    }
}

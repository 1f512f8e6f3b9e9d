use tch::{Kind, Tensor};
use vr1_torch::take_gradient;

/// The gradients of a step, summed over its micro-batches in f32 whatever the parameters are.
#[derive(Debug)]
pub(crate) struct Gradients {
    sums: Vec<Option<Tensor>>,
}

impl Gradients {
    pub(crate) fn new(parameters: usize) -> Self {
        Self { sums: (0..parameters).map(|_| None).collect() }
    }

    /// Takes the gradients out of `parameters` and adds them to the sums.
    pub(crate) fn collect(&mut self, parameters: &[Tensor]) {
        tch::no_grad(|| {
            for (sum, parameter) in self.sums.iter_mut().zip(parameters) {
                let Some(gradient) = take_gradient(parameter) else { continue };
                match sum {
                    Some(sum) => drop(sum.g_add_(&gradient)),
                    None => *sum = Some(gradient.to_kind(Kind::Float)),
                }
            }
        });
    }

    /// The sums; nothing where a parameter had no part in the step.
    pub(crate) fn into_sums(self) -> Vec<Option<Tensor>> {
        self.sums
    }
}

/// Leaves no gradient on `parameters`.
pub(crate) fn drop_gradients(parameters: &[Tensor]) {
    parameters.iter().for_each(|parameter| drop(take_gradient(parameter)));
}

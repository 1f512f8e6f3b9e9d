//! Tensors compared to the last bit.

use std::collections::BTreeMap;

use tch::{Device, Kind, Tensor};
use vr1_learn::Learner;
use vr1_vlm::Backbone;

pub(crate) type Named = BTreeMap<String, Tensor>;

/// A copy of a model's parameters.
pub(crate) fn parameters(model: &dyn Backbone) -> Named {
    tch::no_grad(|| model.parameters().iter().map(|(name, tensor)| (name.to_owned(), tensor.detach().copy())).collect())
}

/// A copy of all that a learner's steps change: parameters, moments, step counts, masters.
pub(crate) fn state(learner: &Learner) -> Named {
    let dir = tempfile::tempdir().unwrap();
    learner.save(dir.path()).unwrap();
    let optimizer = Tensor::read_safetensors(dir.path().join("optimizer.safetensors")).unwrap();
    let mut all = parameters(learner.model().as_ref());
    all.extend(optimizer.into_iter().map(|(name, tensor)| (format!("optimizer: {name}"), tensor)));
    all
}

/// The first moments: the last step's gradient where `beta1` is 0.
pub(crate) fn gradients(learner: &Learner) -> Named {
    let moments = state(learner).into_iter();
    moments.filter_map(|(name, t)| Some((name.strip_prefix("optimizer: exp_avg.")?.to_owned(), t))).collect()
}

/// The numbers of a tensor as they lie in memory.
pub(crate) fn bits(tensor: &Tensor) -> Vec<u8> {
    let tensor = tensor.detach().to_device(Device::Cpu).contiguous();
    let mut bytes = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
    tensor.copy_data_u8(&mut bytes, tensor.numel());
    bytes
}

/// The names of tensors that differ in a single bit.
pub(crate) fn changed(before: &Named, after: &Named) -> Vec<String> {
    assert!(before.keys().eq(after.keys()));
    let pairs = before.iter().zip(after.values());
    pairs.filter(|((_, a), b)| bits(a) != bits(b)).map(|((name, _), _)| name.clone()).collect()
}

/// The norm of the difference over all tensors of both, over the norm of the second.
pub(crate) fn difference(a: &Named, b: &Named) -> f64 {
    let squares = |of: &dyn Fn(&Tensor, &Tensor) -> Tensor| -> f64 {
        let one = |(name, a): (&String, &Tensor)| {
            let double = |t: &Tensor| t.to_kind(Kind::Double);
            of(&double(a), &double(&b[name])).square().sum(Kind::Double).double_value(&[])
        };
        a.iter().map(one).sum()
    };
    (squares(&|a, b| a - b) / squares(&|_, b| b.shallow_clone())).sqrt()
}

/// The largest number of a tensor, without its sign.
pub(crate) fn largest(tensor: &Tensor) -> f64 {
    if tensor.numel() == 0 { 0.0 } else { tensor.abs().max().double_value(&[]) }
}

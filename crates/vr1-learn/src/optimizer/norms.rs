//! Norms of what several ranks hold, as one would know them that held it all.

use std::collections::BTreeMap;

use tch::{Device, Tensor};
use vr1_torch::{foreach_norm, guarded};

use super::Optimizer;
use crate::{Error, Result};

impl Optimizer {
    /// The norms of the gradients of all ranks, with the places of their parameters, in their order; of this rank's by slot.
    pub(super) fn all_norms(&self, with_gradient: &[usize], gradients: &[Tensor]) -> Result<Vec<(usize, f32)>> {
        let own = || -> Result<Vec<(usize, u32)>> {
            if gradients.is_empty() {
                return Ok(Vec::new());
            }
            let norms = Tensor::f_stack(&foreach_norm(gradients)?, 0)?.f_to_device(Device::Cpu)?;
            let places = with_gradient.iter().map(|&i| self.slots[i].place);
            Ok(places.zip(Vec::<f32>::try_from(norms)?.into_iter().map(f32::to_bits)).collect())
        };
        // As bits, for JSON has no NaN.
        let own = guarded(own).map_err(Error::from).flatten();
        let mut all: Vec<(usize, u32)> = self.shards.world().all(own)?.concat();
        all.sort_by_key(|(place, _)| *place);
        Ok(all.into_iter().map(|(place, bits)| (place, f32::from_bits(bits))).collect())
    }

    /// The norm of all of them.
    pub(super) fn norm(&self, norms: &[(usize, f32)]) -> Result<f64> {
        let norms: Vec<f32> = norms.iter().map(|(_, norm)| *norm).collect();
        Ok(Tensor::from_slice(&norms).f_to_device(self.parameters[0].device())?.f_norm()?.f_double_value(&[])?)
    }

    /// The norm in each part of the model.
    pub(super) fn norms_by_part(&self, norms: &[(usize, f32)]) -> BTreeMap<&'static str, f64> {
        let mut parts = BTreeMap::new();
        for &(place, norm) in norms {
            if let Some(part) = self.names[place].1 {
                *parts.entry(part).or_default() += f64::from(norm) * f64::from(norm);
            }
        }
        parts.into_iter().map(|(part, square): (_, f64)| (part, square.sqrt())).collect()
    }

    /// The first of these slots' parameters that holds a number which is not finite, by its place: all of them are looked at in one pass.
    pub(super) fn not_finite(&self, changed: &[usize]) -> Result<Option<usize>> {
        if changed.is_empty() {
            return Ok(None);
        }
        let parameters: Vec<Tensor> = changed.iter().map(|&i| self.slots[i].parameter.detach()).collect();
        let norms = foreach_norm(&parameters)?;
        if Tensor::f_stack(&norms, 0)?.f_norm()?.f_double_value(&[])?.is_finite() {
            return Ok(None);
        }
        // The square of a large number may be infinite where the number is not.
        let finite = |i: &usize| self.slots[*i].parameter.detach().isfinite().all().double_value(&[]) != 0.0;
        Ok(changed.iter().find(|i| !finite(i)).map(|&i| self.slots[i].place))
    }
}

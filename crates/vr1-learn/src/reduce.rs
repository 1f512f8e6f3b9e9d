//! Gradients of all ranks, summed.

use tch::{Kind, Tensor};

use crate::world::World;
use crate::{Error, Result};

/// Numbers that are sent at once, but for parameters that are larger.
const BUCKET: usize = 1 << 23;

/// The sum over ranks of each parameter's gradient, in f32 and in the order of ranks, so that it is the same bits on all; and the bytes
/// that were summed. `present` says which parameters have a gradient on any rank: where this one has none, it counts as zeros.
pub(crate) fn summed(
    world: &World,
    parameters: &[Tensor],
    mut gradients: Vec<Option<Tensor>>,
    present: &[bool],
) -> Result<(Vec<Option<Tensor>>, u64)> {
    if world.is_alone() {
        return Ok((gradients, 0));
    }
    if present.len() != parameters.len() {
        let reason = format!("{} gradients for {} parameters", present.len(), parameters.len());
        return Err(Error::Lost { rank: world.rank(), reason });
    }
    let (mut bytes, mut bucket, mut numbers) = (0, Vec::new(), 0);
    let last = present.iter().rposition(|present| *present);
    for (place, parameter) in parameters.iter().enumerate().filter(|(place, _)| present[*place]) {
        bucket.push(place);
        numbers += parameter.numel();
        if numbers >= BUCKET || Some(place) == last {
            let flat = |&place: &usize| match gradients[place].take() {
                Some(gradient) => gradient.to_kind(Kind::Float).flatten(0, -1),
                None => Tensor::zeros([parameters[place].numel() as i64], (Kind::Float, parameters[place].device())),
            };
            let sum = tch::no_grad(|| Tensor::f_cat(&bucket.iter().map(flat).collect::<Vec<_>>(), 0))?;
            bytes += 4 * numbers as u64;
            let (sum, mut at) = (world.sum(sum)?, 0);
            for place in bucket.drain(..) {
                let count = parameters[place].numel() as i64;
                gradients[place] = Some(sum.f_narrow(0, at, count)?.f_view(parameters[place].size().as_slice())?);
                at += count;
            }
            numbers = 0;
        }
    }
    Ok((gradients, bytes))
}

//! Which parameters lie at one rank alone, and at which.

use std::collections::HashMap;

use tch::Tensor;
use vr1_nn::{Block, LayerShares, Scattered};
use vr1_vlm::Backbone;

use crate::Result;
use crate::sharding::Shards;
use crate::world::World;

/// A layer's parameters, but for its adapters'.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) place: String,
    pub(super) blocks: Vec<Block>,
    /// The rank that each block belongs to.
    pub(super) shards: Shards,
    /// Those that are trained: places among all that are.
    pub(super) trained: Vec<usize>,
    /// Whether all of it is here now.
    pub(super) here: bool,
}

impl Layer {
    /// Takes room for what is another rank's.
    pub(super) fn take(&self) -> Result<()> {
        let mut others = self.others().filter(|block| !block.storage.is_there());
        let taken = others.try_for_each(|block| block.storage.take());
        Ok(taken.inspect_err(|_| drop(self.free()))?)
    }

    /// Gives it back.
    pub(super) fn free(&self) -> Result<()> {
        let mut others = self.others().filter(|block| block.storage.is_there());
        Ok(others.try_for_each(|block| block.storage.free())?)
    }

    fn others(&self) -> impl Iterator<Item = &Block> {
        self.blocks.iter().enumerate().filter(|(place, _)| !self.shards.has(*place)).map(|(_, block)| block)
    }
}

/// The layers of a model of which `trained` is trained, and which rank each trained parameter belongs to: those of layers as
/// [`LayerShares`] deals these, then those outside, so that all ranks update about as much.
pub(super) fn laid(model: &dyn Backbone, trained: &[(String, Tensor)], world: &World) -> Result<(Vec<Layer>, Shards)> {
    let (parameters, mut shares) = (model.parameters(), LayerShares::new(world.size()));
    let places: HashMap<&str, usize> =
        trained.iter().enumerate().map(|(place, (name, _))| (name.as_str(), place)).collect();
    let (mut owner_of, mut apart) = (vec![0; trained.len()], vec![false; trained.len()]);
    let mut updated = vec![0; world.size()];
    let mut layers = Vec::new();
    for (place, _) in parameters.layers() {
        let blocks = parameters.blocks(place).map_err(vr1_vlm::Error::from)?;
        let owners = shares.of_next(&blocks.iter().map(|block| block.bytes).collect::<Vec<_>>());
        let mut own = Vec::new();
        for (block, &owner) in blocks.iter().zip(&owners) {
            if owner == world.rank() && !block.storage.is_there() {
                return Err(Scattered { place: place.clone() }.error().into());
            }
            for &parameter in block.names.iter().filter_map(|name| places.get(name.as_str())) {
                (owner_of[parameter], apart[parameter]) = (owner, true);
                updated[owner] += trained[parameter].1.numel();
                own.push(parameter);
            }
        }
        own.sort_unstable();
        let shards = Shards::of(owners, Vec::new(), world);
        layers.push(Layer { place: place.clone(), blocks, shards, trained: own, here: false });
    }
    let rest: Vec<usize> = (0..trained.len()).filter(|&parameter| !apart[parameter]).collect();
    let sizes: Vec<usize> = rest.iter().map(|&parameter| trained[parameter].1.numel()).collect();
    for (parameter, owner) in rest.into_iter().zip(LayerShares::from(updated).of_next(&sizes)) {
        owner_of[parameter] = owner;
    }
    Ok((layers, Shards::of(owner_of, apart, world)))
}

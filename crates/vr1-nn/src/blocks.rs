//! The memories that a layer's parameters lie in, and which of several ranks has which.

use tch::Tensor;
use vr1_torch::Storage;

use crate::{Parameters, Result, Scattered};

/// A memory that holds some of a layer's parameters: one of them, or several that adjoin.
#[derive(Debug)]
pub struct Block {
    /// The memory.
    pub storage: Storage,
    /// How much that is.
    pub bytes: usize,
    /// The names of the parameters.
    pub names: Vec<String>,
}

impl Parameters {
    /// The memories of the layer at `place`, without those of its adapters, in the order of their first names.
    ///
    /// # Errors
    /// If libtorch refuses.
    pub fn blocks(&self, place: &str) -> Result<Vec<Block>> {
        blocks(self.of_layer(place))
    }
}

/// Checks that a parameter is here: to be copied, say.
pub(crate) fn check_here(name: &str, tensor: &Tensor) -> Result<()> {
    match Storage::of(tensor)?.is_there() || tensor.numel() == 0 {
        true => Ok(()),
        false => Err(Scattered { place: name.to_owned() }.error().into()),
    }
}

pub(crate) fn blocks<'a>(parameters: impl Iterator<Item = (&'a str, &'a Tensor)>) -> Result<Vec<Block>> {
    let mut blocks: Vec<Block> = Vec::new();
    for (name, tensor) in parameters {
        let storage = Storage::of(tensor)?;
        let number = storage.number();
        match blocks.iter_mut().find(|block| block.storage.number() == number) {
            Some(block) => block.names.push(name.to_owned()),
            None => blocks.push(Block { bytes: storage.bytes()?.numel(), storage, names: vec![name.to_owned()] }),
        }
    }
    Ok(blocks)
}

/// Deals sizes to ranks, some at a time: the largest of these first, each to the rank that has the least so far. At any time no rank has more
/// than an even share and the largest. The memories of layers are dealt so, layer by layer as these run.
///
/// # Example
/// ```
/// let mut shares = vr1_nn::LayerShares::new(2);
/// assert_eq!(shares.of_next(&[10, 90, 40]), [1, 0, 1]);
/// assert_eq!(shares.of_next(&[10, 90, 40]), [0, 1, 0]);
/// assert_eq!(vr1_nn::LayerShares::from(vec![0, 50]).of_next(&[30, 60]), [1, 0]);
/// ```
#[derive(Debug, Clone)]
pub struct LayerShares(Vec<usize>);

impl LayerShares {
    /// Of so many ranks, one or more, none of which has any yet.
    pub fn new(ranks: usize) -> Self {
        Self(vec![0; ranks.max(1)])
    }

    /// The rank that each of some more belongs to, by their sizes.
    pub fn of_next(&mut self, sizes: &[usize]) -> Vec<usize> {
        let Self(loads) = self;
        let mut order: Vec<usize> = (0..sizes.len()).collect();
        order.sort_by_key(|&place| (std::cmp::Reverse(sizes[place]), place));
        let mut owners = vec![0; sizes.len()];
        for place in order {
            let least = (0..loads.len()).min_by_key(|&rank| (loads[rank], rank)).unwrap_or_default();
            loads[least] += sizes[place];
            owners[place] = least;
        }
        owners
    }
}

impl From<Vec<usize>> for LayerShares {
    /// Of ranks that have so much already, one or more.
    fn from(loads: Vec<usize>) -> Self {
        Self(if loads.is_empty() { vec![0] } else { loads })
    }
}

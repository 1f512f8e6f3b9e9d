//! `L` layers with experts, `E` experts.

use std::collections::BTreeMap;

use tch::{Device, Kind, Tensor};
use vr1_nn::Routing;

use crate::Result;

/// The shape of two sums, and their numbers.
pub(crate) type ToldSums = (Vec<i64>, [Vec<f64>; 2]);

/// What the routers of a step did.
#[derive(Debug, Default)]
pub(crate) struct Routed {
    /// How many tokens went through each expert, and the sum of the probabilities that it was given, `[L, E]` each.
    sums: Option<[Tensor; 2]>,
}

impl Routed {
    /// Takes in a micro-batch.
    pub(crate) fn add(&mut self, routing: &Routing) {
        let Some(more) = routing.taken() else { return };
        self.sums = Some(match self.sums.take() {
            Some([counts, given]) => [counts + &more[0], given + &more[1]],
            None => more,
        });
    }

    /// The sums as other ranks are told them.
    pub(crate) fn told(&self) -> Result<Option<ToldSums>> {
        let Some(sums) = &self.sums else { return Ok(None) };
        let list = |tensor: &Tensor| -> Result<Vec<f64>> {
            Ok(Vec::try_from(tensor.to_kind(Kind::Double).to_device(Device::Cpu).flatten(0, -1))?)
        };
        Ok(Some((sums[0].size(), [list(&sums[0])?, list(&sums[1])?])))
    }

    /// Takes in what another rank told.
    pub(crate) fn fold(&mut self, told: Option<ToldSums>) {
        let Some((size, lists)) = told else { return };
        let more = lists.map(|list| Tensor::from_slice(&list).view(size.as_slice()));
        self.sums = Some(match self.sums.take() {
            Some([counts, given]) => [counts + &more[0], given + &more[1]],
            None => more,
        });
    }

    /// The loss that has routers spread tokens, over the whole step, and the least and the greatest load of an expert in any layer,
    /// where 1 is an even share.
    pub(crate) fn metrics(&self) -> BTreeMap<String, f64> {
        let Some([counts, given]) = &self.sums else { return BTreeMap::new() };
        let experts = counts.size()[1] as f64;
        let rows = given.sum(Kind::Double); // Probabilities of a token sum to one.
        let over = |sums: &Tensor| sums.sum_dim_intlist(0, false, Kind::Double) / &rows;
        let balance = (over(counts) * over(given)).sum(Kind::Double).double_value(&[]) * experts;
        let load = counts / counts.mean_dim(-1, true, Kind::Double);
        let named = [
            ("router_balance", balance),
            ("expert_load_least", load.min().double_value(&[])),
            ("expert_load_most", load.max().double_value(&[])),
        ];
        named.map(|(name, value)| (name.to_owned(), value)).into()
    }
}

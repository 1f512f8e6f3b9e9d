//! `L` layers with experts, `E` experts.

use std::collections::BTreeMap;

use tch::{Kind, Tensor};
use vr1_nn::Routing;

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

//! `N` tokens, `E` experts, `k` of them for each token, `S = N·k` pairs of both, `D` width, `F` width inside an expert.

use tch::{Kind, Tensor};
use vr1_torch::{expert_products, gradients_collected, granted};

use crate::{Activation, Init, Pass, Path, Stored};

/// Which way round the matrices of experts lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lying {
    /// As those of linear layers: `[E, outputs, inputs]`.
    OutputsFirst,
    /// The other way round: `[E, inputs, outputs]` (Aria).
    InputsFirst,
}

/// Gated MLPs of one shape, of which a token goes through a few: `gate_up_proj` and `down_proj` hold the matrices of all.
#[derive(Debug)]
pub(crate) struct Experts {
    gate_up: Tensor,
    down: Tensor,
    lying: Lying,
    activation: Activation,
}

impl Experts {
    pub(crate) fn new(
        path: &Path<'_>,
        (count, width, inner): (i64, i64, i64),
        lying: Lying,
        stored: [Stored; 2],
        activation: Activation,
    ) -> Self {
        let [gate_up, down] = [("gate_up_proj", width, 2 * inner), ("down_proj", inner, width)];
        let get = |(name, inputs, outputs): (&str, i64, i64), stored| {
            let matrix = match lying {
                Lying::OutputsFirst => [outputs, inputs],
                Lying::InputsFirst => [inputs, outputs],
            };
            let init = Init::Normal((1.0 / inputs as f64).sqrt());
            path.get_stored(name, &[count, matrix[0], matrix[1]], init, stored)
        };
        let [stored_gate_up, stored_down] = stored;
        Self { gate_up: get(gate_up, stored_gate_up), down: get(down, stored_down), lying, activation }
    }

    /// `[N, D]` through the experts `chosen` `[N, k]` for each, whose outputs are weighed with `weights` `[N, k]` and added: `[N, D]`.
    pub(crate) fn forward(&self, x: &Tensor, chosen: &Tensor, weights: &Tensor, pass: Pass) -> Tensor {
        let (tokens, width, count) = (x.size()[0], x.size()[1], chosen.size()[1]);
        let (sorted, order) = chosen.flatten(0, 1).sort_stable(true, 0, false);
        let numbers = Tensor::arange(self.gate_up.size()[0], (Kind::Int64, x.device()));
        // Where each expert's pairs end.
        let ends = numbers.searchsorted(&sorted, true, true, "right", None::<&Tensor>);
        // Repeated, and not picked several times: the gradient is then a sum in one order.
        let pairs = x.unsqueeze(1).expand([tokens, count, width], false).reshape([tokens * count, width]);
        let inner = self.product(&pairs.index_select(0, &order), &self.gate_up, &ends); // [S, 2F]
        let inner = if pass == Pass::Sampling && !gradients_collected() {
            self.activation.gated(&inner)
        } else {
            let [gate, up] = <[Tensor; 2]>::try_from(inner.chunk(2, -1)).unwrap_or_else(|_| unreachable!("two halves"));
            self.activation.gate(&gate, &up)
        };
        let outputs = self.product(&inner, &self.down, &ends).index_select(0, &order.argsort(0, false)); // [S, D]
        let weighed = outputs.view([tokens, count, width]) * weights.unsqueeze(-1);
        weighed.sum_dim_intlist(1, false, None::<Kind>)
    }

    /// Pairs `[S, inputs]` that lie expert by expert, each times its expert's matrix.
    fn product(&self, pairs: &Tensor, matrices: &Tensor, ends: &Tensor) -> Tensor {
        let matrices = match self.lying {
            Lying::OutputsFirst => matrices.transpose(1, 2),
            Lying::InputsFirst => matrices.shallow_clone(),
        }; // [E, inputs, outputs]
        granted(expert_products(pairs, &matrices, ends))
    }
}

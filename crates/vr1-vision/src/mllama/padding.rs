//! `I` pictures, `L` tokens of a picture, `H` heads, `d` head size.

use std::sync::Arc;

use tch::Tensor;
use vr1_nn::{Heads, attention};

/// Which of a picture's tokens are padding: those behind the first so many, which are its own.
///
/// Padding does not look at padding; all else looks at all. That is not what one would choose, but how these towers were trained.
#[derive(Debug, Clone)]
pub(super) struct Padding {
    /// Pictures side by side of as many own tokens: how many pictures, and how many tokens.
    runs: Arc<Vec<(i64, i64)>>,
}

impl Padding {
    /// Of pictures with these numbers of own tokens.
    pub(super) fn behind(own: &[i64]) -> Self {
        let mut runs: Vec<(i64, i64)> = Vec::new();
        for &count in own {
            match runs.last_mut() {
                Some((pictures, last)) if *last == count => *pictures += 1,
                _ => runs.push((1, count)),
            }
        }
        Self { runs: Arc::new(runs) }
    }

    /// Attention of queries, keys and values `[I, L, H, d]` within each picture, to `[I, L, H · d]`.
    pub(super) fn attention(&self, [query, key, value]: [&Tensor; 3], heads: Heads) -> Tensor {
        let length = query.size()[1];
        let mut start = 0;
        let mut pictures = Vec::with_capacity(self.runs.len());
        for &(count, own) in self.runs.iter() {
            let [q, k, v] = [query, key, value].map(|x| x.narrow(0, start, count));
            let seen = attention(&q.narrow(1, 0, own), &k, &v, None, heads);
            let [k, v] = [k, v].map(|x| x.narrow(1, 0, own));
            let padded = attention(&q.narrow(1, own, length - own), &k, &v, None, heads);
            pictures.push(Tensor::cat(&[seen, padded], 1));
            start += count;
        }
        if pictures.len() == 1 { pictures.remove(0) } else { Tensor::cat(&pictures, 0) }
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, Tensor};
    use vr1_nn::{Heads, attention};

    use super::Padding;

    const HEADS: Heads = Heads { count: 2, key_value: 2, dim: 4 };

    fn tokens() -> [Tensor; 3] {
        tch::manual_seed(1);
        [0, 1, 2].map(|_| Tensor::randn([4, 6, 2, 4], (Kind::Float, Device::Cpu)))
    }

    #[test]
    fn only_padding_is_hidden_and_from_padding_only() {
        let [q, k, v] = tokens();
        let own = [2, 2, 5, 3];
        let padded = |own: i64| {
            let place = Tensor::arange(6, (Kind::Float, Device::Cpu)).ge(own).to_kind(Kind::Float);
            place.outer(&place) * -1e9
        };
        let masks = Tensor::stack(&own.map(padded), 0).unsqueeze(1);
        let expected = attention(&q, &k, &v, Some(&masks), HEADS);
        let found = Padding::behind(&own).attention([&q, &k, &v], HEADS);
        assert!(found.allclose(&expected, 1e-5, 1e-6, false));
    }
}

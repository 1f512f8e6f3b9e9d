//! `N` tokens of all prompts, `K` key-value heads, `d` head size.

use tch::{Device, Tensor};

/// One layer's keys and values.
#[derive(Debug)]
pub struct LayerKeyValues {
    /// Keys, rotated.
    pub key: Tensor,
    /// Values.
    pub value: Tensor,
}

impl LayerKeyValues {
    /// Both tensors, each made into another.
    pub(crate) fn map(&self, work: impl Fn(&Tensor) -> Tensor) -> Self {
        Self { key: work(&self.key), value: work(&self.value) }
    }
}

/// The keys and values of prompts, computed once and shared by all completions of each.
#[derive(Debug)]
pub struct Prefix {
    /// One entry a layer, each tensor `[N, K, d]`: one prompt behind the other, without padding.
    pub layers: Vec<LayerKeyValues>,
    /// How many tokens each prompt has.
    pub lengths: Vec<i64>,
    /// The position of each prompt's next token.
    pub next_positions: Vec<i64>,
}

impl Prefix {
    /// Prompts of these lengths whose keys and values are still to come, from [`Context::prompts`](crate::Context::prompts);
    /// completions begin at `next_positions`.
    pub fn empty(lengths: Vec<i64>, next_positions: Vec<i64>) -> Self {
        Self { layers: Vec::new(), lengths, next_positions }
    }

    /// How many tokens all prompts have, `N`.
    pub fn tokens(&self) -> i64 {
        self.lengths.iter().sum()
    }

    /// The device that it is on.
    pub fn device(&self) -> Device {
        self.layers.first().map_or(Device::Cpu, |layer| layer.key.device())
    }

    /// Where each prompt begins, and how long it is.
    pub(crate) fn spans(&self) -> Vec<(i64, i64)> {
        let starts = self.lengths.iter().scan(0, |start, &length| {
            *start += length;
            Some(*start - length)
        });
        starts.zip(self.lengths.iter().copied()).collect()
    }

    /// Keeps the prompts `kept`, in that order, and puts those of `more` behind them; layer by layer, so that no more than one layer is
    /// held twice.
    pub fn rebuild(&mut self, kept: &[usize], more: Vec<Self>) {
        let spans = self.spans();
        let whole = kept.iter().copied().eq(0..self.lengths.len());
        if whole && more.is_empty() {
            return;
        }
        let of_kept = |list: &[i64]| kept.iter().map(|&prompt| list[prompt]).collect::<Vec<i64>>();
        (self.lengths, self.next_positions) = (of_kept(&self.lengths), of_kept(&self.next_positions));
        let mut others = Vec::with_capacity(more.len());
        for prefix in more {
            self.lengths.extend(prefix.lengths);
            self.next_positions.extend(prefix.next_positions);
            others.push(prefix.layers.into_iter());
        }
        let old = std::mem::take(&mut self.layers);
        if self.lengths.is_empty() {
            return;
        }
        let depth = old.len().max(others.iter().map(ExactSizeIterator::len).max().unwrap_or(0));
        let mut old = old.into_iter();
        for _ in 0..depth {
            let (own, other): (Option<LayerKeyValues>, Vec<LayerKeyValues>) =
                (old.next(), others.iter_mut().filter_map(Iterator::next).collect());
            if let ([], [only]) = (kept, other.as_slice()) {
                self.layers.push(only.map(Tensor::shallow_clone));
                continue;
            }
            let side = |of: fn(&LayerKeyValues) -> &Tensor| {
                let mut parts = Vec::with_capacity(kept.len() + other.len());
                if let Some(own) = &own {
                    parts.extend(kept.iter().map(|&prompt| of(own).narrow(0, spans[prompt].0, spans[prompt].1)));
                }
                parts.extend(other.iter().map(|layer| of(layer).shallow_clone()));
                Tensor::cat(&parts, 0)
            };
            self.layers.push(LayerKeyValues { key: side(|layer| &layer.key), value: side(|layer| &layer.value) });
        }
    }

    /// Writes down the keys and values `[T, K, d]` of the tokens from number `start` on; layers come in order.
    pub(crate) fn write(&mut self, layer: usize, start: i64, key: &Tensor, value: &Tensor) {
        let (tokens, count) = (self.tokens(), key.size()[0]);
        let given = LayerKeyValues { key: key.shallow_clone(), value: value.shallow_clone() };
        if self.layers.len() == layer {
            self.layers.push(if count == tokens {
                given.map(Tensor::contiguous)
            } else {
                given.map(|x| x.new_empty([tokens, x.size()[1], x.size()[2]], (x.kind(), x.device())))
            });
        }
        if count < tokens {
            let kept = &self.layers[layer];
            kept.key.narrow(0, start, count).copy_(&given.key);
            kept.value.narrow(0, start, count).copy_(&given.value);
        }
    }
}

//! `N` tokens of all prompts, `K` key-value heads, `d` head size.

use std::ops::Range;

use tch::{Device, Tensor};

use crate::Across;

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
    /// What those who follow a prompt look at across, one entry a layer that does so, each tensor `[S, K, d]`: one prompt's behind the
    /// other's. Nothing where no prompt shows anything.
    pub(crate) across: Vec<LayerKeyValues>,
    /// How many states that are of each prompt.
    pub(crate) shown: Vec<i64>,
}

impl Prefix {
    /// Prompts of these lengths whose keys and values are still to come, from [`Context::prompts`](crate::Context::prompts);
    /// completions begin at `next_positions`.
    pub fn empty(lengths: Vec<i64>, next_positions: Vec<i64>) -> Self {
        let shown = vec![0; lengths.len()];
        Self { layers: Vec::new(), lengths, next_positions, across: Vec::new(), shown }
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
        spans(&self.lengths)
    }

    /// Where that begins which is looked at behind each prompt, and how long it is.
    pub(crate) fn sights(&self) -> Vec<(i64, i64)> {
        spans(&self.shown)
    }

    /// Keeps the prompts `kept`, in that order, and puts those of `more` behind them; layer by layer, so that no more than one layer is
    /// held twice.
    pub fn rebuild(&mut self, kept: &[usize], more: Vec<Self>) {
        let (own, sights) = (self.spans(), self.sights());
        let whole = kept.iter().copied().eq(0..self.lengths.len());
        if whole && more.is_empty() {
            return;
        }
        let of = |spans: &[(i64, i64)]| kept.iter().map(|&prompt| spans[prompt]).collect::<Vec<_>>();
        let of_kept = |list: &[i64]| kept.iter().map(|&prompt| list[prompt]).collect::<Vec<i64>>();
        self.lengths = of_kept(&self.lengths);
        self.next_positions = of_kept(&self.next_positions);
        self.shown = of_kept(&self.shown);
        let (mut layers, mut across) = (Vec::with_capacity(more.len()), Vec::with_capacity(more.len()));
        for prefix in more {
            self.lengths.extend(prefix.lengths);
            self.next_positions.extend(prefix.next_positions);
            self.shown.extend(prefix.shown);
            layers.push(prefix.layers);
            across.push(prefix.across);
        }
        self.layers = joined(std::mem::take(&mut self.layers), &of(&own), layers);
        self.across = joined(std::mem::take(&mut self.across), &of(&sights), across);
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
    /// Once all tokens were run over, keeps of a layer that attends across what is looked at from here on.
    pub(crate) fn keep_across(&mut self, layer: usize, across: &Across) {
        let ends: Vec<i64> = self.spans().into_iter().map(|(start, length)| start + length).collect();
        let seen = across.behind(&ends);
        self.shown = seen.iter().map(|states| states.end - states.start).collect();
        let kept = &mut self.across[layer];
        let adjoin = seen.iter().scan(0, |end, states| {
            let next = states.is_empty() || states.start == std::mem::replace(end, states.end);
            Some(next)
        });
        let whole = seen.iter().map(|states| states.end - states.start).sum::<i64>() == kept.key.size()[0];
        if !(whole && adjoin.into_iter().all(|next| next)) {
            *kept = kept.map(|x| rows(x, &seen));
        }
    }
}

/// Where each begins of those that lie one behind the other, and how long it is.
fn spans(lengths: &[i64]) -> Vec<(i64, i64)> {
    let starts = lengths.iter().scan(0, |start, &length| {
        *start += length;
        Some(*start - length)
    });
    starts.zip(lengths.iter().copied()).collect()
}

/// These rows of a tensor, one range behind the other, in memory of their own.
fn rows(x: &Tensor, ranges: &[Range<i64>]) -> Tensor {
    let part = |range: &Range<i64>| x.narrow(0, range.start, range.end - range.start);
    Tensor::cat(&ranges.iter().map(part).collect::<Vec<_>>(), 0)
}

/// Each layer's `kept` rows, and behind them those of `more`, of which any may have no layers.
fn joined(old: Vec<LayerKeyValues>, kept: &[(i64, i64)], more: Vec<Vec<LayerKeyValues>>) -> Vec<LayerKeyValues> {
    let depth = more.iter().map(Vec::len).chain([old.len()]).max().unwrap_or(0);
    let mut old = old.into_iter();
    let mut more: Vec<_> = more.into_iter().map(Vec::into_iter).collect();
    let mut layers = Vec::with_capacity(depth);
    for _ in 0..depth {
        let (own, other): (Option<LayerKeyValues>, Vec<LayerKeyValues>) =
            (old.next(), more.iter_mut().filter_map(Iterator::next).collect());
        if let ([], [only]) = (kept, other.as_slice()) {
            layers.push(only.map(Tensor::shallow_clone));
            continue;
        }
        let side = |of: fn(&LayerKeyValues) -> &Tensor| {
            let mut parts = Vec::with_capacity(kept.len() + other.len());
            if let Some(own) = &own {
                parts.extend(kept.iter().map(|&(start, length)| of(own).narrow(0, start, length)));
            }
            parts.extend(other.iter().map(|layer| of(layer).shallow_clone()));
            (!parts.is_empty()).then(|| Tensor::cat(&parts, 0))
        };
        let (key, value) = (side(|layer| &layer.key), side(|layer| &layer.value));
        layers.extend(key.zip(value).map(|(key, value)| LayerKeyValues { key, value }));
    }
    layers
}

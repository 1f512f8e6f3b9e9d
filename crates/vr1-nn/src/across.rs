//! `N` tokens, `S` states, `D` hidden, `H` heads, `K` key-value heads, `d` head size.

use std::ops::Range;
use std::sync::Arc;

use tch::{Device, Kind, Tensor};

use crate::prefix::LayerKeyValues;
use crate::{Error, Heads, Result};

/// States beside the text, those of one sequence behind those of the other, that some layers attend to; and which tokens look at which.
///
/// Keys and values are made of them once, however many sequences look at them.
#[derive(Debug)]
pub struct Across {
    states: Tensor,
    sights: Sights,
}

/// Which tokens look at which states; clones share it.
#[derive(Debug, Clone)]
pub struct Sights(Arc<Vec<Sight>>);

/// Tokens side by side that look at the same states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// How many they are.
    pub tokens: i64,
    /// Where they look.
    pub looks: Looks,
}

/// What tokens look at, among all states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Looks {
    /// At nothing: their sequence shows nothing, and layers that attend across pass them by.
    Nowhere,
    /// At all that their sequence shows, though none of it is meant for them: they attend to these, and take nothing from the MLP behind.
    Around(Range<i64>),
    /// At what they are shown.
    At(Range<i64>),
}

impl Looks {
    /// The states that are attended to.
    fn states(&self) -> Range<i64> {
        match self {
            Self::Nowhere => 0..0,
            Self::Around(states) | Self::At(states) => states.clone(),
        }
    }
}

impl Across {
    /// States `[S, D]`, and who looks at which of them, in the order of tokens.
    ///
    /// # Errors
    /// If somebody looks at states that are not there, or at an empty range of them.
    pub fn new(states: Tensor, sights: impl IntoIterator<Item = Sight>) -> Result<Self> {
        let count = states.size()[0];
        let mut joined: Vec<Sight> = Vec::new();
        for sight in sights {
            let Range { start, end } = sight.looks.states();
            if sight.looks != Looks::Nowhere && (start < 0 || start >= end || end > count) {
                return Err(Error::Config(format!("tokens look at states {start}..{end} of {count}")));
            }
            match joined.last_mut() {
                Some(last) if last.looks == sight.looks => last.tokens += sight.tokens,
                _ => joined.push(sight),
            }
        }
        Ok(Self { states, sights: Sights(Arc::new(joined)) })
    }

    /// The states, `[S, D]`.
    pub fn states(&self) -> &Tensor {
        &self.states
    }

    /// Who looks at which of them.
    pub fn sights(&self) -> Sights {
        self.sights.clone()
    }

    /// The same of states that were taken out of such a value, which a backward pass holds.
    pub fn of(states: &Tensor, sights: &Sights) -> Self {
        Self { states: states.shallow_clone(), sights: sights.clone() }
    }

    /// Those of the tokens `tokens`, cut to them.
    fn within(&self, tokens: Range<i64>) -> impl Iterator<Item = (i64, &Looks)> {
        let ends = self.sights.0.iter().scan(0, |end, sight| {
            *end += sight.tokens;
            Some((*end - sight.tokens, *end, &sight.looks))
        });
        ends.filter_map(move |(start, end, looks)| {
            let count = end.min(tokens.end) - start.max(tokens.start);
            (count > 0).then_some((count, looks))
        })
    }

    /// 1 for those of the tokens `tokens` that are shown something and 0 for others, `[1, T, 1]`; nothing where all are.
    pub(crate) fn shown(&self, tokens: Range<i64>) -> Option<Tensor> {
        let at = |looks: &Looks| matches!(looks, Looks::At(_));
        if self.within(tokens.clone()).all(|(_, looks)| at(looks)) {
            return None;
        }
        let one = |(count, looks): (i64, &Looks)| vec![f32::from(u8::from(at(looks))); count as usize];
        let shown: Vec<f32> = self.within(tokens).flat_map(one).collect();
        Some(of_numbers(&shown, self.states.kind(), self.states.device()).view([1, -1, 1]))
    }

    /// Attention of the queries `[T, H, d]` of the tokens `tokens` over keys and values `[S, K, d]` of all states, to the same shape.
    pub(crate) fn attend(&self, query: &Tensor, kv: &LayerKeyValues, tokens: Range<i64>, heads: Heads) -> Tensor {
        let mut start = 0;
        let mut parts = Vec::new();
        for (count, looks) in self.within(tokens) {
            let (q, states) = (query.narrow(0, start, count), looks.states());
            parts.push(match states.is_empty() {
                true => q.zeros_like(),
                false => over(&q, &kv.map(|x| x.narrow(0, states.start, states.end - states.start)), heads),
            });
            start += count;
        }
        if parts.len() == 1 { parts.remove(0) } else { Tensor::cat(&parts, 0) }
    }

    /// What those look at who follow prompts that end at these tokens: what the last of each looks at.
    pub(crate) fn behind(&self, ends: &[i64]) -> Vec<Range<i64>> {
        let last = |&end: &i64| self.within(end - 1..end).next().map_or(0..0, |(_, looks)| looks.states());
        ends.iter().map(last).collect()
    }
}

/// Every query `[T, H, d]` over every key: `[T, H, d]`. Heads that share keys are more queries of one head, so that no key is repeated.
fn over(query: &Tensor, kv: &LayerKeyValues, heads: Heads) -> Tensor {
    let (tokens, shared, d) = (query.size()[0], heads.key_value, heads.dim);
    let each = heads.count / shared;
    let q = query.view([tokens, shared, each, d]).transpose(0, 1).reshape([1, shared, tokens * each, d]);
    let LayerKeyValues { key, value } = kv.map(|x| x.transpose(0, 1).unsqueeze(0));
    let out = Tensor::scaled_dot_product_attention(&q, &key, &value, None::<&Tensor>, 0.0, false, None, false);
    out.view([shared, tokens, each, d]).transpose(0, 1).reshape([tokens, heads.count, d])
}

/// Numbers as a tensor `[T]`.
pub(crate) fn of_numbers(numbers: &[f32], kind: Kind, device: Device) -> Tensor {
    Tensor::from_slice(numbers).to_kind(kind).to_device(device)
}

use std::sync::Arc;

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use vr1_data::{Dataset, Sample};
use vr1_rollout::SampleKey;

use crate::{Error, Result};

/// A set of samples among others: how often it is drawn, and when.
#[derive(Clone)]
pub(crate) struct Deck {
    pub(crate) samples: Arc<dyn Dataset>,
    /// How often it is drawn, relative to the others of its stage.
    pub(crate) weight: f64,
    /// The stage of the curriculum that it belongs to.
    pub(crate) stage: usize,
}

/// A sample that was drawn.
#[derive(Debug, Clone)]
pub(crate) struct Drawn {
    pub(crate) sample: Sample,
    pub(crate) key: SampleKey,
    pub(crate) stage: usize,
}

/// Draws samples: each set is gone through from end to end before one comes again, in another order each time.
///
/// What is drawn is a function of the seed and of what was drawn before, which is its whole state.
pub(crate) struct Draw {
    decks: Vec<Deck>,
    seed: u64,
    drawn: Drawing,
    /// The order of each set in the epoch that it is in.
    orders: Vec<Option<(u64, Vec<u32>)>>,
}

/// Samples that are to be drawn.
pub(crate) struct Deal {
    picked: Vec<(Deck, SampleKey)>,
    after: Drawing,
}

impl Deal {
    /// Reads them.
    pub(crate) fn read(self) -> Result<Vec<Drawn>> {
        let read = |(deck, key): (Deck, SampleKey)| {
            Ok(Drawn { sample: deck.samples.get(key.index as usize)?, key, stage: deck.stage })
        };
        self.picked.into_par_iter().map(read).collect()
    }

    /// How far the draw is with them.
    pub(crate) fn after(&self) -> &Drawing {
        &self.after
    }
}

/// How many samples were drawn of each set.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Drawing {
    counts: Vec<u64>,
}

impl Draw {
    pub(crate) fn new(decks: Vec<Deck>, seed: u64) -> Result<Self> {
        let refuse = |field, value: String, allowed| Err(Error::Setting { field, value, allowed });
        if decks.is_empty() {
            return refuse("sources", "an empty list".into(), "at least one");
        }
        for deck in &decks {
            if deck.samples.is_empty() {
                let reason = format!("`{}` has no samples", deck.samples.name());
                return Err(Error::Recipe(reason));
            }
            if u32::try_from(deck.samples.len()).is_err() {
                let (name, count) = (deck.samples.name(), deck.samples.len());
                return Err(Error::Recipe(format!("`{name}` has {count} samples, and {} are the most", u32::MAX)));
            }
            if !(deck.weight.is_finite() && deck.weight > 0.0) {
                return refuse("weight", deck.weight.to_string(), "above 0 and finite");
            }
        }
        let drawn = Drawing { counts: vec![0; decks.len()] };
        let orders = decks.iter().map(|_| None).collect();
        let draw = Self { decks, seed, drawn, orders };
        let stages = draw.stages();
        match (0..stages).find(|stage| draw.decks.iter().all(|deck| deck.stage != *stage)) {
            Some(stage) => Err(Error::Recipe(format!("stage {stage} of {stages} has no source"))),
            None => Ok(draw),
        }
    }

    /// How many samples there are.
    pub(crate) fn total(&self) -> u64 {
        self.decks.iter().map(|deck| deck.samples.len() as u64).sum()
    }

    /// `count` samples, of every set the first; nothing is drawn.
    pub(crate) fn first(&self, count: usize) -> impl Iterator<Item = Result<Drawn>> {
        let each = count.div_ceil(self.decks.len());
        let keys = self
            .decks
            .iter()
            .enumerate()
            .flat_map(move |(number, deck)| (0..each.min(deck.samples.len())).map(move |index| (number, index)));
        keys.take(count).map(|(number, index)| {
            let key = SampleKey { dataset: number as u32, epoch: 0, index: index as u64 };
            Ok(Drawn { sample: self.decks[number].samples.get(index)?, key, stage: self.decks[number].stage })
        })
    }

    /// How many stages there are.
    pub(crate) fn stages(&self) -> usize {
        self.decks.iter().map(|deck| deck.stage + 1).max().unwrap_or(1)
    }

    /// The next `count` samples; `stages` weighs the stages.
    pub(crate) fn next(&mut self, count: usize, stages: &[f64]) -> Result<Vec<Drawn>> {
        let deal = self.deal(count, stages)?;
        self.advance(deal.after().clone());
        deal.read()
    }

    /// Which samples the next `count` are; they are not drawn yet.
    pub(crate) fn deal(&mut self, count: usize, stages: &[f64]) -> Result<Deal> {
        let before = self.drawn.clone();
        let picked = (0..count).map(|_| self.pick(stages)).collect::<Result<Vec<_>>>();
        let after = std::mem::replace(&mut self.drawn, before);
        let picked = picked?.into_iter().map(|(deck, key)| (self.decks[deck].clone(), key)).collect();
        Ok(Deal { picked, after })
    }

    /// Goes on from where a deal left off.
    pub(crate) fn advance(&mut self, after: Drawing) {
        self.drawn = after;
    }

    fn pick(&mut self, stages: &[f64]) -> Result<(usize, SampleKey)> {
        let chosen = self.choose(stages)?;
        let count = self.drawn.counts[chosen];
        self.drawn.counts[chosen] += 1;
        let length = self.decks[chosen].samples.len() as u64;
        let (epoch, place) = (count / length, (count % length) as usize);
        let index = u64::from(self.order(chosen, epoch)[place]);
        Ok((chosen, SampleKey { dataset: chosen as u32, epoch: epoch as u32, index }))
    }

    /// Which set the next sample is of.
    fn choose(&self, stages: &[f64]) -> Result<usize> {
        let weight = |deck: &Deck| deck.weight * stages.get(deck.stage).copied().unwrap_or(0.0);
        let open: Vec<usize> = (0..self.decks.len()).filter(|&i| weight(&self.decks[i]) > 0.0).collect();
        let [first, .., last] = open.as_slice() else {
            return open.first().copied().ok_or_else(|| {
                Error::Recipe("the curriculum leaves nothing to draw from: every stage has weight 0".to_owned())
            });
        };
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(1 + self.drawn.counts.iter().sum::<u64>());
        let total: f64 = open.iter().map(|&i| weight(&self.decks[i])).sum();
        let mut left = rng.random::<f64>() * total;
        for &i in &open {
            left -= weight(&self.decks[i]);
            if left < 0.0 {
                return Ok(i);
            }
        }
        // The last share's end may be missed by rounding.
        Ok(if total.is_finite() { *last } else { *first })
    }

    fn order(&mut self, deck: usize, epoch: u64) -> &[u32] {
        let length = self.decks[deck].samples.len() as u32;
        let seed = self.seed.wrapping_add(deck as u64).wrapping_add(epoch << 32);
        let entry = &mut self.orders[deck];
        if entry.as_ref().is_none_or(|(of, _)| *of != epoch) {
            let mut order: Vec<u32> = (0..length).collect();
            order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
            *entry = Some((epoch, order));
        }
        entry.as_ref().map_or(&[], |(_, order)| order)
    }

    /// A sample that was drawn before, again.
    pub(crate) fn sample(&self, key: SampleKey) -> Result<Sample> {
        Ok(self.decks[key.dataset as usize].samples.get(key.index as usize)?)
    }

    /// How far it is.
    pub(crate) fn drawing(&self) -> &Drawing {
        &self.drawn
    }

    /// Goes on from where another was.
    pub(crate) fn resume(&mut self, drawing: Drawing) -> Result<()> {
        if drawing.counts.len() != self.decks.len() {
            let (found, wanted) = (drawing.counts.len(), self.decks.len());
            return Err(Error::Recipe(format!(
                "the checkpoint had drawn from {found} sources, the recipe has {wanted}"
            )));
        }
        self.drawn = drawing;
        Ok(())
    }
}

/// What was drawn and what the curriculum knew.
pub(crate) fn drawn_state(state: &Value) -> Result<(Drawing, vr1_curriculum::State)> {
    let broken =
        |error: serde_json::Error| Error::Recipe(format!("the state of the objective cannot be read: {error}"));
    let part = |key: &str| state.get(key).cloned().unwrap_or_default();
    Ok((
        serde_json::from_value(part("drawn")).map_err(broken)?,
        serde_json::from_value(part("curriculum")).map_err(broken)?,
    ))
}

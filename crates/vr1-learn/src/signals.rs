use std::ops::Range;

use vr1_rollout::Group;

use crate::{Error, Result};

/// What says how good the sequences of some groups are: a number each, in the order of groups and their sequences.
///
/// What the number means is the loss's affair: an advantage, 1 for the chosen and −1 for the rejected of a pair, 1 for what
/// was liked and 0 for what was not. An imitated document has 1.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Signals {
    values: Vec<f32>,
    /// Which sequences take part; those that do not are in no sum of tokens.
    parts: Vec<bool>,
    /// A number for each trained token, where a sequence's tokens do not share one.
    tokens: Option<Vec<Vec<f32>>>,
}

impl Signals {
    /// One number for each sequence; all take part.
    pub fn new(values: Vec<f32>) -> Self {
        let parts = vec![true; values.len()];
        Self { values, parts, tokens: None }
    }

    /// A number for each trained token of each sequence: advantages that differ within a completion.
    pub fn by_token(tokens: Vec<Vec<f32>>) -> Self {
        let mean = |list: &Vec<f32>| list.iter().sum::<f32>() / list.len().max(1) as f32;
        Self { tokens: Some(tokens.clone()), ..Self::new(tokens.iter().map(mean).collect()) }
    }

    /// Leaves out the sequences that are marked `false`: nothing is learnt from their tokens.
    ///
    /// # Errors
    /// If there are not as many marks as numbers.
    pub fn taking_part(self, parts: Vec<bool>) -> Result<Self> {
        match parts.len() == self.values.len() {
            true => Ok(Self { parts, ..self }),
            false => Err(Error::Count { what: "marks", wanted: self.values.len(), found: parts.len() }),
        }
    }

    /// The numbers.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Whether each sequence takes part.
    pub fn parts(&self) -> &[bool] {
        &self.parts
    }

    /// The numbers of tokens, a list for each sequence, where its tokens do not share one.
    pub fn tokens(&self) -> Option<&[Vec<f32>]> {
        self.tokens.as_deref()
    }

    /// Those of a run of sequences.
    pub(crate) fn of(&self, sequences: Range<usize>) -> Self {
        Self {
            values: self.values[sequences.clone()].to_vec(),
            parts: self.parts[sequences.clone()].to_vec(),
            tokens: self.tokens.as_ref().map(|tokens| tokens[sequences].to_vec()),
        }
    }

    /// Checks that there is a finite number for each sequence of `groups`.
    pub(crate) fn check(&self, groups: &[Group]) -> Result<()> {
        let wanted = groups.iter().map(Group::size).sum();
        if self.values.len() != wanted {
            return Err(Error::Count { what: "signals", wanted, found: self.values.len() });
        }
        let mut values = self.values.iter();
        for group in groups {
            if let Some(value) = values.by_ref().take(group.size()).find(|value| !value.is_finite()) {
                let reason = format!("its signal is {value}, and must be finite");
                return Err(Error::Sequence { sample: group.prompt().sample().into(), reason });
            }
        }
        Ok(())
    }
}

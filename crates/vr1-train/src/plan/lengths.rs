//! How long prompts and completions are.

use std::ops::ControlFlow;

use serde_json::{Value, json};
use vr1_processor::Processor;

use super::asked::AskedSource;
use crate::{Error, Result};

/// Rows that are looked at of a source, at most: the first.
const LOOKED_AT: usize = 20_000;

/// What a row is to a model: one prompt, and what follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Length {
    /// Tokens of the prompt.
    pub prompt: u64,
    /// Of these, those that stand for pictures.
    pub media: u64,
    /// Patches of its pictures.
    pub patches: u64,
    /// Tokens of each answer that stands in the row itself.
    pub answers: Vec<u64>,
}

/// The lengths of the rows of a source.
#[derive(Debug, Clone, Default)]
pub struct Lengths {
    /// Rows that were counted, the longest first.
    pub rows: Vec<Length>,
    /// How many rows there are; more than were counted where a source is very large.
    pub of: usize,
    /// Rows that cannot be read or made into a prompt.
    pub broken: usize,
    /// What is wrong with the first of them.
    pub fault: Option<String>,
}

impl Lengths {
    /// Counts the tokens of a source's rows from the headers of their pictures.
    ///
    /// # Errors
    /// If there is not one that can be counted.
    pub fn of(source: &AskedSource, processor: &Processor) -> Result<Self> {
        let mut lengths = Self::default();
        source.visit(|place, row| {
            lengths.of += 1;
            if lengths.rows.len() >= LOOKED_AT {
                return ControlFlow::Continue(());
            }
            let counted = row.and_then(|row| {
                source.count(&row, processor, &|picture| picture.dimensions()).map_err(|error| error.to_string())
            });
            match counted {
                Ok(count) => lengths.rows.push(Length {
                    prompt: count.prompt.total() as u64,
                    media: count.prompt.media as u64,
                    patches: count.prompt.patches as u64,
                    answers: count.answers.iter().map(|&answer| answer as u64).collect(),
                }),
                Err(reason) => {
                    lengths.broken += 1;
                    lengths.fault.get_or_insert_with(|| format!("{place}: {reason}"));
                }
            }
            ControlFlow::Continue(())
        })?;
        if lengths.rows.is_empty() {
            let reason = lengths.fault.unwrap_or_else(|| "no rows".to_owned());
            return Err(Error::Recipe(format!("{}: not one row can be counted: {reason}", source.name)));
        }
        lengths.rows.sort_by_key(|row| std::cmp::Reverse(row.prompt + row.answers.iter().sum::<u64>()));
        Ok(lengths)
    }

    /// Those of several sources together.
    #[must_use]
    pub fn joined(all: Vec<Self>) -> Self {
        let mut joined = Self::default();
        for lengths in all {
            joined.of += lengths.of;
            joined.broken += lengths.broken;
            joined.fault = joined.fault.or(lengths.fault);
            joined.rows.extend(lengths.rows);
        }
        joined.rows.sort_by_key(|row| std::cmp::Reverse(row.prompt + row.answers.iter().sum::<u64>()));
        joined
    }

    /// The `count` longest; again from the longest where there are fewer.
    pub(crate) fn longest(&self, count: usize) -> Vec<&Length> {
        self.rows.iter().cycle().take(if self.rows.is_empty() { 0 } else { count }).collect()
    }

    /// Means of prompt, media and answers, in tokens, and of patches.
    pub(crate) fn means(&self) -> [f64; 4] {
        let mean =
            |of: &dyn Fn(&Length) -> u64| self.rows.iter().map(of).sum::<u64>() as f64 / self.rows.len().max(1) as f64;
        [
            mean(&|row| row.prompt),
            mean(&|row| row.media),
            mean(&|row| row.answers.iter().sum()),
            mean(&|row| row.patches),
        ]
    }

    pub(crate) fn json(&self) -> Value {
        let [prompt, media, answers, patches] = self.means();
        let longest = self.rows.iter().map(|row| row.prompt).max().unwrap_or(0);
        json!({
            "rows": self.of, "counted": self.rows.len(), "broken": self.broken, "mean_prompt": prompt, "mean_media": media,
            "mean_answers": answers, "mean_patches": patches, "longest_prompt": longest,
        })
    }
}

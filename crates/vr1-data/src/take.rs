use std::fmt;
use std::str::FromStr;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// How many of the rows are taken, as VLM-R1 and LLaVA write it under `sampling_strategy`: `all`, `first:100`, `end:100`,
/// `random:100`, or a share as in `first:5%`, rounded up. Those at random stay in their order, and are the same every time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Take {
    /// Every row.
    #[default]
    All,
    /// The first.
    First(Amount),
    /// The last.
    Last(Amount),
    /// Any.
    Random(Amount),
}

/// A number of rows, or a share of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Amount {
    /// So many, or all where there are fewer.
    Rows(usize),
    /// So many hundredths, from 0 to 100.
    Percent(f64),
}

impl Amount {
    fn of(self, rows: usize) -> usize {
        match self {
            Self::Rows(count) => count.min(rows),
            Self::Percent(percent) => ((rows as f64 * percent / 100.0).ceil() as usize).min(rows),
        }
    }
}

impl Take {
    /// Leaves of `rows` what is taken.
    pub(crate) fn of(self, rows: &mut Vec<u32>) {
        match self {
            Self::All => {}
            Self::First(amount) => rows.truncate(amount.of(rows.len())),
            Self::Last(amount) => drop(rows.drain(..rows.len() - amount.of(rows.len()))),
            Self::Random(amount) => {
                let count = amount.of(rows.len());
                let (chosen, _) = rows.partial_shuffle(&mut ChaCha8Rng::seed_from_u64(42), count);
                let mut chosen = chosen.to_vec();
                chosen.sort_unstable();
                *rows = chosen;
            }
        }
    }
}

impl FromStr for Take {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("{text:?}, should be all, first:N, end:N or random:N, N a number of rows or a share as 5%");
        let Some((how, count)) = text.split_once(':') else {
            return if text == "all" { Ok(Self::All) } else { Err(wrong()) };
        };
        let amount = match count.strip_suffix('%') {
            None => Amount::Rows(count.parse().map_err(|_| wrong())?),
            Some(percent) => {
                let percent = percent.parse().ok().filter(|percent| (0.0..=100.0).contains(percent));
                Amount::Percent(percent.ok_or_else(wrong)?)
            }
        };
        match how {
            "first" => Ok(Self::First(amount)),
            "end" => Ok(Self::Last(amount)),
            "random" => Ok(Self::Random(amount)),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rows(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl fmt::Display for Take {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::First(amount) => write!(f, "first:{amount}"),
            Self::Last(amount) => write!(f, "end:{amount}"),
            Self::Random(amount) => write!(f, "random:{amount}"),
        }
    }
}

impl From<Take> for String {
    fn from(take: Take) -> Self {
        take.to_string()
    }
}

impl TryFrom<String> for Take {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

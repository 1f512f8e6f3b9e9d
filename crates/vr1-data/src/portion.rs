use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Error, Result};

/// One side of a division of rows in two. Which side a row is on depends on a hash of what it is divided by and on nothing
/// else: not on the order of the rows, nor on which others there are, nor on a run's seed.
///
/// ```
/// use vr1_data::{Portion, Side};
///
/// let train = Portion { side: Side::Train, train_share: 0.9, by: None };
/// let test = Portion { side: Side::Test, ..train.clone() };
/// let words = ["cat", "dog", "bird", "fish", "horse", "cow"];
/// assert!(words.iter().all(|word| train.holds(word) != test.holds(word)));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Portion {
    /// Which side is taken.
    pub side: Side,
    /// The share of rows on the side of training, above 0 and below 1.
    pub train_share: f64,
    /// The column, by its name in the file, whose equal values stay together; without one every row is by itself, told by
    /// its file's name and its place there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// A side of a [`Portion`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// What is trained on.
    Train,
    /// What is held out.
    Test,
}

impl Portion {
    /// Whether what is divided by these words is on the side that is taken.
    #[must_use]
    pub fn holds(&self, words: &str) -> bool {
        let place = (hash(words.as_bytes()) >> 11) as f64 / (1u64 << 53) as f64; // in [0, 1)
        (place < self.train_share) == (self.side == Side::Train)
    }

    pub(crate) fn holds_value(&self, value: &Value) -> bool {
        match value {
            Value::String(text) => self.holds(text),
            other => self.holds(&other.to_string()),
        }
    }

    pub(crate) fn check(&self) -> Result<()> {
        match self.train_share > 0.0 && self.train_share < 1.0 {
            true => Ok(()),
            false => {
                let reason = format!("{}, should be above 0 and below 1", self.train_share);
                Err(Error::setting("split.train_share", reason))
            }
        }
    }
}

/// FNV-1a of 64 bits, its bits then mixed as MurmurHash3 mixes them: short words that are alike end up far apart.
fn hash(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    for factor in [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53] {
        hash = (hash ^ (hash >> 33)).wrapping_mul(factor);
    }
    hash ^ (hash >> 33)
}

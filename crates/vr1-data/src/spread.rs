use rand::RngExt;
use rand::distr::uniform::SampleUniform;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// A number that is the same for every sample, or one that is drawn for each: `20`, or `[14, 24]` for any from 14 to 24.
///
/// ```
/// use vr1_data::Spread;
///
/// let drawn: Spread<u32> = serde_json::from_str("[14, 24]")?;
/// assert_eq!(drawn, Spread { least: 14, most: 24 });
/// assert_eq!(serde_json::to_string(&Spread::one(20))?, "20");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    from = "Written<T>",
    into = "Written<T>",
    bound(deserialize = "T: Copy + Deserialize<'de>", serialize = "T: Copy + PartialEq + Serialize")
)]
pub struct Spread<T> {
    /// The least that is drawn.
    pub least: T,
    /// The most that is drawn.
    pub most: T,
}

/// A spread as it is written.
#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "neither a number that fits nor a list of the least and the most, as [14, 24]")]
enum Written<T> {
    One(T),
    Between([T; 2]),
}

impl<T: Copy> Spread<T> {
    /// The same number for every sample.
    #[must_use]
    pub fn one(number: T) -> Self {
        Self { least: number, most: number }
    }
}

impl<T: SampleUniform + PartialOrd + Copy> Spread<T> {
    /// One of them, each as likely.
    pub(crate) fn draw(self, stream: &mut ChaCha8Rng) -> T {
        stream.random_range(self.least..=self.most)
    }
}

impl<T: Copy> From<Written<T>> for Spread<T> {
    fn from(written: Written<T>) -> Self {
        match written {
            Written::One(number) => Self::one(number),
            Written::Between([least, most]) => Self { least, most },
        }
    }
}

impl<T: Copy + PartialEq> From<Spread<T>> for Written<T> {
    fn from(spread: Spread<T>) -> Self {
        match spread.least == spread.most {
            true => Self::One(spread.least),
            false => Self::Between([spread.least, spread.most]),
        }
    }
}

use std::fmt;
use std::sync::Arc;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::dataset::check_index;
use crate::{Dataset, Error, Result, Sample};

/// One dataset of a [`Mixture`] and its share.
#[derive(Clone)]
pub struct Part {
    /// Where samples come from.
    pub dataset: Arc<dyn Dataset>,
    /// The share, relative to the other parts' weights; not negative.
    pub weight: f64,
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} samples) x {}", self.dataset.name(), self.dataset.len(), self.weight)
    }
}

/// Several datasets drawn from at random, each by its weight.
///
/// Which part sample `index` comes from, and which of the part's samples it is, depends on `(seed, index)` alone: a run
/// that resumes, or that reads with several workers, sees the same samples.
#[derive(Debug, Clone)]
pub struct Mixture {
    parts: Vec<Part>,
    seed: u64,
    len: usize,
    total: f64,
}

impl Mixture {
    /// A mixture of `len` draws with replacement.
    ///
    /// # Errors
    /// When there is no part, a weight is negative or not finite, all are zero, or a part with a weight is empty.
    pub fn new(parts: Vec<Part>, seed: u64, len: usize) -> Result<Self> {
        for part in &parts {
            let what = || format!("mixture part {}", part.dataset.name());
            if !(part.weight.is_finite() && part.weight >= 0.0) {
                return Err(Error::setting(what(), format!("weight {} is not a share", part.weight)));
            }
            if part.weight > 0.0 && part.dataset.is_empty() {
                return Err(Error::setting(what(), "has a weight but no samples"));
            }
        }
        let total: f64 = parts.iter().map(|p| p.weight).sum();
        if total <= 0.0 {
            return Err(Error::setting("mixture", "no part has a weight above 0"));
        }
        Ok(Self { parts, seed, len, total })
    }

    /// Which part, and which of its samples, stands at `index`.
    #[must_use]
    pub fn locate(&self, index: usize) -> (usize, usize) {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&self.seed.to_le_bytes());
        key[8..16].copy_from_slice(&(index as u64).to_le_bytes());
        key[16..23].copy_from_slice(b"mixture");
        let mut rng = ChaCha8Rng::from_seed(key);
        let mut at = rng.random::<f64>() * self.total;
        let with_weight = |(_, p): &(usize, &Part)| p.weight > 0.0;
        let mut chosen = 0;
        for (i, part) in self.parts.iter().enumerate().filter(with_weight) {
            chosen = i;
            at -= part.weight;
            if at < 0.0 {
                break;
            }
        }
        (chosen, rng.random_range(0..self.parts[chosen].dataset.len()))
    }
}

impl Dataset for Mixture {
    fn name(&self) -> &str {
        "mixture"
    }

    fn len(&self) -> usize {
        self.len
    }

    fn get(&self, index: usize) -> Result<Sample> {
        check_index(self, index)?;
        let (part, at) = self.locate(index);
        self.parts[part].dataset.get(at)
    }
}

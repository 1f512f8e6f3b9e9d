use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use tch::{Device, Tensor};
use vr1_processor::Prompt;
use vr1_rollout::SampleKey;
use vr1_vlm::Piece;

use super::score::SequenceLogprobs;
use crate::{Error, Needs, Reach, Result};

/// What a reference said of answers that were not sampled, which come up again from epoch to epoch.
///
/// An answer is found by the place of its sample in the data set; a fingerprint of all that the log-probabilities hang on
/// tells whether it is the same answer, to the same question about the same picture, still.
#[derive(Debug, Default)]
pub(crate) struct Known {
    entries: HashMap<(SampleKey, usize), Entry>,
    /// What was kept since that was last told, where other ranks are told it.
    fresh: Option<Vec<ToldEntry>>,
}

/// An answer's place, its fingerprint, and the bits of what was said of it.
pub(crate) type ToldEntry = (SampleKey, usize, u64, Vec<u32>);

#[derive(Debug)]
struct Entry {
    print: u64,
    logprobs: SequenceLogprobs,
}

const FILE: &str = "reference_logprobs.safetensors";

/// The answers of some pieces, each with its fingerprint; none where an engine sampled any of them: they do not come again.
pub(crate) struct Written(Vec<((SampleKey, usize), u64)>);

impl Written {
    pub(crate) fn of(pieces: &[Piece<'_>], needs: &Needs) -> Option<Self> {
        if pieces.iter().flat_map(Piece::iter).any(|sequence| sequence.sampled().is_some()) {
            return None;
        }
        let one = |piece: &Piece<'_>| {
            let key = SampleKey { epoch: 0, ..piece.group.key() };
            let places = piece.sequences.clone().map(move |i| (key, i));
            places.zip(prints(piece, needs)).collect::<Vec<_>>()
        };
        Some(Self(pieces.iter().flat_map(one).collect()))
    }
}

/// A fingerprint for each sequence of a piece.
fn prints(piece: &Piece<'_>, needs: &Needs) -> Vec<u64> {
    let mut start = DefaultHasher::new();
    (needs.temperature.to_bits(), needs.reach == Reach::Sampled).hash(&mut start);
    hash(piece.group.prompt(), &mut start);
    let one = |sequence: &vr1_rollout::Sequence| {
        let mut hasher = start.clone();
        hash(sequence.tail(), &mut hasher);
        sequence.trained().hash(&mut hasher);
        hasher.finish()
    };
    piece.iter().map(one).collect()
}

fn hash(tokens: &Prompt, hasher: &mut DefaultHasher) {
    (tokens.input_ids(), tokens.position_ids()).hash(hasher);
    for patches in tokens.patches() {
        (patches.grid_thw, &patches.tiles).hash(hasher);
        patches.pixel_values.iter().for_each(|value| hasher.write_u32(value.to_bits()));
    }
}

impl Known {
    /// What was said of these answers, if of all.
    pub(crate) fn get(&self, written: &Written) -> Option<Vec<SequenceLogprobs>> {
        let known = |(place, print): &(_, u64)| self.entries.get(place).filter(|entry| entry.print == *print);
        written.0.iter().map(|answer| Some(known(answer)?.logprobs.clone())).collect()
    }

    /// Keeps what is said of these answers.
    pub(crate) fn keep(&mut self, written: Written, lists: &[SequenceLogprobs]) {
        if let Some(fresh) = &mut self.fresh {
            let told = |(((key, i), print), list): (&((SampleKey, usize), u64), &SequenceLogprobs)| {
                (*key, *i, *print, list.iter().map(|logprob| logprob.to_bits()).collect())
            };
            fresh.extend(written.0.iter().zip(lists).map(told));
        }
        let entry =
            |((place, print), logprobs): (_, &SequenceLogprobs)| (place, Entry { print, logprobs: logprobs.clone() });
        self.entries.extend(written.0.into_iter().zip(lists).map(entry));
    }

    /// Remembers what is kept from here on, to tell it.
    pub(crate) fn tell(&mut self) {
        self.fresh.get_or_insert_default();
    }

    /// What is to be told.
    pub(crate) fn take_fresh(&mut self) -> Vec<ToldEntry> {
        self.fresh.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Takes in what another rank told: every rank knows, and a checkpoint holds, what any of them asked.
    pub(crate) fn learn(&mut self, told: Vec<ToldEntry>) {
        let entry = |(key, i, print, bits): ToldEntry| {
            ((key, i), Entry { print, logprobs: bits.into_iter().map(f32::from_bits).collect() })
        };
        self.entries.extend(told.into_iter().map(entry));
    }

    /// Forgets everything: the reference is another.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }

    /// Writes what was said into `dir`, if anything was.
    pub(crate) fn save(&self, dir: &Path) -> Result<()> {
        if self.entries.is_empty() {
            return Ok(());
        }
        let name = |(key, i): &(SampleKey, usize), print| format!("{}.{}.{i}.{print}", key.dataset, key.index);
        let entries = self.entries.iter();
        let mut entries: Vec<(String, Tensor)> =
            entries.map(|(place, entry)| (name(place, entry.print), Tensor::from_slice(&entry.logprobs))).collect();
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(Tensor::write_safetensors(&entries, dir.join(FILE))?)
    }

    /// Reads what [`save`](Self::save) wrote; nothing where nothing was written.
    pub(crate) fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(FILE);
        let mut known = Self::default();
        if !path.is_file() {
            return Ok(known);
        }
        let broken = |reason: String| Error::State { path: path.clone(), reason };
        for (name, tensor) in Tensor::read_safetensors(&path).map_err(|error| broken(error.to_string()))? {
            let numbers: Option<Vec<u64>> = name.split('.').map(|part| part.parse().ok()).collect();
            let Some([dataset, index, i, print]) = numbers.as_deref() else {
                return Err(broken(format!("{name:?} names no answer")));
            };
            let key = SampleKey { dataset: *dataset as u32, epoch: 0, index: *index };
            let list =
                Vec::<f32>::try_from(&tensor.to_device(Device::Cpu)).map_err(|error| broken(error.to_string()))?;
            known.entries.insert((key, *i as usize), Entry { print: *print, logprobs: list });
        }
        Ok(known)
    }
}

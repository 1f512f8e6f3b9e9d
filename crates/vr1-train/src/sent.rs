//! What ranks tell each other of what they sampled.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ndarray::Array2;
use serde::{Deserialize, Serialize};
use vr1_processor::{Patches, Prompt, Tail, Tiles};
use vr1_reward::Outcome;
use vr1_rollout::{Finish, Group, SampleKey, Sampled, Sequence, Version};

use crate::rewards::Scored;
use crate::rollout::observations;
use crate::{Error, Result};

/// Numbers as ranks tell them each other: in JSON, which has no NaN.
pub(crate) fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|number| number.to_bits()).collect()
}

/// The same back.
pub(crate) fn numbers_of(bits: Vec<u32>) -> Vec<f32> {
    bits.into_iter().map(f32::from_bits).collect()
}

/// A group as ranks tell it each other: without its prompt, which every rank has made itself.
#[derive(Serialize, Deserialize)]
pub(crate) struct Sent(Vec<Completion>);

#[derive(Serialize, Deserialize)]
struct Completion {
    tail: Tail,
    /// What tools showed in it, and where all that they returned stands.
    shown: Vec<SentPatches>,
    observations: Vec<(usize, usize)>,
    text: String,
    logprobs: Vec<u32>,
    drawn: Vec<u32>,
    entropies: Vec<u32>,
    version: Version,
    finish: Finish,
}

impl Sent {
    pub(crate) fn of(group: &Group) -> Result<Self> {
        let one = |sequence: &Sequence| {
            let broken = |reason: String| Error::Field { sample: sequence.prompt().sample().to_owned(), reason };
            let sampled = sequence
                .sampled()
                .ok_or_else(|| broken("an answer that nobody sampled cannot be told other ranks".to_owned()))?;
            let shown = sequence.tail().patches().iter().map(|patches| SentPatches::of(patches).map_err(broken));
            Ok(Completion {
                tail: Tail::of(sequence.tail()),
                shown: shown.collect::<Result<_>>()?,
                observations: observations(sequence),
                text: sequence.text().to_owned(),
                logprobs: bits(&sampled.logprobs),
                drawn: bits(&sampled.drawn),
                entropies: bits(&sampled.entropies),
                version: sampled.version,
                finish: sampled.finish,
            })
        };
        Ok(Self(group.sequences().iter().map(one).collect::<Result<_>>()?))
    }

    pub(crate) fn group(self, key: SampleKey, prompt: &Arc<Prompt>) -> Result<Group> {
        let one = |sent: Completion| {
            let broken = |reason: String| Error::Field { sample: prompt.sample().to_owned(), reason };
            let patches = sent.shown.into_iter().map(|sent| sent.patches().map(Arc::new).map_err(broken));
            let tail = prompt.tail_of(sent.tail, patches.collect::<Result<_>>()?)?;
            let mut trained = vec![true; tail.len()];
            for (from, to) in sent.observations {
                let observed = trained.get_mut(from..to);
                observed.ok_or_else(|| broken(format!("tokens {from} to {to} are not in it")))?.fill(false);
            }
            let sampled = Sampled {
                logprobs: numbers_of(sent.logprobs),
                drawn: numbers_of(sent.drawn),
                entropies: numbers_of(sent.entropies),
                version: sent.version,
                finish: sent.finish,
            };
            Ok(Sequence::new(prompt.clone(), tail, trained, sent.text)?.with_sampled(sampled)?)
        };
        Ok(Group::new(key, self.0.into_iter().map(one).collect::<Result<_>>()?)?)
    }
}

/// What a tool showed, as the model sees it: the same bits on every rank, whatever made them.
#[derive(Serialize, Deserialize)]
struct SentPatches {
    grid_thw: [usize; 3],
    tiles: Tiles,
    rows: usize,
    /// The rows' numbers, compressed: few are different, and each stands there for every frame of a temporal patch.
    pixel_values: String,
}

impl SentPatches {
    fn of(patches: &Patches) -> Result<Self, String> {
        let bytes: Vec<u8> = patches.pixel_values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let compressed = zstd::encode_all(bytes.as_slice(), 1).map_err(|error| error.to_string())?;
        Ok(Self {
            grid_thw: patches.grid_thw,
            tiles: patches.tiles.clone(),
            rows: patches.pixel_values.nrows(),
            pixel_values: STANDARD.encode(compressed),
        })
    }

    fn patches(self) -> Result<Patches, String> {
        let Self { grid_thw, tiles, rows, pixel_values } = self;
        let compressed = STANDARD.decode(pixel_values).map_err(|error| error.to_string())?;
        let bytes = zstd::decode_all(compressed.as_slice()).map_err(|error| error.to_string())?;
        let (numbers, _) = bytes.as_chunks::<4>();
        let values: Vec<f32> = numbers.iter().map(|number| f32::from_le_bytes(*number)).collect();
        let shape = (rows, values.len() / rows.max(1));
        let pixel_values = Array2::from_shape_vec(shape, values).map_err(|error| error.to_string())?;
        Ok(Patches { pixel_values, grid_thw, tiles })
    }
}

/// What a reward said of a group, as ranks tell it each other.
#[derive(Serialize, Deserialize)]
pub(crate) struct SentScores(Vec<Result<SentOutcome, String>>);

#[derive(Serialize, Deserialize)]
struct SentOutcome {
    total: Option<u32>,
    terms: Vec<(String, Option<u32>)>,
    missing: Vec<String>,
}

impl SentScores {
    pub(crate) fn of(scored: &Scored) -> Self {
        let bits = |value: &Option<f32>| value.map(f32::to_bits);
        let sent = |outcome: &Outcome| SentOutcome {
            total: bits(&outcome.total),
            terms: outcome.terms.iter().map(|(name, value)| (name.clone(), bits(value))).collect(),
            missing: outcome.missing.clone(),
        };
        Self(scored.iter().map(|result| result.as_ref().map(sent).map_err(ToString::to_string)).collect())
    }

    pub(crate) fn scored(self) -> Scored {
        let value = |bits: Option<u32>| bits.map(f32::from_bits);
        let outcome = |sent: SentOutcome| Outcome {
            total: value(sent.total),
            terms: sent.terms.into_iter().map(|(name, bits)| (name, value(bits))).collect(),
            missing: sent.missing,
        };
        let failed = |reason| vr1_reward::Error::Row { reason };
        self.0.into_iter().map(|result| result.map(outcome).map_err(failed)).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::path::Path;

    use image::{Rgb, RgbImage};
    use vr1_processor::{Layout, Message, Processor, PromptRequest};

    use super::*;

    /// A prompt, and a sequence behind it of which the tokens that stand for a picture were not sampled.
    fn answered() -> (Arc<Prompt>, Sequence) {
        let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/assets/tiny");
        let noisy = |x: u32, y: u32| Rgb([(x * x + 7 * y) as u8, (x ^ y) as u8, (3 * x * y) as u8]);
        let messages = [Message::user([Arc::new(RgbImage::from_fn(320, 240, noisy))], "What is there?")];
        let asked = PromptRequest { sample: "s", messages: &messages, layout: Layout::Chat, prefill: "" };
        let whole = Processor::from_dir(&tiny).unwrap().prompt(&asked).unwrap();
        let picture = whole.media()[0].range.clone();
        let (prompt, tail) = whole.split(picture.start).unwrap();
        let trained: Vec<bool> = (0..tail.len()).map(|place| place >= picture.len()).collect();
        let count = tail.len() - picture.len();
        let numbers: Vec<f32> = (0..count).map(|i| if i == 1 { f32::NAN } else { -0.1 * i as f32 }).collect();
        let sampled = Sampled {
            logprobs: numbers.clone(),
            drawn: numbers,
            entropies: Vec::new(),
            version: Version(3),
            finish: Finish::Length,
        };
        let prompt = Arc::new(prompt);
        let sequence = Sequence::new(prompt.clone(), tail, trained, "there".to_owned()).unwrap();
        (prompt, sequence.with_sampled(sampled).unwrap())
    }

    #[test]
    fn a_sequence_that_shows_a_picture_is_told_bit_for_bit_and_in_fewer_bytes() {
        let (prompt, sequence) = answered();
        let key = SampleKey { index: 7, ..SampleKey::default() };
        let group = Group::new(key, vec![sequence.clone(), sequence.clone()]).unwrap();
        let told = serde_json::to_vec(&Sent::of(&group).unwrap()).unwrap();
        let heard = serde_json::from_slice::<Sent>(&told).unwrap().group(key, &prompt).unwrap();
        assert_eq!((heard.key(), heard.size()), (key, 2));
        for heard in heard.sequences() {
            assert_eq!(Tail::of(heard.tail()), Tail::of(sequence.tail()));
            assert_eq!(heard.tail().token_types(), sequence.tail().token_types());
            assert_eq!(heard.tail().patches(), sequence.tail().patches());
            assert_eq!((heard.trained(), heard.text()), (sequence.trained(), sequence.text()));
            let [a, b] = [heard, &sequence].map(|sequence| sequence.sampled().unwrap());
            assert_eq!([bits(&a.logprobs), bits(&a.drawn)], [bits(&b.logprobs), bits(&b.drawn)]);
            assert_eq!((a.version, a.finish, &a.entropies), (b.version, b.finish, &b.entropies));
        }
        let numbers = 2 * sequence.tail().patches()[0].pixel_values.len();
        assert!(told.len() < 2 * numbers, "{} bytes for {numbers} numbers", told.len());
    }

    #[test]
    fn what_nobody_sampled_is_not_told() {
        let (prompt, sequence) = answered();
        let (tail, trained) = (sequence.tail().clone(), sequence.trained().to_vec());
        let written = Sequence::new(prompt, tail, trained, String::new()).unwrap();
        let error = Sent::of(&Group::new(SampleKey::default(), vec![written]).unwrap()).err().unwrap();
        assert!(error.to_string().contains("sample `s`: an answer that nobody sampled"), "{error}");
    }
}

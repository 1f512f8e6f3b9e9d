use std::f64::consts::TAU;

use serde::Deserialize;
use serde_json::{Map, Value};
use tch::Tensor;

use crate::{Error, Result, read_config};

/// A rotary embedding's settings: base, sections and stretching of its frequencies.
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    /// Base of the frequencies, θ.
    pub theta: f64,
    /// Which frequencies follow the temporal, the height and the width position; without it all follow one.
    pub sections: Option<Sections>,
    /// How the frequencies are stretched for texts that are longer than those trained on.
    pub scaling: RopeScaling,
}

/// How frequencies are dealt out to the temporal, the height and the width position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sections {
    /// So many to each, one section behind the other; they sum to half the head size (Qwen2-VL).
    Adjoining(Vec<i64>),
    /// By turns: from the second on every third follows the height, from the third on every third the width, as many of each as
    /// this says, as far as there are any; all else follows time, whatever its number is (Qwen3-VL).
    Interleaved([i64; 3]),
}

impl Sections {
    /// The same way with other lengths.
    fn of(&self, lengths: Vec<i64>) -> Result<Self> {
        match self {
            Self::Adjoining(_) => Ok(Self::Adjoining(lengths)),
            Self::Interleaved(_) => match <[i64; 3]>::try_from(lengths) {
                Ok(lengths) if lengths.iter().all(|&length| length >= 0) => Ok(Self::Interleaved(lengths)),
                Ok(lengths) => Err(Error::Config(format!("`mrope_section`: {lengths:?} has a negative length"))),
                Err(lengths) => Err(Error::Config(format!("`mrope_section`: {lengths:?} are not three lengths"))),
            },
        }
    }

    /// The axis that each of `count` frequencies follows.
    ///
    /// # Errors
    /// If sections that adjoin are not one to three, or do not fill the head.
    pub(crate) fn axes(&self, count: i64) -> Result<Vec<i64>> {
        match self {
            Self::Adjoining(lengths) => {
                let fill = lengths.iter().all(|&n| n >= 0) && lengths.iter().sum::<i64>() == count;
                if !fill || lengths.len() > 3 {
                    let head = 2 * count;
                    return Err(Error::Config(format!(
                        "`mrope_section`: the rotary sections {lengths:?} must be one to three and sum to half the head size {head}"
                    )));
                }
                Ok((0..).zip(lengths).flat_map(|(axis, &n)| vec![axis; n as usize]).collect())
            }
            Self::Interleaved([_, height, width]) => Ok((0..count)
                .map(|i| match i % 3 {
                    1 if i < 3 * height => 1,
                    2 if i < 3 * width => 2,
                    _ => 0,
                })
                .collect()),
        }
    }
}

/// How rotary frequencies `f` are stretched.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// `f / factor` (position interpolation, [arXiv:2306.15595](https://arxiv.org/abs/2306.15595)).
    Linear {
        /// How much longer texts are.
        factor: f64,
    },
    /// Llama 3.1's ([arXiv:2407.21783](https://arxiv.org/abs/2407.21783), section 3.4.1; as transformers computes it):
    /// frequencies that turn less than `low_freq_factor` times in `original_max_position_embeddings` are divided by
    /// `factor`, those that turn more than `high_freq_factor` times are left, and what is between is a mixture.
    Llama3 {
        /// How much longer texts are.
        factor: f64,
        /// Turns below which a frequency is divided.
        low_freq_factor: f64,
        /// Turns above which it is left.
        high_freq_factor: f64,
        /// The longest text trained on, in tokens.
        original_max_position_embeddings: f64,
    },
}

impl RopeScaling {
    /// The stretched frequencies, of the same shape.
    pub(crate) fn apply(self, frequencies: &Tensor) -> Tensor {
        match self {
            Self::None => frequencies.shallow_clone(),
            Self::Linear { factor } => frequencies / factor,
            Self::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position_embeddings } => {
                let turns = frequencies * (original_max_position_embeddings / TAU);
                let kept = ((turns - low_freq_factor) / (high_freq_factor - low_freq_factor)).clamp(0.0, 1.0);
                (1.0 - &kept) * (frequencies / factor) + kept * frequencies
            }
        }
    }
}

/// Keys of `rope_scaling` (with `rope_theta` beside it) and of `rope_parameters`, which holds all.
#[derive(Debug, Deserialize)]
struct Keys {
    #[serde(alias = "type")]
    rope_type: Option<String>,
    rope_theta: Option<f64>,
    mrope_section: Option<Vec<i64>>,
    factor: Option<f64>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    original_max_position_embeddings: Option<f64>,
    partial_rotary_factor: Option<f64>,
}

impl Rope {
    /// The settings in a language model's keys: `rope_parameters` as transformers writes it now, or `rope_theta` and
    /// `rope_scaling` as published checkpoints have them, which goes before. What no key gives is the class's:
    /// `default`'s base and sections, and its `max_position_embeddings` for the length that Llama 3.1 was trained on.
    ///
    /// # Errors
    /// If a key is missing or of the wrong type, or the type of scaling is unknown.
    pub fn read(json: &Map<String, Value>, default: &Self) -> Result<Self> {
        let part = |name: &str| json.get(name).and_then(Value::as_object).map(|map| (name.to_owned(), map.clone()));
        let scaling = part("rope_scaling").filter(|(_, map)| !map.is_empty());
        let (name, mut map) = scaling.or_else(|| part("rope_parameters")).unwrap_or_default();
        // Files of the time between name the type both ways.
        if map.contains_key("rope_type") {
            map.remove("type");
        }
        let keys: Keys = read_config(&map).map_err(|e| Error::Config(format!("`{name}`: {e}")))?;
        let need = |key: &str, value: Option<f64>| match value {
            Some(value) if value > 0.0 => Ok(value),
            Some(value) => Err(Error::Config(format!("`{name}.{key}`: {value} is not above 0"))),
            None => Err(Error::Config(format!("`{name}.{key}` is missing"))),
        };
        let flat = json.get("rope_theta").and_then(Value::as_f64);
        let theta = need("rope_theta", Some(keys.rope_theta.or(flat).unwrap_or(default.theta)))?;
        if keys.partial_rotary_factor.is_some_and(|factor| factor != 1.0) {
            return Err(Error::Config(format!("`{name}.partial_rotary_factor`: only 1 is known")));
        }
        let scaling = match keys.rope_type.as_deref().unwrap_or("default") {
            "default" | "mrope" => RopeScaling::None,
            "linear" => RopeScaling::Linear { factor: need("factor", keys.factor)? },
            "llama3" => RopeScaling::Llama3 {
                factor: need("factor", keys.factor)?,
                low_freq_factor: need("low_freq_factor", keys.low_freq_factor)?,
                high_freq_factor: need("high_freq_factor", keys.high_freq_factor)?,
                original_max_position_embeddings: need(
                    "original_max_position_embeddings",
                    keys.original_max_position_embeddings
                        .or_else(|| json.get("max_position_embeddings").and_then(Value::as_f64)),
                )?,
            },
            other => {
                let known = "`default`, `mrope`, `linear`, `llama3`";
                return Err(Error::Config(format!("`{name}.rope_type`: {other:?} is not one of {known}")));
            }
        };
        let sections = match (keys.mrope_section, &default.sections) {
            (Some(lengths), Some(sections)) => Some(sections.of(lengths)?),
            (Some(lengths), None) => Some(Sections::Adjoining(lengths)),
            (None, sections) => sections.clone(),
        };
        Ok(Self { theta, sections, scaling })
    }
}

#[cfg(test)]
mod tests {
    use super::Sections;

    #[test]
    fn sections_adjoin_or_take_turns() {
        let axes = |sections: Sections, count| sections.axes(count).ok();
        assert_eq!(axes(Sections::Adjoining(vec![1, 2, 1]), 4), Some(vec![0, 1, 1, 2]));
        assert_eq!(axes(Sections::Adjoining(vec![1, 2, 1]), 5), None);
        // Behind the last of height and width all is time's.
        assert_eq!(axes(Sections::Interleaved([4, 2, 2]), 8), Some(vec![0, 1, 2, 0, 1, 2, 0, 0]));
        assert_eq!(axes(Sections::Interleaved([24, 20, 20]), 4), Some(vec![0, 1, 2, 0]));
        assert_eq!(axes(Sections::Interleaved([2, 2, 1]), 6), Some(vec![0, 1, 2, 0, 1, 0]));
    }
}

//! How the learning rate goes: the schedules of Hugging Face's `get_scheduler`, step for step. `t` steps taken, `W` of warm-up, `T` in all.

use std::f64::consts::PI;

use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Error, Result};

/// How the learning rate goes from step to step, after a warm-up. In a recipe a word, or a map whose `kind` is one.
///
/// # Example
/// ```
/// use vr1_learn::Schedule;
/// let schedule: Schedule = serde_json::from_str(r#"{ "kind": "cosine", "min_lr_ratio": 0.1 }"#)?;
/// assert_eq!(schedule, Schedule::Cosine { cycles: 0.5, min_lr_ratio: 0.1 });
/// assert_eq!(serde_json::from_str::<Schedule>(r#""linear""#)?, Schedule::Linear);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Schedule {
    /// Straight down to zero: the default of Hugging Face's trainers, and so of the systems built on them.
    #[default]
    Linear,
    /// Waves of a cosine.
    Cosine {
        /// How many waves; half a one goes down once.
        cycles: f64,
        /// What is left at the bottom, of the highest.
        min_lr_ratio: f64,
    },
    /// Half a cosine down to zero, so many times over.
    CosineWithRestarts {
        /// How often it begins.
        cycles: u64,
    },
    /// Always the same.
    Constant,
    /// Down along a power of what is left of the steps.
    Polynomial {
        /// Which power.
        power: f64,
        /// What is left at the end, of the highest.
        min_lr_ratio: f64,
    },
    /// Down as one over the root of the steps.
    InverseSqrt {
        /// Steps that count as the first; those of the warm-up where it is not said, and 10,000 where there is none.
        timescale: Option<u64>,
    },
    /// Warm-up, then the same for long, then a decay (Hu et al., [arXiv:2404.06395](https://arxiv.org/abs/2404.06395)).
    Wsd(Wsd),
}

/// Lengths and shapes of [`Schedule::Wsd`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Wsd {
    /// How long it decays.
    pub decay: Span,
    /// Steps before that, after the warm-up; all that are left where it is not said. What comes after the decay stays at its bottom.
    pub stable_steps: Option<u64>,
    /// How it decays.
    pub decay_shape: Shape,
    /// How it warms up.
    pub warmup_shape: Shape,
    /// Where it begins and ends, of the highest.
    pub min_lr_ratio: f64,
}

/// A number of steps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Span {
    /// So many.
    Steps(u64),
    /// A share of all, rounded up.
    Ratio(f64),
}

impl Span {
    /// In steps, of so many.
    pub fn of(self, steps: u64) -> u64 {
        match self {
            Self::Steps(count) => count,
            Self::Ratio(ratio) => (steps as f64 * ratio).ceil() as u64,
        }
    }
}

/// The way from one learning rate to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Shape {
    /// Straight.
    #[default]
    #[serde(rename = "linear")]
    Linear,
    /// Half a cosine.
    #[serde(rename = "cosine")]
    Cosine,
    /// One less a root.
    #[serde(rename = "1-sqrt")]
    OneMinusSqrt,
}

impl Schedule {
    /// Half a cosine down to zero.
    pub const COSINE: Self = Self::Cosine { cycles: 0.5, min_lr_ratio: 0.0 };

    /// What the learning rate is multiplied by at `step` (from 0) of `steps`, after `warmup_steps` of warm-up.
    ///
    /// # Example
    /// ```
    /// use vr1_learn::Schedule;
    /// let factors: Vec<f64> = (0..4).map(|step| Schedule::Linear.factor(step, 4, 2)).collect();
    /// assert_eq!(factors, [0.0, 0.5, 1.0, 0.5]);
    /// ```
    pub fn factor(self, step: u64, steps: u64, warmup_steps: u64) -> f64 {
        if step < warmup_steps {
            let done = step as f64 / warmup_steps as f64;
            return match self {
                Self::Wsd(wsd) => wsd.warmup(done),
                _ => done,
            };
        }
        let (after, all) = (step - warmup_steps, steps.saturating_sub(warmup_steps).max(1) as f64);
        let done = after as f64 / all;
        match self {
            Self::Linear => steps.saturating_sub(step) as f64 / all,
            Self::Cosine { cycles, min_lr_ratio } => {
                raised(0.5 * (1.0 + (PI * cycles * 2.0 * done).cos()), min_lr_ratio)
            }
            Self::CosineWithRestarts { .. } if done >= 1.0 => 0.0,
            Self::CosineWithRestarts { cycles } => 0.5 * (1.0 + (PI * (cycles as f64 * done).fract()).cos()),
            Self::Constant => 1.0,
            Self::Polynomial { power, min_lr_ratio } => raised((1.0 - done.min(1.0)).powf(power), min_lr_ratio),
            Self::InverseSqrt { timescale } => {
                let timescale = timescale.unwrap_or(if warmup_steps > 0 { warmup_steps } else { 10_000 }) as f64;
                1.0 / ((after as f64 + timescale) / timescale).sqrt()
            }
            Self::Wsd(wsd) => wsd.factor(after, steps, warmup_steps),
        }
    }

    /// Checks every setting's range.
    ///
    /// # Errors
    /// If one is out of range; the error names it.
    pub fn validate(self) -> Result<()> {
        match self.fault() {
            Some((field, value, allowed)) => Err(Error::Setting { field, value: value.to_string(), allowed }),
            None => Ok(()),
        }
    }

    /// Which setting is out of range, and what is allowed.
    fn fault(self) -> Option<(&'static str, f64, &'static str)> {
        let ratio = |value: f64| {
            let allowed = "in [0, 1]";
            (!(0.0..=1.0).contains(&value)).then_some(("schedule.min_lr_ratio", value, allowed))
        };
        let positive =
            |field, value: f64| (!(value > 0.0 && value.is_finite())).then_some((field, value, "above 0 and finite"));
        match self {
            Self::Linear | Self::Constant | Self::InverseSqrt { timescale: None } => None,
            Self::Cosine { cycles, min_lr_ratio } => {
                positive("schedule.cycles", cycles).or_else(|| ratio(min_lr_ratio))
            }
            Self::CosineWithRestarts { cycles } => positive("schedule.cycles", cycles as f64),
            Self::Polynomial { power, min_lr_ratio } => {
                positive("schedule.power", power).or_else(|| ratio(min_lr_ratio))
            }
            Self::InverseSqrt { timescale: Some(timescale) } => positive("schedule.timescale", timescale as f64),
            Self::Wsd(wsd) => {
                let decay = match wsd.decay {
                    Span::Steps(steps) => positive("schedule.decay_steps", steps as f64),
                    Span::Ratio(share) if share > 0.0 && share <= 1.0 => None,
                    Span::Ratio(share) => Some(("schedule.decay_ratio", share, "in (0, 1]")),
                };
                decay.or_else(|| ratio(wsd.min_lr_ratio))
            }
        }
    }
}

/// What goes from 1 to 0 made to go from 1 to `least`.
fn raised(factor: f64, least: f64) -> f64 {
    (factor * (1.0 - least) + least).max(0.0)
}

impl Wsd {
    fn warmup(self, done: f64) -> f64 {
        let factor = match self.warmup_shape {
            Shape::Linear => done,
            Shape::Cosine => 0.5 * (1.0 - (PI * done).cos()),
            Shape::OneMinusSqrt => 1.0 - (1.0 - done).sqrt(),
        };
        raised(factor, self.min_lr_ratio)
    }

    fn factor(self, after: u64, steps: u64, warmup_steps: u64) -> f64 {
        let decay = self.decay.of(steps);
        let left = steps.saturating_sub(warmup_steps).saturating_sub(decay);
        let Some(decayed) = after.checked_sub(self.stable_steps.unwrap_or(left)) else { return 1.0 };
        if decayed >= decay {
            return self.min_lr_ratio;
        }
        let done = decayed as f64 / decay.max(1) as f64;
        let factor = match self.decay_shape {
            Shape::Linear => 1.0 - done,
            Shape::Cosine => 0.5 * (1.0 + (PI * done).cos()),
            Shape::OneMinusSqrt => 1.0 - done.sqrt(),
        };
        raised(factor, self.min_lr_ratio)
    }
}

/// A schedule as a map.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum Spelled {
    Linear {},
    Cosine {
        #[serde(default = "half")]
        cycles: f64,
        #[serde(default)]
        min_lr_ratio: f64,
    },
    CosineWithRestarts {
        cycles: u64,
    },
    Constant {},
    Polynomial {
        #[serde(default = "one")]
        power: f64,
        #[serde(default)]
        min_lr_ratio: f64,
    },
    InverseSqrt {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timescale: Option<u64>,
    },
    Wsd {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        decay_steps: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        decay_ratio: Option<f64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stable_steps: Option<u64>,
        #[serde(default = "cosine")]
        decay_shape: Shape,
        #[serde(default)]
        warmup_shape: Shape,
        #[serde(default)]
        min_lr_ratio: f64,
    },
}

/// A schedule that needs no more than its name.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Named {
    Linear,
    Cosine,
    Constant,
    InverseSqrt,
}

fn half() -> f64 {
    0.5
}

fn one() -> f64 {
    1.0
}

fn cosine() -> Shape {
    Shape::Cosine
}

impl Serialize for Schedule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let spelled = match *self {
            Self::Linear => return Named::Linear.serialize(serializer),
            Self::COSINE => return Named::Cosine.serialize(serializer),
            Self::Constant => return Named::Constant.serialize(serializer),
            Self::InverseSqrt { timescale: None } => return Named::InverseSqrt.serialize(serializer),
            Self::Cosine { cycles, min_lr_ratio } => Spelled::Cosine { cycles, min_lr_ratio },
            Self::CosineWithRestarts { cycles } => Spelled::CosineWithRestarts { cycles },
            Self::Polynomial { power, min_lr_ratio } => Spelled::Polynomial { power, min_lr_ratio },
            Self::InverseSqrt { timescale } => Spelled::InverseSqrt { timescale },
            Self::Wsd(Wsd { decay, stable_steps, decay_shape, warmup_shape, min_lr_ratio }) => {
                let (decay_steps, decay_ratio) = match decay {
                    Span::Steps(steps) => (Some(steps), None),
                    Span::Ratio(ratio) => (None, Some(ratio)),
                };
                Spelled::Wsd { decay_steps, decay_ratio, stable_steps, decay_shape, warmup_shape, min_lr_ratio }
            }
        };
        spelled.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Schedule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Schedule;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("the name of a schedule, or a map whose `kind` is one")
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Schedule, E> {
                Ok(match Named::deserialize(StrDeserializer::new(name))? {
                    Named::Linear => Schedule::Linear,
                    Named::Cosine => Schedule::COSINE,
                    Named::Constant => Schedule::Constant,
                    Named::InverseSqrt => Schedule::InverseSqrt { timescale: None },
                })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Schedule, A::Error> {
                Ok(match Spelled::deserialize(MapAccessDeserializer::new(map))? {
                    Spelled::Linear {} => Schedule::Linear,
                    Spelled::Constant {} => Schedule::Constant,
                    Spelled::Cosine { cycles, min_lr_ratio } => Schedule::Cosine { cycles, min_lr_ratio },
                    Spelled::CosineWithRestarts { cycles } => Schedule::CosineWithRestarts { cycles },
                    Spelled::Polynomial { power, min_lr_ratio } => Schedule::Polynomial { power, min_lr_ratio },
                    Spelled::InverseSqrt { timescale } => Schedule::InverseSqrt { timescale },
                    Spelled::Wsd {
                        decay_steps,
                        decay_ratio,
                        stable_steps,
                        decay_shape,
                        warmup_shape,
                        min_lr_ratio,
                    } => {
                        let decay = match (decay_steps, decay_ratio) {
                            (Some(_), Some(_)) => {
                                return Err(A::Error::custom("either `decay_steps` or `decay_ratio`, one of the two"));
                            }
                            (Some(steps), None) => Span::Steps(steps),
                            (None, ratio) => Span::Ratio(ratio.unwrap_or(0.1)),
                        };
                        Schedule::Wsd(Wsd { decay, stable_steps, decay_shape, warmup_shape, min_lr_ratio })
                    }
                })
            }
        }
        deserializer.deserialize_any(Either)
    }
}

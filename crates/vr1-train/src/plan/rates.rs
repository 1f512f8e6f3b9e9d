//! How long a step takes, estimated from how fast a machine multiplies and reads.

use std::time::Instant;

use serde::Serialize;
use tch::{Device, Kind, TchError, Tensor};

use super::batch::Drawn;
use super::lengths::Lengths;
use super::memory::Setting;
use crate::{Error, Result};

/// How fast a machine is, as a short probe of it says.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Rates {
    /// Operations a second in products of matrices.
    pub operations: f64,
    /// Bytes a second that are read and written.
    pub bytes: f64,
}

/// Seconds of a step, estimated.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Seconds {
    /// Completions are sampled.
    pub rollout: f64,
    /// Gradients are made and used.
    pub update: f64,
}

/// Of what a probe reaches, products of a model's sizes and all that is between them reach so much.
const REACHED: f64 = 0.5;

impl Rates {
    /// Measures a device for about a second.
    ///
    /// # Errors
    /// If it has no room.
    pub fn probe(device: Device, kind: Kind) -> Result<Self> {
        let (side, times) = if device.is_cuda() { (4096, 20) } else { (768, 6) };
        let measured = || -> std::result::Result<Self, TchError> {
            let made = || Tensor::f_ones([side, side], (kind, device));
            let (a, b, mut c) = (made()?, made()?, made()?);
            let wait = |x: &Tensor| x.f_select(0, 0)?.f_sum(Kind::Float)?.f_double_value(&[]);
            let product = seconds(times, &mut || wait(&a.f_matmul(&b)?))?;
            let copied = seconds(times, &mut || {
                c.f_copy_(&a)?;
                wait(&c)
            })?;
            let numbers = (side * side) as f64;
            let bytes = 2.0 * numbers * kind.elt_size_in_bytes() as f64;
            Ok(Self { operations: 2.0 * numbers * side as f64 / product, bytes: bytes / copied })
        };
        measured().map_err(|error| Error::Recipe(format!("the machine cannot be measured: {error}")))
    }

    /// What a step of so many rows takes.
    pub(super) fn step(&self, setting: &Setting<'_>, lengths: &Lengths, rows: f64, drawn: Option<Drawn>) -> Seconds {
        let shape = setting.shape;
        let [prompt, _, answers, patches] = lengths.means();
        let table = (shape.vocabulary * shape.hidden) as f64;
        let tower = shape.tower.as_ref().map_or(0.0, |t| {
            (t.blocks * (4 * t.width * t.width + (1 + t.gates) * t.width * t.inner) + t.pixels * t.width) as f64
        });
        let tables = if shape.tied { table } else { 2.0 * table };
        let language = (shape.parameters as f64 - tables - tower).max(0.0);
        let tails = drawn.map_or(answers, |drawn| (drawn.group * drawn.tokens) as f64);
        // Forwards twice a weight, backwards twice that; recomputed once more. Attention reads every token before.
        let passes = 6.0 + if setting.recompute == vr1_nn::Recompute::None { 0.0 } else { 2.0 };
        let seen = prompt * prompt / 2.0 + tails * prompt;
        let attention = 2.0 * 2.0 * (shape.query * shape.layers) as f64 * seen;
        let among = shape.tower.as_ref().map_or(0.0, |t| 4.0 * (t.width * t.blocks) as f64 * patches * patches);
        let forward = 2.0 * (language * (prompt + tails) + tower * patches + table * tails) + attention + among;
        let reference = if setting.reference { forward } else { 0.0 };
        let operations = rows * (forward * passes / 2.0 + reference);
        let read = 7.0 * 4.0 * shape.trained as f64;
        let update = operations / (self.operations * REACHED) + read / self.bytes;
        let rollout = drawn.map_or(0.0, |drawn| {
            let all = rows * drawn.group as f64;
            let a_token = 2.0 * (language + table) * all / (self.operations * REACHED);
            let weights = setting.wide as f64 * (language + table);
            let keys = (setting.wide * shape.key_value * shape.layers) as f64
                * (rows * prompt + all * drawn.tokens as f64 / 2.0);
            let prefill = rows * (2.0 * (language * prompt + tower * patches) + attention / 2.0 + among);
            prefill / (self.operations * REACHED) + drawn.tokens as f64 * a_token.max((weights + keys) / self.bytes)
        });
        Seconds { rollout, update }
    }
}

/// What a piece of work takes, after it was done once.
fn seconds(
    times: u32,
    work: &mut dyn FnMut() -> std::result::Result<f64, TchError>,
) -> std::result::Result<f64, TchError> {
    work()?;
    let begun = Instant::now();
    for _ in 0..times {
        work()?;
    }
    Ok(begun.elapsed().as_secs_f64() / f64::from(times))
}

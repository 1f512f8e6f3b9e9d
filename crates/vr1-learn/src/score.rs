//! `B` sequences, `T` trained tokens of the longest, `M` of all.

use std::rc::Rc;

use tch::{Device, Kind, Tensor};
use vr1_ops::{Head, VocabularyMean, head_logprobs};
use vr1_rollout::Group;
use vr1_vlm::{Backbone, Batch, Features, Piece};

use crate::features::Encoded;
use crate::{Error, Needs, Reach, Result};

/// Tokens whose logits are held at once.
const CHUNK: i64 = 1024;

/// Numbers of trained tokens laid out in rows.
#[derive(Debug)]
pub(crate) struct Rows {
    /// Where each trained token stands in `[B · T]`.
    places: Tensor,
    shape: [i64; 2],
    device: Device,
}

impl Rows {
    pub(crate) fn new(lengths: &[usize], device: Device) -> Self {
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let places = lengths.iter().enumerate().flat_map(|(row, &length)| (0..length).map(move |t| row * longest + t));
        let places: Vec<i64> = places.map(|place| place as i64).collect();
        let shape = [lengths.len() as i64, longest as i64];
        Self { places: Tensor::from_slice(&places).to_device(device), shape, device }
    }

    /// `[M]` to `[B, T]`, 0 where there is no token.
    pub(crate) fn lay(&self, values: &Tensor) -> Tensor {
        let flat = Tensor::zeros([self.shape[0] * self.shape[1]], (Kind::Float, self.device));
        flat.index_copy(0, &self.places, &values.to_kind(Kind::Float)).view(self.shape)
    }

    /// The same of numbers on the host.
    pub(crate) fn lay_slice(&self, values: &[f32]) -> Tensor {
        self.lay(&Tensor::from_slice(values).to_device(self.device))
    }
}

/// What a head says of the trained tokens of a batch, `[B, T]` each.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) logprobs: Tensor,
    pub(crate) entropy: Tensor,
    pub(crate) likeliest: Tensor,
    pub(crate) mean_logprobs: Option<Tensor>,
}

/// Runs `model` over a batch with the features of its media; its logits never exist but a chunk at a time.
pub(crate) fn score(
    model: &dyn Backbone,
    batch: &Batch,
    features: &[Rc<Features>],
    unreachable: &Tensor,
    needs: &Needs,
) -> Result<Said> {
    let features: Vec<&Features> = features.iter().map(Rc::as_ref).collect();
    let hidden = model.score(batch, &features)?; // [M, D]
    let targets = Tensor::from_slice(&batch.targets).to_device(model.device());
    let head = Head {
        temperature: needs.temperature,
        unreachable: (needs.reach == Reach::Sampled && unreachable.numel() > 0).then_some(unreachable),
        chunk: CHUNK,
        vocabulary_mean: if needs.mean_logprobs { VocabularyMean::Taken } else { VocabularyMean::Skipped },
        ..Head::new(model.lm_head())
    };
    let out = head_logprobs(&hidden, &targets, &head)?;
    let rows = Rows::new(&batch.lengths, model.device());
    Ok(Said {
        logprobs: rows.lay(&out.logprobs),
        entropy: rows.lay(&out.entropy),
        likeliest: rows.lay(&out.likeliest),
        mean_logprobs: out.mean_logprobs.map(|mean| rows.lay(&mean)),
    })
}

/// The log-probability of each trained token of a sequence.
pub type SequenceLogprobs = Vec<f32>;

/// The log-probabilities of all trained tokens of `groups`, a list for each sequence in order, without gradient; logits are
/// divided by `temperature`.
///
/// # Errors
/// If a sequence does not fit the model.
pub fn logprobs(model: &dyn Backbone, groups: &[Group], temperature: f64) -> Result<Vec<SequenceLogprobs>> {
    let needs = Needs { temperature, ..Needs::default() };
    let nothing = Tensor::zeros([0], (Kind::Int64, model.device()));
    if groups.is_empty() {
        return Ok(Vec::new());
    }
    check(model, groups)?;
    let pieces: Vec<Piece<'_>> = groups.iter().map(Piece::whole).collect();
    let batch = Batch::new(&pieces)?;
    let said = tch::no_grad(|| {
        let features = Encoded::default().of_reference(model, &batch)?;
        score(model, &batch, &features, &nothing, &needs)
    })?;
    lists(&said.logprobs, &batch.lengths)
}

/// Checks that every sequence is made as `model` wants it, and fits.
pub(crate) fn check(model: &dyn Backbone, groups: &[Group]) -> Result<()> {
    for group in groups {
        model.check(group.prompt())?;
        for sequence in group.sequences() {
            model.check(sequence.tail())?;
            let (tokens, most) = (group.prompt().len() + sequence.tail().len(), model.max_tokens());
            if tokens > most {
                let reason = format!("{tokens} tokens where {most} fit");
                return Err(Error::Sequence { sample: group.prompt().sample().into(), reason });
            }
        }
    }
    Ok(())
}

/// `[B, T]` as a list for each row.
pub(crate) fn lists(rows: &Tensor, lengths: &[usize]) -> Result<Vec<SequenceLogprobs>> {
    let width = rows.size()[1] as usize;
    let flat = Vec::<f32>::try_from(&rows.to_kind(Kind::Float).flatten(0, 1))?;
    Ok(lengths.iter().enumerate().map(|(row, &length)| flat[row * width..row * width + length].to_vec()).collect())
}

//! `B` sequences of a micro-batch, `T` trained tokens of the longest.

use tch::{Device, Kind, Tensor};
use vr1_rollout::Group;
use vr1_vlm::{Batch, Piece};

use super::cut::cut;
use super::score::{Rows, Said};
use crate::{Counts, Error, Fold, Needs, Old, Result, Scored, Signals, Stats};

/// A micro-batch of a step with what does not change while its updates are made.
pub(crate) struct Part<'a> {
    pub(crate) pieces: Vec<Piece<'a>>,
    pub(crate) batch: Batch,
    rows: Rows,
    mask: Tensor,
    signals: Tensor,
    token_signals: Option<Tensor>,
    /// NaN for sequences that nobody sampled; nothing where the whole step has no other.
    drawn: Option<Tensor>,
    old: Option<Tensor>,
    reference: Option<Tensor>,
}

/// Whether an engine sampled any of a step.
pub(crate) fn any_sampled(groups: &[Group]) -> bool {
    groups.iter().flat_map(Group::sequences).any(|sequence| sequence.sampled().is_some())
}

/// A step, or a rank's share of it, in micro-batches; `sampled` says whether any of the whole step was.
pub(crate) fn parts<'a>(
    groups: &'a [Group],
    signals: &Signals,
    (needs, sampled): (&Needs, bool),
    tokens_per_micro_batch: usize,
    device: Device,
) -> Result<Vec<Part<'a>>> {
    let mut at = 0;
    let part = |pieces: Vec<Piece<'a>>| -> Result<Part<'a>> {
        let batch = Batch::new(&pieces)?;
        let rows = Rows::new(&batch.lengths, device);
        let these = at..at + batch.lengths.len();
        at = these.end;
        let learnt = batch.lengths.iter().zip(&signals.parts()[these.clone()]);
        let marks = learnt.flat_map(|(&length, &part)| std::iter::repeat_n(f32::from(u8::from(part)), length));
        let mask = rows.lay_slice(&marks.collect::<Vec<_>>()).to_kind(Kind::Int64);
        let token_signals = match signals.tokens().map(|tokens| &tokens[these.clone()]) {
            Some(lists) => Some(rows.lay_slice(&by_token(&pieces, lists)?)),
            None => None,
        };
        let signals = Tensor::from_slice(&signals.values()[these]).to_device(device);
        let drawn = sampled.then(|| rows.lay_slice(&drawn(&pieces)));
        Ok(Part { pieces, batch, rows, mask, signals, token_signals, drawn, old: None, reference: None })
    };
    cut(groups, tokens_per_micro_batch, needs.coupling).into_iter().map(part).collect()
}

/// The signals of all tokens in a row: one for each trained token.
fn by_token(pieces: &[Piece<'_>], lists: &[Vec<f32>]) -> Result<Vec<f32>> {
    for (sequence, list) in pieces.iter().flat_map(Piece::iter).zip(lists) {
        let (wanted, found) = (sequence.trained_tokens(), list.len());
        if wanted != found {
            let reason = format!("{found} signals of tokens for {wanted} trained tokens");
            return Err(Error::Sequence { sample: sequence.prompt().sample().into(), reason });
        }
    }
    Ok(lists.concat())
}

/// The log-probabilities that all trained tokens were drawn by, NaN where nobody sampled.
fn drawn(pieces: &[Piece<'_>]) -> Vec<f32> {
    let one = |sequence: &vr1_rollout::Sequence| match sequence.sampled() {
        Some(sampled) => sampled.drawn.clone(),
        None => vec![f32::NAN; sequence.trained_tokens()],
    };
    pieces.iter().flat_map(Piece::iter).flat_map(one).collect()
}

impl Part<'_> {
    /// Whether the reference has not been asked of it yet, and is wanted.
    pub(crate) fn wants_reference(&self, needs: &Needs) -> bool {
        needs.reference && self.reference.is_none()
    }

    /// Takes up what the reference says of all trained tokens in a row.
    pub(crate) fn set_reference(&mut self, logprobs: &[f32]) {
        self.reference = Some(self.rows.lay_slice(logprobs));
    }

    /// What makes its loss not finite: the first number that counts and is none, by its sample.
    pub(crate) fn blame(&self, scored: &Scored) -> String {
        let lists = [
            ("the log-probability", Some(&scored.logprobs)),
            ("the reference's log-probability", scored.ref_logprobs.as_ref()),
            ("the old log-probability", Some(&scored.old_logprobs)),
        ];
        for (what, numbers) in lists {
            let Some(numbers) = numbers else { continue };
            let bad = tch::no_grad(|| numbers.isfinite().logical_not().logical_and(&scored.mask.ne(0)).nonzero());
            let Ok(place) = Vec::<i64>::try_from(bad.flatten(0, -1)) else { continue };
            let [row, token, ..] = place.as_slice() else { continue };
            let (group, completion) = self.row(*row as usize);
            return format!("{what} of token {token} of completion {completion} of `{}`", scored.samples[group]);
        }
        "the loss".to_owned()
    }

    /// The group of a row, and its place in that.
    fn row(&self, mut row: usize) -> (usize, usize) {
        for (group, piece) in self.pieces.iter().enumerate() {
            if row < piece.sequences.len() {
                return (group, piece.sequences.start + row);
            }
            row -= piece.sequences.len();
        }
        (self.pieces.len().saturating_sub(1), row)
    }

    /// What the model says of it, with all that a loss may want beside.
    pub(crate) fn scored(&mut self, said: Said, needs: &Needs, mismatched_kl: Option<f64>) -> Scored {
        let own = said.logprobs.detach();
        let old = self.old.get_or_insert_with(|| match self.drawn.as_ref().filter(|_| needs.old == Old::Drawn) {
            Some(drawn) => own.where_self(&drawn.isnan(), drawn),
            None => own,
        });
        Scored {
            logprobs: said.logprobs,
            entropy: said.entropy,
            likeliest: said.likeliest,
            mean_logprobs: said.mean_logprobs,
            mask: self.mask.shallow_clone(),
            old_logprobs: old.shallow_clone(),
            drawn: self.drawn.as_ref().map(Tensor::shallow_clone),
            ref_logprobs: self.reference.as_ref().map(Tensor::shallow_clone),
            signals: self.signals.shallow_clone(),
            token_signals: self.token_signals.as_ref().map(Tensor::shallow_clone),
            groups: self.pieces.iter().map(|piece| piece.sequences.len()).collect(),
            samples: self.pieces.iter().map(|piece| piece.group.prompt().sample().to_owned()).collect(),
            mismatched_kl,
        }
    }
}

/// How much there is in a step.
pub(crate) fn count(groups: &[Group], signals: &Signals) -> Counts {
    let mut counts = Counts { groups: groups.len() as f64, ..Counts::default() };
    let mut at = 0;
    for group in groups {
        let these = at..at + group.size();
        at = these.end;
        let (values, parts) = (&signals.values()[these.clone()], &signals.parts()[these]);
        let best = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let chosen = values.iter().position(|value| *value == best);
        for (i, (sequence, &part)) in group.sequences().iter().zip(parts).enumerate() {
            let tokens = if part { sequence.trained_tokens() as f64 } else { 0.0 };
            counts.tokens += tokens;
            counts.chosen_tokens += if chosen == Some(i) { tokens } else { 0.0 };
            counts.sequences += 1.0;
            counts.occupied += f64::from(u8::from(tokens > 0.0));
        }
    }
    counts
}

/// How far the trainer's log-probabilities are from those drawn by, over the tokens that were sampled: nothing where none
/// was. In f64: `exp(d) − 1 − d` of a small `d` is the difference of large numbers.
pub(crate) fn sampler_gap(scored: &Scored) -> Stats {
    let Some(drawn) = &scored.drawn else { return Stats::default() };
    tch::no_grad(|| {
        let counted = scored.mask.ne(0).logical_and(&drawn.isnan().logical_not());
        let gap = (scored.logprobs.to_kind(Kind::Double) - drawn.to_kind(Kind::Double)).masked_select(&counted);
        let tokens = gap.numel();
        if tokens == 0 {
            return Stats::default();
        }
        let kl = (gap.expm1() - &gap).mean(Kind::Double).double_value(&[]);
        let widest = gap.abs().max().double_value(&[]);
        Stats::new([("sampler_kl", kl, Fold::Mean(tokens as f64)), ("sampler_gap", widest, Fold::Max)])
    })
}

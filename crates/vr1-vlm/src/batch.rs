use std::ops::Range;
use std::sync::Arc;

use vr1_nn::{Recompute, Routing};
use vr1_processor::{Patches, Prompt};
use vr1_rollout::{Group, Sequence};
use vr1_torch::Groups;

use crate::{Error, Result};

/// Some or all sequences of a group, on their way into a batch.
#[derive(Debug, Clone)]
pub struct Piece<'a> {
    /// The group.
    pub group: &'a Group,
    /// Which of its sequences.
    pub sequences: Range<usize>,
}

impl<'a> Piece<'a> {
    /// All sequences of a group.
    pub fn whole(group: &'a Group) -> Self {
        Self { group, sequences: 0..group.size() }
    }

    /// The sequences.
    pub fn iter(&self) -> impl Iterator<Item = &'a Sequence> {
        self.group.sequences()[self.sequences.clone()].iter()
    }

    /// How many tokens a model runs over for these.
    pub fn tokens(&self) -> usize {
        self.group.prompt().len() + self.iter().map(run_over).sum::<usize>()
    }
}

/// A picture or video in a batch.
#[derive(Debug, Clone)]
pub struct BatchMedia {
    /// Where its tokens begin.
    pub start: usize,
    /// How many they are.
    pub tokens: usize,
    /// Its patches.
    pub patches: Arc<Patches>,
}

/// Where in a batch that is which a model runs over behind a sequence's prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tail {
    /// Which of the groups.
    pub group: usize,
    /// Which of its suffixes; none where the prompt predicts all.
    pub place: Option<usize>,
}

/// Sequences made ready to be scored: tokens lie ragged, without padding, a prompt once before the sequences that share it.
#[derive(Debug)]
pub struct Batch {
    /// Token ids, `N` of them.
    pub input_ids: Vec<i64>,
    /// Positions in time, height and width, `N` each.
    pub position_ids: [Vec<i64>; 3],
    /// Pictures and videos, in the order of their places.
    pub media: Vec<BatchMedia>,
    /// Which tokens attend to which.
    pub groups: Groups,
    /// Which tokens predict a trained one, in the order of sequences; the last of a prompt does for each of its sequences.
    pub places: Vec<i64>,
    /// What they predict.
    pub targets: Vec<i64>,
    /// How many trained tokens each sequence has.
    pub lengths: Vec<usize>,
    /// Where each sequence is.
    pub tails: Vec<Tail>,
    /// What the backward pass computes again; nothing, where [`Batch::new`] made this.
    pub recompute: Recompute,
    /// Where what routers do is taken down; nowhere, where [`Batch::new`] made this.
    pub routing: Option<Routing>,
}

impl Batch {
    /// The batch of these pieces, in order.
    ///
    /// # Errors
    /// If there is none.
    pub fn new(pieces: &[Piece<'_>]) -> Result<Self> {
        if pieces.is_empty() {
            return Err(Error::Empty { what: "sequences" });
        }
        let mut lengths = Vec::new();
        let groups = Groups::new(pieces.iter().map(|piece| {
            let tails = piece.iter().map(|sequence| run_over(sequence) as i64).filter(|&length| length > 0);
            (piece.group.prompt().len() as i64, tails.collect())
        }))?;
        let mut tokens = Tokens::default();
        let (mut places, mut targets, mut tails) = (Vec::new(), Vec::new(), Vec::new());
        for (group, piece) in pieces.iter().enumerate() {
            let (prompt, mut suffixes) = (piece.group.prompt(), 0..);
            tokens.push(prompt, prompt.len(), 0);
            let last = tokens.input_ids.len() - 1;
            for sequence in piece.iter() {
                let start = tokens.input_ids.len();
                tokens.push(sequence.tail(), run_over(sequence), prompt.next_position());
                lengths.push(sequence.trained_tokens());
                tails.push(Tail { group, place: if run_over(sequence) > 0 { suffixes.next() } else { None } });
                let trained = sequence.trained().iter().enumerate().filter(|(_, trained)| **trained);
                for (i, _) in trained {
                    places.push(if i == 0 { last } else { start + i - 1 } as i64);
                    targets.push(sequence.ids()[i]);
                }
            }
        }
        let Tokens { input_ids, position_ids, media } = tokens;
        let (recompute, routing) = (Recompute::None, None);
        Ok(Self { input_ids, position_ids, media, groups, places, targets, lengths, tails, recompute, routing })
    }
}

/// How many of a sequence's own tokens a model runs over: the last trained one, and what is behind it, predict nothing.
fn run_over(sequence: &Sequence) -> usize {
    sequence.trained().iter().rposition(|trained| *trained).unwrap_or(0)
}

#[derive(Default)]
struct Tokens {
    input_ids: Vec<i64>,
    position_ids: [Vec<i64>; 3],
    media: Vec<BatchMedia>,
}

impl Tokens {
    /// The first `count` tokens of a prompt, or of what follows one, whose positions begin at `position`.
    fn push(&mut self, tokens: &Prompt, count: usize, position: i64) {
        let start = self.input_ids.len();
        self.input_ids.extend_from_slice(&tokens.input_ids()[..count]);
        for (row, positions) in self.position_ids.iter_mut().zip(tokens.position_ids()) {
            row.extend(positions[..count].iter().map(|own| own + position));
        }
        let shown = tokens.media().iter().zip(tokens.patches()).filter(|(span, _)| span.range.end <= count);
        self.media.extend(shown.map(|(span, patches)| {
            let (start, tokens) = (start + span.range.start, span.range.len());
            BatchMedia { start, tokens, patches: patches.clone() }
        }));
    }
}

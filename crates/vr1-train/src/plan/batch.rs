//! What a step runs over at once: its largest micro-batch, cut as a learner cuts it.

use super::lengths::{Length, Lengths};
use crate::recipe::PairSource;
use crate::{ObjectiveConfig, StageConfig};

/// A prompt, and what follows it, each with the prompt's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unit {
    pub(crate) prompt: u64,
    pub(crate) patches: u64,
    pub(crate) tails: Vec<u64>,
}

/// Sizes of what a model runs over at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BatchSize {
    /// Tokens that a model runs over, of prompts and of what follows them: the last of a sequence predicts nothing.
    pub tokens: u64,
    /// Tokens that are learnt from.
    pub trained: u64,
    /// Patches of pictures.
    pub patches: u64,
    /// The most patches of a prompt.
    pub of_one: u64,
    /// What follows prompts.
    pub sequences: u64,
}

/// Completions that are sampled in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Drawn {
    pub(crate) prompts: usize,
    pub(crate) group: usize,
    pub(crate) tokens: usize,
}

/// Whether a group may be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    Anywhere,
    BetweenGroups,
}

impl Drawn {
    /// What a stage samples in a step; nothing where it learns from what is written.
    pub(crate) fn of(objective: &ObjectiveConfig) -> Option<Self> {
        match objective {
            ObjectiveConfig::Grpo(grpo) => Some(Self {
                prompts: grpo.prompts_per_step,
                group: grpo.group_size,
                tokens: grpo.sampling.max_completion_tokens,
            }),
            ObjectiveConfig::Dpo(dpo) => match &dpo.pairs {
                PairSource::Sampled { group_size, sampling, .. } => Some(Self {
                    prompts: dpo.pairs_per_step,
                    group: *group_size,
                    tokens: sampling.max_completion_tokens,
                }),
                PairSource::Rows(_) | PairSource::Written { .. } => None,
            },
            ObjectiveConfig::Kto(_) | ObjectiveConfig::Sft(_) => None,
        }
    }
}

/// How many rows a stage takes in a step.
pub(crate) fn rows_a_step(objective: &ObjectiveConfig) -> usize {
    match objective {
        ObjectiveConfig::Grpo(grpo) => grpo.prompts_per_step,
        ObjectiveConfig::Sft(sft) => sft.documents_per_step,
        ObjectiveConfig::Kto(kto) => kto.answers_per_step,
        ObjectiveConfig::Dpo(dpo) => dpo.pairs_per_step,
    }
}

/// The units of a step of the longest rows, completions as long as they may be.
pub(crate) fn units(stage: &StageConfig, lengths: &Lengths) -> Vec<Unit> {
    let unit = |row: &&Length| {
        let tails = match &stage.objective {
            ObjectiveConfig::Grpo(grpo) => vec![grpo.sampling.max_completion_tokens as u64; grpo.group_size],
            ObjectiveConfig::Dpo(dpo) => match &dpo.pairs {
                PairSource::Sampled { sampling, .. } => vec![sampling.max_completion_tokens as u64; 2],
                PairSource::Rows(_) | PairSource::Written { .. } => row.answers.clone(),
            },
            ObjectiveConfig::Kto(_) | ObjectiveConfig::Sft(_) => row.answers.clone(),
        };
        Unit { prompt: row.prompt, patches: row.patches, tails }
    };
    lengths.longest(rows_a_step(&stage.objective)).iter().map(unit).collect()
}

impl Unit {
    fn size(&self, tails: &[u64]) -> BatchSize {
        let trained = tails.iter().sum::<u64>();
        let tokens = self.prompt + tails.iter().map(|tail| tail.saturating_sub(1)).sum::<u64>();
        BatchSize { tokens, trained, patches: self.patches, of_one: self.patches, sequences: tails.len() as u64 }
    }
}

impl BatchSize {
    fn and(self, other: Self) -> Self {
        Self {
            tokens: self.tokens + other.tokens,
            trained: self.trained + other.trained,
            patches: self.patches + other.patches,
            of_one: self.of_one.max(other.of_one),
            sequences: self.sequences + other.sequences,
        }
    }
}

/// The micro-batches of a step, in order: in each at most `budget` tokens, or one unit or sequence alone; 0 is no limit.
pub(crate) fn micro_batches(stage: &StageConfig, units: &[Unit], budget: usize) -> Vec<BatchSize> {
    let cut = match &stage.objective {
        ObjectiveConfig::Dpo(_) => Cut::BetweenGroups,
        ObjectiveConfig::Grpo(_) | ObjectiveConfig::Kto(_) | ObjectiveConfig::Sft(_) => Cut::Anywhere,
    };
    let budget = if budget == 0 { u64::MAX } else { budget as u64 };
    let mut parts: Vec<BatchSize> = Vec::new();
    for piece in units.iter().flat_map(|unit| pieces(unit, budget, cut)) {
        match parts.last_mut().filter(|part| part.tokens + piece.tokens <= budget) {
            Some(part) => *part = part.and(piece),
            None => parts.push(piece),
        }
    }
    parts
}

fn pieces(unit: &Unit, budget: u64, cut: Cut) -> Vec<BatchSize> {
    let whole = unit.size(&unit.tails);
    if cut == Cut::BetweenGroups || whole.tokens <= budget {
        return vec![whole];
    }
    let (mut pieces, mut start) = (Vec::new(), 0);
    for end in 1..=unit.tails.len() {
        let last = end == unit.tails.len();
        if last || unit.size(&unit.tails[start..=end]).tokens > budget {
            pieces.push(unit.size(&unit.tails[start..end]));
            start = end;
        }
    }
    pieces
}

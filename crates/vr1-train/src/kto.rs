use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::prelude::*;
use serde_json::Value;
use vr1_data::{JudgedSet, RowSource};
use vr1_learn::{JudgedLoss, Loss, Signals, Step};
use vr1_processor::{Layout, Processor, PromptRequest};
use vr1_rollout::{Group, SampleKey};

use super::draw::{Deck, Draw};
use super::pairs::{Numbered, answered, messages};
use crate::recipe::KtoObjective;
use crate::{Collected, Error, Objective, Result, Run};

/// Answers that were judged one by one.
pub struct Kto {
    rows: Arc<JudgedSet>,
    draw: Draw,
    answers_per_step: usize,
    loss: JudgedLoss,
}

impl std::fmt::Debug for Kto {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kto").field("loss", &self.loss).finish_non_exhaustive()
    }
}

impl Kto {
    /// The objective that a recipe describes.
    ///
    /// # Errors
    /// If the rows cannot be read.
    pub fn new(config: &KtoObjective, seed: u64) -> Result<Self> {
        let source = RowSource { images: config.images.clone(), ..RowSource::all(&config.path) };
        let rows = Arc::new(JudgedSet::of(&source)?);
        let samples = Arc::new(Numbered { name: rows.name().to_owned(), len: rows.len() });
        let draw = Draw::new(vec![Deck { samples, weight: 1.0, stage: 0 }], seed)?;
        Ok(Self { rows, draw, answers_per_step: config.answers_per_step, loss: JudgedLoss { config: config.loss } })
    }

    fn group(&self, key: SampleKey, processor: &Processor) -> Result<(Group, f32)> {
        let row = self.rows.get(key.index as usize)?;
        let before = messages(&row.prompt, &row.sample);
        let request = PromptRequest { sample: &row.sample.id, messages: &before, layout: Layout::Chat, prefill: "" };
        let group = answered(key, processor, &request, &[messages(&row.completion, &row.sample)])?;
        Ok((group, f32::from(u8::from(row.desirable))))
    }
}

impl Objective for Kto {
    fn collect(&mut self, run: &mut Run, _at: Step) -> Result<Collected> {
        let drawn = self.draw.next(self.answers_per_step, &[1.0])?;
        let processor = &run.processor;
        let made: Vec<(Group, f32)> =
            drawn.par_iter().map(|drawn| self.group(drawn.key, processor)).collect::<Result<_>>()?;
        let (groups, liked): (Vec<Group>, Vec<f32>) = made.into_iter().unzip();
        let share = liked.iter().sum::<f32>() / liked.len().max(1) as f32;
        let metrics = BTreeMap::from([("desirable".to_owned(), f64::from(share))]);
        Ok(Collected { groups, signals: Signals::new(liked), metrics, ..Collected::default() })
    }

    fn loss(&self) -> &dyn Loss {
        &self.loss
    }

    fn state(&self) -> Value {
        serde_json::json!({ "drawn": self.draw.drawing() })
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        let drawn = state.get("drawn").cloned().unwrap_or_default();
        let drawn = serde_json::from_value(drawn)
            .map_err(|error| Error::Recipe(format!("the state of the objective cannot be read: {error}")))?;
        self.draw.resume(drawn)
    }
}

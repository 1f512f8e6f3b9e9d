use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::prelude::*;
use serde_json::Value;
use vr1_data::{JudgedSet, RowSource};
use vr1_learn::{JudgedLoss, Loss, Signals, Step};
use vr1_processor::{Layout, Processor, PromptRequest};
use vr1_rollout::Group;

use super::ahead::{Ahead, Wanted};
use super::draw::{Deck, Draw, Drawn};
use super::pairs::{Numbered, answered, messages};
use crate::derivation::length;
use crate::recipe::KtoObjective;
use crate::{Collected, Error, Objective, Result, Run, Supply};

/// Answers that were judged one by one.
pub struct Kto {
    rows: Arc<JudgedSet>,
    draw: Draw,
    answers_per_step: usize,
    ahead: Ahead<Vec<(Group, f32)>>,
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
        let loss = JudgedLoss { config: config.loss };
        Ok(Self { rows, draw, answers_per_step: config.answers_per_step, ahead: Ahead::default(), loss })
    }
}

/// Answers as groups of one, and whether each is liked.
fn groups(rows: &JudgedSet, drawn: &[Drawn], processor: &Processor) -> Result<Vec<(Group, f32)>> {
    let group = |drawn: &Drawn| {
        let row = rows.get(drawn.key.index as usize)?;
        let before = messages(&row.prompt, &row.sample);
        let request = PromptRequest { sample: &row.sample.id, messages: &before, layout: Layout::Chat, prefill: "" };
        let group = answered(drawn.key, processor, &request, &[messages(&row.completion, &row.sample)])?;
        Ok((group, f32::from(u8::from(row.desirable))))
    };
    drawn.par_iter().map(group).collect()
}

impl Objective for Kto {
    fn collect(&mut self, run: &mut Run, at: Step) -> Result<Collected> {
        let wanted = Wanted { count: self.answers_per_step, stages: vec![1.0] };
        let made = match self.ahead.take(&mut self.draw, &wanted, &run.processor) {
            Some(made) => made?,
            None => groups(&self.rows, &self.draw.next(wanted.count, &wanted.stages)?, &run.processor)?,
        };
        if at.done + 1 < at.of {
            let rows = self.rows.clone();
            let make = move |drawn: Vec<Drawn>, processor: &Processor| groups(&rows, &drawn, processor);
            self.ahead.begin(&mut self.draw, wanted, &run.processor, make);
        }
        let (groups, liked): (Vec<Group>, Vec<f32>) = made.into_iter().unzip();
        let share = liked.iter().sum::<f32>() / liked.len().max(1) as f32;
        let metrics = BTreeMap::from([("desirable".to_owned(), f64::from(share))]);
        Ok(Collected { groups, signals: Signals::new(liked), metrics, ..Collected::default() })
    }

    fn supply(&self, processor: &Processor, count: usize) -> Supply {
        let mut supply = Supply { samples: self.draw.total(), ..Supply::default() };
        for drawn in self.draw.first(count) {
            let made = drawn.and_then(|drawn| groups(&self.rows, &[drawn], processor));
            supply.add(made.map(|judged| length(judged.iter().map(|(group, _)| group))));
        }
        supply
    }

    fn samples(&self) -> bool {
        false
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

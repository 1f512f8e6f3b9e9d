use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::prelude::*;
use serde_json::Value;
use vr1_curriculum::Curriculum;
use vr1_learn::{ImitationLoss, Loss, Signals, Step};
use vr1_processor::Processor;
use vr1_rollout::{Group, Sequence};

use super::ahead::{Ahead, Wanted};
use super::course::Course;
use super::document::Document;
use super::draw::drawn_state;
use super::draw::{Deck, Draw, Drawn};
use crate::derivation::length;
use crate::recipe::SftObjective;
use crate::{Collected, Objective, Result, Run, Supply};

/// Imitation: documents, each a group of one.
pub struct Sft {
    documents: Arc<Vec<Document>>,
    draw: Draw,
    documents_per_step: usize,
    course: Course,
    ahead: Ahead<Vec<Group>>,
    loss: ImitationLoss,
}

impl std::fmt::Debug for Sft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sft").field("documents_per_step", &self.documents_per_step).finish_non_exhaustive()
    }
}

impl Sft {
    /// The objective that a recipe describes, of so many steps.
    ///
    /// # Errors
    /// If samples cannot be had, or a setting is out of range.
    pub fn new(config: &SftObjective, seed: u64, steps: u64) -> Result<Self> {
        let (documents, draw) = corpus(config, seed)?;
        let curriculum = config.curriculum.build(draw.stages(), steps)?;
        let loss = ImitationLoss { config: config.loss };
        Ok(Self {
            documents: Arc::new(documents),
            draw,
            documents_per_step: config.documents_per_step,
            course: Course::new(curriculum),
            ahead: Ahead::default(),
            loss,
        })
    }

    /// The same with a curriculum of the user's own.
    #[must_use]
    pub fn with_curriculum(self, curriculum: Box<dyn Curriculum>) -> Self {
        Self { course: Course::new(curriculum), ..self }
    }
}

/// Documents as groups of one.
fn groups(documents: &[Document], drawn: &[Drawn], processor: &Processor) -> Result<Vec<Group>> {
    let group = |drawn: &Drawn| {
        let document = &documents[drawn.key.dataset as usize];
        let supervised = document.supervised(&drawn.sample, processor)?;
        Ok(Group::new(drawn.key, vec![Sequence::document(&supervised)?])?)
    };
    drawn.par_iter().map(group).collect()
}

fn corpus(config: &SftObjective, seed: u64) -> Result<(Vec<Document>, Draw)> {
    let documents: Vec<Document> =
        config.documents.iter().map(|document| Document::open(document, seed)).collect::<Result<_>>()?;
    let deck = |document: &Document| Deck {
        samples: document.samples.clone(),
        weight: document.weight,
        stage: document.stage,
    };
    let draw = Draw::new(documents.iter().map(deck).collect(), seed)?;
    Ok((documents, draw))
}

/// `count` documents' words: what a tokenizer is trained on.
///
/// # Errors
/// If a document's samples cannot be had or its templates do not fit them.
pub fn words(config: &SftObjective, seed: u64, count: usize) -> Result<Vec<String>> {
    let (documents, mut draw) = corpus(config, seed)?;
    let stages = vec![1.0; draw.stages()];
    let drawn = draw.next(count, &stages)?;
    let words = |drawn: &Drawn| documents[drawn.key.dataset as usize].words(&drawn.sample);
    Ok(drawn.par_iter().map(words).collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
}

impl Objective for Sft {
    fn collect(&mut self, run: &mut Run, at: Step) -> Result<Collected> {
        let wanted = |stages| Wanted { count: self.documents_per_step, stages };
        let now = wanted(self.course.weights(at.done));
        let groups = match self.ahead.take(&mut self.draw, &now, &run.processor) {
            Some(groups) => groups?,
            None => groups(&self.documents, &self.draw.next(now.count, &now.stages)?, &run.processor)?,
        };
        if at.done + 1 < at.of {
            let (next, documents) = (wanted(self.course.ahead(at.done + 1)), self.documents.clone());
            let make = move |drawn: Vec<Drawn>, processor: &Processor| self::groups(&documents, &drawn, processor);
            self.ahead.begin(&mut self.draw, next, &run.processor, make);
        }
        let tokens: usize = groups.iter().map(|g| g.prompt().len() + g.sequences()[0].ids().len()).sum();
        let signals = Signals::new(vec![1.0; groups.len()]);
        let metrics = BTreeMap::from([("tokens".to_owned(), tokens as f64)]);
        Ok(Collected { groups, signals, metrics, ..Collected::default() })
    }

    fn supply(&self, processor: &Processor, count: usize) -> Supply {
        let mut supply = Supply { samples: self.draw.total(), ..Supply::default() };
        for drawn in self.draw.first(count) {
            let made = drawn.and_then(|drawn| groups(&self.documents, &[drawn], processor));
            supply.add(made.map(|groups| length(&groups)));
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
        serde_json::json!({ "drawn": self.draw.drawing(), "curriculum": self.course.state() })
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        let (drawn, curriculum) = drawn_state(state)?;
        self.draw.resume(drawn)?;
        self.course.restore(&curriculum)
    }
}

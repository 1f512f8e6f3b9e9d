use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use vr1_run::{RunError, StageScores, StepMetrics};
use vr1_vlm::Backbone;

use super::Trainer;
use super::idle::Idle;
use super::made_of::{Accepted, MadeOf};
use super::stop::Patience;
use crate::{Derivation, Error, Result};

/// What a checkpoint says beside weights and optimizer: the file `trainer_state.json`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Progressed {
    pub(super) step: u64,
    /// The stage under way, from 0, and the steps that were taken before it.
    pub(super) stage: usize,
    pub(super) before_stage: u64,
    pub(super) seconds: f64,
    pub(super) before: BTreeMap<String, f64>,
    /// Scores after each stage that is over.
    pub(super) over: Vec<StageScores>,
    /// The step of the best evaluation, and its score.
    pub(super) best: Option<(u64, f64)>,
    /// What is known of the score that may end the run.
    #[serde(default)]
    pub(super) patience: Patience,
    /// Where its first model came from.
    pub(super) origin: Origin,
    /// What was measured in a step whose evaluation was not taken yet.
    #[serde(default)]
    pub(super) pending: Option<StepMetrics>,
    /// What the reference is, where there is one.
    pub(super) reference: Option<Reference>,
    pub(super) objective: serde_json::Value,
    /// What the run is made of.
    #[serde(default)]
    pub(super) made_of: MadeOf,
    /// What is known of steps that taught nothing.
    #[serde(default)]
    pub(super) idle: Idle,
    /// The hash of the trained parameters.
    #[serde(default)]
    pub(super) weights: Option<String>,
}

/// Where the model of a run's start can be found again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Origin {
    /// Where the recipe says.
    #[default]
    Recipe,
    /// Nowhere: it was handed in.
    Elsewhere,
}

/// What a run's folder says before there is a checkpoint.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Begun {
    pub(super) origin: Origin,
    /// Scores before the first step, once they are known.
    pub(super) before: BTreeMap<String, f64>,
    /// What the run is made of.
    #[serde(default)]
    pub(super) made_of: MadeOf,
    /// What it went on with that it was not begun with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) accepted: Vec<Accepted>,
    /// What its recipe came to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) derivation: Option<Derivation>,
}

/// What a reference is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reference {
    /// The model that the run began with.
    Start,
    /// Another, which is beside the checkpoint.
    Moved,
}

/// How long a rank waits for the others to save what there is, after a step that failed: less than they are given to end.
const COMING: Duration = Duration::from_secs(10);

const STATE: &str = "trainer_state.json";
/// The folder of the adapter by itself.
pub(super) const ADAPTER: &str = "adapter";
/// The folder of a reference that is not the model the run began with.
pub(super) const REFERENCE: &str = "reference";

impl Progressed {
    pub(super) fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(STATE);
        let broken = |reason: String| Error::State { path: path.clone(), reason };
        let text = std::fs::read(&path).map_err(|error| broken(error.to_string()))?;
        serde_json::from_slice(&text).map_err(|error| broken(error.to_string()))
    }

    fn write(&self, dir: &Path) -> Result<()> {
        let path = dir.join(STATE);
        let broken = |reason: String| Error::State { path: path.clone(), reason };
        let text = serde_json::to_vec_pretty(self).map_err(|error| broken(error.to_string()))?;
        std::fs::write(&path, text).map_err(|error| broken(error.to_string()))
    }
}

impl Trainer {
    /// Writes `checkpoints/step-N`: the model and its processor as transformers reads them, and beside them what
    /// [`resume`](Self::resume) needs. Nothing random has a state of its own: all of it follows from seed and step. An
    /// adapter is merged into the model, and stands by itself in `adapter/` as peft reads it; a reference that is not the
    /// recipe's model stands in `reference/`. Of several ranks the first writes it, but of an optimizer's state that is sharded each its own
    /// share; a run of any number takes it up. Parameters that ranks hold each a share of are brought to the first, a layer at a time, and written.
    ///
    /// # Errors
    /// If it cannot be written; earlier checkpoints stay.
    pub fn checkpoint(&mut self) -> Result<PathBuf> {
        self.run.watch().hears("writing a checkpoint");
        let learner = &self.run.learner;
        if !self.run.world().is_first() {
            learner.together(|| match learner.is_sharded() {
                true => learner.save_share(Ok(None)),
                false => Ok(()),
            })?;
            self.saved = (self.done, Instant::now());
            return Ok(self.folder.path().to_owned());
        }
        let written = learner.together(|| -> Result<PathBuf> {
            let begun = Cell::new(false);
            let written = self.folder.checkpoint(self.done, |dir| {
                begun.set(true);
                self.write(dir)
            });
            if let (Err(error), false, true) = (&written, begun.get(), learner.is_sharded()) {
                // Nobody waits for a folder that there is none of; what failed first is what to tell.
                let (path, reason) = (self.folder.path().to_owned(), error.to_string());
                let _ = learner.save_share(Err(vr1_learn::Error::State { path, reason }));
            }
            Ok(written?)
        });
        let path = written?;
        if self.recipe.keep_checkpoints > 0 {
            self.folder.prune_checkpoints(self.recipe.keep_checkpoints, self.best.map(|(step, _)| step))?;
        }
        self.saved = (self.done, Instant::now());
        Ok(path)
    }

    /// Writes a checkpoint after a step that failed: why it could not. Where each rank holds a share of the optimizer's state, all must have
    /// come to this.
    pub(super) fn save_what_there_is(&mut self) -> Option<String> {
        let place = format!("a checkpoint of step {}", self.done);
        if self.run.learner.is_sharded() && !self.run.world().meets(&place, COMING) {
            return Some("the optimizer's state is sharded, and not every rank is there to write its share".to_owned());
        }
        self.checkpoint().err().map(|error| error.to_string())
    }

    fn write(&self, dir: &Path) -> Result<()> {
        let learner = &self.run.learner;
        // First, for other ranks may be waiting to write theirs.
        learner.save(dir)?;
        self.save_model(learner.model().as_ref(), dir)?;
        self.run.processor.save(dir)?;
        // Neither what a later stage began with nor what was handed in is found where the recipe says.
        let lost = self.before_stage > 0 || self.beginning.origin == Origin::Elsewhere;
        let moved = lost || learner.moved_reference().is_some();
        if let Some(reference) = learner.reference().filter(|_| moved) {
            let dir = dir.join(REFERENCE);
            make(&dir)?;
            self.save_model(reference.as_ref(), &dir)?;
        }
        let kind = if moved { Reference::Moved } else { Reference::Start };
        Progressed {
            step: self.done,
            stage: self.stage,
            before_stage: self.before_stage,
            seconds: self.seconds(),
            before: self.beginning.before.clone(),
            over: self.over.clone(),
            best: self.best,
            patience: self.patience.clone(),
            pending: self.pending.clone(),
            origin: self.beginning.origin,
            reference: learner.reference().map(|_| kind),
            made_of: self.beginning.made_of.clone(),
            idle: self.idle.clone(),
            weights: Some(learner.fingerprint()?),
            objective: self.resumed.clone().unwrap_or_else(|| self.objective.state()),
        }
        .write(dir)
    }

    fn save_model(&self, model: &dyn Backbone, dir: &Path) -> Result<()> {
        model.save(dir, model.kind())?;
        if model.parameters().adapter().is_some() {
            let adapter = dir.join(ADAPTER);
            make(&adapter)?;
            model.save_adapter(&adapter, Some(&self.recipe.model))?;
        }
        Ok(())
    }
}

fn make(dir: &Path) -> Result<()> {
    let io = |source| RunError::Io { action: "create the folder", path: dir.to_owned(), source };
    Ok(std::fs::create_dir_all(dir).map_err(io)?)
}

//! One step of a run, and what follows it.

use std::collections::BTreeMap;

use vr1_learn::Step;
use vr1_rollout::Version;
use vr1_run::StepMetrics;

use super::stage::{self, evaluation, learner, objective};
use super::{Trainer, engines};
use crate::recipe::{NotFinite, NotFiniteConfig};
use crate::rollout::draw;
use crate::shown::Gallery;
use crate::{Error, Result, Rollout, Stepped};

impl Trainer {
    /// Takes one step and records it: what was measured. Where it is asked to stop in the evaluation that is due, the step is
    /// recorded once that has been taken, by [`run`](Self::run) here or in the run taken up again.
    ///
    /// # Errors
    /// If the step fails; the parameters are then as they were. If what follows a step fails, an evaluation or a checkpoint,
    /// the step was taken all the same.
    pub fn step(&mut self) -> Result<StepMetrics> {
        let (metrics, mut rollouts, mut warnings) = match self.take() {
            Ok(taken) => taken,
            Err(error) => {
                // What it was to learn from can be looked at; a run that goes on takes the step again.
                let mut unlearnt = self.run.take_unlearnt();
                self.log(self.done + 1, &mut unlearnt)?;
                return Err(error);
            }
        };
        warnings.extend(self.idle.observe(&metrics, &rollouts));
        self.warn(&warnings);
        self.log(self.done, &mut rollouts)?;
        self.pending = Some(metrics.clone());
        Ok(self.conclude()?.unwrap_or(metrics))
    }

    /// Takes one step: what was measured and sampled, and what to tell.
    pub(super) fn take(&mut self) -> Result<(StepMetrics, Vec<Rollout>, Vec<String>)> {
        if let Some(state) = &self.resumed {
            self.objective.restore(state)?;
            self.resumed = None;
        }
        let at = Step { done: self.done - self.before_stage, of: self.stages[self.stage].steps };
        let NotFiniteConfig { action, most_in_a_row } = self.recipe.not_finite;
        let passes = action == NotFinite::Skip && self.idle.passed_over() < most_in_a_row;
        self.run.pass_over_not_finite(passes);
        let Stepped { metrics, rollouts, warnings } = self.run.step(self.objective.as_mut(), at)?;
        self.done += 1;
        let mut metrics = StepMetrics { step: self.done, values: metrics };
        if self.stages.len() > 1 {
            metrics.set("stage", self.stage as f64 + 1.0);
        }
        if let Some(bytes) = self.run.learner.peak_memory() {
            metrics.set("memory_gb", bytes as f64 / 1e9);
        }
        Ok((metrics, rollouts, warnings))
    }

    /// Whether the stage under way is over and another follows.
    pub(super) fn stage_is_over(&self) -> bool {
        let steps = self.stages[self.stage].steps;
        self.done == self.before_stage + steps && self.done < self.recipe.all_steps()
    }

    /// Writes down what was sampled for a step.
    fn log(&self, step: u64, rollouts: &mut [Rollout]) -> Result<()> {
        if !rollouts.is_empty() && self.run.world().is_first() {
            rollouts.iter_mut().for_each(|rollout| rollout.step = step);
            draw(rollouts, self.gallery())?;
            self.folder.write_rollouts(step, rollouts.iter())?;
        }
        Ok(())
    }

    /// Evaluates after the step that was taken, where that is due, and records both. What fails here, or is broken off, is done
    /// again by the run taken up again.
    pub(super) fn conclude(&mut self) -> Result<Option<StepMetrics>> {
        self.run.watch().hears("writing down a step");
        let stage = &self.stages[self.stage];
        let every = stage.evaluation.as_ref().map_or(0, |evaluation| evaluation.every_steps);
        let last = self.done == self.recipe.all_steps();
        let stage_over = self.stage_is_over();
        let due = !last && (stage_over || (every > 0 && self.done.is_multiple_of(every)));
        let scores = if due { self.evaluate()? } else { Some(BTreeMap::new()) };
        let (Some(scores), Some(mut metrics)) = (scores, self.pending.clone()) else { return Ok(None) };
        metrics.values.extend(scores.clone());
        self.folder.append_metrics(&metrics)?;
        self.events.write(&metrics)?;
        self.progress.step(&metrics);
        let improved = due && self.compare(&scores);
        if let (Some(stop), true) = (&self.recipe.stop, due && self.stage + 1 == self.stages.len()) {
            self.patience.observe(stop, self.done, &scores);
        }
        if stage_over {
            self.next_stage(scores)?;
        }
        self.pending = None;
        if improved || (!last && self.save_is_due()?) {
            self.checkpoint()?;
        }
        Ok(Some(metrics))
    }

    /// Scores the model on the held-out sets: `in_domain/accuracy` and so on; the answers are written into the run's folder.
    /// Nothing where it was asked to stop before the end.
    ///
    /// # Errors
    /// If a prompt cannot be made or the engine fails.
    pub fn evaluate(&mut self) -> Result<Option<BTreeMap<String, f64>>> {
        let gallery = Gallery { folder: &self.folder, side: self.recipe.log_pictures };
        // Who answers here needs all of the model.
        if self.evaluation.samples() > 0 && self.run.evaluates_here() {
            self.run.learner.gather_parameters()?;
        }
        let evaluated = self.evaluation.run(&mut self.run, &self.reward, &self.interrupt, (gallery, self.done));
        self.run.learner.free_parameters()?;
        let Some(evaluated) = evaluated? else { return Ok(None) };
        self.warn(&evaluated.warnings);
        if !evaluated.answers.is_empty() {
            self.folder.write_answers(self.done, &evaluated.answers)?;
        }
        Ok(Some(evaluated.scores))
    }

    /// Whether a checkpoint is, by steps or by the clock: the first rank's, where all write it.
    fn save_is_due(&self) -> Result<bool> {
        let (steps, minutes) = (self.recipe.save_every_steps, self.recipe.save_every_minutes);
        let late = || Ok::<_, Error>(self.saved.1.elapsed().as_secs_f64() >= minutes * 60.0);
        if steps > 0 && self.done.is_multiple_of(steps) {
            return Ok(true);
        }
        match (minutes > 0.0, self.run.learner.is_sharded()) {
            (false, _) => Ok(false),
            (true, false) => late(),
            (true, true) => self.run.world().first(late),
        }
    }

    /// Whether an evaluation is the best so far by the score that the recipe keeps.
    fn compare(&mut self, scores: &BTreeMap<String, f64>) -> bool {
        let Some((name, better)) = self.recipe.kept() else { return false };
        let score = scores.get(name).copied();
        let first = |score: &f64| self.best.is_none_or(|(_, best)| better.beats(*score, best, 0.0));
        let Some(score) = score.filter(first) else { return false };
        self.best = Some((self.done, score));
        true
    }

    /// Begins the next stage from the weights as they are; the one before ended with `scores`.
    pub(super) fn next_stage(&mut self, scores: BTreeMap<String, f64>) -> Result<()> {
        let config = &self.stages[self.stage + 1];
        let objective = objective(config, &self.recipe, &self.reward)?;
        let mut evaluation = evaluation(config, &self.recipe)?;
        self.held_out.iter().for_each(|(name, samples)| evaluation.set(name, samples.clone()));
        self.run.learner.release();
        let model = self.run.learner.model().clone();
        let evaluating = engines::evaluating(config, &self.recipe, model.as_ref(), &self.run.processor)?;
        let mut learner = learner(config, &self.recipe, model, &self.run.processor, self.run.world())?;
        learner.continue_from(Version(self.done));
        if objective.compares() {
            // The start of a later stage is not the model that the recipe names.
            learner.renew_reference()?;
        }
        self.over.push(stage::scores(&self.stages[self.stage], self.done - self.before_stage, scores));
        self.run.set_learner(learner);
        self.run.evaluate_with(evaluating);
        (self.stage, self.before_stage) = (self.stage + 1, self.done);
        (self.objective, self.evaluation, self.resumed) = (objective, evaluation, None);
        Ok(())
    }
}

//! β, the weight of the divergence from the reference, where it does not stay as the recipe has it.

use serde::{Deserialize, Serialize};
use vr1_learn::Schedule;

/// Keeps the divergence from the reference near a target, by β (Ziegler et al., [arXiv:1909.08593](https://arxiv.org/abs/1909.08593),
/// section 2.2): after each update `β ← β (1 + clip(KL / target − 1, −0.2, 0.2) · completions / horizon)`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KlControl {
    /// The divergence that is aimed at, nats.
    pub target: f64,
    /// Completions after which β has changed by as much as it was off, where that is no more than a fifth.
    pub horizon: f64,
    /// What `target` is of.
    #[serde(default)]
    pub per: KlPer,
}

/// What a divergence is of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KlPer {
    /// The sum over a completion's tokens, as the paper has it and TRL's first PPO had.
    #[default]
    Completion,
    /// The mean over tokens, as in verl.
    Token,
}

/// How far what was sampled is from the reference.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Diverged {
    /// Mean nats a token.
    pub(crate) of_token: f64,
    pub(crate) tokens: usize,
    pub(crate) completions: usize,
}

impl KlControl {
    /// The most that β is taken to be off.
    const MOST: f64 = 0.2;

    /// What is out of range, in steps of so many completions.
    pub(crate) fn fault(&self, completions: usize) -> Option<(&'static str, String)> {
        if !(self.target > 0.0 && self.target.is_finite()) {
            return Some(("target", "must be above 0 and finite".to_owned()));
        }
        // With less β could become negative in one step.
        let least = Self::MOST * completions as f64;
        (!(self.horizon > least && self.horizon.is_finite()))
            .then(|| ("horizon", format!("must be finite, and above {least}, a fifth of the completions of a step")))
    }

    fn next(&self, beta: f64, diverged: Diverged) -> f64 {
        let current = match self.per {
            KlPer::Token => diverged.of_token,
            KlPer::Completion => diverged.of_token * diverged.tokens as f64 / diverged.completions.max(1) as f64,
        };
        if current.is_nan() {
            return beta;
        }
        let off = (current / self.target - 1.0).clamp(-Self::MOST, Self::MOST);
        beta * (1.0 + off * diverged.completions as f64 / self.horizon)
    }
}

/// Where β weighs the divergence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the loss.
    Loss,
    /// In rewards.
    Reward,
    /// Nowhere.
    Nowhere,
}

/// β as it is now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Beta {
    now: f64,
    place: Place,
    moves: Moves,
}

#[derive(Debug, Clone, Copy)]
enum Moves {
    Not,
    Scheduled { start: f64, schedule: Schedule },
    Controlled(KlControl),
}

impl Beta {
    /// β of the loss, else of rewards.
    pub(crate) fn new(loss: f64, reward: f64, control: Option<KlControl>, schedule: Option<Schedule>) -> Self {
        let (now, place) = match (loss, reward) {
            (beta, _) if beta != 0.0 => (beta, Place::Loss),
            (_, beta) if beta > 0.0 => (beta, Place::Reward),
            _ => (0.0, Place::Nowhere),
        };
        let moves = match (control, schedule) {
            (Some(control), _) => Moves::Controlled(control),
            (None, Some(schedule)) => Moves::Scheduled { start: now, schedule },
            (None, None) => Moves::Not,
        };
        Self { now, place, moves }
    }

    pub(crate) fn now(&self) -> f64 {
        self.now
    }

    /// Its value where it weighs what `place` is.
    pub(crate) fn of(&self, place: Place) -> Option<f64> {
        (self.place == place).then_some(self.now)
    }

    /// Weighs nothing in the loss from here on: that is another's.
    pub(crate) fn leave_loss(&mut self) {
        if self.place == Place::Loss {
            *self = Self { now: 0.0, place: Place::Nowhere, moves: Moves::Not };
        }
    }

    /// As the schedule has it after `done` of `of` steps.
    pub(crate) fn begin_step(&mut self, done: u64, of: u64) {
        if let Moves::Scheduled { start, schedule } = self.moves {
            self.now = start * schedule.factor(done, of, 0);
        }
    }

    /// Moves by how far the model was from the reference.
    pub(crate) fn observe(&mut self, diverged: Diverged) {
        if let Moves::Controlled(control) = self.moves {
            self.now = control.next(self.now, diverged);
        }
    }

    /// What a resumed run cannot know otherwise.
    pub(crate) fn state(&self) -> Option<f64> {
        matches!(self.moves, Moves::Controlled(_)).then_some(self.now)
    }

    pub(crate) fn restore(&mut self, state: f64) {
        if matches!(self.moves, Moves::Controlled(_)) {
            self.now = state;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// TRL's `AdaptiveKLController` (trl 0.11, `trl/trainer/utils.py`) by hand: `init_kl_coef=0.2, target=6, horizon=10000`.
    #[test]
    fn beta_moves_as_the_controller_of_trls_ppo_did() {
        let control = KlControl { target: 6.0, horizon: 10_000.0, per: KlPer::Completion };
        let diverged = |of_token, tokens| Diverged { of_token, tokens, completions: 256 };
        let near = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        // 12 nats a completion are off by more than a fifth, 6.3 by a twentieth, 3 by more than a fifth the other way.
        near(control.next(0.2, diverged(0.1, 256 * 120)), 0.2 * (1.0 + 0.2 * 0.0256));
        near(control.next(0.2, diverged(0.1, 256 * 63)), 0.2 * (1.0 + 0.05 * 0.0256));
        near(control.next(0.2, diverged(0.1, 256 * 30)), 0.2 * (1.0 - 0.2 * 0.0256));
        near(control.next(0.2, diverged(0.1, 256 * 60)), 0.2);
        let by_token = KlControl { target: 0.1, per: KlPer::Token, ..control };
        near(by_token.next(0.2, diverged(0.105, 1)), 0.2 * (1.0 + 0.05 * 0.0256));
        assert_eq!(control.next(0.2, diverged(f64::NAN, 9)), 0.2);
    }

    #[test]
    fn beta_stays_above_0_however_far_it_is_off() {
        let control = |horizon| KlControl { target: 1.0, horizon, per: KlPer::Token };
        assert!(control(51.2).fault(256).is_some() && control(51.3).fault(256).is_none());
        let least = control(51.3).next(1.0, Diverged { of_token: 0.0, tokens: 1, completions: 256 });
        assert!(least > 0.0, "{least}");
        assert!(control(f64::INFINITY).fault(256).is_some());
        assert!(KlControl { target: 0.0, ..control(1e4) }.fault(256).is_some());
    }
}

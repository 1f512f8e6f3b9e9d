//! How long a run takes, told once it is known.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Trainer;
use crate::{Derivation, Result};
use vr1_run::{Show, StepMetrics};

/// What is known of a run's pace in this process.
#[derive(Debug, Default)]
pub(super) struct Pace {
    steps: u64,
    /// Seconds that an evaluation took.
    pub(super) evaluation: Option<f64>,
}

impl Trainer {
    /// What the run comes to, from the stage on that is under way.
    pub fn derivation(&self) -> &Derivation {
        &self.derivation
    }

    /// Says what the run comes to, and writes it down where it begins.
    pub(super) fn tell_derivation(&mut self) -> Result<()> {
        if self.show != Show::Quiet {
            eprintln!("{}", self.derivation);
        }
        if self.done == 0 && self.beginning.derivation.is_none() {
            self.beginning.derivation = Some(self.derivation.clone());
            self.folder.write_beginning(&self.beginning)?;
        }
        Ok(())
    }

    /// Says after the second step how long one takes, and when the run ends if that goes on: the first has things to do that no other has.
    pub(super) fn tell_pace(&mut self, step: &StepMetrics) {
        self.pace.steps += 1;
        let (Some(seconds), 2) = (step.get("seconds"), self.pace.steps) else { return };
        let left = self.recipe.all_steps() - self.done;
        let evaluations = 1 + self.derivation.stages.iter().map(|stage| stage.evaluations).sum::<u64>();
        let each = self.pace.evaluation.unwrap_or(0.0);
        let all = seconds * left as f64 + each * evaluations as f64;
        self.progress.note(&told(seconds, left, all, SystemTime::now()));
    }
}

fn told(seconds: f64, left: u64, all: f64, now: SystemTime) -> String {
    let end = now + Duration::try_from_secs_f64(all).unwrap_or_default();
    let day = end.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() % 86_400;
    let (hour, minute) = (day / 3600, day % 3600 / 60);
    format!("{seconds:.2} s a step: {left} more take about {}, until {hour:02}:{minute:02} UTC", duration(all))
}

fn duration(seconds: f64) -> String {
    match seconds as u64 {
        0..120 => format!("{seconds:.0} s"),
        120..7200 => format!("{:.0} min", seconds / 60.0),
        hours @ 7200..172_800 => format!("{} h {} min", hours / 3600, hours % 3600 / 60),
        days => format!("{} days {} h", days / 86_400, days % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_told_in_what_it_takes_and_when_it_is() {
        let now = UNIX_EPOCH + Duration::from_secs(86_400 * 20_000 + 23 * 3600 + 50 * 60);
        assert_eq!(told(1.5, 40, 60.0, now), "1.50 s a step: 40 more take about 60 s, until 23:51 UTC");
        assert_eq!(told(60.0, 15, 900.0, now), "60.00 s a step: 15 more take about 15 min, until 00:05 UTC");
        assert!(told(60.0, 1, 7260.0, now).contains("2 h 1 min"));
        assert!(told(60.0, 1, 180_000.0, now).contains("2 days 2 h"));
    }
}

//! How far a run is, on stderr: a bar where someone watches, a line now and then where a file does, or nothing.

use std::{
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::metrics::StepMetrics;

/// What to show of a run's progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Show {
    /// A bar on a terminal, plain lines elsewhere.
    #[default]
    Auto,
    /// Nothing.
    Quiet,
}

/// Shows step, reward, mean completion length, KL, tokens per second and time left. Stdout is never touched.
///
/// # Example
/// ```
/// use vr1_run::{Progress, Show, StepMetrics};
/// let mut progress = Progress::new(100, 0, Show::Auto);
/// progress.step(&StepMetrics::new(1).with("reward", 0.5));
/// progress.finish();
/// ```
pub struct Progress {
    total: u64,
    first: u64,
    begun: Instant,
    sink: Sink,
}

enum Sink {
    Bar(ProgressBar),
    Lines { out: Box<dyn Write + Send>, every: Duration, last: Option<Instant>, waiting: Option<String> },
    Nothing,
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Progress").field("total", &self.total).field("first", &self.first).finish_non_exhaustive()
    }
}

/// The gap between plain lines.
const EVERY: Duration = Duration::from_secs(10);

impl Progress {
    /// For a run of `total` steps of which `done` were taken earlier (0, unless it is resumed).
    #[must_use]
    pub fn new(total: u64, done: u64, show: Show) -> Self {
        let sink = match show {
            Show::Quiet => Sink::Nothing,
            Show::Auto if io::stderr().is_terminal() => Sink::Bar(bar(total, done)),
            Show::Auto => return Self::to_writer(total, done, Box::new(io::stderr()), EVERY),
        };
        Self { total, first: done, begun: Instant::now(), sink }
    }

    /// Plain lines to a writer, at most one each `every`; the first and the last step always have theirs.
    #[must_use]
    pub fn to_writer(total: u64, done: u64, out: Box<dyn Write + Send>, every: Duration) -> Self {
        let sink = Sink::Lines { out, every, last: None, waiting: None };
        Self { total, first: done, begun: Instant::now(), sink }
    }

    /// Shows a step that is done.
    pub fn step(&mut self, metrics: &StepMetrics) {
        let left = self.left(metrics.step);
        let text = describe(metrics, left);
        match &mut self.sink {
            Sink::Bar(bar) => {
                bar.set_position(metrics.step);
                bar.set_message(text);
            }
            Sink::Lines { out, every, last, waiting } => {
                let text = format!("step {}/{}  {text}", metrics.step, self.total);
                if last.is_none_or(|last| last.elapsed() >= *every) {
                    *last = Some(Instant::now());
                    *waiting = None;
                    put(out, &text);
                } else {
                    *waiting = Some(text);
                }
            }
            Sink::Nothing => {}
        }
    }

    /// Puts a line above the bar.
    pub fn note(&mut self, text: &str) {
        match &mut self.sink {
            Sink::Bar(bar) => bar.suspend(|| put(&mut io::stderr(), text)),
            Sink::Lines { out, .. } => put(out, text),
            Sink::Nothing => {}
        }
    }

    /// Leaves the last state standing, and what comes after it on a line of its own.
    pub fn finish(&mut self) {
        match std::mem::replace(&mut self.sink, Sink::Nothing) {
            Sink::Bar(bar) => {
                bar.abandon();
                put(&mut io::stderr(), "");
            }
            Sink::Lines { mut out, waiting, .. } => waiting.iter().for_each(|text| put(&mut out, text)),
            Sink::Nothing => {}
        }
    }

    /// Time left at the pace of the steps taken here.
    fn left(&self, step: u64) -> Duration {
        let taken = step.saturating_sub(self.first).max(1);
        self.begun.elapsed().mul_f64(self.total.saturating_sub(step) as f64 / taken as f64)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

fn bar(total: u64, done: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr()).with_position(done);
    let style = ProgressStyle::with_template("{wide_bar:.cyan} {pos}/{len}  {msg}");
    bar.set_style(style.expect("the template is a constant, and sound").progress_chars("━╸─"));
    bar
}

/// The numbers someone watches, those that are there.
fn describe(metrics: &StepMetrics, left: Duration) -> String {
    let shown =
        |label: &str, name: &str, digits: usize| metrics.get(name).map(|value| format!("{label} {value:.digits$}"));
    let speed = metrics.get("tokens_per_second").map(|value| format!("{value:.0} tok/s"));
    let seconds = left.as_secs();
    let clock = match seconds / 3600 {
        0 => format!("{:02}:{:02}", seconds / 60, seconds % 60),
        hours => format!("{hours}:{:02}:{:02}", seconds / 60 % 60, seconds % 60),
    };
    let loss = if metrics.get("reward").is_none() { shown("loss", "loss", 4) } else { None };
    let parts = [
        shown("reward", "reward", 3),
        loss,
        shown("length", "completion_length", 1),
        shown("kl", "kl", 4),
        speed,
        Some(format!("{clock} left")),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("  ")
}

/// A closed stderr does not stop a run.
fn put(out: &mut dyn Write, text: &str) {
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

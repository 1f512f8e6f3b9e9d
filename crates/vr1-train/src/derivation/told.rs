use std::fmt::{self, Display};

use vr1_learn::Sharding;

use super::{Derivation, Rate, Spread, StageDerivation};

impl Display for Derivation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.system)?;
        for stage in &self.stages {
            write!(f, "\n{stage}")?;
        }
        if let Some(servers) = &self.sampled_by {
            write!(f, "\n  completions: sampled by {servers}")?;
        }
        let shares = match self.sharding {
            Sharding::None => None,
            Sharding::Zero2 => Some("moments, f32 masters and summed gradients (ZeRO-2)"),
            Sharding::Zero3 => Some("layers' parameters, moments, f32 masters and summed gradients (ZeRO-3)"),
        };
        if let Some(shares) = shares {
            write!(f, "\n  sharded: of N processes each holds about an Nth of {shares}")?;
        }
        let first = self.stages.first().map_or(0, |stage| stage.evaluation_samples);
        let on_the_way: u64 = self.stages.iter().map(|stage| stage.evaluations).sum();
        if first > 0 {
            let samples = Counted(first, "held-out sample");
            write!(
                f,
                "\n  evaluated before the first step, {} on the way, after the last, on {samples}",
                times(on_the_way)
            )?;
        }
        write!(f, "\n  {}", Counted(self.checkpoints, "checkpoint"))?;
        match self.checkpoint_minutes {
            0.0 => Ok(()),
            minutes => write!(f, ", and one after every {minutes} minutes"),
        }
    }
}

impl Display for StageDerivation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { samples_per_step: count, completions_per_sample: completions, .. } = self;
        write!(f, "  {}: {} of {}", self.name, Counted(self.steps, "step"), Counted(*count, &self.unit))?;
        if *completions > 0 {
            write!(f, " × {completions} = {}", Counted(count * completions, "completion"))?;
        }
        write!(f, ", {} in all", Counted(self.updates, "update"))?;
        write!(f, "\n    data: {} seen", Counted(self.samples_seen, &self.unit))?;
        match (self.samples, self.epochs) {
            (Some(samples), Some(epochs)) => write!(f, " of {}, {epochs:.2} epochs", grouped(samples))?,
            _ => write!(f, ", drawn without end")?,
        }
        self.tokens(f)?;
        write!(f, "\n    learning rate: {} of warm-up", Counted(self.warmup_steps, "step"))?;
        self.rates.iter().try_for_each(|rate| write!(f, "{rate}"))
    }
}

impl StageDerivation {
    fn tokens(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(reason) = &self.unread {
            write!(f, "\n    not all of the first samples can be asked: {reason}")?;
        }
        let (Some(prompt), Some(tokens)) = (self.prompt_tokens, self.tokens_per_step) else { return Ok(()) };
        let count = self.samples_per_step;
        write!(f, "\n    tokens a step: {count} × {prompt} of prompts")?;
        if let Some(most) = self.max_completion_tokens {
            write!(f, " + at most {} × {} of completions", count * self.completions_per_sample, grouped(most))?;
        }
        if let Some(answers) = self.answer_tokens {
            write!(f, " + {count} × {answers} of answers")?;
        }
        let about = if self.max_completion_tokens.is_some() { "at most about" } else { "about" };
        write!(f, " = {about} {}", grouped(tokens))?;
        self.micro_batches.map_or(Ok(()), |count| write!(f, ", in about {}", Counted(count, "micro-batch")))
    }
}

impl Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { least, mean, most, of } = self;
        if least == most { write!(f, "{most}") } else { write!(f, "{mean:.0} ({least} to {most} in the first {of})") }
    }
}

impl Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = if self.group.is_empty() { String::new() } else { format!("{}: ", self.group.join(", ")) };
        let [start, peak, end] = [self.start, self.peak, self.end].map(rate);
        let decay = self.weight_decay;
        write!(f, "\n      {of}{start} at first, {peak} at its highest, {end} at last; weight decay {decay}")
    }
}

/// A learning rate in four digits at most.
fn rate(rate: f64) -> String {
    let text = format!("{rate:.3e}");
    let (digits, power) = text.split_once('e').unwrap_or((&text, "0"));
    let digits = digits.trim_end_matches('0').trim_end_matches('.');
    if rate == 0.0 { "0".to_owned() } else { format!("{digits}e{power}") }
}

/// How many of something.
struct Counted<'a>(u64, &'a str);

impl Display for Counted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(count, what) = self;
        let ending = match (count, what.ends_with("ch")) {
            (1, _) => "",
            (_, true) => "es",
            (_, false) => "s",
        };
        write!(f, "{} {what}{ending}", grouped(*count))
    }
}

fn times(count: u64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{} times", grouped(count)) }
}

/// A number with a comma after each thousand.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let comma = |i: usize| i > 0 && (digits.len() - i).is_multiple_of(3);
    digits.chars().enumerate().flat_map(|(i, digit)| comma(i).then_some(',').into_iter().chain([digit])).collect()
}

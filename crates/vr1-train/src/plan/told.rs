//! A plan as people and machines read it.

use std::fmt::Write as _;

use serde_json::{Value, json};
use vr1_learn::Sharding;

use super::Plan;

fn gb(bytes: u64) -> String {
    match bytes {
        0..100_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}

/// What a recipe calls it.
fn name(sharding: Sharding) -> String {
    serde_json::to_value(sharding).ok().and_then(|name| Some(name.as_str()?.to_owned())).unwrap_or_default()
}

impl Plan {
    /// The plan as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let stage = |stage: &super::StagePlan| {
            let phases: Vec<Value> = stage
                .phases
                .iter()
                .map(|phase| json!({"name": phase.name, "bytes": phase.bytes(), "held": phase.held, "on_host": phase.on_host}))
                .collect();
            let (largest, model) = (stage.largest, &stage.model);
            json!({
                "name": stage.name, "steps": stage.steps, "epochs": stage.epochs, "lengths": stage.lengths.json(),
                "parameters": model.parameters, "trained": model.trained, "micro_batches": stage.micro_batches,
                "largest_micro_batch": {"tokens": largest.tokens, "trained": largest.trained, "patches": largest.patches},
                "phases": phases, "fullest": stage.fullest().map(|phase| phase.name),
                "seconds_a_step": stage.seconds.map(|s| json!({"rollout": s.rollout, "update": s.update, "step": s.rollout + s.update})),
            })
        };
        let by_sharding = self.by_sharding.iter().map(|(sharding, peak)| (name(*sharding), json!(peak)));
        let by_sharding: serde_json::Map<String, Value> = by_sharding.collect();
        json!({
            "system": self.system, "stages": self.stages.iter().map(stage).collect::<Vec<_>>(), "peak": self.peak(),
            "memory": self.memory, "fits": self.fits(), "advice": self.advice, "ranks": self.ranks, "peak_by_sharding": by_sharding,
        })
    }

    /// The plan as a table.
    #[must_use]
    pub fn told(&self) -> String {
        let mut out = String::new();
        // Nothing is written anywhere but into a string.
        let _ = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        for stage in &self.stages {
            let (lengths, model, largest) = (&stage.lengths, &stage.model, stage.largest);
            let [prompt, media, answers, patches] = lengths.means();
            writeln!(out, "{}, stage {}: {} steps", self.system, stage.name, stage.steps)?;
            let epochs = stage.epochs.map(|epochs| format!(", {epochs:.2} times through")).unwrap_or_default();
            let broken =
                if lengths.broken > 0 { format!(", {} cannot be read", lengths.broken) } else { String::new() };
            writeln!(out, "  {} rows{epochs}{broken}", lengths.of)?;
            if let Some(fault) = &lengths.fault {
                writeln!(out, "    {fault}")?;
            }
            let longest = lengths.rows.iter().map(|row| row.prompt).max().unwrap_or(0);
            write!(
                out,
                "  a prompt has {prompt:.0} tokens, {media:.0} of them of pictures ({patches:.0} patches); at most {longest}"
            )?;
            writeln!(out, "{}", if answers > 0.0 { format!("; answers {answers:.0}") } else { String::new() })?;
            writeln!(out, "  {} of {} parameters are trained", model.trained, model.parameters)?;
            writeln!(
                out,
                "  a step has {} micro-batches, the largest of {} tokens ({} trained) and {} patches",
                stage.micro_batches, largest.tokens, largest.trained, largest.patches
            )?;
            for phase in &stage.phases {
                writeln!(out, "  {:<14} {:>10}", phase.name, gb(phase.bytes()))?;
                for held in &phase.held {
                    writeln!(out, "    {:>10}  {}", gb(held.bytes), held.what)?;
                }
                if phase.on_host > 0 {
                    writeln!(out, "    {:>10}  on the host: masters and moments", gb(phase.on_host))?;
                }
            }
            if let Some(seconds) = stage.seconds {
                let step = seconds.rollout + seconds.update;
                let all = step * stage.steps as f64 / 3600.0;
                writeln!(
                    out,
                    "  a step takes about {step:.1} s ({:.1} s of sampling), all of them {all:.1} hours: an estimate from this machine's rates",
                    seconds.rollout
                )?;
            }
        }
        write!(out, "peak {}", gb(self.peak()))?;
        if self.ranks > 1 {
            write!(out, " in each of {} processes", self.ranks)?;
        }
        match (self.memory, self.fits()) {
            (Some(memory), Some(true)) => writeln!(out, " of {}: it fits", gb(memory))?,
            (Some(memory), _) => writeln!(out, " of {}: it does not fit", gb(memory))?,
            _ => writeln!(out)?,
        }
        for (sharding, peak) in &self.by_sharding {
            let with = if *sharding == Sharding::Zero3 { " (recompute: layers)" } else { "" };
            writeln!(out, "  {:>10}  with sharding: {}{with}", gb(*peak), name(*sharding))?;
        }
        for advice in &self.advice {
            let verdict = if advice.fits { "fits" } else { "does not fit" };
            writeln!(out, "  with {}: {}, {verdict}", advice.change.join(", "), gb(advice.peak))?;
        }
        Ok(())
    }
}

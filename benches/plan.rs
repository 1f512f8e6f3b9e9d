//! What `vr1 plan` predicts beside what a run takes: `cargo bench --bench plan -- RECIPE.yaml OUT [KEY=VALUE…]`, a line of JSON. Two steps are
//! taken, in a folder OUT that holds no run. Bytes are those of tensors, as libtorch's allocator counts them on the CPU; beside them
//! stands what the process had at most (VmHWM) above what it had before.
//!
//! `plan.py` makes the models and the recipes.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;
use vr1_run::Show;
use vr1_torch::{allocated, device_memory};
use vr1_train::{Machine, Plan, Recipe, RunOptions, Trainer};

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let [recipe, out, set @ ..] = args.as_slice() else { return Ok(()) };
    let recipe = Recipe::load(Path::new(recipe), set)?;
    let plan = Plan::new(&recipe, &Machine::cpu(tch::Kind::Float))?;
    let before = device_memory(tch::Device::Cpu).context("nobody tells the process's memory")?;
    let options = RunOptions { show: Show::Quiet, ..RunOptions::new(Path::new(out)) };
    let (trainer, loading) = allocated(|| Trainer::new(recipe, options))?;
    let mut trainer = trainer?;
    let mut steps = Vec::new();
    for _ in 0..2 {
        let (stepped, bytes) = allocated(|| trainer.step())?;
        let stepped = stepped?;
        steps.push(json!({"left": bytes.left, "peak": bytes.peak, "values": stepped.values}));
    }
    let (evaluated, evaluation) = allocated(|| trainer.evaluate())?;
    evaluated?;
    let after = device_memory(tch::Device::Cpu).context("nobody tells the process's memory")?;
    // What the first step leaves is there in the second.
    let of = |step: usize, key: &str| steps[step][key].as_i64().unwrap_or(0);
    let (first, second) = (loading.left, loading.left + of(0, "left"));
    let evaluated = second + of(1, "left") + evaluation.peak;
    let peak = loading.peak.max(first + of(0, "peak")).max(second + of(1, "peak")).max(evaluated);
    let loaded = json!({"left": loading.left, "peak": loading.peak});
    println!(
        "{}",
        json!({
            "loading": loaded, "evaluation": evaluated, "steps": steps, "peak": peak, "rss": after.peak.saturating_sub(before.used), "plan": plan.json(),
        })
    );
    Ok(())
}

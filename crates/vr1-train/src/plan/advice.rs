//! What to change where a run does not fit.

use serde::Serialize;
use vr1_learn::{Moments, ReferenceConfig, Sharding};
use vr1_nn::{Modules, Recompute};

use super::{Counted, Machine, Plan};
use crate::{LoraParts, LoraRecipe, Recipe, Result};

/// A change of the recipe, and what is taken with it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Advice {
    /// The settings, as a recipe has them.
    pub change: Vec<String>,
    /// Bytes of the fullest phase with them.
    pub peak: u64,
    /// Whether that fits.
    pub fits: bool,
}

/// What is changed, as a recipe has it, and how.
type Change = (String, Box<dyn Fn(&mut Recipe)>);

/// The changes that are tried, those first that change what is learnt least.
fn changes(recipe: &Recipe, machine: &Machine, longest: u64) -> Vec<Change> {
    let mut changes: Vec<Change> = Vec::new();
    let mut add = |name: String, change: Box<dyn Fn(&mut Recipe)>| changes.push((name, change));
    if machine.ranks > 1 && recipe.sharding == Sharding::None {
        add("sharding: zero2".into(), Box::new(|recipe| recipe.sharding = Sharding::Zero2));
    }
    if machine.ranks > 1 && recipe.sharding != Sharding::Zero3 && still(recipe) {
        let change = |recipe: &mut Recipe| {
            (recipe.sharding, recipe.recompute) = (Sharding::Zero3, Recompute::Layers);
        };
        let more = if recipe.recompute == Recompute::Layers { "" } else { ", recompute: layers" };
        add(format!("sharding: zero3{more}"), Box::new(change));
    }
    if recipe.recompute != Recompute::Layers {
        add("recompute: layers".into(), Box::new(|recipe| recipe.recompute = Recompute::Layers));
    }
    add(
        "optimizer.moments: blockwise_8bit".into(),
        Box::new(|recipe| of_optimizers(recipe, |optimizer| optimizer.moments = Moments::Blockwise8bit)),
    );
    if machine.device.is_cuda() {
        add(
            "optimizer.offload: true".into(),
            Box::new(|recipe| of_optimizers(recipe, |optimizer| optimizer.offload = true)),
        );
    }
    let now = match recipe.tokens_per_micro_batch {
        0 => usize::MAX,
        tokens => tokens,
    };
    let tokens = (longest as usize).max(1);
    if tokens < now {
        let name = format!("tokens_per_micro_batch: {tokens}");
        add(name, Box::new(move |recipe| recipe.tokens_per_micro_batch = tokens));
    }
    add(
        "freeze: [tower]".into(),
        Box::new(|recipe| {
            let add = |freeze: &mut Vec<String>| {
                if !freeze.iter().any(|entry| entry == "tower") {
                    freeze.push("tower".to_owned());
                }
            };
            add(&mut recipe.freeze);
            recipe.stages.iter_mut().filter_map(|stage| stage.freeze.as_mut()).for_each(add);
        }),
    );
    if recipe.lora.is_none() {
        add(
            "lora: { rank: 16, alpha: 32 }".into(),
            Box::new(|recipe| {
                let (parts, target_modules) = (LoraParts::Language, Modules::default());
                recipe.lora =
                    Some(LoraRecipe { rank: 16, alpha: 32.0, target_modules, parts, dropout: 0.0, rslora: false });
            }),
        );
    }
    changes
}

/// Whether what losses compare with stays as it is.
fn still(recipe: &Recipe) -> bool {
    recipe.all_stages().iter().all(|stage| stage.reference.unwrap_or_default() == ReferenceConfig::Start)
}

fn of_optimizers(recipe: &mut Recipe, change: impl Fn(&mut vr1_learn::OptimizerConfig)) {
    change(&mut recipe.optimizer);
    recipe.stages.iter_mut().filter_map(|stage| stage.optimizer.as_mut()).for_each(change);
}

/// Each change by itself; where none is enough, more and more of them together until it fits.
pub(super) fn advice(recipe: &Recipe, machine: &Machine, counted: &Counted) -> Result<Vec<Advice>> {
    let before = Plan::with(recipe, machine, counted)?;
    // A micro-batch of one prompt with one answer is the smallest.
    let longest = counted.longest(recipe);
    let changes = changes(recipe, machine, longest);
    let mut advice = Vec::new();
    let mut tried = |names: Vec<String>, recipe: &Recipe| -> Result<bool> {
        // What cannot be adapted or frozen is no way out.
        let Ok(plan) = Plan::with(recipe, machine, counted) else { return Ok(false) };
        let (peak, fits) = (plan.peak(), plan.fits() == Some(true));
        if peak < before.peak() {
            advice.push(Advice { change: names, peak, fits });
        }
        Ok(fits)
    };
    let mut enough = false;
    for (name, change) in &changes {
        let mut changed = recipe.clone();
        change(&mut changed);
        enough |= tried(vec![name.clone()], &changed)?;
    }
    if !enough {
        let (mut changed, mut names) = (recipe.clone(), Vec::new());
        for (name, change) in &changes {
            change(&mut changed);
            // One way of sharding takes the place of another.
            let shards = |name: &String| name.starts_with("sharding: ");
            names.retain(|before| !(shards(before) && shards(name)));
            names.push(name.clone());
            if names.len() > 1 && tried(names.clone(), &changed)? {
                break;
            }
        }
    }
    Ok(advice)
}

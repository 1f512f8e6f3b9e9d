//! Insight-V: one agent reasons, another judges the reasoning and answers; then DPO on the one that reasons, in rounds.
//!
//! Dong et al., 2024, <https://arxiv.org/abs/2411.14432>. The two are compared, on the same held-out samples, with one agent
//! that thinks and answers in one completion: after imitation, and after each round.
//!
//! ```text
//! cargo run --release --example insight_v
//! cargo run --release --example insight_v -- --sweep          # the findings, over five seeds
//! ```

mod insight_v_agents;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, ensure};
use clap::Parser;
use serde_json::json;
use vr1::{RunArgs, SystemArgs};
use vr1_data::{Scenes, Split, Task};
use vr1_train::{ObjectiveConfig, Recipe};

use insight_v_agents::{paths, score};

const RECIPES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");
/// Questions whose paths the summariser learns from.
const QUESTIONS: usize = 320;

#[derive(Parser)]
#[command(about = "Insight-V: a reasoner, a summariser, and DPO in rounds; `--set` is of the reasoner's recipe")]
struct Example {
    #[command(flatten)]
    args: SystemArgs,
}

fn main() -> Result<ExitCode> {
    vr1::spin_briefly();
    let (args, begun) = match Example::parse().args {
        args if args.sweep => return args.sweep("insight_v"),
        args => (args.run, Instant::now()),
    };
    let out = args.options("insight_v")?.out;
    let of = |name: &str, set: Vec<String>| RunArgs { out: Some(out.join(name)), set, ..args.clone() };

    // The summariser learns from what the reasoner says after imitation, right or wrong. One agent is there to compare.
    let mut set = args.set.clone();
    if args.smoke {
        // Margins begin anew with each round.
        set.extend(["stages.1.objective.rounds=1", "stages.0.objective.documents_per_step=8"].map(str::to_owned));
    }
    let (reasoner, rounds) = train("insight_v", &of("reasoner", set))?;
    let questions = Scenes::new(Task::Spatial, Split::Train, reasoner.seed, if args.smoke { 32 } else { QUESTIONS });
    let said = paths((&rounds[0], &reasoner), &questions, &out.join("paths"))?;
    let set = [0, 1].map(|document| format!("objective.documents.{document}.source.path={}", json!(said))).to_vec();
    let few: Vec<String> = args.smoke.then(|| "objective.documents_per_step=4".to_owned()).into_iter().collect();
    let (summariser, summarises) = train("insight_v.summariser", &of("summariser", [set, few.clone()].concat()))?;
    let (alone, answers) = train("insight_v.one_agent", &of("one_agent", few))?;

    let (mut summary, samples) = (json!({}), reasoner.evaluation.samples);
    for (name, split) in [("in_domain", Split::InDomain), ("out_of_domain", Split::OutOfDomain)] {
        let held_out = Scenes::new(Task::Spatial, split, reasoner.seed, samples);
        summary["one_agent"][name] = score((&answers[0], &alone), None, &held_out)?.into();
        for (round, dir) in rounds.iter().enumerate() {
            let agents = if round == 0 { "two_agents".to_owned() } else { format!("two_agents_round_{round}") };
            let second = Some((summarises[0].as_path(), &summariser));
            summary[agents][name] = score((dir, &reasoner), second, &held_out)?.into();
        }
    }
    let title = format!("Insight-V, seed {}", reasoner.seed);
    println!("{title:24}{:>12}{:>16}", "in domain", "out of domain");
    for (agents, of) in summary.as_object().into_iter().flatten() {
        let percent = |set: &str| format!("{:.1} %", 100.0 * of[set].as_f64().unwrap_or(f64::NAN));
        println!("{agents:24}{:>12}{:>16}", percent("in_domain"), percent("out_of_domain"));
    }
    summary["steps"] = [&reasoner, &summariser, &alone].map(Recipe::all_steps).iter().sum::<u64>().into();
    summary["seconds"] = begun.elapsed().as_secs_f64().into();
    fs::write(out.join("summary.json"), serde_json::to_vec_pretty(&summary)?)?;
    Ok(ExitCode::SUCCESS)
}

/// Trains by a recipe: what it says, and the models after each of its stages and of their rounds.
fn train(name: &str, args: &RunArgs) -> Result<(Recipe, Vec<PathBuf>)> {
    let mut args = args.clone();
    args.set.extend(args.smoke.then(|| "save_every_steps=2".to_owned()));
    let trainer = args.trainer(Path::new(&format!("{RECIPES}/{name}.yaml")), name)?;
    let (recipe, folder) = (trainer.recipe().clone(), trainer.folder().join("checkpoints"));
    let ended = vr1::run(trainer, args.smoke)?;
    print!("{}", ended.told);
    ensure!(!ended.early, "stopped; the same command with the same `--out` goes on");
    let (mut before, mut kept) = (0, Vec::new());
    for stage in recipe.all_stages() {
        let rounds = if let ObjectiveConfig::Dpo(dpo) = &stage.objective { dpo.rounds } else { 1 };
        let each = stage.steps.div_ceil(rounds);
        kept.extend((1..=rounds).map(|round| folder.join(format!("step-{}", before + stage.steps.min(round * each)))));
        before += stage.steps;
    }
    Ok((recipe, kept))
}

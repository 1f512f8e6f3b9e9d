//! Insight-V: one agent reasons, another judges the reasoning and answers; then DPO on the one that reasons, in rounds.
//!
//! Dong et al., 2024, <https://arxiv.org/abs/2411.14432>. The two are compared, on the same held-out samples, with one agent
//! that thinks and answers in one completion: after imitation, and after each round.
//!
//! `cargo run --release --example insight_v -- --seed 1 --set stages.1.steps=48`

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{fs, rc::Rc, time::Instant};

use anyhow::{Context, Result, bail};
use clap::Parser;
use serde_json::json;
use vr1::{RunArgs, SystemArgs};
use vr1_agent::{Asked, Engines, ReasonThenSummarise};
use vr1_data::{Media, Sample};
use vr1_decode::LocalEngine;
use vr1_eval::{Answer, Tally};
use vr1_processor::Processor;
use vr1_reward::Program;
use vr1_rollout::{Group, SampleKey, Sampling, Sequence};
use vr1_train::{ObjectiveConfig, Recipe};
use vr1_vlm::Model;

/// What the reasoner is asked for the summariser, two paths of each.
const QUESTIONS: usize = 320;
const RECIPES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");

#[derive(Parser)]
#[command(about = "Insight-V: a reasoner, a summariser, and DPO in rounds; `--set` is of the reasoner's recipe")]
struct Example {
    #[command(flatten)]
    args: SystemArgs,
}

fn main() -> Result<ExitCode> {
    vr1::spin_briefly();
    let (SystemArgs { run: args, .. }, begun) = match Example::parse().args {
        args if args.sweep => return args.sweep("insight_v"),
        args => (args, Instant::now()),
    };
    let out = args.options("insight_v")?.out;
    let of = |name: &str, set: &[String]| RunArgs { out: Some(out.join(name)), set: set.to_vec(), ..args.clone() };

    // The summariser learns from what the reasoner says after imitation, right or wrong; one agent is there to compare.
    let (reasoner, after) = train("insight_v", &of("reasoner", &args.set))?;
    let said = write_paths(&after[0], &reasoner, &out)?;
    let set = [format!("objective.documents.0.source.path={}", json!(said))];
    let (summariser, answers) = train("insight_v.summariser", &of("summariser", &set))?;
    let (one, alone) = train("insight_v.one_agent", &of("one_agent", &[]))?;

    let steps = reasoner.all_steps() + summariser.all_steps() + one.all_steps();
    let mut summary = json!({ "one_agent": {}, "steps": steps });
    for (set, source) in &one.evaluation.sets {
        let samples = source.open(one.seed)?;
        let samples = (0..one.evaluation.samples).map(|i| samples.get(i)).collect::<Result<Vec<_>, _>>()?;
        summary["one_agent"][set] = one_agent((&alone[0], &one), &samples)?.into();
        for (round, dir) in after.iter().enumerate() {
            let name = if round == 0 { "two_agents".to_owned() } else { format!("two_agents_round_{round}") };
            summary[name][set] = two_agents((dir, &reasoner), (&answers[0], &summariser), &samples)?.into();
        }
    }
    summary["seconds"] = begun.elapsed().as_secs_f64().into();
    fs::write(out.join("summary.json"), serde_json::to_vec_pretty(&summary)?)?;
    println!("{summary:#}");
    Ok(ExitCode::SUCCESS)
}

/// Trains by a recipe: what it says, and the models after each stage and each round.
fn train(name: &str, args: &RunArgs) -> Result<(Recipe, Vec<PathBuf>)> {
    let mut trainer = args.trainer(Path::new(&format!("{RECIPES}/{name}.yaml")), name)?;
    let (recipe, mut before, mut kept) = (trainer.recipe().clone(), 0, Vec::new());
    for stage in recipe.all_stages() {
        let rounds = if let ObjectiveConfig::Dpo(dpo) = &stage.objective { dpo.rounds as u64 } else { 1 };
        for done in 1..=stage.steps {
            trainer.step().with_context(|| format!("{name}, step {}", before + done))?;
            if done == stage.steps || done.is_multiple_of(stage.steps.div_ceil(rounds)) {
                kept.push(trainer.checkpoint()?);
            }
        }
        before += stage.steps;
    }
    print!("{}", vr1::run(trainer, args.smoke)?.told);
    Ok((recipe, kept))
}

fn load(dir: &Path) -> Result<(Processor, LocalEngine)> {
    let (processor, model) = (Processor::from_dir(dir)?, Model::load(dir, tch::Device::Cpu, tch::Kind::Float)?);
    let engine = LocalEngine::new(Rc::new(model), processor.tokenizer().clone())?;
    Ok((processor, engine))
}

fn keys(samples: &[Sample]) -> Vec<Asked<'_>> {
    samples.iter().enumerate().map(|(i, s)| (SampleKey { index: i as u64, ..SampleKey::default() }, s)).collect()
}

/// Two paths of the reasoner about each of some questions, as rows.
fn write_paths(dir: &Path, recipe: &Recipe, out: &Path) -> Result<PathBuf> {
    let ((processor, mut engine), folder) = (load(dir)?, out.join("paths"));
    let Some(ObjectiveConfig::Sft(imitated)) = recipe.stages.first().map(|stage| &stage.objective) else {
        bail!("stages.0.objective: not `sft`")
    };
    let questions = imitated.documents[0].source.open(recipe.seed)?;
    let samples = (0..QUESTIONS).map(|i| questions.get(i)).collect::<Result<Vec<_>, _>>()?;
    let mut agents = ReasonThenSummarise::new(&processor, &processor);
    agents.reasoner.sampling = sampling(recipe, 1.0);
    let mut rows = String::new();
    fs::create_dir_all(&folder)?;
    for (i, (group, sample)) in agents.reason(&mut engine, &keys(&samples), 2)?.iter().zip(&samples).enumerate() {
        let picture = sample.media.first().and_then(Media::picture).context("a question about no picture")?;
        picture.load()?.save(folder.join(format!("{i}.png")))?;
        for said in group.sequences() {
            let (question, path, solution) = (&sample.question, agents.path(said)?, &sample.solution);
            rows += &json!({ "image": format!("{i}.png"), "question": question, "path": path, "solution": solution }).to_string();
            rows.push('\n');
        }
    }
    fs::write(folder.join("rows.jsonl"), rows)?;
    Ok(folder.join("rows.jsonl"))
}

/// The share of samples that two agents get right.
fn two_agents(reasoner: (&Path, &Recipe), summariser: (&Path, &Recipe), samples: &[Sample]) -> Result<f64> {
    let ((reads, mut reasons), (writes, mut answers)) = (load(reasoner.0)?, load(summariser.0)?);
    let mut agents = ReasonThenSummarise::new(&reads, &writes);
    agents.reasoner.sampling = sampling(reasoner.1, 0.7);
    agents.summariser.sampling = sampling(summariser.1, 0.2);
    let engines = Engines::Own { reasoner: &mut reasons, summariser: &mut answers };
    let said = agents.answer(engines, &keys(samples))?;
    if std::env::var_os("DUMP").is_some() { for (s, sample) in said.iter().zip(samples) { println!("@@ {} | {} | {}", sample.solution, s.answer.text(), s.path.trim().replace('\n', " ")); } }
    share(summariser.1, samples, said.iter().map(|said| &said.answer))
}

/// The share of samples that one agent gets right, which thinks as the reasoner does and then answers.
fn one_agent((dir, recipe): (&Path, &Recipe), samples: &[Sample]) -> Result<f64> {
    let (processor, mut engine) = load(dir)?;
    let mut agents = ReasonThenSummarise::new(&processor, &processor);
    agents.prompts.reasoner = "{question}".into();
    agents.reasoner.sampling = sampling(recipe, 0.7);
    let said = agents.reason(&mut engine, &keys(samples), 1)?;
    share(recipe, samples, said.iter().flat_map(Group::sequences))
}

fn share<'a>(recipe: &Recipe, samples: &[Sample], said: impl Iterator<Item = &'a Sequence>) -> Result<f64> {
    let reward = Program::compile(recipe.reward.clone(), &vr1::registry()?)?;
    let mut tally = Tally::new(&reward, &recipe.evaluation.metric, recipe.evaluation.threshold)?;
    for (said, sample) in said.zip(samples) {
        let (prompt, completion) = (said.prompt().text().to_owned(), said.text().to_owned());
        tally.add(&Answer { sample, prompt, completion, tokens: said.ids().len(), finished: said.finished() });
    }
    Ok(tally.score().accuracy)
}

/// As an agent of the recipe picks its tokens: VLMEvalKit's temperatures for the two.
fn sampling(recipe: &Recipe, temperature: f64) -> Sampling {
    Sampling { seed: recipe.seed, temperature, ..Sampling::greedy(recipe.evaluation.max_completion_tokens) }
}

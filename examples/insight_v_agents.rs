//! What the agents of Insight-V say, and how much of it is right.

use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context, Result};
use serde_json::json;
use vr1_agent::{Asked, Engines, ReasonThenSummarise, score_paths};
use vr1_data::{Dataset, Media, Sample};
use vr1_decode::LocalEngine;
use vr1_eval::{Answer, Tally};
use vr1_processor::Processor;
use vr1_reward::Program;
use vr1_rollout::{Group, SampleKey, Sampling, Sequence};
use vr1_train::Recipe;
use vr1_vlm::Model;

/// A model's directory, and the recipe that it was trained by.
type Trained<'a> = (&'a Path, &'a Recipe);

/// Writes two paths of the reasoner about each question into a folder, as rows that say whether they are right.
pub(crate) fn paths((dir, recipe): Trained<'_>, questions: &dyn Dataset, folder: &Path) -> Result<PathBuf> {
    let (processor, mut engine) = load(dir)?;
    let mut agents = ReasonThenSummarise::new(&processor, &processor);
    agents.reasoner.sampling = sampling(recipe, 0.7);
    fs::create_dir_all(folder)?;
    let reward = Program::compile(recipe.reward.clone(), &vr1::registry()?)?;
    let (samples, mut rows) = (all(questions)?, String::new());
    for (group, sample) in agents.reason(&mut engine, &asked(&samples), 2)?.iter().zip(&samples) {
        let image = format!("{}.png", sample.id);
        let picture = sample.media.first().and_then(Media::picture).context("a question about no picture")?;
        picture.load()?.save(folder.join(&image))?;
        let scores = score_paths(&reward, sample, group.sequences())?;
        for (said, score) in group.sequences().iter().zip(scores) {
            let (question, path, solution) = (&sample.question, agents.path(said)?, &sample.solution);
            let row = json!({ "image": image, "question": question, "path": path, "right": score > 0.5, "solution": solution });
            rows += &format!("{row}\n");
        }
    }
    let file = folder.join("rows.jsonl");
    fs::write(&file, rows)?;
    Ok(file)
}

/// The share of samples that two agents get right, or one that thinks and answers, at VLMEvalKit's temperatures.
pub(crate) fn score(first: Trained<'_>, second: Option<Trained<'_>>, samples: &dyn Dataset) -> Result<f64> {
    let ((thinks, mut reasons), samples) = (load(first.0)?, all(samples)?);
    let (last, recipe) = second.unwrap_or(first);
    let (writes, mut answers) = load(last)?;
    let mut agents = ReasonThenSummarise::new(&thinks, &writes);
    (agents.reasoner.sampling, agents.summariser.sampling) = (sampling(first.1, 0.7), sampling(recipe, 0.2));
    let said: Vec<Sequence> = if second.is_some() {
        let engines = Engines::Own { reasoner: &mut reasons, summariser: &mut answers };
        agents.answer(engines, &asked(&samples))?.into_iter().map(|said| said.answer).collect()
    } else {
        agents.prompts.reasoner = "{question}".into();
        agents.reason(&mut reasons, &asked(&samples), 1)?.into_iter().flat_map(Group::into_sequences).collect()
    };
    let reward = Program::compile(recipe.reward.clone(), &vr1::registry()?)?;
    let mut tally = Tally::new(&reward, &recipe.evaluation.metric, recipe.evaluation.threshold)?;
    for (said, sample) in said.iter().zip(&samples) {
        let (prompt, completion) = (said.prompt().text().to_owned(), said.text().to_owned());
        tally.add(&Answer { sample, prompt, completion, tokens: said.ids().len(), finished: said.finished() });
    }
    Ok(tally.score().accuracy)
}

fn load(dir: &Path) -> Result<(Processor, LocalEngine)> {
    let (processor, model) = (Processor::from_dir(dir)?, Model::load(dir, tch::Device::Cpu, tch::Kind::Float)?);
    let engine = LocalEngine::new(Rc::new(model), processor.tokenizer().clone())?;
    Ok((processor, engine))
}

fn all(samples: &dyn Dataset) -> Result<Vec<Sample>> {
    (0..samples.len()).map(|index| Ok(samples.get(index)?)).collect()
}

fn asked(samples: &[Sample]) -> Vec<Asked<'_>> {
    samples.iter().enumerate().map(|(i, s)| (SampleKey { index: i as u64, ..SampleKey::default() }, s)).collect()
}

fn sampling(recipe: &Recipe, temperature: f64) -> Sampling {
    Sampling {
        seed: recipe.seed,
        temperature,
        top_p: 0.95,
        ..Sampling::greedy(recipe.evaluation.max_completion_tokens)
    }
}

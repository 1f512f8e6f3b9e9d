//! Data looked at before anything is learnt from it.

mod answers;
mod finding;
mod look;
mod repeats;
mod tally;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use rayon::prelude::*;
use vr1_data::RowSource;
use vr1_processor::{Processor, optional_json};
use vr1_reward::{Program, Registry};
use vr1_train::{AskedRow, AskedSource, Recipe};

use crate::{print_json, say};
use answers::{Answers, Readings};
use finding::Severity;
use look::{Looked, Looker};
use repeats::Repeats;
use tally::Tally;

#[derive(Args)]
pub(crate) struct Audit {
    /// A file or folder of rows, or a Hub id; without it the recipe's own sources.
    #[arg(value_name = "DATA", required_unless_present = "recipe")]
    data: Option<PathBuf>,
    /// The folder that paths of pictures are relative to.
    #[arg(long, value_name = "DIR", requires = "data")]
    images: Option<PathBuf>,
    /// The model whose tokens are counted: a directory or a Hub id.
    #[arg(long, value_name = "DIR|HUB_ID", conflicts_with = "processor")]
    model: Option<String>,
    /// A directory with a model's tokenizer and processor; its weights need not be there.
    #[arg(long, value_name = "DIR")]
    processor: Option<PathBuf>,
    /// Audit what this recipe learns from, asked as it asks, against what it holds out.
    #[arg(long, value_name = "RECIPE.yaml", conflicts_with = "data")]
    recipe: Option<PathBuf>,
    /// Another value for a key of the recipe.
    #[arg(long = "set", value_name = "KEY=VALUE", requires = "recipe")]
    set: Vec<String>,
    /// Rows that are held out: what of them is learnt from is a fault. May be given several times.
    #[arg(long, value_name = "TEST_DATA")]
    against: Vec<PathBuf>,
    /// Whether this program's verifiers can read the answers; a recipe has its own.
    #[arg(long, value_name = "FILE.yaml|BUILTIN")]
    reward: Option<String>,
    /// The most tokens of a prompt with its answer; the model's positions where it is not given.
    #[arg(long, value_name = "N")]
    max_tokens: Option<usize>,
    /// Decode pictures and compare how they look, too.
    #[arg(long)]
    near: bool,
    /// How many findings of each kind are told one by one.
    #[arg(long, value_name = "N", default_value_t = 5)]
    examples: usize,
    /// Notes count as faults do.
    #[arg(long)]
    strict: bool,
    /// Print a line of JSON to stdout instead of a table.
    #[arg(long)]
    json: bool,
}

/// Rows are looked at so many at a time, side by side.
const AT_ONCE: usize = 512;

impl Audit {
    pub(crate) fn run(self) -> Result<()> {
        let begun = Instant::now();
        let recipe = self.recipe.as_deref().map(|path| Recipe::load(path, &self.set)).transpose()?;
        let (mut sources, dir) = match (&recipe, &self.data) {
            (Some(recipe), _) => (AskedSource::of_recipe(recipe)?, Some(vr1_vlm::resolve(&recipe.model)?)),
            (None, Some(data)) => {
                let rows = RowSource { images: self.images.clone(), ..RowSource::all(data) };
                (vec![AskedSource::rows(rows)?], None)
            }
            (None, None) => bail!("neither data nor a recipe is given"),
        };
        for held_out in &self.against {
            let mut source = AskedSource::rows(RowSource::all(held_out))?;
            source.held_out = true;
            sources.push(source);
        }
        let dir = match (&self.model, &self.processor) {
            (Some(model), _) => Some(vr1_vlm::resolve(model)?),
            (None, Some(dir)) => Some(dir.clone()),
            (None, None) => dir,
        };
        let processor = dir.as_deref().map(Processor::from_dir).transpose()?;
        ensure!(
            self.max_tokens.is_none() || processor.is_some(),
            "--max-tokens: tokens are counted with --model or --processor"
        );
        let limit = match (self.max_tokens, &dir) {
            (None, Some(dir)) => positions(dir)?,
            (given, _) => given,
        };
        let answers = Answers { program: self.program(recipe.as_ref())? };
        let (mut repeats, mut readings, mut tally) =
            (Repeats::default(), Readings::default(), Tally::new(self.examples));
        for source in &sources {
            let looker = Looker { source, processor: processor.as_ref(), limit, answers: &answers, near: self.near };
            let mut absorb = |batch: &mut Vec<(String, Result<AskedRow, String>)>| {
                let looked: Vec<Looked> = batch.par_drain(..).map(|(place, row)| looker.look(place, row)).collect();
                for mut looked in looked {
                    let (row, found) = repeats.add(&looked, source.held_out);
                    let findings = std::mem::take(&mut looked.findings);
                    findings.into_iter().chain(found).for_each(|finding| tally.find(finding));
                    tally.row(&looked);
                    if let Some(said) = looked.said.take()
                        && let Some(answered) = said.answered
                    {
                        readings.add(row, &said.solution, answered);
                    }
                }
            };
            let mut batch = Vec::with_capacity(AT_ONCE);
            let visited = source.visit(|place, row| {
                batch.push((place.to_owned(), row));
                if batch.len() == AT_ONCE {
                    absorb(&mut batch);
                }
                ControlFlow::Continue(())
            });
            visited.with_context(|| source.name.clone())?;
            absorb(&mut batch);
        }
        readings.odd(|row| repeats.place(row)).into_iter().for_each(|finding| tally.find(finding));
        let (distinct, seconds) = (repeats.album.len(), begun.elapsed().as_secs_f64());
        match self.json {
            true => print_json(&tally.json(distinct, limit, seconds))?,
            false => say(tally.told(distinct, seconds)?),
        }
        let (faults, notes) = (tally.count(Severity::Fault), tally.count(Severity::Note));
        ensure!(faults == 0, "{faults} faults in {} rows", tally.rows);
        ensure!(!self.strict || notes == 0, "--strict: {notes} notes in {} rows", tally.rows);
        Ok(())
    }

    fn program(&self, recipe: Option<&Recipe>) -> Result<Option<Program>> {
        let mut registry = Registry::default();
        // Nobody is asked over a network.
        registry.register("judge", |_| Ok(1.0));
        Ok(match (&self.reward, recipe) {
            (Some(reward), _) => Some(crate::score::program(reward, &registry)?),
            (None, Some(recipe)) => Some(Program::compile(recipe.reward.clone(), &registry)?),
            (None, None) => None,
        })
    }
}

/// How many positions a model has, where its directory says so.
fn positions(dir: &Path) -> Result<Option<usize>> {
    let config = optional_json(&dir.join("config.json"))?;
    let key = "max_position_embeddings";
    let said = config.get(key).or_else(|| config.get("text_config")?.get(key));
    Ok(said.and_then(serde_json::Value::as_u64).map(|positions| positions as usize))
}

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;
use serde_json::{Map, Value, json};
use vr1_processor::{Layout, Processor, Prompt};
use vr1_reward::Program;
use vr1_rollout::{Engine, Group, Request, SampleKey, Search, answer_in_stages, uniform};

use crate::benchmark::{Benchmark, Judged};
use crate::config::{EvalConfig, Turns};
use crate::item::Item;
use crate::mark::Mark;
use crate::marker::Marker;
use crate::questions::Questions;
use crate::record::{Folder, Record};
use crate::summary::Summary;
use crate::{Ask, Error, Result};

/// Who answers and who judges.
pub struct Answering<'a> {
    /// Answers.
    pub engine: &'a mut dyn Engine,
    /// Makes prompts for the engine.
    pub processor: &'a Processor,
    /// The engine's model, as the folder of an evaluation names it.
    pub model: &'a str,
    /// Judges, where the benchmark asks a language model; without one, answers are marked by rules.
    pub judge: Option<&'a dyn Ask>,
    /// Marks answers by its term `accuracy`, or else its total, instead of the benchmark's rules: a system's own reward.
    pub reward: Option<&'a Program>,
}

impl std::fmt::Debug for Answering<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answering").field("model", &self.model).finish_non_exhaustive()
    }
}

/// Asks the questions of a benchmark, and says how well they were answered. `told` hears after each batch how many of how
/// many are answered, and may stop it there: then there is no summary.
///
/// With a folder `out`, every answer is a line of its `samples.jsonl` as soon as it is there. An evaluation that was interrupted
/// goes on where it was; one that is whole is marked again without asking the model, so that answers can be read by another
/// rule. `summary.json` is there when all questions of the evaluation are answered, and not before.
///
/// # Errors
/// If a prompt cannot be made, the engine fails, a benchmark that only a judge can score has none, or the folder holds
/// something else. A judge that fails is no error: the answer has no verdict then, and is judged when the evaluation is
/// taken up again.
pub fn evaluate(
    questions: &Questions,
    who: &mut Answering<'_>,
    config: &EvalConfig,
    out: Option<&Path>,
    told: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<Option<Summary>> {
    let (benchmark, items) = (questions.benchmark(), questions.items());
    if benchmark.needs_judge() && who.judge.is_none() && who.reward.is_none() {
        return Err(Error::NoJudge { benchmark: benchmark.name() });
    }
    let chosen = chosen(items.len(), config.samples);
    let opened = out.map(|path| Folder::open(path, &settings(benchmark, items, who, config), items)).transpose()?;
    let (mut folder, there) = opened.map_or((None, Vec::new()), |(folder, there)| (Some(folder), there));
    let marker = Marker { benchmark, config, judge: who.judge, reward: who.reward };
    let marked = |mut record: Record| {
        let item = &items[record.index];
        let mark = marker.mark(item, &mut record);
        record.marked(item, &mark);
        (record, mark)
    };
    let mut records: Vec<Option<Record>> = vec![None; items.len()];
    there.into_iter().for_each(|record| {
        let index = record.index;
        records[index] = Some(record);
    });
    let left: Vec<usize> = chosen.iter().copied().filter(|index| records[*index].is_none()).collect();
    if let Some(folder) = folder.as_ref().filter(|_| !left.is_empty()) {
        folder.unfinished()?;
    }
    let mut kept: Vec<(Record, Mark)> = Vec::with_capacity(chosen.len());
    let before = chosen.len() - left.len();
    for batch in left.chunks(config.batch.max(1)) {
        let answered = match config.turns {
            Turns::One => at_once(questions, batch, who, config)?,
            Turns::Staged => staged(questions, batch, who, config)?,
        };
        let answered: Vec<(Record, Mark)> = answered.into_iter().map(&marked).collect();
        folder.as_mut().map_or(Ok(()), |folder| folder.append(answered.iter().map(|(record, _)| record)))?;
        kept.extend(answered);
        if told(before + kept.len(), chosen.len()).is_break() && before + kept.len() < chosen.len() {
            return Ok(None);
        }
    }
    // Those that were there are marked as it is asked for now.
    kept.extend(chosen.iter().filter_map(|index| records[*index].take()).map(&marked));
    kept.sort_by_key(|(record, _)| record.index);
    let judged: Vec<Judged<'_>> =
        kept.iter().map(|(record, mark)| Judged { item: &items[record.index], mark }).collect();
    let mut summary = Summary::of(benchmark, &judged, items.len());
    summary.truncated = kept.iter().filter(|(record, _)| !record.finished).count();
    summary.completion_length =
        kept.iter().map(|(record, _)| record.tokens).sum::<usize>() as f64 / kept.len().max(1) as f64;
    folder.map_or(Ok(()), |folder| folder.finish(kept.iter().map(|(record, _)| record), &summary))?;
    Ok(Some(summary))
}

/// Which questions are asked: all, or so many of them by a fixed seed, in their order.
fn chosen(all: usize, samples: usize) -> Vec<usize> {
    let mut chosen: Vec<usize> = (0..all).collect();
    if samples > 0 && samples < all {
        let drawn = |index: &usize| uniform(0, SampleKey { index: *index as u64, ..SampleKey::default() }, 0, 0);
        chosen.sort_by(|a, b| drawn(a).total_cmp(&drawn(b)));
        chosen.truncate(samples);
        chosen.sort_unstable();
    }
    chosen
}

/// What answers depend on; how they are read does not matter here.
fn settings(benchmark: Benchmark, items: &[Item], who: &Answering<'_>, config: &EvalConfig) -> Map<String, Value> {
    let search = match config.search {
        Search::Draw => json!(1),
        Search::Beam { beams, .. } => json!(beams),
    };
    Map::from_iter([
        ("benchmark".to_owned(), json!(benchmark.name())),
        ("model".to_owned(), json!(who.model)),
        ("questions".to_owned(), json!(items.len())),
        ("samples".to_owned(), json!(config.samples)),
        ("prompt".to_owned(), json!(config.prompt)),
        ("layout".to_owned(), json!(if config.layout == Layout::Raw { "raw" } else { "chat" })),
        ("turns".to_owned(), json!(config.turns)),
        ("sampling".to_owned(), json!(config.sampling)),
        ("beams".to_owned(), search),
    ])
}

fn key(index: usize) -> SampleKey {
    SampleKey { index: index as u64, ..SampleKey::default() }
}

fn at_once(
    questions: &Questions,
    batch: &[usize],
    who: &mut Answering<'_>,
    config: &EvalConfig,
) -> Result<Vec<Record>> {
    let processor = who.processor;
    let prompt = |index: &usize| -> Result<Prompt> {
        let item = questions.get(*index)?;
        let said = item.said(config.prompt.as_deref().unwrap_or(&item.template));
        let prompt = processor.said(&item.sample, &said, config.layout, "");
        let fits = |prompt: Prompt| match config.max_prompt_tokens {
            Some(room) => prompt.check_fits(room).map(|()| prompt),
            None => Ok(prompt),
        };
        prompt.and_then(fits).map_err(|source| Error::Prompt { at: item.at.clone(), source })
    };
    let prompts: Vec<Prompt> = batch.par_iter().map(prompt).collect::<Result<_>>()?;
    let request = |(index, prompt): (&usize, Prompt)| Request {
        search: config.search,
        ..Request::new(Arc::new(prompt), 1, config.sampling.clone(), key(*index))
    };
    let groups = who.engine.generate(batch.iter().zip(prompts).map(request).collect())?;
    batch
        .iter()
        .zip(&groups)
        .map(|(index, group)| record(&questions.items()[*index], *index, group, processor))
        .collect()
}

fn record(item: &Item, index: usize, group: &Group, processor: &Processor) -> Result<Record> {
    let said = &group.sequences()[0]; // a group has one
    Ok(Record {
        prompt: group.prompt().text().to_owned(),
        completion: said.text().to_owned(),
        tokens: said.ids().len(),
        finished: said.finished(),
        ..blank(item, index, processor)?
    })
}

fn blank(item: &Item, index: usize, processor: &Processor) -> Result<Record> {
    let seen = match (item.size, processor.images()) {
        (Some([width, height]), Some(images)) => {
            let resized = images.resized(height, width);
            let (height, width) = resized.map_err(|source| Error::Prompt { at: item.at.clone(), source })?;
            Some([width, height])
        }
        _ => None,
    };
    Ok(Record {
        index,
        id: item.sample.id.clone(),
        groups: Default::default(),
        prompt: String::new(),
        completion: String::new(),
        tokens: 0,
        finished: false,
        seen,
        solution: String::new(),
        answer: None,
        how: None,
        marks: Default::default(),
        missing: None,
        judged: None,
    })
}

fn staged(questions: &Questions, batch: &[usize], who: &mut Answering<'_>, config: &EvalConfig) -> Result<Vec<Record>> {
    if batch.iter().all(|index| questions.items()[*index].sample.turns.is_empty()) {
        return at_once(questions, batch, who, config);
    }
    let one = |index: &usize| {
        let item = questions.get(*index)?;
        let search = (&config.sampling, config.search);
        let stages = answer_in_stages(who.engine, who.processor, &item.sample, key(*index), search)?;
        // LlamaV-o1's program judges the reasoning and the conclusion.
        let last: Vec<&str> = stages.iter().rev().take(2).map(|stage| stage.answer.text()).collect();
        Ok(Record {
            prompt: item.sample.question.clone(),
            completion: last.into_iter().rev().collect::<Vec<_>>().join("\n\n\n"),
            tokens: stages.iter().map(|stage| stage.answer.ids().len()).sum(),
            finished: stages.iter().all(|stage| stage.answer.finished()),
            ..blank(&item, *index, who.processor)?
        })
    };
    batch.iter().map(one).collect()
}

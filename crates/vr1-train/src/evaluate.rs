use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::prelude::*;
use serde::Serialize;
use vr1_data::{Dataset, Sample};
use vr1_eval::{Answer, Score, Scored, Tally};
use vr1_learn::logprobs;
use vr1_reward::{Outcome, Program};
use vr1_rollout::{Group, Request, SampleKey, Search, answer_in_stages};
use vr1_run::Interrupt;

use super::dealt::undealt;
use super::dpo::preference_metrics;
use super::pairs::Pairs;
use super::prompting::Prompting;
use super::sent::{bits, numbers_of};
use crate::benchmarks::OpenBenchmark;
use crate::recipe::{EvaluationConfig, PromptConfig};
use crate::shown::{Gallery, Shown};
use crate::{Error, Result, Run};

/// Prompts that are completed side by side.
const BATCH: usize = 64;
/// Held-out pairs that are scored side by side.
const PAIRS: usize = 16;

/// Held-out samples, read as they are needed.
pub(crate) struct Evaluation {
    config: EvaluationConfig,
    prompting: Prompting,
    /// Of the sets that are asked otherwise.
    prompts: BTreeMap<String, Prompting>,
    sets: Vec<(String, Arc<dyn Dataset>)>,
    preferences: Vec<(String, Pairs)>,
    benchmarks: Vec<OpenBenchmark>,
}

impl Evaluation {
    pub(crate) fn open(config: &EvaluationConfig, prompt: &PromptConfig, (seed, model): (u64, &str)) -> Result<Self> {
        let mut sets = Vec::new();
        for (name, source) in &config.sets {
            if config.samples == 0 && source.is_endless() {
                return Err(Error::Recipe(format!(
                    "evaluation.samples: 0 takes a set whole, and `{name}` is drawn without end: say how many"
                )));
            }
            sets.push((name.clone(), source.open(seed)?));
        }
        let open = |(name, source): (&String, _)| Ok((name.clone(), Pairs::open(source, prompt, seed)?));
        let pairs: Vec<(String, Option<Pairs>)> = config.preferences.iter().map(open).collect::<Result<_>>()?;
        let preferences = pairs.into_iter().filter_map(|(name, pairs)| Some((name, pairs?))).collect();
        let other = |(name, prompt): (&String, &PromptConfig)| Ok((name.clone(), Prompting::new(prompt)?));
        let prompts = config.prompts.iter().map(other).collect::<Result<_>>()?;
        let benchmark = |(name, config): (&String, _)| OpenBenchmark::open(name, config, model);
        let benchmarks = config.benchmarks.iter().map(benchmark).collect::<Result<_>>()?;
        let (config, prompting) = (config.clone(), Prompting::new(prompt)?);
        Ok(Self { config, prompting, prompts, sets, preferences, benchmarks })
    }

    /// Evaluates on `samples` as the set `name`.
    pub(crate) fn set(&mut self, name: &str, samples: Arc<dyn Dataset>) {
        self.sets.retain(|(known, _)| known != name);
        self.sets.push((name.to_owned(), samples));
    }

    /// The names of all scores.
    ///
    /// # Errors
    /// If the reward has no term that counts as accuracy.
    pub(crate) fn scores(&self, reward: &Program) -> Result<Vec<String>> {
        Tally::new(reward, &self.config.metric, self.config.threshold)?;
        let measured = ["accuracy", "completion_length", "finished_rate"];
        let of_sets = self
            .sets
            .iter()
            .flat_map(|(set, _)| reward.term_names().chain(measured).map(move |name| format!("{set}/{name}")));
        let of_pairs = self
            .preferences
            .iter()
            .flat_map(|(set, _)| preference_metrics(&[]).into_keys().map(move |name| format!("{set}/{name}")));
        let first = self.sets.first().map(|_| "accuracy".to_owned());
        let of_benchmarks = self.benchmarks.iter().map(OpenBenchmark::score);
        Ok(first.into_iter().chain(of_sets).chain(of_pairs).chain(of_benchmarks).collect())
    }

    /// Scores of all sets as numbers by name: `in_domain/accuracy`, `in_domain/format`, `in_domain/completion_length`…;
    /// `accuracy` alone is that of the first set by name, which is the one in domain. Beside them, what the person who
    /// waits should know, and the answers. Nothing where it was asked to stop before the last of them: a part of a set says nothing of it.
    pub(crate) fn run(
        &self,
        run: &mut Run,
        reward: &Program,
        interrupt: &Interrupt,
        (gallery, step): (Gallery<'_>, u64),
    ) -> Result<Option<Evaluated>> {
        let (mut values, mut warnings, mut said) = (BTreeMap::new(), Vec::new(), Vec::new());
        let world = run.world().clone();
        let stops = || world.any(interrupt.requested());
        for (number, (name, samples)) in self.sets.iter().enumerate() {
            let mut tally = Tally::new(reward, &self.config.metric, self.config.threshold)?;
            for start in (0..self.count(samples.len())).step_by(BATCH) {
                if stops()? {
                    return Ok(None);
                }
                run.watch().hears("evaluating");
                let end = (start + BATCH).min(self.count(samples.len()));
                let key = |index: usize| SampleKey { dataset: HELD_OUT + number as u32, epoch: 0, index: index as u64 };
                let batch: Vec<(SampleKey, Sample)> =
                    (start..end).into_par_iter().map(|i| Ok((key(i), samples.get(i)?))).collect::<Result<_>>()?;
                let answers = match self.config.stage_beams {
                    None => self.answers(name, &batch, run)?,
                    Some(beams) => self.staged_answers(&batch, run, beams)?,
                };
                // What is asked of a judge is asked once.
                for answer in answers.into_iter().filter(|_| world.is_first()) {
                    let scored = tally.add(&answer);
                    let media = gallery.shown(&answer.sample.media)?;
                    said.push(HeldOut::new(name, answer, scored, media));
                }
            }
            let score = tally.score();
            if let Some(why) = &score.why_missing {
                let (missing, count) = (score.missing, score.count);
                warnings.push(format!(
                    "`{name}`: {missing} of {count} answers have no verdict and count for nothing; {why}"
                ));
            }
            if number == 0 && score.accuracy.is_finite() {
                values.insert("accuracy".to_owned(), score.accuracy);
            }
            values.extend(numbers(&score).map(|(key, value)| (format!("{name}/{key}"), value)));
        }
        for (name, pairs) in &self.preferences {
            let mut lists = Vec::new();
            for start in (0..self.count(pairs.len())).step_by(PAIRS) {
                if stops()? {
                    return Ok(None);
                }
                run.watch().hears("evaluating");
                let end = (start + PAIRS).min(self.count(pairs.len()));
                let key = |index: usize| SampleKey { dataset: HELD_OUT, epoch: 0, index: index as u64 };
                let processor = &run.processor;
                let own = world.dealt(end - start).map(|place| start + place).collect::<Vec<_>>();
                let groups: Result<Vec<Group>> = own.into_par_iter().map(|i| pairs.group(key(i), processor)).collect();
                let learner = &run.learner;
                let score = |groups: Vec<Group>| Ok(logprobs(learner.model().as_ref(), &groups, 1.0)?);
                let said = learner.together(|| groups.and_then(score));
                let said = said.map(|lists| lists.iter().map(|list| bits(list)).collect());
                lists.extend(paired(world.all(said)?));
            }
            values.extend(preference_metrics(&lists).into_iter().map(|(key, value)| (format!("{name}/{key}"), value)));
        }
        for benchmark in &self.benchmarks {
            let folder = gallery.folder.benchmark(step, &benchmark.name);
            let Some(found) = benchmark.run(run, interrupt, &folder)? else { return Ok(None) };
            values.extend(found.scores);
            warnings.extend(found.missing);
        }
        // What follows from scores is decided alike on all ranks.
        let bits = || Ok::<_, Error>(values.iter().map(|(name, value)| (name.clone(), value.to_bits())).collect());
        let told: BTreeMap<String, u64> = world.first(bits)?;
        let values = told.into_iter().map(|(name, bits)| (name, f64::from_bits(bits))).collect();
        Ok(Some(Evaluated { scores: values, warnings, answers: said }))
    }

    /// How many samples and pairs are looked at.
    pub(crate) fn samples(&self) -> u64 {
        let lengths = self.sets.iter().map(|(_, samples)| samples.len());
        let all = lengths.chain(self.preferences.iter().map(|(_, pairs)| pairs.len()));
        let asked = self.benchmarks.iter().map(|benchmark| benchmark.len() as u64);
        all.map(|length| self.count(length) as u64).chain(asked).sum()
    }

    fn count(&self, len: usize) -> usize {
        if self.config.samples == 0 { len } else { self.config.samples.min(len) }
    }

    fn answers<'a>(&self, set: &str, batch: &'a [(SampleKey, Sample)], run: &mut Run) -> Result<Vec<Answer<'a>>> {
        let sampling = self.config.sampling();
        let limit = run.learner.model().max_tokens().saturating_sub(self.config.max_completion_tokens);
        let samples: Vec<&Sample> = batch.iter().map(|(_, sample)| sample).collect();
        let prompts = self.prompts.get(set).unwrap_or(&self.prompting).prompts(&samples, &run.processor, limit)?;
        let requests = prompts.into_iter().zip(batch);
        let requests = requests.map(|(prompt, (key, _))| Request::new(prompt, 1, sampling.clone(), *key)).collect();
        let groups = run.evaluation_engine()?.generate(requests)?;
        Ok(samples.into_iter().zip(&groups).map(|(sample, group)| Answer::of(sample, group)).collect())
    }

    /// The answer to the last stage; its length is that of all stages together.
    fn staged_answers<'a>(
        &self,
        batch: &'a [(SampleKey, Sample)],
        run: &mut Run,
        beams: usize,
    ) -> Result<Vec<Answer<'a>>> {
        let sampling = self.config.sampling();
        let search = Search::Beam { beams, length_penalty: 1.0 };
        let (mut answers, processor) = (Vec::with_capacity(batch.len()), run.processor.clone());
        let engine = run.evaluation_engine()?;
        for (key, sample) in batch {
            let stages = answer_in_stages(engine, &processor, sample, *key, (&sampling, search))?;
            answers.push(Answer {
                sample,
                prompt: sample.question.clone(),
                tokens: stages.iter().map(|stage| stage.answer.ids().len()).sum(),
                finished: stages.iter().all(|stage| stage.answer.finished()),
                completion: stages.last().map(|stage| stage.answer.text().to_owned()).unwrap_or_default(),
            });
        }
        Ok(answers)
    }
}

/// What came of an evaluation.
pub(crate) struct Evaluated {
    /// By name.
    pub(crate) scores: BTreeMap<String, f64>,
    pub(crate) warnings: Vec<String>,
    pub(crate) answers: Vec<HeldOut>,
}

/// An answer to a held-out sample, as it is written down.
#[derive(Serialize)]
pub(crate) struct HeldOut {
    set: String,
    sample: String,
    prompt: String,
    completion: String,
    solution: String,
    tokens: usize,
    finished: bool,
    #[serde(flatten)]
    outcome: Option<Outcome>,
    /// Whether it counts as right; nothing where there is no verdict.
    right: Option<bool>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    media: Vec<Shown>,
}

impl HeldOut {
    fn new(set: &str, answer: Answer<'_>, scored: Scored, media: Vec<Shown>) -> Self {
        Self {
            set: set.to_owned(),
            sample: answer.sample.id.clone(),
            solution: answer.sample.solution.clone(),
            prompt: answer.prompt,
            completion: answer.completion,
            tokens: answer.tokens,
            finished: answer.finished,
            outcome: scored.outcome,
            right: scored.right,
            media,
        }
    }
}

/// What was said of pairs that were dealt to ranks, in their order again: of each pair two lists.
fn paired(all: Vec<Vec<Vec<u32>>>) -> Vec<Vec<f32>> {
    let pairs: Vec<Vec<Vec<Vec<u32>>>> =
        all.iter().map(|lists| lists.chunks(2).map(<[Vec<u32>]>::to_vec).collect()).collect();
    let count = pairs.iter().map(Vec::len).sum();
    undealt(pairs, count).into_iter().flatten().map(numbers_of).collect()
}

/// Where held-out sets are counted from; what is trained on comes before.
const HELD_OUT: u32 = 1 << 16;

fn numbers(score: &Score) -> impl Iterator<Item = (String, f64)> {
    let mut values: BTreeMap<String, f64> = score.terms.clone();
    // A term of that name is a mean of grades; the share of right answers is what the name promises.
    values.remove("accuracy");
    if score.accuracy.is_finite() {
        values.insert("accuracy".to_owned(), score.accuracy);
    }
    values.insert("completion_length".to_owned(), score.completion_length);
    values.insert("finished_rate".to_owned(), score.finished);
    if score.missing > 0 {
        values.insert("missing".to_owned(), score.missing as f64);
    }
    values.into_iter()
}

use std::collections::BTreeMap;

use vr1_data::Sample;
use vr1_eval::{Answer, Score, score};
use vr1_processor::Processor;
use vr1_reward::Program;
use vr1_rollout::{Beam, LocalEngine, RolloutEngine, Sampling, answer_in_stages};
use vr1_run::Interrupt;
use vr1_vlm::Model;

use crate::grpo::Prompting;
use crate::{Error, EvaluationConfig, PromptConfig, Result};

/// Prompts that are completed side by side.
const BATCH: usize = 64;

/// Held-out samples, read once.
pub(crate) struct Evaluation {
    config: EvaluationConfig,
    prompting: Prompting,
    sets: Vec<(String, Vec<Sample>)>,
}

impl Evaluation {
    pub(crate) fn open(config: &EvaluationConfig, prompt: &PromptConfig, seed: u64) -> Result<Self> {
        let mut sets = Vec::new();
        for (name, source) in &config.sets {
            if config.samples == 0 && source.is_endless() {
                return Err(Error::Recipe(format!(
                    "evaluation.samples: 0 takes a set whole, and `{name}` is drawn without end: say how many"
                )));
            }
            let samples = source.open(seed)?;
            let count = if config.samples == 0 { samples.len() } else { config.samples.min(samples.len()) };
            let samples = (0..count).map(|i| samples.get(i)).collect::<Result<_, _>>()?;
            sets.push((name.clone(), samples));
        }
        Ok(Self { config: config.clone(), prompting: Prompting::new(prompt)?, sets })
    }

    /// Scores of all sets as numbers by name: `in_domain/accuracy`, `in_domain/format`, `in_domain/completion_length`…;
    /// `accuracy` alone is that of the first set by name, which is the one in domain.
    pub(crate) fn run(
        &self,
        model: &Model,
        processor: &Processor,
        reward: &Program,
        interrupt: &Interrupt,
    ) -> Result<BTreeMap<String, f64>> {
        let mut values = BTreeMap::new();
        for (name, samples) in &self.sets {
            if interrupt.requested() {
                break;
            }
            let answers = match self.config.stage_beams {
                None => self.answers(samples, model, processor)?,
                Some(beams) => self.staged_answers(samples, model, processor, beams)?,
            };
            let (score, _) = score(&answers, reward, &self.config.metric, self.config.threshold)?;
            values.entry("accuracy".to_owned()).or_insert(score.accuracy);
            values.extend(numbers(&score).map(|(key, value)| (format!("{name}/{key}"), value)));
        }
        Ok(values)
    }

    fn answers<'a>(&self, samples: &'a [Sample], model: &Model, processor: &Processor) -> Result<Vec<Answer<'a>>> {
        let sampling = Sampling::greedy(self.config.max_completion_tokens);
        let limit = model.config().text.max_position_embeddings as usize;
        let limit = limit.saturating_sub(self.config.max_completion_tokens);
        let engine = LocalEngine::new(model, processor.tokenizer());
        let mut answers = Vec::with_capacity(samples.len());
        for batch in samples.chunks(BATCH) {
            let prompts = self.prompting.prompts(batch, processor, limit)?;
            for (sample, group) in batch.iter().zip(engine.generate(prompts, 1, &sampling)?) {
                let prompt = group.prompt.text().to_owned();
                let answer = |c: vr1_rollout::Completion| Answer {
                    sample,
                    prompt: prompt.clone(),
                    completion: c.text,
                    tokens: c.ids.len(),
                    finished: c.finished,
                };
                answers.extend(group.completions.into_iter().map(answer));
            }
        }
        Ok(answers)
    }

    /// The answer to the last stage; its length is that of all stages together.
    fn staged_answers<'a>(
        &self,
        samples: &'a [Sample],
        model: &Model,
        processor: &Processor,
        beams: usize,
    ) -> Result<Vec<Answer<'a>>> {
        let engine = LocalEngine::new(model, processor.tokenizer());
        let beam = Beam { beams, sampling: Sampling::greedy(self.config.max_completion_tokens), ..Beam::default() };
        let mut answers = Vec::with_capacity(samples.len());
        for sample in samples {
            let stages = answer_in_stages(&engine, processor, sample, &beam)?;
            answers.push(Answer {
                sample,
                prompt: sample.question.clone(),
                tokens: stages.iter().map(|s| s.completion.ids.len()).sum(),
                finished: stages.iter().all(|s| s.completion.finished),
                completion: stages.into_iter().next_back().map(|s| s.completion.text).unwrap_or_default(),
            });
        }
        Ok(answers)
    }
}

fn numbers(score: &Score) -> impl Iterator<Item = (String, f64)> {
    let mut values: BTreeMap<String, f64> = score.terms.clone();
    // A term of that name is a mean of grades; the share of right answers is what the name promises.
    values.insert("accuracy".to_owned(), score.accuracy);
    values.insert("completion_length".to_owned(), score.completion_length);
    values.insert("finished_rate".to_owned(), score.finished);
    values.into_iter()
}

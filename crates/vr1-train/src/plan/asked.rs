//! What a recipe asks: its sources of rows, and what each row's prompt and answers come to in tokens.

use std::ops::ControlFlow;

use vr1_data::{JudgedSet, Picture, PreferenceSet, RowSource, Said, Sample, SampleSet};
use vr1_processor::{Layout, Message, Processor, PromptRequest, Role, TokenCount};

use crate::pairs::messages;
use crate::recipe::PairSource;
use crate::{DocumentConfig, Error, EvaluationConfig, ObjectiveConfig, PromptConfig, Recipe, Result, Source, Template};

/// How a picture's width and height are found.
pub type Sides<'a> = &'a dyn Fn(&Picture) -> vr1_data::Result<(u32, u32)>;

/// Drawn samples have no end; so many stand for all.
const DRAWN: usize = 256;

/// A source of rows, and how they are asked.
#[derive(Debug, Clone)]
pub struct AskedSource {
    /// Its place in the recipe, or where the rows are.
    pub name: String,
    /// Whether it is held out.
    pub held_out: bool,
    /// Tokens that an answer may have where the model writes it; none where answers are the rows' own.
    pub completion: Option<usize>,
    rows: Rows,
    form: Form,
}

#[derive(Debug, Clone)]
enum Rows {
    Samples(RowSource),
    Preferences(RowSource),
    Judged(RowSource),
    Other { source: Source, seed: u64 },
}

/// How a row becomes a prompt.
#[derive(Debug, Clone)]
enum Form {
    /// As the row says it, by the chat template.
    AsItIs,
    /// By a template, which the model answers.
    Asked { layout: Layout, text: Box<Template>, prefill: String },
    /// By templates, with the answers to learn.
    Answered { layout: Layout, text: Box<Template>, answers: Vec<Template> },
    /// Turns of a staged conversation.
    Turns(Vec<String>),
}

/// A row: what is asked, and the answers that it has itself.
#[derive(Debug, Clone)]
pub struct AskedRow {
    /// The sample; of a preference its question is what the user said last.
    pub sample: Sample,
    /// The whole prompt, where the row is a conversation.
    prompt: Vec<Said>,
    answers: Vec<Vec<Said>>,
    /// Whether a question may have several rows that answer it otherwise.
    pub judged: bool,
}

/// What a row comes to in tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowCount {
    /// The prompt.
    pub prompt: TokenCount,
    /// The row's own answers, each behind it.
    pub answers: Vec<usize>,
}

impl RowCount {
    /// The longest sequence: the prompt with its longest answer.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.prompt.total() + self.answers.iter().copied().max().unwrap_or(0)
    }
}

impl AskedSource {
    /// Rows as they are, asked by the chat template. Of which kind they are (answered questions, preferences, judged answers) the first
    /// sixteen decide.
    ///
    /// # Errors
    /// If there are none.
    pub fn rows(source: RowSource) -> Result<Self> {
        fn good<T>(
            visit: impl FnOnce(&mut dyn FnMut(bool) -> ControlFlow<()>) -> vr1_data::Result<T>,
        ) -> vr1_data::Result<usize> {
            let (mut good, mut seen) = (0, 0);
            visit(&mut |is_good| {
                (good, seen) = (good + usize::from(is_good), seen + 1);
                if seen < 16 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })?;
            Ok(good)
        }
        let samples = good(|to| SampleSet::visit(&source, |_, row| to(row.is_ok())))?;
        let preferences = good(|to| PreferenceSet::visit(&source, |_, row| to(row.is_ok())))?;
        let judged = good(|to| JudgedSet::visit(&source, |_, row| to(row.is_ok())))?;
        let name = source.path.display().to_string();
        let rows = match () {
            () if preferences > samples => Rows::Preferences(source),
            () if judged > samples => Rows::Judged(source),
            () => Rows::Samples(source),
        };
        Ok(Self { name, held_out: false, completion: None, rows, form: Form::AsItIs })
    }

    /// The sources of a recipe, those to learn from first, and then those that are held out.
    ///
    /// # Errors
    /// If a template is none.
    pub fn of_recipe(recipe: &Recipe) -> Result<Vec<Self>> {
        let mut sources = Vec::new();
        let stages = recipe.all_stages();
        for (number, stage) in stages.iter().enumerate() {
            let at = if stages.len() > 1 { format!("stages[{number}].") } else { String::new() };
            let prompt = stage.prompt.as_ref().unwrap_or(&recipe.prompt);
            sources.extend(Self::of_objective(&stage.objective, prompt, recipe.seed, &at)?);
        }
        for (number, stage) in stages.iter().enumerate() {
            let Some(evaluation) = &stage.evaluation else { continue };
            let at = if stages.len() > 1 { format!("stages[{number}].") } else { String::new() };
            let prompt = stage.prompt.as_ref().unwrap_or(&recipe.prompt);
            let held_out = Self::of_evaluation(evaluation, prompt, recipe.seed, &at)?;
            // Stages that say nothing themselves are evaluated on the same.
            let new = |source: &Self| sources.iter().all(|known: &Self| known.named() != source.named());
            let held_out: Vec<Self> = held_out.into_iter().filter(new).collect();
            sources.extend(held_out);
        }
        Ok(sources)
    }

    /// The name without its stage.
    fn named(&self) -> &str {
        self.name.split_once("].").map_or(&self.name, |(_, name)| name)
    }

    /// The sources of a stage.
    pub(crate) fn of_objective(
        objective: &ObjectiveConfig,
        prompt: &PromptConfig,
        seed: u64,
        at: &str,
    ) -> Result<Vec<Self>> {
        let source = |name: String, rows: Rows, form: Form, completion| Self {
            name: format!("{at}objective.{name}"),
            held_out: false,
            completion,
            rows,
            form,
        };
        Ok(match objective {
            ObjectiveConfig::Grpo(grpo) => {
                let completion = Some(grpo.sampling.max_completion_tokens);
                let named = |i: usize| if grpo.train.is_some() { "train".to_owned() } else { format!("sources[{i}]") };
                let decks = grpo.decks().into_iter().enumerate();
                let one = |(i, deck): (usize, crate::WeightedSource)| {
                    Ok(source(named(i), Rows::of(&deck.source, seed), Form::asked(prompt)?, completion))
                };
                decks.map(one).collect::<Result<_>>()?
            }
            ObjectiveConfig::Sft(sft) => {
                let one = |(i, document): (usize, &DocumentConfig)| {
                    let rows = Rows::of(&document.source, seed);
                    Ok(source(format!("documents[{i}]"), rows, Form::document(document)?, None))
                };
                sft.documents.iter().enumerate().map(one).collect::<Result<_>>()?
            }
            ObjectiveConfig::Kto(kto) => {
                let rows = RowSource { images: kto.images.clone(), ..RowSource::all(&kto.path) };
                vec![source("path".to_owned(), Rows::Judged(rows), Form::AsItIs, None)]
            }
            ObjectiveConfig::Dpo(dpo) => {
                let (rows, form, completion) = pairs(&dpo.pairs, prompt, seed)?;
                vec![source("pairs".to_owned(), rows, form, completion)]
            }
        })
    }

    pub(crate) fn of_evaluation(
        evaluation: &EvaluationConfig,
        prompt: &PromptConfig,
        seed: u64,
        at: &str,
    ) -> Result<Vec<Self>> {
        let mut sources = Vec::new();
        let mut push = |name: String, rows, form, completion| {
            sources.push(Self { name: format!("{at}evaluation.{name}"), held_out: true, completion, rows, form });
        };
        for (name, set) in &evaluation.sets {
            let completion = Some(evaluation.max_completion_tokens);
            push(format!("sets.{name}"), Rows::of(set, seed), Form::asked(prompt)?, completion);
        }
        for (name, set) in &evaluation.preferences {
            let (rows, form, completion) = pairs(set, prompt, seed)?;
            push(format!("preferences.{name}"), rows, form, completion);
        }
        Ok(sources)
    }

    /// Whether the rows are drawn, and stand in no file.
    #[must_use]
    pub fn is_drawn(&self) -> bool {
        matches!(&self.rows, Rows::Other { source, .. } if matches!(source.innermost(), Source::Scenes { .. }))
    }

    /// Goes through the rows in order, good and bad, each with its file and place, until it is told to stop. Of drawn ones, which have
    /// no end, there are 256.
    ///
    /// # Errors
    /// If a file is missing or holds no rows at all.
    pub fn visit(&self, mut to: impl FnMut(&str, Result<AskedRow, String>) -> ControlFlow<()>) -> Result<()> {
        match &self.rows {
            Rows::Samples(source) => {
                SampleSet::visit(source, |place, row| to(place, row.map(AskedRow::of)))?;
            }
            Rows::Preferences(source) => PreferenceSet::visit(source, |place, row| {
                let asked = row.map(|row| AskedRow {
                    sample: row.sample,
                    prompt: row.prompt,
                    answers: vec![row.chosen, row.rejected],
                    judged: true,
                });
                to(place, asked)
            })?,
            Rows::Judged(source) => JudgedSet::visit(source, |place, row| {
                let asked = row.map(|row| AskedRow {
                    sample: row.sample,
                    prompt: row.prompt,
                    answers: vec![row.completion],
                    judged: true,
                });
                to(place, asked)
            })?,
            Rows::Other { source, seed } => {
                let samples = source.open(*seed)?;
                let count = if self.is_drawn() { samples.len().min(DRAWN) } else { samples.len() };
                for index in 0..count {
                    let row = samples.get(index).map(AskedRow::of).map_err(|error| error.to_string());
                    if to(&format!("{}:{index}", samples.name()), row).is_break() {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// What a row comes to in tokens, as a run would make them; of pictures nothing but `sides` is asked.
    ///
    /// # Errors
    /// If a template or the processor refuses it.
    pub fn count(&self, row: &AskedRow, processor: &Processor, sides: Sides<'_>) -> Result<RowCount> {
        let AskedRow { sample, prompt, answers, .. } = row;
        match &self.form {
            Form::AsItIs if prompt.is_empty() => {
                let prompt = processor.count_said(sample, &Said::question(sample), Layout::Chat, "", sides)?;
                Ok(RowCount { prompt, answers: Vec::new() })
            }
            Form::AsItIs => {
                let before = messages(prompt, sample);
                let asked = PromptRequest { sample: &sample.id, messages: &before, layout: Layout::Chat, prefill: "" };
                let prompt = processor.count(&asked, sides)?;
                let whole = |answer: &Vec<Said>| {
                    let all: Vec<Message> = before.iter().cloned().chain(messages(answer, sample)).collect();
                    let (whole, _) = processor.count_supervised(&sample.id, &all, sides)?;
                    Ok(whole.total().saturating_sub(prompt.total()))
                };
                Ok(RowCount { prompt, answers: answers.iter().map(whole).collect::<Result<_>>()? })
            }
            Form::Asked { layout, text, prefill } => {
                let prompt = processor.count_said(sample, &text.ask(sample)?, *layout, prefill, sides)?;
                Ok(RowCount { prompt, answers: Vec::new() })
            }
            Form::Answered { layout, text, answers } => {
                let asked = text.ask(sample)?;
                let prompt = processor.count_said(sample, &asked, *layout, "", sides)?;
                let length = |answer: &Template| {
                    let words = answer.render(sample)?;
                    if *layout == Layout::Raw {
                        return Ok(processor.count_target(&words)?);
                    }
                    let all = [Message::said(&asked, sample), Message::text(Role::Assistant, words)];
                    let (whole, _) = processor.count_supervised(&sample.id, &all, sides)?;
                    Ok(whole.total().saturating_sub(prompt.total()))
                };
                Ok(RowCount { prompt, answers: answers.iter().map(length).collect::<Result<_>>()? })
            }
            Form::Turns(names) => {
                let all = crate::document::staged(sample, names)?;
                let (whole, _) = processor.count_supervised(&sample.id, &all, sides)?;
                let before = processor.count(
                    &PromptRequest { sample: &sample.id, messages: &all[..1], layout: Layout::Chat, prefill: "" },
                    sides,
                )?;
                Ok(RowCount { answers: vec![whole.total().saturating_sub(before.total())], prompt: before })
            }
        }
    }
}

impl AskedRow {
    fn of(sample: Sample) -> Self {
        Self { sample, prompt: Vec::new(), answers: Vec::new(), judged: false }
    }

    /// Everything that is said in the row, questions first.
    pub fn words(&self) -> impl Iterator<Item = String> {
        let asked = (self.prompt.is_empty()).then(|| self.sample.question.clone());
        let said = self.prompt.iter().chain(self.answers.iter().flatten()).map(Said::words);
        let turns = self.sample.turns.iter().flat_map(|turn| [turn.prompt.clone(), turn.answer.clone()]);
        asked.into_iter().chain(said).chain(turns)
    }

    /// The answers as they stand in the row: of a judged one none is right or wrong.
    pub fn own_answers(&self) -> impl Iterator<Item = String> {
        self.answers.iter().map(|said| said.iter().map(Said::words).collect::<Vec<_>>().join("\n"))
    }
}

impl Rows {
    fn of(source: &Source, seed: u64) -> Self {
        match source {
            Source::Rows(rows) => Self::Samples(rows.clone()),
            other => Self::Other { source: other.clone(), seed },
        }
    }
}

impl Form {
    fn asked(prompt: &PromptConfig) -> Result<Self> {
        let text = Box::new(Template::new(&prompt.text)?);
        Ok(Self::Asked { layout: prompt.layout, text, prefill: prompt.prefill.clone() })
    }

    fn document(document: &DocumentConfig) -> Result<Self> {
        match (&document.text, &document.target, document.turns.as_slice()) {
            (Some(text), Some(target), []) => Ok(Self::Answered {
                layout: document.layout,
                text: Box::new(Template::new(text)?),
                answers: vec![Template::new(target)?],
            }),
            (None, None, turns @ [_, ..]) => Ok(Self::Turns(turns.to_vec())),
            _ => Err(Error::Recipe("documents: `text` and `target`, or `turns` alone".to_owned())),
        }
    }
}

fn pairs(pairs: &PairSource, prompt: &PromptConfig, seed: u64) -> Result<(Rows, Form, Option<usize>)> {
    Ok(match pairs {
        PairSource::Rows(rows) => (Rows::Preferences(rows.clone()), Form::AsItIs, None),
        PairSource::Written { source, chosen, rejected } => {
            let text = Box::new(Template::new(&prompt.text)?);
            let answers = vec![Template::new(chosen)?, Template::new(rejected)?];
            (Rows::of(source, seed), Form::Answered { layout: prompt.layout, text, answers }, None)
        }
        PairSource::Sampled { train, sampling, .. } => {
            (Rows::of(train, seed), Form::asked(prompt)?, Some(sampling.max_completion_tokens))
        }
    })
}

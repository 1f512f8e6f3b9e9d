use std::error::Error as StdError;

use vr1_agent::{Prompted, Wording};
use vr1_data::{Said, Sample, Speaker};
use vr1_processor::{Message, Role};

use super::{DeduplicateConfig, MakeRecipe};
use crate::{Result, Template};

type Failed = Box<dyn StdError + Send + Sync>;

/// The words of a recipe, ready to be filled.
pub(crate) struct Words {
    system: Option<Template>,
    text: Template,
    prefill: Template,
    shows: bool,
    judged: Option<Template>,
    grade: Option<Template>,
    same: Option<Template>,
}

impl Words {
    pub(crate) fn new(recipe: &MakeRecipe) -> Result<Self> {
        let ask = &recipe.ask;
        let same = match &recipe.deduplicate {
            Some(DeduplicateConfig::Words(words)) => Some(Template::new(words)?),
            _ => None,
        };
        Ok(Self {
            system: Some(&ask.system).filter(|text| !text.is_empty()).map(|text| Template::new(text)).transpose()?,
            text: Template::new(&ask.text)?,
            prefill: Template::new(&ask.prefill)?,
            shows: ask.show_media.0,
            judged: recipe.judged.as_deref().map(Template::new).transpose()?,
            grade: recipe.score.as_ref().map(|score| Template::new(&score.text)).transpose()?,
            same,
        })
    }

    /// What the user says, with what the sample shows.
    fn user(&self, text: &Template, sample: &Sample) -> Result<Message> {
        let said = match self.shows {
            true => text.ask(sample)?,
            false => Said::text(Speaker::User, text.render(sample)?),
        };
        Ok(Message::said(&said, sample))
    }
}

impl Wording for Words {
    fn ask(&self, sample: &Sample) -> Result<Prompted, Failed> {
        let sample = told(sample);
        let mut messages = vec![];
        if let Some(system) = &self.system {
            messages.push(Message::text(Role::System, system.render(&sample)?));
        }
        messages.push(self.user(&self.text, &sample)?);
        Ok(Prompted { messages, prefill: self.prefill.render(&sample)? })
    }

    fn judged(&self, sample: &Sample) -> Result<Option<String>, Failed> {
        Ok(self.judged.as_ref().map(|judged| judged.render(&told(sample))).transpose()?)
    }

    fn grade(&self, sample: &Sample, paths: &str) -> Result<Vec<Message>, Failed> {
        let Some(grade) = &self.grade else { return Ok(vec![]) };
        let mut sample = told(sample);
        sample.fields.insert("paths".to_owned(), paths.into());
        Ok(vec![self.user(grade, &sample)?])
    }

    fn same(&self, sample: &Sample) -> Result<String, Failed> {
        Ok(self.same.as_ref().map(|same| same.render(&told(sample))).transpose()?.unwrap_or_default())
    }
}

/// The sample with its id, and its question under the name that many rows have for it, among its fields.
pub(crate) fn told(sample: &Sample) -> Sample {
    let mut sample = sample.clone();
    sample.fields.entry("id").or_insert_with(|| sample.id.as_str().into());
    sample.fields.entry("problem").or_insert_with(|| sample.question.as_str().into());
    sample
}

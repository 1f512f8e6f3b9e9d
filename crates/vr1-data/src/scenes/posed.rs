//! What is shown with a question about it, and every text that goes with them.

use serde_json::{Value, json};

use super::chance::{Stream, pick};
use super::object::Look;
use super::scene::Scene;
use crate::sample::or_list;
use crate::{Fields, Media, Picture, Turn};

/// What a question is about.
#[derive(Debug, Clone)]
pub(crate) enum Shown {
    /// A scene, which is drawn when all else is said.
    Scene(Scene),
    /// What has been drawn already, or nothing, with a caption and notes of it.
    Drawn { media: Vec<Media>, caption: String, notes: String },
}

impl Default for Shown {
    fn default() -> Self {
        Self::Drawn { media: vec![], caption: String::new(), notes: String::new() }
    }
}

impl Shown {
    pub(crate) fn caption(&self) -> String {
        match self {
            Self::Scene(scene) => scene.caption(),
            Self::Drawn { caption, .. } => caption.clone(),
        }
    }

    fn notes(&self) -> String {
        match self {
            Self::Scene(scene) => scene.notes(),
            Self::Drawn { notes, .. } => notes.clone(),
        }
    }

    fn objects(&self) -> Value {
        match self {
            Self::Scene(scene) => scene.objects.iter().map(super::object::Object::json).collect(),
            Self::Drawn { .. } => json!([]),
        }
    }

    pub(crate) fn media(self, rng: &mut Stream) -> Vec<Media> {
        match self {
            Self::Scene(scene) => vec![Media::Image(Picture::from(scene.draw(rng)))],
            Self::Drawn { media, .. } => media,
        }
    }
}

/// What a task makes of a stream of random numbers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Posed {
    pub(crate) shown: Shown,
    /// The kind of question, such as `closest`.
    pub(crate) kind: &'static str,
    /// The question without instructions and options.
    pub(crate) stem: String,
    /// The question as it is asked.
    pub(crate) question: String,
    /// The answers to choose from; empty when any text may be an answer.
    pub(crate) choices: Vec<String>,
    pub(crate) solution: String,
    /// What will be looked at, before looking.
    pub(crate) plan: String,
    /// What is seen, and what follows from it.
    pub(crate) thought: String,
    /// An answer drawn without looking.
    pub(crate) guess: String,
    /// A thought that would lead to the guess.
    pub(crate) guess_thought: String,
    pub(crate) turns: Vec<Turn>,
    /// The task's own fields; one of the names below replaces what stands there.
    pub(crate) more: Vec<(&'static str, Value)>,
}

impl Posed {
    pub(crate) fn fields(&self) -> Fields {
        let mut fields = Fields::new();
        let mut put = |name: &str, value: Value| fields.insert(name.to_owned(), value);
        put("kind", json!(self.kind));
        put("question", json!(self.question));
        put("stem", json!(self.stem));
        put("choices", json!(self.choices));
        put("choices_text", json!(or_list(&self.choices)));
        put("solution", json!(self.solution));
        put("plan", json!(self.plan));
        put("thought", json!(self.thought));
        put("guess", json!(self.guess));
        put("guess_thought", json!(self.guess_thought));
        put("caption", json!(self.shown.caption()));
        put("notes", json!(self.shown.notes()));
        put("objects", self.shown.objects());
        for (name, value) in &self.more {
            put(name, value.clone());
        }
        fields
    }
}

/// `a red circle`, `an orange star`
pub(crate) fn with_article(name: &str) -> String {
    let vowel = name.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {name}", if vowel { "an" } else { "a" })
}

/// Puts names into the places of a phrasing: `{a}` and `{b}`.
pub(crate) fn fill(phrase: &str, a: &str, b: &str) -> String {
    phrase.replace("{a}", a).replace("{b}", b)
}

/// Any of `choices`, without regard to which is right.
pub(crate) fn guess(rng: &mut Stream, choices: &[String]) -> String {
    let all: Vec<&String> = choices.iter().collect();
    pick(rng, &all).clone()
}

pub(crate) fn strings(items: &[&str]) -> Vec<String> {
    items.iter().map(|&s| s.to_owned()).collect()
}

/// `the red circle`
pub(crate) fn the(look: Look) -> String {
    format!("the {}", look.name())
}

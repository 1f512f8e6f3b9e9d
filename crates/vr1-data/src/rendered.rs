use std::fmt;
use std::sync::Arc;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use crate::{Dataset, Error, Media, Picture, Place, Result, Sample, Typesetter};

/// Samples whose questions are shown as pictures of text, as R1-Vision's rendered problems are: the answers stay what they
/// are, so that a model answers what it reads as what it is told.
///
/// The picture comes after what else the question shows, and all of it before the words. A sample's fields get
/// `question_text`, the question as it was, and `rendered`, whether it is drawn. Where a medium stood amid the question,
/// the drawn text has `<image 1>` or `<video 1>`, numbered as they are shown. Which samples are drawn, and how, depends on
/// `(seed, index)` alone.
///
/// ```
/// use std::sync::Arc;
/// use vr1_data::{Dataset, Lettering, Rendered, Scenes, Split, Task, Typesetter};
///
/// let typed = Scenes::new(Task::Counting, Split::Train, 7, 1000);
/// let typesetter = Typesetter::new(&Lettering::default())?;
/// let question = "Answer the question in the image.".to_owned();
/// let rendered = Rendered { of: Arc::new(typed), typesetter, question, share: 1.0, seed: 7 };
/// let sample = rendered.get(1)?;
/// assert_eq!((sample.question.as_str(), sample.media.len()), ("Answer the question in the image.", 2));
/// assert_eq!(sample.fields["question_text"], "How many black items do you see?");
/// assert_eq!(sample.solution, typed.get(1)?.solution);
/// # Ok::<(), vr1_data::Error>(())
/// ```
pub struct Rendered {
    /// Whose questions they are.
    pub of: Arc<dyn Dataset>,
    /// What draws them.
    pub typesetter: Typesetter,
    /// What is asked in words instead.
    pub question: String,
    /// The share of samples that are drawn, from 0 to 1; the others stay as they are. A question without words stays too.
    pub share: f64,
    /// Another seed draws other samples, and others otherwise.
    pub seed: u64,
}

impl fmt::Debug for Rendered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rendered x {}", self.of.name(), self.share)
    }
}

impl Rendered {
    fn is_drawn(&self, index: usize) -> bool {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&self.seed.to_le_bytes());
        key[8..16].copy_from_slice(&(index as u64).to_le_bytes());
        key[16..24].copy_from_slice(b"rendered");
        ChaCha8Rng::from_seed(key).random::<f64>() < self.share // in [0, 1)
    }
}

impl Dataset for Rendered {
    fn name(&self) -> &str {
        self.of.name()
    }

    fn len(&self) -> usize {
        self.of.len()
    }

    fn get(&self, index: usize) -> Result<Sample> {
        let mut sample = self.of.get(index)?;
        let drawn = self.is_drawn(index) && !sample.question.trim().is_empty();
        sample.fields.insert("question_text".to_owned(), Value::from(sample.question.as_str()));
        sample.fields.insert("rendered".to_owned(), Value::from(drawn));
        if !drawn {
            return Ok(sample);
        }
        let picture = self.typesetter.draw(&as_read(&sample), self.seed, index).map_err(|error| match error {
            Error::Text { what, reason } => Error::Text { what: format!("sample {}: {what}", sample.id), reason },
            other => other,
        })?;
        show(&mut sample, Picture::from(picture));
        ask(&mut sample, &self.question);
        Ok(sample)
    }
}

/// The question with the numbers of what is shown amid its words.
fn as_read(sample: &Sample) -> String {
    let question = &sample.question;
    let amid = |at: usize| {
        let halves = question.split_at_checked(at);
        halves.is_some_and(|(before, after)| !before.trim().is_empty() && !after.trim().is_empty())
    };
    let first = |place: &&Place| place.turn == 0;
    if !sample.places.iter().filter(first).any(|place| amid(place.at)) {
        return question.trim().to_owned();
    }
    let (mut read, mut from) = (String::new(), 0);
    for (number, place) in sample.places.iter().filter(first).enumerate() {
        let at = place.at.clamp(from, question.len());
        read += question.get(from..at).unwrap_or_default();
        let kind = if matches!(sample.media.get(number), Some(Media::Video(_))) { "video" } else { "image" };
        read += &format!("<{kind} {}>", number + 1);
        from = at;
    }
    (read + question.get(from..).unwrap_or_default()).trim().to_owned()
}

/// Shows a picture after what else is shown with the question, and all of that before its words.
fn show(sample: &mut Sample, picture: Picture) {
    let later = |place: &Place| place.turn > 0;
    let at = if sample.places.is_empty() {
        sample.media.len()
    } else {
        sample.places.iter().position(later).unwrap_or(sample.media.len())
    };
    sample.media.insert(at.min(sample.media.len()), Media::Image(picture));
    if sample.places.iter().any(later) {
        sample.places.insert(at, Place::default());
        sample.places.iter_mut().filter(|place| place.turn == 0).for_each(|place| place.at = 0);
    } else {
        sample.places.clear();
    }
}

/// Asks in other words, wherever the sample says the question.
fn ask(sample: &mut Sample, question: &str) {
    if let Some(first) = sample.turns.first_mut()
        && let Some(rest) = first.prompt.strip_prefix(&sample.question)
    {
        first.prompt = format!("{question}{rest}");
    }
    if let Some(said) = sample.fields.get_mut("question") {
        *said = Value::from(question);
    }
    sample.question = question.to_owned();
}

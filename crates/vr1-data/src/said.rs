use serde::{Deserialize, Serialize};

use crate::Sample;
use crate::sample::Place;

/// Who says something in a row's conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Speaker {
    /// Instructions that stand above the conversation.
    System,
    /// The one who asks; `human` in some rows.
    #[serde(alias = "human")]
    User,
    /// The model; `gpt` in some rows.
    #[serde(alias = "gpt")]
    Assistant,
}

impl Speaker {
    /// The speaker's name, as chat templates have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// A piece of what is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SaidPart {
    /// Words, as the row has them: white space is kept.
    Text(String),
    /// The image or video at this place of the sample's media.
    Media(usize),
}

/// One turn of a conversation: what is said and shown, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Who says it.
    pub speaker: Speaker,
    /// Words and media in the order they come; only a system's turn may have none.
    pub parts: Vec<SaidPart>,
}

impl Said {
    /// A turn of words alone.
    #[must_use]
    pub fn text(speaker: Speaker, text: impl Into<String>) -> Self {
        Self { speaker, parts: vec![SaidPart::Text(text.into())] }
    }

    /// The user's turn that asks a sample's question, its media in their [places](Sample::places).
    ///
    /// ```
    /// use vr1_data::{Media, Picture, Place, Said, SaidPart, Sample};
    ///
    /// let picture = || Media::Image(Picture::from(image::RgbImage::new(2, 2)));
    /// let mut sample = Sample { media: vec![picture(), picture()], question: "First:  Second: ".to_owned(), ..Sample::default() };
    /// let text = |words: &str| SaidPart::Text(words.to_owned());
    /// let shows = |sample: &Sample| Said::question(sample).parts;
    /// assert_eq!(shows(&sample), [SaidPart::Media(0), SaidPart::Media(1), text("First:  Second: ")]);
    /// sample.places = vec![Place { turn: 0, at: 7 }, Place { turn: 0, at: 16 }];
    /// assert_eq!(shows(&sample), [text("First: "), SaidPart::Media(0), text(" Second: "), SaidPart::Media(1)]);
    /// ```
    #[must_use]
    pub fn question(sample: &Sample) -> Self {
        Self { speaker: Speaker::User, parts: cut(&sample.question, places(sample, 0)) }
    }

    /// What the user says and shows in these turns of a sample's staged conversation, by number; what it shows in others
    /// comes before the first words.
    #[must_use]
    pub fn turns(sample: &Sample, chosen: &[usize]) -> Vec<Self> {
        let placed = !sample.places.is_empty();
        let elsewhere = |&index: &usize| !placed || !chosen.contains(&place(sample, index).turn);
        let said = |(i, &number): (usize, &usize)| {
            let lost = (0..sample.media.len()).filter(elsewhere).filter(|_| i == 0).map(|index| (index, 0));
            let own = places(sample, number).filter(|_| placed && !chosen[..i].contains(&number));
            let prompt = sample.turns.get(number).map_or("", |turn| &turn.prompt);
            Self { speaker: Speaker::User, parts: cut(prompt, lost.chain(own)) }
        };
        chosen.iter().enumerate().map(said).collect()
    }

    /// The user's turn that asks a sample's question in other words, which `words` makes of it. Where these hold the
    /// question, the media keep their places in it, the first time; where they do not, the media come before all words.
    ///
    /// # Errors
    /// When `words` fails.
    pub fn asking<E>(sample: &Sample, words: impl FnOnce(&str) -> Result<String, E>) -> Result<Self, E> {
        let user = |parts| Self { speaker: Speaker::User, parts };
        let shown: Vec<usize> = places(sample, 0).map(|(index, _)| index).collect();
        let before = |words: &str| user(cut(words, shown.iter().map(|&index| (index, 0))));
        if sample.places.is_empty() {
            return Ok(before(&words(&sample.question)?));
        }
        // Noncharacters, of which no text is made: whatever is done to the question, they stay between its words.
        let known =
            |mark| sample.question.contains(mark) || sample.fields.values().any(|v| v.to_string().contains(mark));
        let mark = ('\u{FDD0}'..='\u{FDEF}').find(|&mark| !known(mark)).unwrap_or('\u{FDD0}');
        let said = |part: &SaidPart| match part {
            SaidPart::Text(words) => words.clone(),
            SaidPart::Media(_) => mark.to_string(),
        };
        let asked = words(&Self::question(sample).parts.iter().map(said).collect::<String>())?;
        let unmarked = asked.replace(mark, "");
        let places: Vec<usize> =
            asked.match_indices(mark).enumerate().map(|(i, (at, _))| at - i * mark.len_utf8()).collect();
        match places.len() < shown.len() {
            true => Ok(before(&unmarked)),
            false => Ok(user(cut(&unmarked, shown.iter().copied().zip(places)))),
        }
    }

    /// The words of the turn, joined without anything between.
    #[must_use]
    pub fn words(&self) -> String {
        let text = |part: &SaidPart| match part {
            SaidPart::Text(text) => Some(text.clone()),
            SaidPart::Media(_) => None,
        };
        self.parts.iter().filter_map(text).collect()
    }
}

/// Where one of a sample's media is shown.
fn place(sample: &Sample, index: usize) -> Place {
    sample.places.get(index).copied().unwrap_or_default()
}

/// Which of `sample.media` are shown in a turn, each with the byte of its words that it is shown before.
fn places(sample: &Sample, turn: usize) -> impl Iterator<Item = (usize, usize)> {
    let shown = (0..sample.media.len()).map(move |index| (index, place(sample, index)));
    shown.filter(move |(_, place)| place.turn == turn).map(|(index, place)| (index, place.at))
}

/// Words cut where media are shown.
fn cut(words: &str, media: impl Iterator<Item = (usize, usize)>) -> Vec<SaidPart> {
    let (mut parts, mut from) = (vec![], 0);
    for (index, at) in media {
        if at > from && words.is_char_boundary(at) {
            parts.push(SaidPart::Text(words[from..at].to_owned()));
            from = at;
        }
        parts.push(SaidPart::Media(index));
    }
    if from == 0 || from < words.len() {
        parts.push(SaidPart::Text(words[from..].to_owned()));
    }
    parts
}

/// Where the media of a conversation are shown in its user's words; nothing where all come before the first.
pub(crate) fn places_of<'a>(asked: impl Iterator<Item = &'a Said>) -> Vec<Place> {
    let mut places = vec![];
    for (turn, said) in asked.enumerate() {
        let mut at = 0;
        for part in &said.parts {
            match part {
                SaidPart::Text(words) => at += words.len(),
                SaidPart::Media(_) => places.push(Place { turn, at }),
            }
        }
    }
    if places.iter().all(|place| *place == Place::default()) { vec![] } else { places }
}

/// What was said last by `speaker`.
pub(crate) fn last_words(turns: &[Said], speaker: Speaker) -> String {
    turns.iter().rfind(|turn| turn.speaker == speaker).map_or_else(String::new, Said::words)
}

/// Where what the user said last shows media, if nothing is shown before.
pub(crate) fn last_places(turns: &[Said]) -> Vec<Place> {
    let mut asked = turns.iter().filter(|turn| turn.speaker == Speaker::User).rev();
    let last = asked.next();
    let shows = |turn: &Said| turn.parts.iter().any(|part| matches!(part, SaidPart::Media(_)));
    if asked.any(shows) { vec![] } else { places_of(last.into_iter()) }
}

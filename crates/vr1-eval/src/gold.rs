//! What is right, and how right an answer is.

use vr1_reward::{
    BBox, Budget, Fence, IouRule, LabelledBox, Limits, MathConfig, answer_equal, box_in, json_in, math_equal,
    numbers_in, only_number, option_in,
};

use crate::extraction::{How, places};
use crate::mark::Mark;

/// The right answer to a question, and by that how answers are compared with it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Gold {
    /// One of several options, by its number from 0.
    Option {
        /// Which.
        right: usize,
        /// What they say; the letters A, B, … name them.
        options: Vec<String>,
    },
    /// A number; where `places` are given, both are rounded to as many decimal places before they are compared.
    Number {
        /// The number.
        value: f64,
        /// Decimal places.
        places: Option<u32>,
    },
    /// Anything mathematical.
    Math(String),
    /// Any of these words; case, outer marks and the width of spaces are nothing.
    Words(Vec<String>),
    /// A box in pixels of the picture, found where the overlap is above one half.
    Box(BBox),
    /// Labelled boxes in pixels of the picture; right or wrong is said over all questions, by average precision.
    Boxes(Vec<LabelledBox>),
    /// What a judge compares with.
    Judged(String),
}

/// From the pixels of an answer's box to those of the picture.
pub(crate) type ToPixels = [f64; 2];

impl Gold {
    /// Reads a completion in the robust order and marks it. `scale` makes pixels of the picture, across and down, of what boxes
    /// are written in; it is 1 where they are pixels, and where there are no boxes.
    ///
    /// # Example
    /// ```
    /// use vr1_eval::{Gold, How};
    /// let gold = Gold::Option { right: 1, options: vec!["red".into(), "blue".into()] };
    /// let mark = gold.mark("<think>red or blue</think>So the answer is (B).", [1.0, 1.0]);
    /// assert_eq!((mark.answer.as_deref(), mark.how, mark.marks["accuracy"]), (Some("B"), Some(How::Phrase), 1.0));
    /// ```
    #[must_use]
    pub fn mark(&self, completion: &str, scale: [f64; 2]) -> Mark {
        let places = places(completion);
        let read = places.iter().find_map(|(how, text)| Some((*how, self.read(*how, text, scale)?)));
        match read {
            Some((how, mark)) => Mark { how: Some(how), ..mark },
            // A tag that cannot be read is an answer all the same, and a wrong one.
            None => Mark {
                answer: places.first().filter(|(how, _)| *how == How::Tag).map(|(_, said)| (*said).to_owned()),
                ..Mark::unread(self.metrics())
            },
        }
    }

    /// What answers are marked by.
    pub(crate) fn metrics(&self) -> &'static [&'static str] {
        match self {
            Self::Box(_) => &["accuracy", "iou"],
            Self::Boxes(_) | Self::Judged(_) => &[],
            _ => &["accuracy"],
        }
    }

    /// The answer as a record says it.
    pub(crate) fn said(&self) -> String {
        match self {
            Self::Option { right, .. } => letter(*right).to_string(),
            Self::Number { value, .. } => value.to_string(),
            Self::Math(text) | Self::Judged(text) => text.clone(),
            Self::Words(words) => words.join(" | "),
            Self::Box(bbox) => format!("{bbox:?}"),
            Self::Boxes(boxes) => {
                boxes.iter().map(|b| format!("{}: {:?}", b.label, b.bbox)).collect::<Vec<_>>().join("; ")
            }
        }
    }

    /// The mark of what was said at a place, where an answer can be read there.
    fn read(&self, how: How, text: &str, scale: ToPixels) -> Option<Mark> {
        if text.is_empty() {
            return None;
        }
        match self {
            Self::Option { right, options } => {
                let found = option(text, options, how)?;
                Some(Mark::of(letter(found).to_string(), found == *right))
            }
            Self::Number { value, places } => {
                let last = || numbers_in(text).last().filter(|_| how == How::Text);
                let found = only_number(text).or_else(last)?;
                Some(Mark::of(found.to_string(), same_number(found, *value, *places)))
            }
            Self::Math(gold) => {
                let prose = || math_equal(gold, text, MathConfig::default());
                let right = match how {
                    How::Tag | How::Boxed => answer_equal(gold, text),
                    How::Phrase => answer_equal(gold, text) || prose(),
                    _ => prose(),
                };
                // Of a whole text nobody can say which part was meant.
                let shown = if how == How::Text { None } else { Some(text.to_owned()) };
                Some(Mark { answer: shown, ..Mark::of(String::new(), right) })
            }
            Self::Words(words) => {
                let said = plain(text);
                let number = only_number(text).or_else(|| numbers_in(text).last().filter(|_| how == How::Text));
                let same = |word: &String| {
                    // A number is one however it is written.
                    let gold = word.trim().parse::<f64>().ok();
                    plain(word) == said || gold.zip(number).is_some_and(|(gold, said)| same_number(said, gold, None))
                };
                let right = words.iter().any(same);
                let named = || how == How::Text && words.iter().any(|word| last_word_is(&said, &plain(word)));
                Some(Mark::of(text.to_owned(), right || named()))
            }
            Self::Box(gold) => {
                let found = if how == How::Text { last_box(text)? } else { box_in(text)? };
                Some(Mark::overlap(scaled(found, scale), *gold, IouRule::Continuous))
            }
            Self::Boxes(_) => Some(Mark::boxes(labelled(text, scale)?)),
            Self::Judged(_) => Some(Mark { answer: Some(text.to_owned()), ..Mark::unread(&[]) }),
        }
    }
}

/// `A` for 0.
pub(crate) fn letter(number: usize) -> char {
    char::from(b'A' + u8::try_from(number.min(25)).unwrap_or(25))
}

/// The number of the option that a text settles on: the one whose words it is, the one it names by its letter, or the only
/// one whose words it holds.
pub(crate) fn option(text: &str, options: &[String], how: How) -> Option<usize> {
    let said = plain(text);
    let is = |at: &usize| plain(&options[*at]) == said;
    let alone = said.chars().count() == 1 && said.chars().all(char::is_alphabetic);
    if let Some(same) = (0..options.len()).find(is).filter(|_| !alone) {
        return Some(same);
    }
    let last = letter(options.len().saturating_sub(1));
    let number = |letter: char| (letter as usize).checked_sub('A' as usize).filter(|at| *at < options.len());
    let line = text.lines().rev().find(|line| !line.trim().is_empty()).filter(|_| how == How::Text);
    let named = line.and_then(|line| option_in(line, last)).or_else(|| option_in(text, last));
    named.and_then(number).or_else(|| {
        let holds = |at: &usize| {
            let words = plain(&options[*at]);
            !words.is_empty() && holds_words(&said, &words)
        };
        let mut held = (0..options.len()).filter(holds);
        held.next().filter(|_| held.next().is_none())
    })
}

fn same_number(a: f64, b: f64, places: Option<u32>) -> bool {
    let Some(places) = places else { return (a - b).abs() <= 1e-9 * b.abs().max(1.0) };
    let rounded = |x: f64| (x * 10_f64.powi(places.min(12) as i32)).round_ties_even();
    rounded(a) == rounded(b)
}

/// Words without case, marks around them and wide spaces.
pub(crate) fn plain(text: &str) -> String {
    let text = text.trim().trim_matches(|c: char| ".,;:!?\"'`*()[]{}<>。，！".contains(c)).to_lowercase();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether the words stand in a text with no letter or digit beside them.
fn holds_words(text: &str, words: &str) -> bool {
    let apart = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
    text.match_indices(words)
        .any(|(at, found)| apart(text[..at].chars().next_back()) && apart(text[at + found.len()..].chars().next()))
}

fn last_word_is(text: &str, word: &str) -> bool {
    text.ends_with(word) && text[..text.len() - word.len()].chars().next_back().is_none_or(|c| !c.is_alphanumeric())
}

/// How many brackets from the end on may begin the last box.
const BRACKETS: usize = 256;

fn last_box(text: &str) -> Option<BBox> {
    let opens = text.char_indices().rev().filter(|(_, c)| matches!(c, '[' | '('));
    opens.take(BRACKETS).find_map(|(at, _)| box_in(&text[at..]))
}

pub(crate) fn scaled(b: BBox, [x, y]: ToPixels) -> BBox {
    [b[0] * x, b[1] * y, b[2] * x, b[3] * y]
}

/// The labelled boxes of the JSON in a text; "None" has none, and what cannot be read is no answer.
pub(crate) fn labelled(text: &str, scale: ToPixels) -> Option<Vec<LabelledBox>> {
    if plain(text) == "none" {
        return Some(Vec::new());
    }
    let json = json_in(text, Fence::Last, &Budget::new(Limits::default()), "an answer's boxes").ok()??;
    let items = match &json {
        serde_json::Value::Array(items) => items.iter().collect(),
        one => vec![one],
    };
    let one = |item: &serde_json::Value| {
        let object = item.as_object()?;
        let bbox = object.get("bbox_2d").or_else(|| object.get("bbox"))?;
        let numbers: Vec<f64> = bbox.as_array()?.iter().filter_map(serde_json::Value::as_f64).collect();
        let bbox: BBox = numbers.try_into().ok()?;
        let label = object.get("label").and_then(serde_json::Value::as_str).unwrap_or("").to_owned();
        bbox.iter().all(|c| c.is_finite()).then(|| LabelledBox { bbox: scaled(bbox, scale), label })
    };
    Some(items.into_iter().filter_map(one).collect())
}

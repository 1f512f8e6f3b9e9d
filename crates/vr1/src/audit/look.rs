//! What can be said of one row by itself.

use vr1_data::{Glance, Media, Picture, PictureSketch, RowFault, TextSketch, Video};
use vr1_processor::{Processor, TokenCount, check_sides};
use vr1_train::{AskedRow, AskedSource, RowCount};

use super::answers::{Answered, Answers};
use super::finding::{Finding, Kind};

/// What rows are looked at with.
pub(crate) struct Looker<'a> {
    pub(crate) source: &'a AskedSource,
    pub(crate) processor: Option<&'a Processor>,
    /// The most tokens of a prompt with its answer.
    pub(crate) limit: Option<usize>,
    pub(crate) answers: &'a Answers,
    /// Whether pictures are decoded and compared by how they look.
    pub(crate) near: bool,
}

/// A row that was looked at.
pub(crate) struct Looked {
    pub(crate) place: String,
    pub(crate) findings: Vec<Finding>,
    /// What it shows, where that could be seen.
    pub(crate) pictures: Vec<(Picture, Glance, Option<PictureSketch>)>,
    pub(crate) videos: usize,
    pub(crate) count: Option<RowCount>,
    /// What it asks, and what it answers; none of a row that cannot be read.
    pub(crate) said: Option<Said>,
}

pub(crate) struct Said {
    pub(crate) question: String,
    pub(crate) sketch: TextSketch,
    pub(crate) solution: String,
    /// Whether one question may have several answers.
    pub(crate) judged: bool,
    pub(crate) answered: Option<Answered>,
    /// Whether all pictures could be seen.
    pub(crate) whole: bool,
}

/// Words that stand for pictures and videos somewhere, and are nothing but words here.
const LITERAL: [&str; 14] = [
    "<image>",
    "<video>",
    "<|image_pad|>",
    "<|video_pad|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image|>",
    "<|img|>",
    "<image_placeholder>",
    "<IMG_CONTEXT>",
    "[IMG]",
    "<img>",
    "<|image_1|>",
    "<image_1>",
];

impl Looker<'_> {
    pub(crate) fn look(&self, place: String, row: Result<AskedRow, String>) -> Looked {
        let mut looked = Looked { place, findings: vec![], pictures: vec![], videos: 0, count: None, said: None };
        let row = match row {
            Ok(row) => row,
            Err(reason) => {
                let kind = match RowFault::of(&reason) {
                    RowFault::Missing => Kind::Missing,
                    RowFault::Places => Kind::Placeholders,
                    _ => Kind::Row,
                };
                looked.find(kind, reason);
                return looked;
            }
        };
        let mut whole = true;
        for media in &row.sample.media {
            match media {
                Media::Image(picture) => whole &= self.see(picture, &mut looked),
                Media::Video(Video::Frames { frames, .. }) => {
                    looked.videos += 1;
                    frames.iter().for_each(|frame| whole &= self.see(frame, &mut looked));
                }
                _ => looked.videos += 1,
            }
        }
        literal(&row, &mut looked);
        if whole {
            self.count(&row, &mut looked);
        }
        let answered = (!row.judged).then(|| self.answers.read(&row.sample)).and_then(|read| match read {
            Ok(answered) => Some(answered),
            Err(reason) => {
                looked.find(Kind::Answer, reason);
                None
            }
        });
        let question = row.sample.question.clone();
        let answers: Vec<String> = row.own_answers().collect();
        let solution = if answers.is_empty() { row.sample.solution.clone() } else { answers.join("\n") };
        let sketch = TextSketch::of(&question);
        looked.said = Some(Said { sketch, question, solution, judged: row.judged, answered, whole });
        looked
    }

    /// Whether a picture is whole and of a shape that is taken.
    fn see(&self, picture: &Picture, looked: &mut Looked) -> bool {
        let seen = match picture.glance() {
            Ok(seen) => seen,
            Err(error) => {
                let gone = matches!(&error, vr1_data::Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound);
                looked.find(if gone { Kind::Missing } else { Kind::Broken }, error.to_string());
                return false;
            }
        };
        let decoded = if seen.whole && !self.near { None } else { Some(picture.load()) };
        let sketch = match decoded {
            Some(Err(error)) => {
                looked.find(Kind::Broken, error.to_string());
                return false;
            }
            Some(Ok(pixels)) if self.near => Some(PictureSketch::of(&pixels)),
            _ => None,
        };
        let admitted = check_sides(seen.height, seen.width);
        if let Err(error) = &admitted {
            looked.find(Kind::Shape, error.to_string());
        }
        looked.pictures.push((picture.clone(), seen, sketch));
        admitted.is_ok()
    }

    fn count(&self, row: &AskedRow, looked: &mut Looked) {
        let Some(processor) = self.processor else { return };
        let pictures = std::mem::take(&mut looked.pictures);
        let sides = |picture: &Picture| match pictures.iter().find(|(known, ..)| same(known, picture)) {
            Some((_, seen, _)) => Ok((seen.width, seen.height)),
            None => picture.dimensions(),
        };
        let count = self.source.count(row, processor, &sides);
        looked.pictures = pictures;
        match count {
            Ok(count) => {
                let room = self.limit.map(|limit| limit.saturating_sub(self.source.completion.unwrap_or(0)));
                if let Some(room) = room.filter(|room| count.longest() > *room) {
                    let RowCount { prompt: TokenCount { text, media, .. }, .. } = count;
                    let answer = count.longest() - count.prompt.total();
                    let answer = if answer > 0 { format!(" and {answer} of its answer") } else { String::new() };
                    let all = count.longest();
                    looked.find(
                        Kind::Overlong,
                        format!("{all} tokens, {media} of pictures, {text} of words{answer}; there is room for {room}"),
                    );
                }
                looked.count = Some(count);
            }
            Err(vr1_train::Error::Processor(vr1_processor::Error::Media { reason, kind, index, .. })) => {
                looked.find(Kind::Shape, format!("{kind} {index}: {reason}"));
            }
            Err(vr1_train::Error::Processor(error @ vr1_processor::Error::Placeholders { .. })) => {
                looked.find(Kind::Placeholders, error.to_string());
            }
            Err(error) => looked.find(Kind::Prompt, error.to_string()),
        }
    }
}

impl Looked {
    pub(crate) fn find(&mut self, kind: Kind, reason: impl Into<String>) {
        self.findings.push(Finding::new(kind, &self.place, reason));
    }
}

/// Placeholders that are spelt in words: where there are as many as the row shows, they are only told.
fn literal(row: &AskedRow, looked: &mut Looked) {
    let shown = row.sample.media.len();
    let words: Vec<String> = row.words().collect();
    for token in LITERAL {
        let count: usize = words.iter().map(|words| words.matches(token).count()).sum();
        if count > 0 {
            let kind = if count == shown { Kind::LiteralToken } else { Kind::Placeholders };
            let times = if count == 1 { "once".to_owned() } else { format!("{count} times") };
            looked.find(kind, format!("{token} stands in its words {times}, where it is text; the row shows {shown}"));
        }
    }
}

/// Whether two are the same file or the same bytes of a row.
fn same(one: &Picture, other: &Picture) -> bool {
    match (one, other) {
        (Picture::File(one), Picture::File(other)) => one == other,
        (Picture::Encoded { bytes: one, .. }, Picture::Encoded { bytes: other, .. }) => {
            std::sync::Arc::ptr_eq(one, other)
        }
        (Picture::Pixels(one), Picture::Pixels(other)) => std::sync::Arc::ptr_eq(one, other),
        _ => false,
    }
}

//! Turns as a row spells them: as text, as `{role, content}` or as `{from, value}`, media not yet in their places.

use serde::Deserialize;
use serde_json::Value;

use crate::faults::{cut, keys, shortened};
use crate::files::{IMAGE_MARKER, Root, VIDEO_MARKER, picture, video};
use crate::{Fields, Media, Said, SaidPart, Speaker};

/// A turn, and where in its row it stands.
#[derive(Debug)]
pub(crate) struct Spoken {
    pub(crate) at: String,
    pub(crate) speaker: Speaker,
    pub(crate) pieces: Vec<Piece>,
    /// A key that seems to name media and is not read.
    pub(crate) stray: Option<String>,
}

#[derive(Debug)]
pub(crate) enum Piece {
    Words(String),
    /// Where the next of the row's images or videos is shown.
    Place(Kind),
    /// What the turn names itself.
    Own(Media),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Image,
    Video,
}

impl Spoken {
    /// `text` said by `speaker`; what a user says is cut at the markers.
    pub(crate) fn text(at: impl Into<String>, speaker: Speaker, text: String) -> Self {
        Self { at: at.into(), speaker, pieces: pieces(speaker, text), stray: None }
    }
}

/// The turns under `key`: a text said by `speaker`, a message, or a list of messages.
pub(crate) fn turns(key: &str, value: Value, speaker: Speaker, root: Root<'_>) -> Result<Vec<Spoken>, String> {
    match value {
        Value::String(text) => Ok(vec![Spoken::text(key, speaker, text)]),
        Value::Object(fields) => Ok(vec![message(key.to_owned(), fields, root)?]),
        list => messages(key, list, root),
    }
}

/// A list of messages.
pub(crate) fn messages(key: &str, value: Value, root: Root<'_>) -> Result<Vec<Spoken>, String> {
    let Value::Array(list) = listed(value) else { return Err(format!("{key}: no list of messages")) };
    if list.is_empty() {
        return Err(format!("{key}: an empty list"));
    }
    let one = |(i, value)| match value {
        Value::Object(fields) => message(format!("{key}[{i}]"), fields, root),
        other => Err(format!("{key}[{i}]: {} is no message", shortened(&other))),
    };
    list.into_iter().enumerate().map(one).collect()
}

fn message(at: String, mut fields: Fields, root: Root<'_>) -> Result<Spoken, String> {
    let openai = fields.contains_key("role") || fields.contains_key("content");
    let (who, what) = if openai { ("role", "content") } else { ("from", "value") };
    let missing =
        |what: &str, fields: &Fields| format!("{at}.{what}: missing; the message has the keys {}", keys(fields));
    let role = present(&mut fields, who).ok_or_else(|| missing(who, &fields))?;
    let speaker = Speaker::deserialize(&role)
        .map_err(|_| format!("{at}.{who}: {}, should be system, user (human) or assistant (gpt)", shortened(&role)))?;
    if present(&mut fields, "tool_calls").is_some() {
        return Err(format!("{at}.tool_calls: calls of tools are not read"));
    }
    let content = fields.shift_remove(what).ok_or_else(|| missing(what, &fields))?;
    let mut stray = stray(&format!("{at}."), &fields);
    let pieces = match content {
        Value::String(text) => pieces(speaker, text),
        Value::Number(number) if speaker == Speaker::Assistant => pieces(speaker, number.to_string()),
        Value::Array(list) if speaker == Speaker::Assistant && !list.iter().all(is_part) => {
            pieces(speaker, spaced(&Value::Array(list)))
        }
        Value::Array(parts) => {
            let mut all = vec![];
            for (i, value) in parts.into_iter().enumerate() {
                let (pieces, unread) = part(&format!("{at}.{what}[{i}]"), value, speaker, root)?;
                all.extend(pieces);
                stray = stray.or(unread);
            }
            all
        }
        other => return Err(format!("{at}.{what}: {} is no text or list", shortened(&other))),
    };
    Ok(Spoken { at, speaker, pieces, stray })
}

/// A list of messages, which `datasets` may keep as one message of lists.
fn listed(value: Value) -> Value {
    let Value::Object(fields) = value else { return value };
    let lists: Vec<_> = fields.iter().filter_map(|(key, list)| Some((key, list.as_array()?))).collect();
    let count = lists.first().map_or(0, |(_, list)| list.len());
    if lists.len() < fields.len() || lists.iter().any(|(_, list)| list.len() != count) {
        return Value::Object(fields);
    }
    let message = |i: usize| lists.iter().map(|(key, list)| ((*key).clone(), list[i].clone())).collect();
    (0..count).map(|i| Value::Object(message(i))).collect()
}

fn is_part(value: &Value) -> bool {
    value.get("type").is_some_and(Value::is_string)
}

/// The pieces of a part of a content, and a key of it that seems to name media and is not read.
fn part(at: &str, value: Value, speaker: Speaker, root: Root<'_>) -> Result<(Vec<Piece>, Option<String>), String> {
    let Value::Object(mut fields) = value else { return Err(format!("{at}: {} is no object", shortened(&value))) };
    let kind = present(&mut fields, "type").ok_or_else(|| format!("{at}.type: missing"))?;
    let mut own = |key: &str| present(&mut fields, key).or_else(|| present(&mut fields, "path"));
    let pieces = match kind.as_str() {
        Some("text") => match present(&mut fields, "text") {
            Some(Value::String(text)) => pieces(speaker, text),
            Some(other) => return Err(format!("{at}.text: {} is no text", shortened(&other))),
            None => return Err(format!("{at}.text: missing")),
        },
        Some("image") => vec![match own("image") {
            Some(path) => Piece::Own(Media::Image(picture(&format!("{at}.image"), path, root)?)),
            None => Piece::Place(Kind::Image),
        }],
        Some("video") => vec![match own("video") {
            Some(path) => Piece::Own(video(&format!("{at}.video"), path, root)?),
            None => Piece::Place(Kind::Video),
        }],
        Some("image_url") => {
            let url = present(&mut fields, "image_url").unwrap_or_default();
            let url = url.get("url").cloned().unwrap_or(url);
            vec![Piece::Own(Media::Image(picture(&format!("{at}.image_url"), url, root)?))]
        }
        _ => return Err(format!("{at}.type: {}, should be text, image or video", shortened(&kind))),
    };
    Ok((pieces, stray(&format!("{at}."), &fields)))
}

/// The first key that begins as the keys of media do, under which something stands.
pub(crate) fn stray(at: &str, fields: &Fields) -> Option<String> {
    let says = |value: &Value| !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty());
    let named = |key: &str| ["image", "video"].iter().any(|kind| begins(key, kind));
    let mut found = fields.iter().filter(|(key, value)| named(key) && says(value));
    found.next().map(|(key, _)| format!("{at}{}", cut(key, 60)))
}

/// Whether a key begins with a word of small letters, in letters of either size.
fn begins(key: &str, word: &str) -> bool {
    key.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
}

/// What stands under a key, if it is not null.
pub(crate) fn present(fields: &mut Fields, key: &str) -> Option<Value> {
    fields.shift_remove(key).filter(|value| !value.is_null())
}

/// Text, a user's cut at its markers; without empty pieces.
fn pieces(speaker: Speaker, text: String) -> Vec<Piece> {
    let (mut pieces, mut rest) = (vec![], text.as_str());
    if speaker == Speaker::User {
        while let Some((at, marker, kind)) = first_marker(rest) {
            pieces.extend([Piece::Words(rest[..at].to_owned()), Piece::Place(kind)]);
            rest = &rest[at + marker.len()..];
        }
    }
    pieces.push(Piece::Words(rest.to_owned()));
    pieces.retain(|piece| !matches!(piece, Piece::Words(words) if words.is_empty()));
    pieces
}

/// The first marker of a text, and what is shown there.
fn first_marker(text: &str) -> Option<(usize, &'static str, Kind)> {
    let found = |(marker, kind)| text.find(marker).map(|at| (at, marker, kind));
    let markers = [(IMAGE_MARKER, Kind::Image), (VIDEO_MARKER, Kind::Video)];
    markers.into_iter().filter_map(found).min_by_key(|(at, ..)| *at)
}

/// The turns under a key that the model is to learn from: they begin and end with the assistant, and show nothing.
pub(crate) fn answer(turns: Vec<Spoken>) -> Result<Vec<Said>, String> {
    for turn in [turns.first(), turns.last()].into_iter().flatten() {
        if turn.speaker != Speaker::Assistant {
            let who = turn.speaker.name();
            return Err(format!("{}: said by the {who}; an answer begins and ends with the assistant", turn.at));
        }
    }
    let said = |turn: Spoken| {
        let words = |piece| match piece {
            Piece::Words(words) => Ok(SaidPart::Text(words)),
            Piece::Place(_) | Piece::Own(_) => Err(format!("{}: an answer shows no image or video", turn.at)),
        };
        let parts = turn.pieces.into_iter().map(words).collect::<Result<_, _>>()?;
        let said = Said { speaker: turn.speaker, parts };
        if said.words().trim().is_empty() { Err(format!("{}: empty", turn.at)) } else { Ok(said) }
    };
    turns.into_iter().map(said).collect()
}

/// JSON with a space after each comma and colon.
pub(crate) fn spaced(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(spaced).collect::<Vec<_>>().join(", ")),
        Value::Object(items) => {
            let item = |(key, value): (&String, &Value)| format!("{}: {}", Value::from(key.as_str()), spaced(value));
            format!("{{{}}}", items.iter().map(item).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

//! A video of things that move, or that are seen for a while.

use serde_json::{Value, json};

use super::chance::Stream;
use super::object::Object;
use super::posed::Shown;
use super::scene::{Canvas, Scene};
use crate::{Media, Picture, Video};

/// How many frames a video has.
pub(crate) const FRAMES: usize = 16;
/// How many frames there are a second.
const FPS: f64 = 4.0;

/// A thing of a video.
#[derive(Debug, Clone)]
pub(crate) struct Actor {
    pub(crate) object: Object,
    /// The middle of its box in the first and in the last frame in which it is seen.
    pub(crate) path: [(f32, f32); 2],
    /// The first and the last frame in which it is seen.
    pub(crate) seen: [usize; 2],
}

impl Actor {
    /// The object as it is seen in a frame.
    fn at(&self, frame: usize) -> Option<Object> {
        let [first, last] = self.seen;
        let [(x1, y1), (x2, y2)] = self.path;
        let done = frame.checked_sub(first)? as f32 / (last - first).max(1) as f32;
        if done > 1.0 {
            return None;
        }
        self.object.moved_to((x1 + (x2 - x1) * done, y1 + (y2 - y1) * done))
    }
}

/// What each thing is, where it is first and last seen, and in which frames.
pub(crate) fn objects(actors: &[Actor]) -> Value {
    let describe = |actor: &Actor| {
        let [first, last] = actor.seen;
        let mut value = actor.at(first).as_ref().map_or(Value::Null, Object::json);
        value["last_box"] = json!(actor.at(last).map(|o| o.pixel_box()));
        value["seen"] = json!([first, last]);
        value
    };
    actors.iter().map(describe).collect()
}

/// The frames.
pub(crate) fn film(
    rng: &mut Stream,
    canvas: Canvas,
    actors: &[Actor],
    caption: String,
    note: impl Fn(&Actor) -> String,
) -> Shown {
    let frame = |frame: usize| {
        let objects = actors.iter().filter_map(|a| a.at(frame)).collect();
        // Each frame's stream begins at the same place: the wall stays as it is.
        Picture::from(Scene { canvas, objects }.draw(&mut rng.clone()))
    };
    let frames = (0..FRAMES).map(frame).collect();
    let notes = actors.iter().map(note).collect::<Vec<_>>().join("; ");
    Shown::Drawn { media: vec![Media::Video(Video::Frames { frames, fps: Some(FPS) })], caption, notes }
}

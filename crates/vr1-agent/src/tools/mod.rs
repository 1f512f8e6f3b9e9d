//! Tools that a model calls while it answers, and whose pictures it then sees.

mod call;
mod engine;
mod zoom;

use std::fmt;
use std::sync::Arc;

use image::RgbImage;
use serde_json::{Map, Value};

pub use engine::ToolEngine;
pub use zoom::Zoom;

/// What a tool returned.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observation {
    /// Pictures, shown before the words.
    pub pictures: Vec<Arc<RgbImage>>,
    /// Words.
    pub text: String,
}

/// A picture as a tool finds it: its pixels, and how large the model sees it.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The picture.
    pub pixels: Arc<RgbImage>,
    /// Width and height in which the model sees it: what a model that names places in pixels means.
    pub size: (u32, u32),
}

/// A function that a model may call by its name.
pub trait Tool: fmt::Debug {
    /// The name that calls have.
    fn name(&self) -> &str;

    /// What a call with `arguments` returns; `seen` is all that was shown until then, what tools returned included, in order.
    ///
    /// # Errors
    /// Why it cannot be done. The model is told, and may call again.
    fn call(&self, arguments: &Map<String, Value>, seen: &[Seen]) -> Result<Observation, String>;
}

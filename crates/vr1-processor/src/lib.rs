#![doc = include_str!("../README.md")]

mod chat_template;
mod error;
mod family;
mod frame_sampling;
mod image_processor;
mod json_text;
mod marks;
mod media;
mod message;
mod patches;
mod positions;
mod processor;
mod prompt;
mod rendered;
mod resize;
mod settings;
mod supervised;
mod tokenizer;
mod training;
mod video_processor;

pub use chat_template::{ChatTemplate, Ending};
pub use error::{Error, Result};
pub use frame_sampling::FrameSampling;
pub use image_processor::ImageProcessor;
pub use message::{Message, Part, Role, media, pictures};
pub use patches::Patches;
pub use processor::{Layout, Processor, PromptRequest};
pub use prompt::{MediaSpan, Prompt, TokenType};
pub use rendered::Rendered;
pub use resize::{Resample, resize, smart_resize};
pub use supervised::{IGNORED, Mask, Supervised};
pub use tokenizer::{Specials, Tokenizer, optional_json};
pub use video_processor::VideoProcessor;

#![doc = include_str!("../README.md")]

mod chat_template;
mod config;
mod error;
mod families;
mod fits;
mod freeze;
mod hub;
mod json_text;
mod marks;
mod media;
mod message;
mod model;
mod positions;
mod processor;
mod prompt;
mod rendered;
mod supervised;
mod tokenizer;
mod training;

pub use chat_template::{ChatTemplate, Ending};
pub use config::ModelConfig;
pub use error::{Error, Result};
pub use hub::{Hub, Network, resolve};
pub use message::{Message, Part, Role, media, pictures};
pub use model::{Embedded, Model};
pub use processor::{Layout, Processor, PromptRequest};
pub use prompt::{MediaSpan, Prompt, TokenType};
pub use rendered::Rendered;
pub use supervised::{IGNORED, Mask, Supervised};
pub use tokenizer::{Specials, Tokenizer};

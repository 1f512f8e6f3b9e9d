//! The processor's tests, in one program.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod added_tokens;
mod chat_template;
mod checkpoint;
mod count;
mod families;
mod families_refusals;
mod image_processor;
mod media_settings;
mod pieces;
mod places;
mod prompt;
mod published_templates;
mod qwen_tokenizer;
mod refusals;
mod supervised;
mod tokenizer;
mod video_processor;

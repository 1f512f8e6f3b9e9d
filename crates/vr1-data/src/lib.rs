#![doc = include_str!("../README.md")]

mod asked;
mod conversation;
mod dataset;
mod easy_vqa;
mod error;
mod faults;
mod ffmpeg;
mod files;
mod jpeg;
mod jsonl;
mod judged;
mod mixture;
mod picture;
mod preference;
mod rows;
mod said;
mod sample;
mod scenes;
mod shown;
mod spoken;
mod video;

pub use dataset::Dataset;
pub use easy_vqa::{EasyVqa, EasyVqaSplit};
pub use error::{Error, Result};
pub use jsonl::JsonlDataset;
pub use judged::{Judged, JudgedSet};
pub use mixture::{Mixture, Part};
pub use picture::{MAX_PIXELS, Picture};
pub use preference::{Preference, PreferenceSet};
pub use said::{Said, SaidPart, Speaker};
pub use sample::{Fields, Media, Sample, Turn};
pub use scenes::{Scenes, Split, Task};
pub use video::{Clip, MAX_VIDEO_PIXELS, Video};

#![doc = include_str!("../README.md")]

mod album;
mod alike;
mod answered;
#[cfg(feature = "parquet")]
mod arrow_value;
mod asked;
mod bmp;
mod columns;
mod dataset;
mod easy_vqa;
mod encoded;
mod error;
mod faults;
mod ffmpeg;
mod files;
mod filter;
mod folder;
mod gif;
mod glance;
#[cfg(feature = "hub")]
mod hub;
mod jpeg;
mod judged;
#[cfg(feature = "lettering")]
mod lettering;
mod listing;
mod local;
mod mixture;
#[cfg(feature = "parquet")]
mod parquet_rows;
#[cfg(feature = "parquet")]
mod parquet_writer;
mod picture;
mod portion;
mod preference;
#[cfg(feature = "lettering")]
mod rendered;
mod row_set;
mod row_source;
mod row_writer;
mod rows;
mod said;
mod sample;
mod sample_set;
mod scenes;
mod shown;
mod spoken;
#[cfg(feature = "lettering")]
mod spread;
mod survey;
mod take;
mod text_rows;
mod tiff;
#[cfg(feature = "lettering")]
mod typefaces;
#[cfg(feature = "lettering")]
mod typesetter;
mod unreadable;
mod video;

pub use album::Album;
pub use alike::{PictureSketch, TextSketch};
pub use columns::{Column, Columns};
pub use dataset::Dataset;
pub use easy_vqa::{EasyVqa, EasyVqaSplit};
pub use error::{Error, Result};
pub use faults::RowFault;
pub use filter::Filter;
pub use glance::Glance;
#[cfg(feature = "hub")]
pub use hub::{Hub, Network, Repository};
pub use judged::{Judged, JudgedSet};
#[cfg(feature = "lettering")]
pub use lettering::Lettering;
pub use mixture::{Mixture, Part};
pub use picture::{MAX_PIXELS, Picture, PictureFile};
pub use portion::{Portion, Side};
pub use preference::{Preference, PreferenceSet};
#[cfg(feature = "lettering")]
pub use rendered::Rendered;
pub use row_set::RowSet;
pub use row_source::RowSource;
pub use row_writer::{NewRow, Pictures, RowWriter};
pub use said::{Said, SaidPart, Speaker};
pub use sample::{Fields, Media, Place, Sample, Turn};
pub use sample_set::SampleSet;
pub use scenes::{Scenes, Split, Task};
#[cfg(feature = "lettering")]
pub use spread::Spread;
pub use take::{Amount, Take};
#[cfg(feature = "lettering")]
pub use typesetter::Typesetter;
pub use video::{Clip, MAX_VIDEO_PIXELS, Video};

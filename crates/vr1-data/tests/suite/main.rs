//! The data readers' tests, in one program; what counts memory is one of its own.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod contact_sheet;
mod drawn_pictures;
mod field_rows;
mod glance;
mod lettering;
mod mixture;
mod picture;
mod preferences;
mod published;
mod readers;
mod row_source;
mod row_writer;
mod scenes;
mod tables;
mod video;

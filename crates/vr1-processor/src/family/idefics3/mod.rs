//! Idefics3, SmolVLM and SmolVLM2: a picture in tiles of their own names, a video as pictures with the time before each.

mod pictures;
mod sentence;
mod videos;

use std::sync::Arc;

use super::{Begins, ENDS, Family, ROLES};

/// Stands for one token of an image, or of a frame.
const IMAGE: &str = "<image>";
/// Stands where a video is; the vocabulary need not have it.
const VIDEO: &str = "<video>";
/// Stands around each tile.
const AROUND: &str = "<fake_token_around_image>";
/// Stands before the tile that shows the whole picture.
const WHOLE: &str = "<global-img>";

pub(super) const IDEFICS3: Family = Family {
    model_types: &["idefics3"],
    classes: &["Idefics3Processor"],
    image: IMAGE,
    video: VIDEO,
    spelt: &[VIDEO],
    around: ["", ""],
    unsaid: &UNSAID,
    roles: ROLES,
    ends: &ends(),
    ids: &[("image_token_id", IMAGE)],
    begins: Begins::Always,
    video_template: None,
    shows: |files| Ok(Arc::new(pictures::Split::read(files)?)),
};

pub(super) const SMOLVLM: Family = Family {
    model_types: &["smolvlm"],
    classes: &["SmolVLMProcessor"],
    video_template: Some(include_str!("videos.jinja")),
    shows: |files| Ok(Arc::new(pictures::Split::read(files)?.with_videos(files)?)),
    ..IDEFICS3
};

/// Those of the language models, and what ends a turn in these templates.
const fn ends() -> [&'static str; 7] {
    ["<end_of_utterance>", ENDS[0], ENDS[1], ENDS[2], ENDS[3], ENDS[4], ENDS[5]]
}

#[rustfmt::skip]
const UNSAID: [&str; 40] = [
    IMAGE, VIDEO, AROUND, WHOLE,
    "<row_1_col_1>", "<row_1_col_2>", "<row_1_col_3>", "<row_1_col_4>", "<row_1_col_5>", "<row_1_col_6>",
    "<row_2_col_1>", "<row_2_col_2>", "<row_2_col_3>", "<row_2_col_4>", "<row_2_col_5>", "<row_2_col_6>",
    "<row_3_col_1>", "<row_3_col_2>", "<row_3_col_3>", "<row_3_col_4>", "<row_3_col_5>", "<row_3_col_6>",
    "<row_4_col_1>", "<row_4_col_2>", "<row_4_col_3>", "<row_4_col_4>", "<row_4_col_5>", "<row_4_col_6>",
    "<row_5_col_1>", "<row_5_col_2>", "<row_5_col_3>", "<row_5_col_4>", "<row_5_col_5>", "<row_5_col_6>",
    "<row_6_col_1>", "<row_6_col_2>", "<row_6_col_3>", "<row_6_col_4>", "<row_6_col_5>", "<row_6_col_6>",
];

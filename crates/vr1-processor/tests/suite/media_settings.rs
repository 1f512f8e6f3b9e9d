//! Bounds that are set from outside do what the same bounds in a checkpoint's own files do.

use std::fs;
use std::path::{Path, PathBuf};

use image::RgbImage;
use serde_json::{Value, json};
use vr1_data::{Picture, Video};
use vr1_processor::{
    Error, Layout, MediaSettings, Message, Part, Processor, Prompt, PromptRequest, Role, VideoSettings,
};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// The checkpoint with other files of settings beside its own.
fn with(files: &[(&str, Value)]) -> Processor {
    let place = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(fixtures().join("checkpoint")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, place.path().join(path.file_name().unwrap())).unwrap();
    }
    for (name, content) in files {
        fs::write(place.path().join(name), content.to_string()).unwrap();
    }
    Processor::from_dir(place.path()).unwrap()
}

fn own() -> Processor {
    Processor::from_dir(&fixtures().join("checkpoint")).unwrap()
}

fn settings(value: Value) -> MediaSettings {
    serde_json::from_value(value).unwrap()
}

fn drawn(width: u32, height: u32, shade: u8) -> Picture {
    RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8, y as u8, shade])).into()
}

/// A picture and a video of twenty frames.
fn shown(processor: &Processor) -> Prompt {
    let frames = (0..20).map(|n| drawn(90, 70, 10 * n)).collect();
    let parts: Vec<Part> = vec![drawn(300, 200, 7).into(), Video::Frames { frames, fps: None }.into(), "Which?".into()];
    let messages = [Message { role: Role::User, parts }];
    let request = PromptRequest { sample: "s", messages: &messages, layout: Layout::Chat, prefill: "" };
    processor.prompt(&request).unwrap()
}

fn content(prompt: &Prompt) -> impl PartialEq + std::fmt::Debug + use<> {
    let patches: Vec<_> = prompt.patches().iter().map(|patches| patches.pixel_values.clone()).collect();
    (prompt.input_ids().to_vec(), patches, prompt.position_ids().clone())
}

#[test]
fn a_bound_from_outside_is_the_same_bound_in_the_checkpoints_files() {
    let said = settings(json!({
        "min_pixels": 3136, "max_pixels": 20000, "video": { "frames": 8, "min_pixels": 784, "max_pixels": 3136 },
    }));
    let set = own().with_media(&said).unwrap();
    let images = json!({ "min_pixels": 3136, "max_pixels": 20000 });
    let videos = json!({ "min_pixels": 784, "max_pixels": 3136, "do_sample_frames": true, "num_frames": 8 });
    let filed = with(&[("preprocessor_config.json", images), ("video_preprocessor_config.json", videos)]);
    assert_eq!(content(&shown(&set)), content(&shown(&filed)));
    assert_ne!(content(&shown(&set)), content(&shown(&own())));
    let grids: Vec<[usize; 3]> = shown(&set).patches().iter().map(|patches| patches.grid_thw).collect();
    assert!(grids[0][1] * grids[0][2] * 196 <= 20000, "{grids:?}");
    assert!(grids[1][1] * grids[1][2] * 196 <= 3136, "{grids:?}");
    assert_eq!(grids[1][0], 4, "eight frames in pairs");
}

#[test]
fn what_is_not_said_stays_as_the_checkpoint_has_it() {
    assert_eq!(content(&shown(&own().with_media(&MediaSettings::default()).unwrap())), content(&shown(&own())));
    let video = VideoSettings { frames: Some(6), ..VideoSettings::default() };
    let fewer = own().with_media(&MediaSettings { video, ..MediaSettings::default() }).unwrap();
    assert_eq!(fewer.images(), own().images());
}

#[test]
fn a_checkpoint_that_is_written_keeps_the_bounds() {
    let said = settings(json!({ "max_pixels": 20000, "video": { "frames": 8, "max_pixels": 6272 } }));
    let set = own().with_media(&said).unwrap();
    let place = tempfile::tempdir().unwrap();
    set.save(place.path()).unwrap();
    let read = Processor::from_dir(place.path()).unwrap();
    assert_eq!(content(&shown(&read)), content(&shown(&set)));
    // And again, as a run that is taken up does.
    assert_eq!(content(&shown(&read.with_media(&said).unwrap())), content(&shown(&set)));
}

#[test]
fn bounds_that_contradict_each_other_and_families_without_any_are_refused() {
    let refused = |processor: Processor, said: Value| match processor.with_media(&settings(said)) {
        Err(Error::Setting { file, key, reason }) => format!("{file} {key} {reason}"),
        other => panic!("{other:?}"),
    };
    assert!(refused(own(), json!({ "min_pixels": 9000, "max_pixels": 8000 })).starts_with("media size"));
    assert!(
        refused(own(), json!({ "video": { "min_pixels": 9000, "max_pixels": 8000 } })).starts_with("media.video size")
    );
    assert!(refused(own(), json!({ "video": { "frames": 0 } })).starts_with("media video.frames"));
    let family = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vr1-vlm/tests/fixtures/families/llava_next_4");
    let other = Processor::from_dir(&family).unwrap();
    assert!(refused(other.clone(), json!({ "max_pixels": 8000 })).starts_with("media max_pixels"));
    assert!(refused(other.clone(), json!({ "video": { "frames": 16 } })).starts_with("media video"));
    assert!(other.with_media(&MediaSettings::default()).is_ok());
}

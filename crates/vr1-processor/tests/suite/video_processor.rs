//! The video processor against what transformers' gives (tests/fixtures/video_processor/generate.py).
#![allow(clippy::unwrap_used)] // a fixture that is not there is a failed test

use std::fs;
use std::path::Path;

use image::{Rgb, RgbImage};
use serde_json::{Value, json};
use vr1_processor::{Error, FrameSampling, ImageProcessor, Patches, VideoProcessor};

fn cases(key: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/video_processor/cases.json");
    let mut cases: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    serde_json::from_value(cases[key].take()).unwrap()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

/// The frames of generate.py.
fn frames(case: &Value) -> Vec<RgbImage> {
    let [count, height, width, seed] = ["frames", "height", "width", "seed"].map(|key| number(&case[key]));
    let level = |t: u64, x: u32, y: u32, c: u64| {
        let (x, y) = (u64::from(x) * 73_856_093, u64::from(y) * 19_349_663);
        ((x ^ y ^ (c * 83_492_791) ^ ((t + seed) * 2_654_435_761)) >> 5) & 255
    };
    let frame =
        |t| RgbImage::from_fn(width as u32, height as u32, |x, y| Rgb([0, 1, 2].map(|c| level(t, x, y, c) as u8)));
    (0..count).map(frame).collect()
}

/// Order and every bit count.
fn checksum(patches: &Patches) -> u64 {
    let values = patches.pixel_values.iter().enumerate();
    values.fold(0, |sum, (place, v)| sum.wrapping_add(u64::from(v.to_bits()).wrapping_mul(place as u64 + 1)))
}

#[test]
fn values_are_equal_to_the_last_bit_resized_or_not() {
    let cases = cases("cases");
    assert_eq!(cases.len(), 12);
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let processor = VideoProcessor::from_config(&case["settings"], name).unwrap();
        let patches = processor.process(&frames(&case)).unwrap();
        assert_eq!(json!(patches.grid_thw), case["grid_thw"], "{name}");
        assert_eq!(json!(patches.pixel_values.dim()), case["shape"], "{name}");
        assert_eq!(json!(checksum(&patches)), case["checksum"], "{name}");
        let [count, height, width] = ["frames", "height", "width"].map(|key| number(&case[key]));
        let tokens = processor.tokens(count as usize, height as u32, width as u32).unwrap();
        assert_eq!(tokens, patches.tokens(processor.frames.merge_size), "{name}");
    }
}

#[test]
fn the_frames_that_transformers_takes_are_taken() {
    let cases = cases("sampled");
    let mut refused = 0;
    for case in &cases {
        let processor = VideoProcessor::from_config(&case["settings"], "case").unwrap();
        let (total, fps) = (number(&case["total"]) as usize, case["fps"].as_f64());
        let indices = processor.frame_indices(total, fps);
        if case["expected"].is_null() {
            refused += 1;
            assert!(matches!(indices, Err(Error::Sampling { .. })), "{case}: {indices:?}");
            continue;
        }
        let indices = indices.unwrap();
        assert_eq!(json!(indices), case["expected"]["indices"], "{case}");
        let seconds = processor.seconds_per_grid(indices.len(), total, fps);
        let expected = case["expected"]["seconds_per_grid"].as_f64().unwrap();
        assert!((seconds - expected).abs() < 1e-12 * expected, "{case}: {seconds}");
    }
    assert!(refused > 3 && refused < cases.len() / 2, "{refused} of {} refused", cases.len());
}

#[test]
fn all_frames_are_taken_where_nothing_else_is_said() {
    for config in [json!({}), json!({ "fps": 2.0 }), json!({ "do_sample_frames": true })] {
        let processor = VideoProcessor::from_config(&config, "p.json").unwrap();
        assert_eq!(processor.frame_indices(3, None).unwrap(), [0, 1, 2], "{config}");
        assert_eq!(processor.seconds_per_grid(3, 3, None), 2.0 / 24.0);
    }
    let by_time = VideoProcessor { sampling: FrameSampling::PerSecond(2.0), ..VideoProcessor::default() };
    let error = by_time.frame_indices(30, None).unwrap_err().to_string();
    assert!(error.starts_with("a video of 30 frame(s): 2 a second are asked for"), "{error}");
}

#[test]
fn the_files_of_a_checkpoint_count_in_transformers_order() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, config: Value| fs::write(dir.path().join(name), config.to_string()).unwrap();
    let read = || VideoProcessor::from_dir(dir.path());
    assert!(matches!(read(), Err(Error::NoImageProcessor { .. })));
    write(
        "preprocessor_config.json",
        json!({ "image_processor_type": "Qwen2VLImageProcessor", "max_pixels": 200_000 }),
    );
    assert_eq!(read().unwrap().frames.max_pixels, 200_000);
    assert_eq!(read().unwrap().frames.min_pixels, 128 * 28 * 28, "a video's own default");
    write("video_preprocessor_config.json", json!({ "size": { "shortest_edge": 784, "longest_edge": 300_000 } }));
    assert_eq!(read().unwrap().frames.max_pixels, 300_000);
    write("processor_config.json", json!({ "image_processor": { "max_pixels": 1 } }));
    assert_eq!(read().unwrap().frames.max_pixels, 300_000, "a block without a video processor says nothing");
    let block = json!({ "video_processor_type": "Qwen2VLVideoProcessor", "max_pixels": 400_000, "fps": 2.0,
                        "do_sample_frames": true, "num_frames": null });
    write("processor_config.json", json!({ "video_processor": block }));
    assert_eq!(read().unwrap().frames.max_pixels, 400_000);
    assert_eq!(read().unwrap().sampling, FrameSampling::PerSecond(2.0));
}

#[test]
fn what_is_saved_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let frames = ImageProcessor { max_pixels: 123_456, patch_size: 16, ..ImageProcessor::default() };
    for sampling in [FrameSampling::All, FrameSampling::PerSecond(1.5), FrameSampling::Count(8)] {
        let videos = VideoProcessor { sampling, max_frames: 99, ..VideoProcessor::of_frames(frames.clone()) };
        videos.save(dir.path()).unwrap();
        assert_eq!(VideoProcessor::from_dir(dir.path()).unwrap(), videos);
    }
}

#[test]
fn what_is_not_done_is_refused_by_name() {
    for (config, named) in [
        (json!({ "do_center_crop": true }), "v.json: `do_center_crop`"),
        (json!({ "do_sample_frames": 1 }), "v.json: `do_sample_frames`: 1"),
        (json!({ "video_processor_type": "InternVLVideoProcessor" }), "`video_processor_type`: \"InternVLVideo"),
        (json!({ "image_processor_type": "CLIPImageProcessor" }), "`image_processor_type`: \"CLIP"),
        (json!({ "fps": 0 }), "`fps`: 0"),
        (json!({ "do_sample_frames": true, "fps": 1, "num_frames": 4 }), "`num_frames`: excludes `fps`"),
        (json!({ "min_frames": -1 }), "`min_frames`: -1"),
        (json!("x"), "not a JSON object"),
    ] {
        let error = VideoProcessor::from_config(&config, "v.json").unwrap_err().to_string();
        assert!(error.contains(named), "{config}: {error}");
    }
}

#[test]
fn frames_of_two_sizes_are_refused_and_so_are_none() {
    let processor = VideoProcessor::default();
    assert!(matches!(processor.process::<RgbImage>(&[]), Err(Error::NoFrames)));
    let error = processor.process(&[RgbImage::new(40, 30), RgbImage::new(30, 40)]).unwrap_err();
    assert_eq!(error.to_string(), "frame 1 is 40 × 30, the frames before it are 30 × 40");
}

//! The image processor against what transformers' gives (tests/fixtures/image_processor/generate.py).
#![allow(clippy::unwrap_used)] // a fixture that is not there is a failed test

use std::fs;
use std::path::{Path, PathBuf};

use image::{Rgb, RgbImage};
use serde_json::{Value, json};
use vr1_processor::{Error, ImageProcessor, Patches, smart_resize};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/image_processor")
}

fn cases() -> Value {
    serde_json::from_str(&fs::read_to_string(fixtures().join("cases.json")).unwrap()).unwrap()
}

/// The pictures of generate.py.
fn picture(height: u32, width: u32, kind: &str) -> RgbImage {
    let level = |x: u64, y: u64, c: u64| match kind {
        "noise" => (((x * 73_856_093) ^ (y * 19_349_663) ^ (c * 83_492_791)) >> 5) & 255,
        "slope" => {
            ((x * 255 / u64::from(width - 1).max(1) + y * 255 / u64::from(height - 1).max(1) + c * 85) / 3) & 255
        }
        "edges" => (x / 7 + y / 5 + c) % 2 * 255,
        other => panic!("no picture is called {other}"),
    };
    RgbImage::from_fn(width, height, |x, y| Rgb([0, 1, 2].map(|c| level(x.into(), y.into(), c) as u8)))
}

fn number(value: &Value) -> u32 {
    value.as_u64().unwrap() as u32
}

fn process(case: &Value) -> (ImageProcessor, Patches) {
    let name = case["name"].as_str().unwrap();
    let processor = ImageProcessor::from_config(&case["settings"], name).unwrap();
    let image = picture(number(&case["height"]), number(&case["width"]), case["picture"].as_str().unwrap());
    let patches = processor.process(&image).unwrap();
    (processor, patches)
}

#[test]
fn values_are_equal_to_the_last_bit_where_nothing_is_resized() {
    let cases = cases();
    let exact: Vec<_> = cases["cases"].as_array().unwrap().iter().filter(|case| case["kind"] == "values").collect();
    assert_eq!(exact.len(), 8);
    for case in exact {
        let (_, patches) = process(case);
        assert_eq!(json!(patches.grid_thw), case["grid_thw"], "{}", case["name"]);
        assert_eq!(json!(patches.pixel_values.dim()), json!([case["rows"], case["columns"]]), "{}", case["name"]);
        let bytes = fs::read(fixtures().join(format!("{}.bin", case["name"].as_str().unwrap()))).unwrap();
        let expected: Vec<f32> = bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        assert_eq!(patches.pixel_values.as_slice().unwrap(), expected, "{}", case["name"]);
    }
}

#[test]
fn resized_values_are_equal_too_and_pillows_within_one_grey_level() {
    let cases = cases();
    let resized: Vec<_> = cases["cases"].as_array().unwrap().iter().filter(|case| case["kind"] == "levels").collect();
    assert_eq!(resized.len(), 10);
    for case in resized {
        let (processor, patches) = process(case);
        assert_eq!(json!(patches.grid_thw), case["grid_thw"], "{}", case["name"]);
        assert_eq!(json!(patches.pixel_values.dim()), json!([case["rows"], case["columns"]]), "{}", case["name"]);
        let expected = fs::read(fixtures().join(format!("{}.bin", case["name"].as_str().unwrap()))).unwrap();
        let area = processor.patch_size * processor.patch_size;
        let mut worst = 0;
        let mut different = 0;
        for (row, values) in patches.pixel_values.rows().into_iter().enumerate() {
            let values = values.as_slice().unwrap();
            for channel in 0..3 {
                let frames = &values[channel * 2 * area..(channel + 1) * 2 * area];
                assert_eq!(frames[..area], frames[area..], "the one frame fills the temporal patch");
                for (pixel, value) in frames[..area].iter().enumerate() {
                    let level = f64::from(*value) * processor.image_std[channel] + processor.image_mean[channel];
                    let level = (level * 255.0).round() as i64;
                    let off = (level - i64::from(expected[(row * 3 + channel) * area + pixel])).abs();
                    worst = worst.max(off);
                    different += usize::from(off > 0);
                }
            }
        }
        // Lanczos comes from Pillow, whose weights have more bits; everything else from the default processor.
        let allowed = i64::from(case["name"] == "lanczos");
        assert!(worst <= allowed, "{}: {different} of {} differ, by {worst}", case["name"], expected.len());
    }
}

#[test]
fn any_seed_and_any_odd_size_is_equal_to_the_last_bit() {
    let cases = cases();
    let cases = cases["seeded"].as_array().unwrap();
    assert_eq!(cases.len(), 40);
    let mut resized = 0;
    for case in cases {
        let [seed, height, width, min_pixels, max_pixels] = [0, 1, 2, 3, 4].map(|i| case[i].as_u64().unwrap());
        let level = |x: u64, y: u64, c: u64| {
            let noise = (x / 3 * 73_856_093) ^ (y / 2 * 19_349_663) ^ (c * 83_492_791) ^ (seed * 2_654_435_761);
            ((noise >> 5) & 255) + x * (seed + 1) + y * 2
        };
        let rgb = |x: u32, y: u32| Rgb([0, 1, 2].map(|c| level(x.into(), y.into(), c) as u8));
        let image = RgbImage::from_fn(width as u32, height as u32, rgb);
        let processor = ImageProcessor { min_pixels, max_pixels, ..ImageProcessor::default() };
        resized += u64::from(processor.resized(height as u32, width as u32).unwrap() != (height as u32, width as u32));
        let patches = processor.process(&image).unwrap();
        assert_eq!(json!(patches.grid_thw), case[5], "{case}");
        let values = patches.pixel_values.iter().enumerate();
        let sum = values.fold(0u64, |sum, (i, v)| sum.wrapping_add(u64::from(v.to_bits()).wrapping_mul(i as u64 + 1)));
        assert_eq!(json!(sum), case[6], "{case}");
    }
    assert!(resized > 25 && resized < 40, "{resized}");
}

#[test]
fn sizes_are_those_of_transformers() {
    let cases = cases();
    let rows = cases["smart_resize"].as_array().unwrap();
    let mut refused = 0;
    for row in rows {
        let [height, width, factor, low, high] = [0, 1, 2, 3, 4].map(|i| row[i].as_u64().unwrap());
        let size = smart_resize(height as u32, width as u32, factor as u32, low, high);
        match &row[5] {
            Value::Null => {
                refused += 1;
                assert!(size.is_err(), "{row}: {size:?}");
            }
            expected => assert_eq!(json!(size.unwrap()), *expected, "{row}"),
        }
    }
    assert!(refused > 5 && refused < rows.len() / 2, "{refused} of {} refused", rows.len());
}

#[test]
fn an_image_longer_than_200_times_its_width_is_refused() {
    assert!(matches!(smart_resize(201, 1, 28, 3136, 100_000), Err(Error::AspectRatio { height: 201, width: 1 })));
    assert!(smart_resize(200, 1, 28, 3136, 100_000).is_ok());
}

#[test]
fn an_image_without_pixels_is_refused() {
    let error = ImageProcessor::default().process(&RgbImage::new(0, 5)).unwrap_err();
    assert_eq!(error.to_string(), "an image of 5 × 0 (height × width) has no pixels");
}

#[test]
fn tokens_are_known_before_the_pixels() {
    let processor = ImageProcessor { max_pixels: 28 * 28 * 30, ..ImageProcessor::default() };
    for (height, width) in [(480, 640), (33, 1000), (1, 1), (700, 100)] {
        let patches = processor.process(&RgbImage::new(width, height)).unwrap();
        assert_eq!(processor.tokens(height, width).unwrap(), patches.tokens(processor.merge_size));
        assert!(patches.tokens(processor.merge_size) <= 36);
    }
}

#[test]
fn both_generations_of_keys_say_the_same() {
    let published = json!({
        "min_pixels": 3136, "max_pixels": 401_408, "patch_size": 14, "temporal_patch_size": 2, "merge_size": 2,
        "image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25],
        "image_processor_type": "Qwen2VLImageProcessor", "processor_class": "Qwen2VLProcessor"
    });
    let today = json!({
        "size": { "shortest_edge": 3136, "longest_edge": 401_408 }, "patch_size": 14, "temporal_patch_size": 2,
        "merge_size": 2, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25], "do_center_crop": null,
        "do_convert_rgb": true, "do_normalize": true, "do_rescale": true, "do_resize": true, "resample": 3,
        "rescale_factor": 0.003_921_568_627_450_98, "image_processor_type": "Qwen2VLImageProcessorFast"
    });
    let between = json!({
        "size": { "min_pixels": 3136, "max_pixels": 401_408 }, "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.25, 0.25, 0.25]
    });
    let read = |config: &Value| ImageProcessor::from_config(config, "a file").unwrap();
    assert_eq!(read(&published), read(&today));
    assert_eq!(read(&published), read(&between));
    assert_eq!(read(&published).max_pixels, 401_408);
}

#[test]
fn an_image_processor_block_wins_over_the_older_file() {
    let dir = tempfile::tempdir().unwrap();
    let error = ImageProcessor::from_dir(dir.path()).unwrap_err();
    assert!(error.to_string().contains("preprocessor_config.json"), "{error}");
    ImageProcessor::default().save(dir.path()).unwrap();
    assert_eq!(ImageProcessor::from_dir(dir.path()).unwrap(), ImageProcessor::default());
    let block = json!({ "image_processor": { "size": { "shortest_edge": 64, "longest_edge": 128 } } });
    fs::write(dir.path().join("processor_config.json"), block.to_string()).unwrap();
    assert_eq!(ImageProcessor::from_dir(dir.path()).unwrap().max_pixels, 128);
    fs::write(dir.path().join("processor_config.json"), "{").unwrap();
    let error = ImageProcessor::from_dir(dir.path()).unwrap_err().to_string();
    assert!(error.contains("processor_config.json") && error.contains("line 1"), "{error}");
}

#[test]
fn what_is_not_done_is_refused_by_name() {
    let refused = |config: Value| ImageProcessor::from_config(&config, "p.json").unwrap_err().to_string();
    for (config, named) in [
        (json!({ "do_center_crop": true }), "p.json: `do_center_crop`"),
        (json!({ "do_pad": true }), "p.json: `do_pad`"),
        (json!({ "do_resize": "yes" }), "p.json: `do_resize`: \"yes\""),
        (json!({ "image_processor_type": "CLIPImageProcessor" }), "`image_processor_type`: \"CLIPImageProcessor\""),
        (json!({ "resample": 0 }), "`resample`: 0"),
        (json!({ "patch_size": 0 }), "`patch_size`: 0"),
        (json!({ "patch_size": -14 }), "`patch_size`: -14"),
        (json!({ "merge_size": 1.5 }), "`merge_size`: 1.5"),
        (json!({ "image_mean": [0.5, 0.5] }), "`image_mean`"),
        (json!({ "image_mean": [0.5, 0.5, "x"] }), "`image_mean`"),
        (json!({ "image_std": [0.5, 0.0, 0.5] }), "`image_std`: 0"),
        (json!({ "rescale_factor": 0 }), "`rescale_factor`: 0"),
        (json!({ "size": { "shortest_edge": 3136 } }), "`size.longest_edge`: missing"),
        (json!({ "size": 224 }), "`size`: 224"),
        (json!({ "min_pixels": 100, "max_pixels": 10 }), "`size`: least area 100"),
        (json!([1]), "not a JSON object"),
    ] {
        let error = refused(config.clone());
        assert!(error.contains(named), "{config}: {error}");
    }
}

#[test]
fn without_resizing_the_sides_must_be_whole_patches() {
    let processor = ImageProcessor { do_resize: false, ..ImageProcessor::default() };
    let error = processor.process(&RgbImage::new(57, 56)).unwrap_err();
    assert_eq!(error.to_string(), "an image of 56 × 57 (height × width) is not made of whole 28 × 28 squares");
    assert_eq!(processor.process(&RgbImage::new(56, 28)).unwrap().grid_thw, [1, 2, 4]);
}

//! Videos as frames and as files; what needs `ffmpeg` says so where there is none.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first thing that is not as it should be")]

use std::path::Path;
use std::process::{Command, Stdio};

use image::{Rgb, RgbImage};
use vr1_data::{Clip, MAX_VIDEO_PIXELS, Media, Picture, SampleSet, Video};

fn frame(shade: u8) -> RgbImage {
    RgbImage::from_fn(32, 16, |x, y| Rgb([shade, x as u8, y as u8]))
}

/// A folder of frames whose first sample is their place.
fn folder(names: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (place, name) in names.iter().enumerate() {
        frame(place as u8).save_with_format(dir.path().join(name), image::ImageFormat::Png).unwrap();
    }
    dir
}

fn shades(video: &Video, indices: &[usize]) -> Vec<u8> {
    video.frames(indices).unwrap().iter().map(|frame| frame.get_pixel(0, 0)[0]).collect()
}

#[test]
fn the_frames_of_a_folder_come_in_the_order_of_their_numbers() {
    let names = ["a.png", "f1.png", "f02.PNG", "f2.png", "f10.jpg", "f11-1.webp", "f11-10.png", "g.gif"];
    let dir = folder(&names);
    std::fs::write(dir.path().join("notes.txt"), "no frame").unwrap();
    std::fs::create_dir(dir.path().join("f3.png")).unwrap();
    let video = Video::open(dir.path()).unwrap();
    assert_eq!(video.clip().unwrap(), Clip { frames: 8, fps: None });
    assert_eq!(shades(&video, &[0, 1, 2, 3, 4, 5, 6, 7]), [0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(shades(&video, &[1, 6]), [1, 6]);
}

#[test]
fn a_video_that_is_not_there_is_named() {
    let dir = folder(&[]);
    let error = Video::open(dir.path()).unwrap_err().to_string();
    assert!(error.contains("a folder without frames (files that end in png, jpg,"), "{error}");
    let error = Video::open(&dir.path().join("none.mp4")).unwrap_err().to_string();
    assert!(error.contains("none.mp4: No such file"), "{error}");
    let one = Video::Frames { frames: vec![Picture::from(frame(1))], fps: Some(2.0) };
    assert_eq!(one.frames(&[1]).unwrap_err().to_string(), "a video: no sample 1, it has 1");
}

#[test]
fn more_pixels_than_the_limit_are_refused_before_they_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("large.png");
    RgbImage::new(8192, 1024).save(&path).unwrap();
    let frames = vec![Picture::File(path); 129];
    let video = Video::Frames { frames, fps: None };
    let error = video.frames(&(0..129).collect::<Vec<_>>()).unwrap_err().to_string();
    assert_eq!(129 * 8192 * 1024, MAX_VIDEO_PIXELS + 8192 * 1024);
    assert!(error.contains("129 frames of 8192x1024 pixels are more than the limit of 1073741824 pixels"), "{error}");
}

fn ffmpeg(arguments: &[&str]) -> bool {
    let status = Command::new("ffmpeg").args(["-nostdin", "-v", "error", "-y"]).args(arguments).status();
    status.is_ok_and(|status| status.success())
}

/// A file of 12 frames at 30000/1001 a second whose pixels survive, or nothing where there is no `ffmpeg`.
fn file(dir: &Path) -> Option<String> {
    Command::new("ffmpeg").arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status().ok()?;
    (0..12).for_each(|place| frame(20 * place).save(dir.join(format!("{place:02}.png"))).unwrap());
    let (frames, path) = (dir.join("%02d.png"), dir.join("a video.mkv").display().to_string());
    let input = ["-framerate", "30000/1001", "-i", frames.to_str().unwrap()];
    assert!(ffmpeg(&[&input[..], &["-c:v", "ffv1", "-pix_fmt", "bgr0", &path]].concat()));
    Some(path)
}

#[test]
fn a_file_is_decoded_by_ffmpeg_or_the_error_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let Some(path) = file(dir.path()) else {
        std::fs::write(dir.path().join("a.mp4"), "x").unwrap();
        let video = Video::open(&dir.path().join("a.mp4")).unwrap();
        let error = video.clip().unwrap_err().to_string();
        assert!(error.contains("a.mp4: a video file is decoded by `ffmpeg`, which is not on PATH"), "{error}");
        return;
    };
    let video = Video::open(path.as_ref()).unwrap();
    let clip = video.clip().unwrap();
    assert_eq!(clip.frames, 12);
    assert!((clip.fps.unwrap() - 30000.0 / 1001.0).abs() < 1e-6, "{clip:?}");
    let frames = video.frames(&[0, 5, 11]).unwrap();
    for (found, place) in frames.iter().zip([0, 5, 11]) {
        assert_eq!(found.as_raw(), frame(20 * place).as_raw(), "frame {place}");
    }
    let error = video.frames(&[0, 12]).unwrap_err().to_string();
    assert!(error.ends_with("it has 12 frame(s) that can be decoded, and number 12 is asked for"), "{error}");

    let broken = dir.path().join("broken.mp4");
    std::fs::write(&broken, "no video at all").unwrap();
    let video = Video::open(&broken).unwrap();
    for error in [video.clip().unwrap_err().to_string(), video.frames(&[0]).unwrap_err().to_string()] {
        assert!(error.contains("broken.mp4: ffmpeg cannot decode it: "), "{error}");
    }
}

#[test]
fn rows_name_videos_as_files_folders_and_lists_of_frames() {
    let dir = folder(&["a.png", "b.png"]);
    std::fs::create_dir(dir.path().join("clip")).unwrap();
    frame(7).save(dir.path().join("clip/1.png")).unwrap();
    std::fs::write(dir.path().join("film.mp4"), "").unwrap();
    let asked = |markers: &str, more: &str| {
        format!(
            r#"{{"id": "r", {more}, "conversations": [{{"from": "human", "value": "{markers}How many?"}}, {{"from": "gpt", "value": "3"}}]}}"#
        )
    };
    let row = |more: &str| asked("<image><video>", more);
    let rows = dir.path().join("rows.jsonl");
    let shown = r#""image": "a.png", "video": ["a.png", "b.png"], "videos": ["clip", "film.mp4"]"#;
    let good = asked("<image><video><video><video>", shown);
    std::fs::write(&rows, good).unwrap();
    let sample = SampleSet::open(&rows, dir.path()).unwrap().get(0).unwrap();
    assert_eq!(sample.question, "How many?");
    let [Media::Image(_), Media::Video(listed), Media::Video(folder), Media::Video(Video::File(film))] =
        &sample.media[..]
    else {
        panic!("{:?}", sample.media)
    };
    assert_eq!(shades(listed, &[0, 1]), [0, 1]);
    assert_eq!(shades(folder, &[0]), [7]);
    assert!(film.ends_with("film.mp4"));

    let bad = [r#""image": "a.png""#, r#""image": "a.png", "video": "none.mp4""#, r#""image": "a.png", "video": []"#];
    std::fs::write(&rows, bad.map(row).join("\n")).unwrap();
    let error = SampleSet::open(&rows, dir.path()).unwrap_err().to_string();
    assert!(error.contains("rows.jsonl:1: videos: the row has 0, the prompt has places for 1 (<video>)"), "{error}");
    assert!(error.contains("rows.jsonl:2: video: ") && error.contains("none.mp4: No such file"), "{error}");
    assert!(error.contains("rows.jsonl:3: video: a list without frames"), "{error}");
}

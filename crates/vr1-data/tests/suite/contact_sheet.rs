//! A sheet of scenes to look at: `cargo test -p vr1-data --test suite contact_sheet -- --nocapture` says where it lies and
//! prints what was said of each scene.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first thing that is not as it should be")]

use image::{Rgb, RgbImage, imageops};
use vr1_data::{Dataset, Media, Sample, Scenes, Split, Task};

const TASKS: [Task; 10] = [
    Task::Spatial,
    Task::Counting,
    Task::Referring,
    Task::Staged,
    Task::Attributes,
    Task::Caption,
    Task::CloseUp,
    Task::Geometry,
    Task::Detection,
    Task::Chart,
];

fn pixels(sample: &Sample) -> RgbImage {
    match &sample.media[0] {
        Media::Image(picture) => picture.load().unwrap().into_owned(),
        other => panic!("a scene is an image, not {other:?}"),
    }
}

fn framed(mut image: RgbImage, corners: &[i64]) -> RgbImage {
    let [x1, y1, x2, y2] = *corners else { panic!("a box has four numbers, not {corners:?}") };
    let (width, height) = (i64::from(image.width()), i64::from(image.height()));
    for x in 0..width {
        for y in 0..height {
            let on_side = |at: i64, low: i64, high: i64| at == low - 1 || at == high;
            let inside = x >= x1 - 1 && x <= x2 && y >= y1 - 1 && y <= y2;
            if inside && (on_side(x, x1, x2) || on_side(y, y1, y2)) {
                image.put_pixel(x as u32, y as u32, Rgb([255, 0, 255]));
            }
        }
    }
    image
}

#[test]
fn every_task_and_split_draws() {
    let (columns, zoom) = (12, 1);
    for split in [Split::Train, Split::OutOfDomain, Split::Pretrain] {
        let mut sheet = RgbImage::from_pixel(columns * 114 * zoom, 10 * 114 * zoom, Rgb([255; 3]));
        for (row, task) in TASKS.into_iter().enumerate() {
            let scenes = Scenes::new(task, split, 7, columns as usize);
            for column in 0..columns {
                let sample = scenes.get(column as usize).unwrap();
                let mut image = pixels(&sample);
                assert_eq!(image.dimensions(), (112, 112));
                if let Some(corners) = sample.fields.get("box") {
                    image = framed(image, &serde_json::from_value::<Vec<i64>>(corners.clone()).unwrap());
                }
                imageops::replace(&mut sheet, &image, i64::from(column * 114), row as i64 * 114);
                println!("{}\n  Q {}\n  A {}", sample.id, sample.question, sample.solution);
                for name in ["plan", "thought", "guess", "guess_thought", "caption"] {
                    println!("  {name}: {}", sample.fields[name]);
                }
                for turn in &sample.turns {
                    println!("  [{}] {:?} -> {:?}", turn.name, turn.prompt, turn.answer);
                }
            }
        }
        let path = std::env::temp_dir().join(format!("vr1-scenes-{}.png", split.name()));
        sheet.save(&path).unwrap();
        println!("{}", path.display());
    }
}

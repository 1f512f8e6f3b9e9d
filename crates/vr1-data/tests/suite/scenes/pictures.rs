//! The pixels show what is said of them.

use super::*;

#[test]
fn a_close_up_has_its_objects_at_their_size_in_the_scenes() {
    for size in [48, 64, 80, 112] {
        let scenes = Scenes { size, ..Scenes::new(Task::CloseUp, Split::Train, 11, 100) };
        for sample in (0..100).map(|i| scenes.get(i).unwrap()) {
            assert_eq!(pixels(&sample).dimensions(), (size, size));
            let objects = objects(&sample);
            assert!(objects.len() <= (size * size / (48 * 48)) as usize, "{}", sample.id);
            let names: Vec<_> = objects.iter().map(|o| format!("{} {} {}", o.size, o.material, o.name())).collect();
            assert_eq!(sample.solution, names.join("; "));
            if let [only] = &objects[..] {
                let [x1, _, x2, _] = only.r#box;
                assert!(x2 - x1 >= if only.size == "small" { 8 } else { 13 }, "{only:?}");
            }
        }
    }
}

/// On a background of one colour every other pixel is the object's; a corner that covers too little of its last pixel
/// to change it may make the drawn box one pixel smaller.
#[test]
fn a_box_is_tight_around_the_pixels_of_its_object() {
    let mut checked = 0;
    for split in [Split::Train, Split::OutOfDomain] {
        for sample in samples(Task::Attributes, split, 400) {
            let ([object], image) = (&objects(&sample)[..], pixels(&sample)) else { continue };
            let background = *image.get_pixel(0, 0);
            if (0..112).any(|i| *image.get_pixel(i, 0) != background || *image.get_pixel(0, i) != background) {
                continue;
            }
            let drawn = image.enumerate_pixels().filter(|(_, _, p)| **p != background);
            let drawn: Vec<[i64; 2]> = drawn.map(|(x, y, _)| [x, y].map(i64::from)).collect();
            let edge = |axis: usize| drawn.iter().map(move |p| p[axis]);
            let [x1, y1] = [0, 1].map(|axis| edge(axis).min().unwrap());
            let [x2, y2] = [0, 1].map(|axis| edge(axis).max().unwrap() + 1);
            for (said, seen) in object.r#box.into_iter().zip([x1, y1, x2, y2]) {
                assert!((said - seen).abs() <= 1, "{}: {object:?}, pixels {:?}", sample.id, [x1, y1, x2, y2]);
            }
            checked += 1;
        }
    }
    assert!(checked > 100, "only {checked} images have one object on one colour");
}

/// Within the box of an object that nothing hides, its colour is the nearest of all colours for most of the pixels
/// that are not background.
#[test]
fn an_object_has_the_colour_that_it_is_said_to_have() {
    let named: [(&str, [f64; 3]); 10] = [
        ("red", [235.0, 12.0, 18.0]),
        ("green", [12.0, 208.0, 22.0]),
        ("blue", [20.0, 42.0, 238.0]),
        ("yellow", [248.0, 235.0, 10.0]),
        ("black", [18.0, 18.0, 18.0]),
        ("brown", [140.0, 56.0, 36.0]),
        ("teal", [10.0, 146.0, 146.0]),
        ("gray", [139.0, 139.0, 139.0]),
        ("purple", [139.0, 30.0, 166.0]),
        ("orange", [248.0, 142.0, 8.0]),
    ];
    for split in SPLITS {
        for sample in samples(Task::Referring, split, 300) {
            let image = pixels(&sample);
            let target: [i64; 4] = serde_json::from_value(sample.fields["box"].clone()).unwrap();
            let object = objects(&sample).into_iter().find(|o| o.r#box == target).unwrap();
            if object.material != "matte" {
                continue;
            }
            let [x, y] = object.center().map(|v| v as u32);
            // A red lamp above and a blue one to the left add up to 50 levels to what they dim to 0.8.
            let far = [y, 56, x].map(|at| 1.0 - f64::from(at) / 112.0);
            let lit = image.get_pixel(x, y).0;
            let pixel: [f64; 3] = std::array::from_fn(|c| (f64::from(lit[c]) - 50.0 * far[c]) / 0.8);
            let away = |c: &[f64; 3]| c.iter().zip(pixel).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
            let nearest = named.iter().min_by(|a, b| away(&a.1).total_cmp(&away(&b.1))).unwrap();
            assert_eq!(nearest.0, object.color, "{}: {pixel:?} at {x}, {y}", sample.id);
        }
    }
}

#[test]
fn a_scene_may_have_another_size() {
    for size in [56, 224, 448] {
        for task in TASKS {
            let sample = Scenes { size, ..Scenes::new(task, Split::OutOfDomain, 5, 1) }.get(0).unwrap();
            assert_eq!(pixels(&sample).dimensions(), (size, size));
            for object in objects(&sample) {
                assert!(object.r#box.iter().all(|&v| (0..=i64::from(size)).contains(&v)), "{object:?}");
            }
        }
    }
}

//! Vision towers against transformers, on images and videos side by side: fixtures/towers/generate.py.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ndarray::{Array2, Axis};
use safetensors::SafeTensors;
use serde_json::{Map, Value};
use tch::{Device, Kind, Tensor};
use vr1_nn::{Checkpoint, Loader, Names, Recompute};
use vr1_processor::{Patches, Tiles};
use vr1_vision::{Sections, VisionConfig, VisionTower, qwen2_5_vl, qwen2_vl};

type Read = fn(&Sections<'_>) -> vr1_nn::Result<Box<dyn VisionConfig>>;

const TOWERS: [(&str, Read); 2] = [("qwen2_vl", qwen2_vl), ("qwen2_5_vl", qwen2_5_vl)];
/// What both generations of Qwen's files call the tower.
const NAMES: Names = Names::new(&[["visual.", "visual.", "model.visual."]]);

fn read_from(read: Read, vision: &Map<String, Value>) -> vr1_nn::Result<Box<dyn VisionConfig>> {
    read(&Sections { vision, outer: &Map::new(), hidden_size: 3584 })
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/towers").join(name)
}

fn keys(name: &str) -> Map<String, Value> {
    serde_json::from_str(&fs::read_to_string(folder(name).join("vision_config.json")).unwrap()).unwrap()
}

fn tower(name: &str, read: Read) -> Box<dyn VisionTower> {
    let loader = Loader::from_checkpoint(Checkpoint::open(&folder(name), NAMES).unwrap(), Device::Cpu, Kind::Float);
    let tower = read_from(read, &keys(name)).unwrap().build(&loader.root());
    loader.finish().unwrap();
    tower
}

/// Pictures and videos, and the features of them all.
fn expected(name: &str) -> (Vec<Arc<Patches>>, Tensor) {
    let bytes = fs::read(folder(name).join("expected.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = |name: &str, kind| {
        let view = file.tensor(name).unwrap();
        let shape: Vec<i64> = view.shape().iter().map(|&d| d as i64).collect();
        Tensor::from_data_size(view.data(), &shape, kind)
    };
    let (grids, values) = (tensor("grid_thw", Kind::Int64), tensor("pixel_values", Kind::Float));
    let mut start = 0;
    let media = Vec::<Vec<i64>>::try_from(grids).unwrap().into_iter().map(|grid| {
        let grid_thw: [usize; 3] = grid.iter().map(|&n| n as usize).collect::<Vec<_>>().try_into().unwrap();
        let rows = grid.iter().product::<i64>();
        start += rows;
        Arc::new(patches(&values.narrow(0, start - rows, rows), grid_thw))
    });
    (media.collect(), tensor("features", Kind::Float))
}

fn patches(values: &Tensor, grid_thw: [usize; 3]) -> Patches {
    let shape = (values.size()[0] as usize, values.size()[1] as usize);
    let values = Vec::<f32>::try_from(values.contiguous().flatten(0, -1)).unwrap();
    Patches { pixel_values: Array2::from_shape_vec(shape, values).unwrap(), grid_thw, tiles: Tiles::Whole }
}

/// The tokens that a tower makes of media, one behind the other.
fn tokens(tower: &dyn VisionTower, media: &[Arc<Patches>]) -> Tensor {
    let features = tower.forward(media, Recompute::None);
    assert_eq!(features.len(), media.len());
    Tensor::cat(&features.iter().map(|shown| shown.tokens.as_ref().unwrap()).collect::<Vec<_>>(), 0)
}

fn worst(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size());
    (a - b).abs().max().double_value(&[])
}

#[test]
fn features_are_those_of_transformers() {
    for (name, read) in TOWERS {
        let (media, features) = expected(name);
        let error = worst(&tokens(&*tower(name, read), &media), &features);
        assert!(error < 1e-4, "{name}: {error}");
    }
}

#[test]
fn an_image_alone_has_the_features_it_has_among_others() {
    for (name, read) in TOWERS {
        let tower = tower(name, read);
        let (media, _) = expected(name);
        let together = tower.forward(&media, Recompute::None);
        for (shown, among) in media.iter().zip(&together) {
            let error = worst(&tokens(&*tower, std::slice::from_ref(shown)), among.tokens.as_ref().unwrap());
            assert!(error < 1e-5, "{name} {:?}: {error}", shown.grid_thw);
        }
    }
}

#[test]
fn a_frame_sees_no_other() {
    for (name, read) in TOWERS {
        let tower = tower(name, read);
        let (media, _) = expected(name);
        // The second piece is a video of three frames of 24 patches.
        let video = &media[1];
        assert_eq!(video.grid_thw, [3, 6, 4]);
        let second = Patches {
            pixel_values: video.pixel_values.select(Axis(0), &(24..48).collect::<Vec<_>>()),
            grid_thw: [1, 6, 4],
            tiles: Tiles::Whole,
        };
        let whole = tokens(&*tower, std::slice::from_ref(video));
        let error = worst(&whole.narrow(0, 6, 6), &tokens(&*tower, &[Arc::new(second)]));
        assert!(error < 1e-5, "{name}: {error}");
    }
}

#[test]
fn an_impossible_config_is_refused_by_its_key() {
    for (name, read, key, value, expected) in [
        ("qwen2_vl", qwen2_vl as Read, "num_heads", 3, "`embed_dim` 16 must be a multiple of four times `num_heads` 3"),
        ("qwen2_vl", qwen2_vl, "patch_size", 0, "`patch_size`: 0 is not between 1 and"),
        ("qwen2_vl", qwen2_vl, "depth", -1, "`depth`: -1 is not between 1 and"),
        ("qwen2_5_vl", qwen2_5_vl, "num_heads", 0, "`hidden_size` 16 must be a multiple of four times `num_heads` 0"),
        ("qwen2_5_vl", qwen2_5_vl, "window_size", 3, "`window_size`: 3 holds no square of 2 × 2 patches of 2"),
    ] {
        let mut keys = keys(name);
        keys.insert(key.to_owned(), value.into());
        let error = read_from(read, &keys).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        keys.insert(key.to_owned(), "two".into());
        let error = read_from(read, &keys).unwrap_err().to_string();
        assert!(error.contains(&format!("`{key}`: invalid type")), "{error}");
    }
}

#[test]
fn a_key_that_is_left_out_has_its_classs_default() {
    let none = serde_json::Map::new();
    for (name, read) in TOWERS {
        let (left_out, mut said) = (read_from(read, &none).unwrap(), none.clone());
        assert_eq!(left_out.output(), 3584, "{name}");
        let cut = left_out.cut().unwrap();
        assert_eq!((cut.channels, cut.patch, cut.merge, cut.frames), (3, 14, 2, 2), "{name}");
        // The defaults in the generator's transformers.
        let defaults = match name {
            "qwen2_vl" => serde_json::json!({ "depth": 32, "embed_dim": 1280, "mlp_ratio": 4, "num_heads": 16,
                "hidden_act": "quick_gelu", "hidden_size": 3584, "in_channels": 3, "patch_size": 14,
                "spatial_merge_size": 2, "temporal_patch_size": 2 }),
            _ => serde_json::json!({ "depth": 32, "num_heads": 16, "intermediate_size": 3420, "window_size": 112,
                "fullatt_block_indexes": [7, 15, 23, 31], "hidden_act": "silu", "hidden_size": 3584,
                "out_hidden_size": 3584, "in_channels": 3, "patch_size": 14, "spatial_merge_size": 2,
                "temporal_patch_size": 2 }),
        };
        said.extend(defaults.as_object().unwrap().clone());
        said.remove("in_channels"); // by one name or the other, or by none
        assert_eq!(format!("{left_out:?}"), format!("{:?}", read_from(read, &said).unwrap()), "{name}");
    }
}

#[test]
fn colour_channels_go_by_either_name_or_both() {
    for (name, read) in TOWERS {
        let mut keys = keys(name);
        assert_eq!(keys.remove("in_channels"), Some(3.into()));
        assert_eq!(read_from(read, &keys).unwrap().cut().unwrap().channels, 3);
        keys.insert("in_chans".to_owned(), 4.into());
        assert_eq!(read_from(read, &keys).unwrap().cut().unwrap().channels, 4);
        keys.insert("in_channels".to_owned(), 5.into());
        assert_eq!(read_from(read, &keys).unwrap().cut().unwrap().channels, 5);
    }
}

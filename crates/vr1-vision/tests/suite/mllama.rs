//! The keys of Llama 3.2 Vision's tower, and which pictures it takes. What it makes of them is held by vr1-vlm's tests/suite/families.rs.

use ndarray::Array2;
use serde_json::{Map, Value, json};
use vr1_processor::{Patches, Tiles};
use vr1_vision::{Sections, VisionConfig, mllama};

fn read(keys: Value) -> vr1_nn::Result<Box<dyn VisionConfig>> {
    let (vision, outer) = (keys.as_object().unwrap(), &Map::new());
    mllama(&Sections { vision, outer, hidden_size: 48 })
}

/// Of 2 tiles of 3 × 3 patches.
fn small(more: Value) -> Value {
    let mut keys = json!({
        "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_global_layers": 1, "attention_heads": 2,
        "image_size": 42, "patch_size": 14, "max_num_tiles": 2, "supported_aspect_ratios": [[1, 1], [1, 2], [2, 1]],
        "intermediate_layers_indices": [1], "vision_output_dim": 32,
    });
    keys.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    keys
}

/// The defaults are those of `MllamaVisionConfig` in transformers 5.24.
#[test]
fn a_key_that_is_left_out_has_its_classs_default() {
    let defaults = json!({
        "hidden_size": 1280, "hidden_act": "gelu", "num_hidden_layers": 32, "num_global_layers": 8, "attention_heads": 16,
        "num_channels": 3, "intermediate_size": 5120, "vision_output_dim": 7680, "image_size": 448, "patch_size": 14,
        "norm_eps": 1e-5, "max_num_tiles": 4,
    });
    let (left_out, said) = (read(json!({})).unwrap(), read(defaults).unwrap());
    assert_eq!(left_out.output(), 48);
    assert_eq!(left_out.wants(), said.wants());
    assert!(left_out.wants().contains("up to 4 tiles of 1024 patches of 588 values"), "{}", left_out.wants());
}

#[test]
fn what_is_impossible_is_refused_by_its_key() {
    assert!(read(small(json!({}))).is_ok());
    for (more, expected) in [
        (json!({ "attention_heads": 3 }), "`attention_heads`: 3 does not divide `hidden_size` 16"),
        (json!({ "image_size": 40 }), "`image_size`: 40 is not a multiple of `patch_size` 14"),
        (json!({ "patch_size": 0 }), "`patch_size`: 0 is not between 1 and"),
        (json!({ "max_num_tiles": 65 }), "`max_num_tiles`: 65 is above 64"),
        (json!({ "intermediate_layers_indices": [2] }), "`intermediate_layers_indices`: 2 is none of 2 layers"),
        (
            json!({ "vision_output_dim": 33 }),
            "`vision_output_dim`: 33, but the last state and 1 more of `hidden_size` 16 are 32",
        ),
        (
            json!({ "supported_aspect_ratios": [[1, 1], [2, 1]] }),
            "`supported_aspect_ratios`: [[1, 1], [2, 1]] are not those of up to 2",
        ),
        (json!({ "supported_aspect_ratios": null }), "`max_num_tiles`: 2 needs its `supported_aspect_ratios`"),
        (json!({ "hidden_size": "wide" }), "`hidden_size`: invalid type"),
    ] {
        let error = read(small(more)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_picture_is_one_token_where_it_lies_on_a_canvas_of_the_towers() {
    let config = read(small(json!({}))).unwrap();
    let picture = |rows: usize, width: usize, tiles| Patches {
        pixel_values: Array2::zeros((rows, width)),
        grid_thw: [rows / 9, 3, 3],
        tiles,
    };
    let canvas = |rows, columns| Tiles::Canvas { rows, columns };
    assert_eq!(config.tokens(&picture(9, 588, canvas(1, 1))), Some(1));
    assert_eq!(config.tokens(&picture(18, 588, canvas(2, 1))), Some(1));
    // Too many tiles, too few patches for them, patches of another size, no tiles at all.
    assert_eq!(config.tokens(&picture(27, 588, canvas(3, 1))), None);
    assert_eq!(config.tokens(&picture(9, 588, canvas(1, 2))), None);
    assert_eq!(config.tokens(&picture(9, 147, canvas(1, 1))), None);
    assert_eq!(config.tokens(&picture(9, 588, Tiles::Whole)), None);
    // Of a tile its patches and one token for the whole are looked at; the tiles that fill it up are not.
    assert_eq!(config.looked_at(&picture(18, 588, canvas(1, 2))), Some(20));
}

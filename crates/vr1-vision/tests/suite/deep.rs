//! What configs of Qwen3-VL and Aria say, and what is refused; their features are held to transformers' in vr1-vlm.

use ndarray::Array2;
use serde_json::{Map, Value, json};
use vr1_nn::Result;
use vr1_processor::{Patches, Tiles};
use vr1_vision::{Sections, VisionConfig, aria, qwen3_vl};

type Read = fn(&Sections<'_>) -> Result<Box<dyn VisionConfig>>;

fn read(read: Read, outer: &Value) -> Result<Box<dyn VisionConfig>> {
    let (outer, none) = (outer.as_object().unwrap(), Map::new());
    let vision = outer.get("vision_config").and_then(Value::as_object).unwrap_or(&none);
    read(&Sections { vision, outer, hidden_size: 12 })
}

fn tiles(count: usize, side: usize, values: usize, tiles: Tiles) -> Patches {
    Patches { pixel_values: Array2::zeros((count * side * side, values)), grid_thw: [count, side, side], tiles }
}

#[test]
fn an_impossible_config_is_refused_by_its_key() {
    let deep = |blocks: Value| json!({ "vision_config": { "depth": 3, "deepstack_visual_indexes": blocks } });
    let cases: [(Read, Value, &str); 8] = [
        (qwen3_vl, deep(json!([0, 3])), "`deepstack_visual_indexes`: 3 is there twice, or is no block of 3"),
        (qwen3_vl, deep(json!([1, 1])), "`deepstack_visual_indexes`: 1 is there twice, or is no block of 3"),
        (qwen3_vl, deep(json!("all")), "`deepstack_visual_indexes`: invalid type"),
        (
            qwen3_vl,
            json!({ "vision_config": { "num_heads": 5 } }),
            "`hidden_size` 1152 must be a multiple of four times",
        ),
        (qwen3_vl, json!({ "vision_config": { "num_position_embeddings": 0 } }), "`num_position_embeddings`: 0 is not"),
        (
            aria,
            json!({ "vision_feature_layer": -14 }),
            "`vision_feature_layer`: -14 is none of the states of 12 blocks",
        ),
        (aria, json!({ "projector_patch_to_query_dict": { "many": 2 } }), "\"many\" is no number of patches"),
        (aria, json!({ "projector_patch_to_query_dict": { "16": 0 } }), "`projector_patch_to_query_dict`: 0 is not"),
    ];
    for (reads, outer, expected) in cases {
        let error = read(reads, &outer).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_tile_has_as_many_tokens_as_queries_look_at_it() {
    let config = read(
        aria,
        &json!({ "projector_patch_to_query_dict": { "16": 3, "64": 5 }, "vision_config": { "patch_size": 2 } }),
    );
    let config = config.unwrap();
    assert_eq!(config.output(), 12);
    let corners = |corners: &[[usize; 2]]| Tiles::Corners(corners.to_vec());
    for (patches, tokens) in [
        (tiles(2, 4, 12, corners(&[[4, 1], [2, 4]])), Some(6)),
        (tiles(1, 8, 12, Tiles::Whole), Some(5)),
        (tiles(1, 5, 12, corners(&[[5, 5]])), None),
        (tiles(2, 4, 12, corners(&[[4, 1]])), None),
        (tiles(1, 4, 12, corners(&[[4, 5]])), None),
        (tiles(1, 4, 12, corners(&[[0, 4]])), None),
        (tiles(1, 4, 13, corners(&[[4, 4]])), None),
    ] {
        assert_eq!(config.tokens(&patches), tokens, "{:?}", patches.tiles);
    }
    assert_eq!(config.wants(), "tiles in patches of 12 values, 16 or 64 of them a tile");
    // Those of the class.
    let left_out = read(aria, &json!({})).unwrap();
    assert_eq!(left_out.wants(), "tiles in patches of 3072 values, 1225 or 4900 of them a tile");
}

#[test]
fn a_key_that_is_left_out_has_its_classs_default() {
    let left_out = read(qwen3_vl, &json!({})).unwrap();
    let cut = left_out.cut().unwrap();
    assert_eq!((cut.channels, cut.patch, cut.merge, cut.frames, left_out.output()), (3, 16, 2, 2, 3584));
}

//! What configs of LLaVA, LLaVA-NeXT and Idefics3 say, and what is refused; their features are held to transformers' in vr1-vlm.

use ndarray::Array2;
use serde_json::{Map, Value, json};
use tch::{Device, Kind};
use vr1_nn::{Loader, Names, Result};
use vr1_processor::{Patches, Tiles};
use vr1_vision::{Sections, VisionConfig, idefics3, llava, llava_next};

type Read = fn(&Sections<'_>) -> Result<Box<dyn VisionConfig>>;

fn read(read: Read, outer: Value) -> Result<Box<dyn VisionConfig>> {
    let (outer, none) = (outer.as_object().unwrap().clone(), Map::new());
    let vision = outer.get("vision_config").and_then(Value::as_object).unwrap_or(&none);
    read(&Sections { vision, outer: &outer, hidden_size: 12 })
}

fn clip(more: Value) -> Value {
    let mut vision = json!({ "model_type": "clip_vision_model", "hidden_size": 8, "intermediate_size": 12,
        "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 28, "patch_size": 14 });
    vision.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    vision
}

fn patches([tiles, rows, columns]: [usize; 3], values: usize, arrangement: Tiles) -> Patches {
    let pixel_values = Array2::zeros((tiles * rows * columns, values));
    Patches { pixel_values, grid_thw: [tiles, rows, columns], tiles: arrangement }
}

#[test]
fn an_impossible_config_is_refused_by_its_key() {
    let with = |key: &str, value: Value| json!({ "vision_config": clip(json!({})), key: value });
    for (reads, outer, expected) in [
        (
            llava as Read,
            json!({ "vision_config": clip(json!({ "num_attention_heads": 3 })) }),
            "`num_attention_heads`: 3 does not divide `hidden_size` 8",
        ),
        (
            llava,
            json!({ "vision_config": clip(json!({ "image_size": 13 })) }),
            "`image_size`: 13 holds no patch of 14 × 14",
        ),
        (llava, json!({ "vision_config": clip(json!({ "patch_size": 0 })) }), "`patch_size`: 0 is not between 1 and"),
        (
            llava,
            json!({ "vision_config": clip(json!({ "hidden_act": "relu6" })) }),
            "`hidden_act`: unknown variant `relu6`",
        ),
        (
            llava,
            json!({ "vision_config": clip(json!({ "model_type": "pixtral" })) }),
            "`model_type`: \"pixtral\" is not one of `clip_vision_model`, `siglip_vision_model`",
        ),
        (
            llava,
            with("vision_feature_layer", json!(-5)),
            "`vision_feature_layer`: -5 is none of the states of 3 blocks",
        ),
        (llava, with("vision_feature_layer", json!([1, 4])), "`vision_feature_layer`: 4 is none of the states"),
        (llava, with("vision_feature_layer", json!([])), "`vision_feature_layer`: none is named"),
        (
            llava,
            with("vision_feature_select_strategy", json!("some")),
            "`vision_feature_select_strategy`: unknown variant",
        ),
        (
            llava_next,
            with("vision_feature_select_strategy", json!("full")),
            "`vision_feature_select_strategy`: a tile of 4 patches has 5 tokens, which do not lie in lines",
        ),
        (idefics3, json!({ "scale_factor": 0 }), "`scale_factor`: 0 is not between 1 and"),
    ] {
        let error = read(reads, outer).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn what_is_left_out_is_as_its_class_has_it() {
    // Without a section: the tower of LLaVA 1.5, 24 blocks of which 23 are read.
    let whole = read(llava, json!({})).unwrap();
    assert_eq!(whole.tokens(&patches([1, 24, 24], 588, Tiles::Whole)), Some(576));
    // With an empty one CLIP's own, with another family's SigLIP's.
    let none = read(llava, json!({ "vision_config": {} })).unwrap();
    assert_eq!(none.tokens(&patches([1, 7, 7], 3072, Tiles::Whole)), Some(49));
    let siglip =
        json!({ "vision_config": { "model_type": "siglip_vision_model" }, "vision_feature_select_strategy": "full" });
    assert_eq!(read(llava, siglip).unwrap().tokens(&patches([1, 14, 14], 768, Tiles::Whole)), Some(196));
    let joined = read(idefics3, json!({})).unwrap();
    assert_eq!(joined.tokens(&patches([1, 6, 6], 3072, Tiles::Whole)), Some(9));
}

#[test]
fn pictures_that_are_laid_out_otherwise_are_not_taken() {
    let [whole, canvas] =
        [llava as Read, llava_next].map(|reads| read(reads, json!({ "vision_config": clip(json!({})) })).unwrap());
    let overview = |rows, columns, kept| Tiles::Overview { rows, columns, kept };
    assert_eq!(whole.tokens(&patches([1, 2, 2], 588, Tiles::Whole)), Some(4));
    assert_eq!(canvas.tokens(&patches([3, 2, 2], 588, overview(2, 1, [3, 2]))), Some(4 + 3 * 3));
    for (tower, shown) in [
        (&whole, patches([2, 2, 2], 588, Tiles::Whole)),
        (&whole, patches([1, 2, 3], 588, Tiles::Whole)),
        (&whole, patches([1, 2, 2], 147, Tiles::Whole)),
        (&whole, patches([3, 2, 2], 588, overview(2, 1, [3, 2]))),
        (&canvas, patches([1, 2, 2], 588, Tiles::Whole)),
        (&canvas, patches([4, 2, 2], 588, overview(2, 1, [3, 2]))),
        (&canvas, patches([3, 2, 2], 588, overview(2, 1, [3, 3]))),
    ] {
        assert_eq!(tower.tokens(&shown), None, "{:?} {:?}", shown.grid_thw, shown.tiles);
    }
    let joined = read(idefics3, json!({})).unwrap();
    assert_eq!(joined.tokens(&patches([1, 6, 4], 3072, Tiles::Whole)), None);
    assert_eq!(joined.tokens(&patches([1, 7, 7], 3072, Tiles::Whole)), None);
}

#[test]
fn what_is_behind_the_block_that_is_read_is_held_and_never_trained() {
    let loader = Loader::random(1, Names::LANGUAGE, Device::Cpu, Kind::Float);
    read(llava, json!({ "vision_config": clip(json!({})), "vision_feature_layer": 1 })).unwrap().build(&loader.root());
    let parameters = loader.finish().unwrap();
    let held: Vec<&str> = parameters.iter().map(|(name, _)| name).collect();
    let trained: Vec<String> = parameters.train(|_| true).into_iter().map(|(name, _)| name).collect();
    let behind =
        |name: &str| name.contains("layers.1.") || name.contains("layers.2.") || name.contains("post_layernorm");
    assert_eq!(held.iter().filter(|name| behind(name)).count(), 2 * 16 + 2);
    assert_eq!(trained, held.into_iter().filter(|name| !behind(name)).collect::<Vec<_>>());
}

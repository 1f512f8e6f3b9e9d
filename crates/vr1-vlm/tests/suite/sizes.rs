//! Models of published sizes, planned and not made: fixtures/sizes/generate.py.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};
use vr1_nn::{Adapter, LoraConfig};
use vr1_vlm::{Backbone, Model, ModelConfig};

fn published() -> BTreeMap<String, Published> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sizes/published.json");
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

#[derive(Deserialize)]
struct Published {
    parameters: usize,
    config: Map<String, Value>,
}

#[test]
fn published_configs_have_as_many_parameters_as_in_transformers() {
    for (name, published) in published() {
        let config = ModelConfig::from_json(published.config, Path::new(&name)).unwrap();
        assert_eq!(Model::shapes(config).unwrap().count(), published.parameters, "{name}");
    }
}

#[test]
fn a_shape_takes_no_room_with_an_adapter_either() {
    for (name, published) in published() {
        let config = ModelConfig::from_json(published.config, Path::new(&name)).unwrap();
        let adapter: LoraConfig =
            serde_json::from_str(r#"{"rank": 2, "alpha": 4, "target_modules": ["q_proj"]}"#).unwrap();
        let model = Model::shaped(config).unwrap().with_adapter(Adapter::random(adapter, 0).unwrap()).unwrap();
        let own = |name: &str, tensor: &tch::Tensor| {
            !name.contains("lora_") && tensor.numel() > 1 && tensor.stride().iter().any(|stride| *stride != 0)
        };
        let roomy: Vec<&str> =
            model.parameters().iter().filter(|(name, tensor)| own(name, tensor)).map(|(name, _)| name).collect();
        assert!(roomy.is_empty(), "{name}: {roomy:?}");
    }
}

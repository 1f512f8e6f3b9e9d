//! Models of published sizes, planned and not made: fixtures/sizes/generate.py.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};
use vr1_vlm::{Model, ModelConfig};

#[derive(Deserialize)]
struct Published {
    parameters: usize,
    config: Map<String, Value>,
}

#[test]
fn published_configs_have_as_many_parameters_as_in_transformers() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sizes/published.json");
    let all: BTreeMap<String, Published> = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    for (name, published) in all {
        let config = ModelConfig::from_json(published.config, Path::new(&name)).unwrap();
        assert_eq!(Model::shapes(config).unwrap().count(), published.parameters, "{name}");
    }
}

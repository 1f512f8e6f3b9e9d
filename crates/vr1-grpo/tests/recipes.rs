//! Configurations as recipes write them; with `--features serde`.
#![cfg(feature = "serde")]
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use vr1_grpo::{AdvantageConfig, Aggregation, CispoCap, Compat, GrpoConfig, Objective, Scale};

#[test]
fn a_configuration_survives_its_recipe() {
    for system in [Compat::Trl, Compat::Verl, Compat::EasyR1, Compat::VlmR1, Compat::OpenR1] {
        let text = serde_json::to_string(&system.grpo()).unwrap();
        assert_eq!(serde_json::from_str::<GrpoConfig>(&text).unwrap(), system.grpo(), "{text}");
    }
}

#[test]
fn fields_left_out_are_the_papers_and_unknown_ones_are_refused() {
    let text =
        r#"{"aggregation": {"kind": "constant", "tokens": 512}, "objective": {"kind": "cispo", "cap": "around"}}"#;
    let config: GrpoConfig = serde_json::from_str(text).unwrap();
    assert_eq!(config.aggregation, Aggregation::Constant(512));
    assert_eq!(config.objective, Objective::Cispo { cap: CispoCap::Around });
    assert_eq!(config.beta, 0.04);
    let scale: AdvantageConfig = serde_json::from_str(r#"{"scale": "batch"}"#).unwrap();
    assert_eq!(scale.scale, Scale::Batch);
    let error = serde_json::from_str::<GrpoConfig>(r#"{"bata": 0.1}"#).unwrap_err().to_string();
    assert!(error.contains("bata") && error.contains("beta"), "{error}");
}

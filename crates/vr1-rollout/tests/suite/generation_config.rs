//! `generation_config.json`.

use std::fs;

use vr1_rollout::{GenerationConfig, Sampling};

#[test]
fn a_generation_config_says_what_it_says_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let write = |text: &str| fs::write(dir.path().join("generation_config.json"), text).unwrap();
    assert_eq!(GenerationConfig::from_dir(dir.path()).unwrap(), GenerationConfig::default());
    write(
        r#"{"do_sample": true, "temperature": 0.01, "top_k": 1, "top_p": null, "repetition_penalty": 1.05, "eos_token_id": [1, 2]}"#,
    );
    let sampling = GenerationConfig::from_dir(dir.path()).unwrap().over(Sampling { top_p: 0.5, ..Sampling::default() });
    assert_eq!(sampling, Sampling { top_k: 1, top_p: 0.5, repetition_penalty: 1.05, ..Sampling::default() });
    for (text, named) in [(r#"{"top_p": 2}"#, "top_p is 2"), (r#"{"top_k": "x"}"#, "invalid type"), ("{", "EOF")] {
        write(text);
        let error = GenerationConfig::from_dir(dir.path()).unwrap_err().to_string();
        assert!(error.contains("generation_config.json: ") && error.contains(named), "{error}");
    }
}

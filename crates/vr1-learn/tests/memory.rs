//! A prompt's states, keys and values are held once for its whole group, forwards and backwards; alone in its process, whose
//! peak it measures.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod tiny;

use std::path::Path;
use std::sync::Arc;

use tch::{Device, Kind};
use tiny::{Linear, answers, group, plain, prompt, step};
use vr1_learn::Signals;
use vr1_vlm::{Model, ModelConfig};

/// The most memory that this process had so far, in bytes.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().trim().parse::<usize>().unwrap() * 1024
}

/// A language model whose keys and values are as wide as its hidden states.
fn model() -> Model {
    let json = serde_json::json!({
        "model_type": "qwen2", "vocab_size": 374, "hidden_size": 128, "intermediate_size": 128, "num_hidden_layers": 3,
        "num_attention_heads": 8, "num_key_value_heads": 8, "max_position_embeddings": 8192, "rms_norm_eps": 1e-6,
        "rope_theta": 1000.0, "tie_word_embeddings": true, "hidden_act": "silu",
    });
    let config = ModelConfig::from_json(json.as_object().unwrap().clone(), Path::new("config.json")).unwrap();
    Model::random(config, 1, Device::Cpu, Kind::Float).unwrap()
}

#[test]
fn a_group_of_32_takes_little_more_memory_than_one_sequence() {
    const PROMPT: usize = 3000;
    const ANSWER: usize = 8;
    let long = prompt("long", &[], "?").extend(&answers(&[PROMPT])[0], "").unwrap();
    let long = Arc::new(long);
    let mut learner = plain(model(), 1e-5);
    let mut taken = |size: usize, done: u64| {
        let group = group(0, &long, &answers(&vec![ANSWER; size]));
        let signals = Signals::new((0..size).map(|i| i as f32 - 0.5).collect());
        learner.update(&[group], &signals, &Linear::default(), step(done)).unwrap();
        peak()
    };
    let short = group(0, &prompt("short", &[], "?"), &answers(&[ANSWER]));
    let before = {
        let mut warm = plain(model(), 1e-5);
        warm.update(&[short], &Signals::new(vec![1.0]), &Linear::default(), step(0)).unwrap();
        peak()
    };
    let one = (taken(1, 0), taken(1, 1)).1 - before;
    let many = taken(32, 2) - before;
    let ratio = many as f64 / one as f64;
    println!("{one} bytes for one sequence, {many} for 32: {ratio:.2}");
    // Of keys and values alone a copy each would take 3 layers x 31 x 3000 x 2 x 128 numbers.
    let copies = 3 * 31 * PROMPT * 2 * 128 * 4;
    assert!(one > 20 << 20 && copies > one, "{one}: this test would not see copies of {copies} bytes");
    assert!(ratio < 1.6, "{one} bytes for one sequence, {many} for 32");
}

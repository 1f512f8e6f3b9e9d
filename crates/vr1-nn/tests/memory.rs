//! Loading takes no more memory than the weights; alone in its process, whose peak it measures.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::File;
use std::io::Write;

use tch::{Device, Kind};
use vr1_nn::{Checkpoint, Init, Loader, Names};

/// The most memory that this process had so far, in bytes.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().trim().parse::<usize>().unwrap() * 1024
}

#[test]
fn the_peak_is_the_weights() {
    const TENSORS: usize = 5;
    const SHAPE: [i64; 2] = [64 * 1024, 512];
    let size = (SHAPE[0] * SHAPE[1]) as usize * 2;
    let dir = tempfile::tempdir().unwrap();
    let header = (0..TENSORS).map(|i| {
        let (start, end) = (i * size, (i + 1) * size);
        format!(r#""{i}.weight": {{"dtype": "BF16", "shape": {SHAPE:?}, "data_offsets": [{start}, {end}]}}"#)
    });
    let header = format!("{{{}}}", header.collect::<Vec<_>>().join(", "));
    let mut file = File::create(dir.path().join("model.safetensors")).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    // A file with a hole reads as zeros, and its pages take memory like any others.
    file.set_len((8 + header.len() + TENSORS * size) as u64).unwrap();

    let before = peak();
    let loader =
        Loader::from_checkpoint(Checkpoint::open(dir.path(), Names::LANGUAGE).unwrap(), Device::Cpu, Kind::BFloat16);
    for i in 0..TENSORS {
        let _ = loader.root().sub(i).get("weight", &SHAPE, Init::Zeros);
    }
    let parameters = loader.finish().unwrap();
    let (weights, taken) = (parameters.count() * 2, peak() - before);
    assert!(taken as f64 <= 1.15 * weights as f64, "{taken} bytes for {weights} of weights");
}

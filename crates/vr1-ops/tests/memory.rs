//! The head's memory stays within a chunk. A process has one peak, so this test is alone in its file.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use tch::{Device, Kind, Tensor};
use vr1_ops::{Head, VocabularyMean, head_logprobs};

/// A line of /proc/self/status, in bytes.
fn memory(field: &str) -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<i64>().unwrap() * 1024
}

#[test]
fn the_logits_of_a_whole_batch_never_exist() {
    const MIB: i64 = 1 << 20;
    let (n, v, d, chunk) = (4096, 16_384, 8, 128); // [N, V] is 256 MiB, [C, V] 8 MiB
    let f32 = (Kind::Float, Device::Cpu);
    let leaf = |shape| Tensor::randn(shape, f32).set_requires_grad(true);
    let (hidden, matrix) = (leaf([n, d]), leaf([v, d]));
    let (targets, unreachable) =
        (Tensor::randint_low(8, v, [n], (Kind::Int64, Device::Cpu)), Tensor::arange(8, (Kind::Int64, Device::Cpu)));
    let run = |tokens: i64| {
        let head = Head {
            unreachable: Some(&unreachable),
            chunk,
            vocabulary_mean: VocabularyMean::Taken,
            ..Head::new(&matrix)
        };
        let out = head_logprobs(&hidden.narrow(0, 0, tokens), &targets.narrow(0, 0, tokens), &head).unwrap();
        let loss = (out.logprobs + out.entropy + out.mean_logprobs.unwrap()).sum(Kind::Float);
        Tensor::run_backward(&[&loss], &[&hidden, &matrix], false, false)
    };
    run(chunk); // what libraries load, and what an allocator keeps
    let before = memory("VmRSS");
    let gradients = run(n);
    let peak = memory("VmHWM") - before;
    assert!(gradients.iter().all(|gradient| gradient.abs().max().double_value(&[]) > 0.0));
    assert!(peak < 96 * MIB, "the peak is {} MiB above what there was", peak / MIB);
}

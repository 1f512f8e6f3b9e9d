//! The time of the supervised loss, forward and backward.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark on tensors made here")]

use criterion::{Criterion, criterion_group, criterion_main};
use tch::{Device, Kind, Tensor};
use vr1_sft::{Objective, SftConfig, sft_loss};

fn losses(criterion: &mut Criterion) {
    let cases = [
        ("cross_entropy", SftConfig::default()),
        ("smoothed", SftConfig { label_smoothing: 0.1, ..Default::default() }),
        ("dft", SftConfig { objective: Objective::Dft, ..Default::default() }),
    ];
    for (batch, tokens) in [(8, 512), (64, 1024)] {
        tch::manual_seed(0);
        let logits = Tensor::randn([batch, tokens, 512], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let labels = Tensor::randint(512, [batch, tokens], (Kind::Int64, Device::Cpu));
        let mut group = criterion.benchmark_group(format!("B{batch}_T{tokens}_V512"));
        for (name, config) in &cases {
            group.bench_function(*name, |bencher| {
                bencher.iter(|| {
                    let loss = sft_loss(&logits, &labels, config).unwrap().0;
                    Tensor::run_backward(&[loss], &[&logits], false, false)
                });
            });
        }
        group.finish();
    }
}

criterion_group! {
    name = all;
    config = Criterion::default().sample_size(10).without_plots();
    targets = losses
}
criterion_main!(all);

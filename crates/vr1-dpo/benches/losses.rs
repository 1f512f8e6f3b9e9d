//! The time of every preference loss, forward and backward. A pair is two numbers a policy, so the size is `B` alone.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark on tensors made here")]

use criterion::{Criterion, criterion_group, criterion_main};
use tch::{Device, Kind, Tensor};
use vr1_dpo::{
    DpoConfig, DpoLoss, Extras, KtoConfig, MPO, RPO, ReferenceFreeConfig, dpo_loss_with, dpo_mixture_loss, kto_loss,
    length_desensitized, reference_free_loss,
};

fn losses(criterion: &mut Criterion) {
    let cases = [
        ("sigmoid", DpoLoss::Sigmoid, 0.0),
        ("sigmoid_norm", DpoLoss::SigmoidNorm, 0.0),
        ("hinge", DpoLoss::Hinge, 0.0),
        ("ipo", DpoLoss::Ipo, 0.0),
        ("exo", DpoLoss::Exo, 0.1),
        ("nca", DpoLoss::Nca, 0.0),
        ("robust", DpoLoss::Robust, 0.1),
        ("bco", DpoLoss::Bco { shift: 0.0 }, 0.0),
        ("sppo", DpoLoss::Sppo, 0.0),
        ("aot", DpoLoss::Aot, 0.0),
        ("aot_unpaired", DpoLoss::AotUnpaired, 0.0),
        ("apo_zero", DpoLoss::ApoZero, 0.0),
        ("apo_down", DpoLoss::ApoDown, 0.0),
        ("discopop", DpoLoss::DiscoPop { temperature: 0.05 }, 0.0),
        ("chosen_nll", DpoLoss::ChosenNll, 0.0),
        ("cdpo", DpoLoss::Sigmoid, 0.1),
    ];
    let free =
        [("simpo", ReferenceFreeConfig::SIMPO), ("orpo", ReferenceFreeConfig::ORPO), ("cpo", ReferenceFreeConfig::CPO)];
    for (pairs, tokens) in [(8, 512), (64, 1024)] {
        tch::manual_seed(0);
        let f32 = (Kind::Float, Device::Cpu);
        let logprobs = [(); 2].map(|()| (-Tensor::rand([pairs, tokens], f32)).set_requires_grad(true));
        let reference = [(); 2].map(|()| Tensor::randn([pairs], f32) - f64::from(tokens as i32) / 2.0);
        let mask = Tensor::ones([pairs, tokens], (Kind::Int64, Device::Cpu));
        let counts = Tensor::full([pairs], tokens, f32);
        let extras = Extras { chosen_tokens: Some(&counts), rejected_tokens: Some(&counts), weights: None };
        let sums = |alpha| length_desensitized(&logprobs[0], &mask, &logprobs[1], &mask, alpha).unwrap();
        let gradient = |loss: Tensor| Tensor::run_backward(&[loss], &[&logprobs[0]], false, false);
        let mut group = criterion.benchmark_group(format!("B{pairs}_T{tokens}"));
        for (name, loss, label_smoothing) in cases {
            let config = DpoConfig { loss, label_smoothing, ..Default::default() };
            group.bench_function(name, |bencher| {
                bencher.iter(|| {
                    let (chosen, rejected) = sums(1.0);
                    let inputs = [&chosen, &rejected, &reference[0], &reference[1]];
                    gradient(dpo_loss_with(inputs, extras, &config).unwrap().0)
                });
            });
        }
        for (name, terms) in [("mpo", &MPO[..]), ("rpo", &RPO[..])] {
            group.bench_function(name, |bencher| {
                bencher.iter(|| {
                    let (chosen, rejected) = sums(1.0);
                    let inputs = [&chosen, &rejected, &reference[0], &reference[1]];
                    gradient(dpo_mixture_loss(inputs, extras, terms, &DpoConfig::default()).unwrap().0)
                });
            });
        }
        group.bench_function("ld-dpo", |bencher| {
            bencher.iter(|| {
                let (chosen, rejected) = sums(0.5);
                let inputs = [&chosen, &rejected, &reference[0], &reference[1]];
                gradient(dpo_loss_with(inputs, extras, &DpoConfig::default()).unwrap().0)
            });
        });
        group.bench_function("kto", |bencher| {
            let liked = Tensor::arange(pairs, (Kind::Int64, Device::Cpu)).remainder(2);
            bencher.iter(|| {
                gradient(kto_loss(&sums(1.0).0, &reference[0], &liked, 0.5, &KtoConfig::default()).unwrap().0)
            });
        });
        for (name, config) in free {
            group.bench_function(name, |bencher| {
                bencher.iter(|| {
                    let (chosen, rejected) = sums(1.0);
                    gradient(reference_free_loss(&chosen, &rejected, &counts, &counts, &config).unwrap().0)
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

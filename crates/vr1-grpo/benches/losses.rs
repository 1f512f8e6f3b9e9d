//! The time of every loss, forward and backward, and of advantages.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark on tensors made here")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use tch::{Device, Kind, Tensor};
use vr1_grpo::{
    AdvantageConfig, Aggregation, Baseline, CispoCap, GrpoConfig, Importance, Objective, Scale, group_advantages,
    grpo_loss, per_reward_advantages, whiten_by_tokens,
};

fn losses(criterion: &mut Criterion) {
    let default = GrpoConfig::default();
    let token = GrpoConfig { aggregation: Aggregation::Token, ..default };
    let cases = [
        ("grpo", default),
        ("dapo", GrpoConfig { epsilon_high: Some(0.28), beta: 0.0, ..token }),
        ("bnpo", token),
        ("dr_grpo", GrpoConfig { aggregation: Aggregation::Constant(1024), ..default }),
        ("luspo", GrpoConfig { aggregation: Aggregation::SequenceSum, importance: Importance::Sequence, ..default }),
        ("rloo", GrpoConfig { importance: Importance::SequenceProduct, beta: 0.0, ..default }),
        ("gspo", GrpoConfig { importance: Importance::Sequence, ..default }),
        (
            "cispo",
            GrpoConfig { objective: Objective::Cispo { cap: CispoCap::Absolute }, epsilon_high: Some(5.0), ..token },
        ),
        ("sapo", GrpoConfig { objective: Objective::SAPO, ..default }),
        ("vespo", GrpoConfig { objective: Objective::VESPO, ..token }),
        ("reinforce", GrpoConfig { objective: Objective::Reinforce, ..token }),
        ("unclipped", GrpoConfig { objective: Objective::Unclipped, ..default }),
        ("delta", GrpoConfig { delta: Some(4.0), ..token }),
        ("dual_clip", GrpoConfig { dual_clip: Some(3.0), ..token }),
    ];
    for (batch, tokens) in [(8, 512), (64, 1024)] {
        tch::manual_seed(0);
        let f32 = (Kind::Float, Device::Cpu);
        let logprobs = (-Tensor::rand([batch, tokens], f32)).set_requires_grad(true);
        let near = || logprobs.detach() + Tensor::randn([batch, tokens], f32) * 0.05;
        let (old, reference, advantages) = (near(), near(), Tensor::randn([batch], f32));
        let mask = Tensor::ones([batch, tokens], (Kind::Int64, Device::Cpu));
        let mut group = criterion.benchmark_group(format!("B{batch}_T{tokens}"));
        for (name, config) in &cases {
            group.bench_function(*name, |bencher| {
                bencher.iter(|| {
                    let loss = grpo_loss(&logprobs, &old, Some(&reference), &advantages, &mask, config).unwrap().0;
                    Tensor::run_backward(&[loss], &[&logprobs], false, false)
                });
            });
        }
        group.finish();
    }
}

fn advantages(criterion: &mut Criterion) {
    let rewards: Vec<f32> = (0..1_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / 1e7).collect();
    for scale in [Scale::Group, Scale::Batch, Scale::None] {
        criterion.bench_function(&format!("advantages_1e6_{scale:?}"), |bencher| {
            bencher.iter(|| group_advantages(black_box(&rewards), 8, scale).unwrap());
        });
    }
    let rloo = AdvantageConfig { baseline: Baseline::LeaveOneOut, scale: Scale::None, ..Default::default() };
    criterion.bench_function("advantages_1e6_leave_one_out", |bencher| {
        bencher.iter(|| vr1_grpo::advantages(black_box(&rewards), 8, &rloo).unwrap());
    });
    criterion.bench_function("advantages_1e6_per_reward_of_2", |bencher| {
        bencher.iter(|| per_reward_advantages(black_box(&rewards), &[1.0, 0.5], 8, 1e-4).unwrap());
    });
    let tokens = vec![256; rewards.len()];
    criterion.bench_function("advantages_1e6_whiten_by_tokens", |bencher| {
        bencher.iter(|| whiten_by_tokens(black_box(&rewards), &tokens).unwrap());
    });
}

criterion_group! {
    name = all;
    config = Criterion::default().sample_size(10).without_plots();
    targets = losses, advantages
}
criterion_main!(all);

//! Rollouts a second for accuracy + format on completions of one kilobyte, one core and all of them.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use vr1_reward::{Fields, MathConfig, Program, Record, Registry, Reward, Rollout, math_equal};

const ISSUE: &str = r"
terms:
  accuracy: math(answer, solution)
  format: matches(completion, '(?s)^<think>.*?</think>\s*<answer>.*?</answer>$')
total: accuracy + format
";

fn completion(answer: &str) -> String {
    let thought = "I look at the picture, and I count each of the cubes in turn. ".repeat(15);
    format!("<think>{thought}</think>\n<answer>{answer}</answer>")
}

fn programs(criterion: &mut Criterion) {
    let fields = Fields::new();
    let mut group = criterion.benchmark_group("one core");
    group.throughput(Throughput::Elements(1));
    let registry = Registry::default();
    let programs = [
        // The programs are constants that the tests load.
        ("accuracy + format", Program::parse(ISSUE, &registry).expect("a constant")),
        ("visualthinker_sat", Program::builtin("visualthinker_sat", &registry).expect("built in")),
        ("vlm_r1_rec", Program::builtin("vlm_r1_rec", &registry).expect("built in")),
    ];
    for (name, program) in &programs {
        for (kind, answer, solution) in
            [("number", "12", "12"), ("formula", r"\frac{1}{2}", "0.5"), ("box", "{[1, 2, 30, 40]}", "[1, 2, 30, 41]")]
        {
            let completion = completion(answer);
            let rollout =
                Rollout { prompt: "", completion: &completion, solution, tokens: 250, finished: true, fields: &fields };
            if program.score(&rollout).is_ok() {
                group.bench_function(format!("{name}, {kind}"), |bencher| {
                    bencher.iter(|| program.score(black_box(&rollout)))
                });
            }
        }
    }
    group.finish();

    let rows: Vec<_> = (0..20_000)
        .map(|row| {
            Record::parse(
                &serde_json::json!({ "completion": completion(&(row % 9).to_string()), "solution": "4" }).to_string(),
            )
        })
        .collect();
    let mut group = criterion.benchmark_group("all cores");
    group.throughput(Throughput::Elements(rows.len() as u64));
    group.sample_size(10);
    group.bench_function("score_records", |bencher| bencher.iter(|| programs[0].1.score_records(black_box(&rows), 1)));
    group.finish();

    let mut group = criterion.benchmark_group("math");
    for (name, gold, answer) in [
        ("fractions", r"$\frac{1}{2}$", "so it is 0.5"),
        ("identity", r"$\tan^2(y)+1$", r"$\sec^2(y)$"),
        ("sets", r"$(-\infty,1)\cup(1,\infty)$", r"$\mathbb{R}\setminus\{1\}$"),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| math_equal(black_box(gold), black_box(answer), MathConfig::default()))
        });
    }
    group.finish();
}

criterion_group!(benches, programs);
criterion_main!(benches);

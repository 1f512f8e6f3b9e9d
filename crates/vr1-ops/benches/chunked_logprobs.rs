//! Time and peak memory of the chunked head, forward and backward, against the plain computation.
//!
//! `cargo bench -p vr1-ops` measures time at a size that a laptop takes in its stride. Peak memory is of a process, so it is measured by
//! one process a computation:
//!
//! ```text
//! cargo bench -p vr1-ops --bench chunked_logprobs -- --peak plain 4096 151936 1536      prints seconds and the bytes that the computation added
//! cargo bench -p vr1-ops --bench chunked_logprobs -- --peak chunked 4096 151936 1536
//! ```
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark on tensors made here")]

use std::time::Instant;

use criterion::Criterion;
use tch::{Device, Kind, Tensor};
use vr1_ops::{Head, VocabularyMean, chunked_logprobs, head_logprobs, token_logprobs};

struct Inputs {
    hidden: Tensor,
    matrix: Tensor,
    targets: Tensor,
}

impl Inputs {
    fn new(tokens: i64, vocab: i64, width: i64) -> Self {
        tch::manual_seed(0);
        let f32 = (Kind::Float, Device::Cpu);
        Self {
            hidden: Tensor::randn([tokens, width], f32).set_requires_grad(true),
            matrix: (Tensor::randn([vocab, width], f32) * 0.02).set_requires_grad(true),
            targets: Tensor::randint(vocab, [tokens], (Kind::Int64, Device::Cpu)),
        }
    }

    /// Gradients of the sum of log-probabilities and entropies.
    fn plain(&self) -> Vec<Tensor> {
        let logits = self.hidden.matmul(&self.matrix.tr());
        let logprobs = logits.log_softmax(-1, Kind::Float);
        let picked = logprobs.gather(-1, &self.targets.unsqueeze(-1), false);
        self.gradients(&(picked.sum(Kind::Float) - (logprobs.exp() * logprobs).sum(Kind::Float)))
    }

    /// The same of the log-probabilities alone, without entropies: the least that the plain computation can do.
    fn gathered(&self) -> Vec<Tensor> {
        let logits = self.hidden.matmul(&self.matrix.tr());
        self.gradients(&token_logprobs(&logits, &self.targets).unwrap().sum(Kind::Float))
    }

    fn chunked(&self, chunk: i64) -> Vec<Tensor> {
        let (logprobs, _) = chunked_logprobs(&self.hidden, &self.matrix, &self.targets, 1.0, chunk).unwrap();
        self.gradients(&logprobs.sum(Kind::Float))
    }

    fn chunked_with_entropy(&self, chunk: i64) -> Vec<Tensor> {
        let (logprobs, entropy) = chunked_logprobs(&self.hidden, &self.matrix, &self.targets, 1.0, chunk).unwrap();
        self.gradients(&(logprobs + entropy).sum(Kind::Float))
    }

    /// Everything that the head can say, without the first sixteenth of the vocabulary.
    fn whole_head(&self, chunk: i64) -> Vec<Tensor> {
        let vocab = self.matrix.size()[0];
        let unreachable = Tensor::arange(vocab / 16, (Kind::Int64, Device::Cpu));
        let targets = self.targets.clamp_min(vocab / 16);
        let head = Head {
            unreachable: Some(&unreachable),
            chunk,
            vocabulary_mean: VocabularyMean::Taken,
            ..Head::new(&self.matrix)
        };
        let out = head_logprobs(&self.hidden, &targets, &head).unwrap();
        self.gradients(&(out.logprobs + out.entropy + out.mean_logprobs.unwrap()).sum(Kind::Float))
    }

    fn gradients(&self, loss: &Tensor) -> Vec<Tensor> {
        Tensor::run_backward(&[loss], &[&self.hidden, &self.matrix], false, false)
    }
}

/// A line of /proc/self/status, in bytes.
fn memory(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

fn peak(arguments: &[String]) {
    let number = |i: usize| arguments[i].parse::<i64>().unwrap();
    let inputs = Inputs::new(number(1), number(2), number(3));
    let before = memory("VmRSS");
    let start = Instant::now();
    let gradients = match arguments[0].as_str() {
        "plain" => inputs.gathered(),
        "plain-entropy" => inputs.plain(),
        "chunked" => inputs.chunked(512),
        "chunked-entropy" => inputs.chunked_with_entropy(512),
        "head" => inputs.whole_head(512),
        other => panic!("no such computation: {other}"),
    };
    let (seconds, peak) = (start.elapsed().as_secs_f64(), memory("VmHWM") - before);
    let norms = gradients.iter().map(|g| g.norm().double_value(&[])).collect::<Vec<_>>();
    println!(
        "{} {seconds:.2} s, peak {:.0} MiB above the inputs, gradient norms {norms:?}",
        arguments[0],
        peak as f64 / 1048576.0
    );
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(place) = arguments.iter().position(|argument| argument == "--peak") {
        return peak(&arguments[place + 1..]);
    }
    let mut criterion = Criterion::default().sample_size(10).without_plots().configure_from_args();
    let inputs = Inputs::new(512, 16_384, 256);
    let mut group = criterion.benchmark_group("N512_V16384_D256");
    group.bench_function("plain", |bencher| bencher.iter(|| inputs.gathered()));
    group.bench_function("chunked", |bencher| bencher.iter(|| inputs.chunked(128)));
    group.bench_function("plain, entropy", |bencher| bencher.iter(|| inputs.plain()));
    group.bench_function("chunked, entropy", |bencher| bencher.iter(|| inputs.chunked_with_entropy(128)));
    group.bench_function("whole head", |bencher| bencher.iter(|| inputs.whole_head(128)));
    group.finish();
}

//! The loss of log-probabilities is the loss of the logits that they come from.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use tch::{Device, Kind, Tensor};
use vr1_ops::{Head, VocabularyMean, head_logprobs};
use vr1_sft::{
    Error, IGNORED, Normalizer, Objective, SftConfig, SftStats, sft_loss, sft_loss_of_logprobs, weighted_sft_loss,
};

const B: i64 = 3;
const T: i64 = 6;
const V: i64 = 11;
const F64: (Kind, Device) = (Kind::Double, Device::Cpu);

fn distance(a: &Tensor, b: &Tensor) -> f64 {
    (a - b).abs().max().double_value(&[])
}

/// Logits, labels of which some are ignored, and a weight a sequence.
fn batch() -> (Tensor, Tensor, Tensor) {
    tch::manual_seed(2);
    let labels = Tensor::randint(V, [B, T], (Kind::Int64, Device::Cpu));
    let labels = labels.masked_fill(&Tensor::rand([B, T], F64).lt(0.3), IGNORED);
    (Tensor::randn([B, T, V], F64) * 2.0, labels, Tensor::from_slice(&[0.5f64, 2.0, 1.25]))
}

/// What a head says of the labels: `[B, T − 1]` each, NaN where there is none.
struct Said {
    logprobs: Tensor,
    mean: Tensor,
    likeliest: Tensor,
    mask: Tensor,
}

impl Said {
    fn of(logits: &Tensor, labels: &Tensor) -> Self {
        let (all, labels) = (logits.narrow(1, 0, T - 1).log_softmax(-1, Kind::Double), labels.narrow(1, 1, T - 1));
        let mask = labels.ne(IGNORED);
        let picked = all.gather(-1, &labels.clamp_min(0).unsqueeze(-1), false).squeeze_dim(-1);
        let spoil = |tensor: Tensor| tensor.masked_fill(&mask.logical_not(), f64::NAN);
        Self {
            logprobs: spoil(picked),
            mean: spoil(all.mean_dim(-1i64, false, Kind::Double)),
            likeliest: all.argmax(-1, false).eq_tensor(&labels.clamp_min(0)),
            mask,
        }
    }

    fn flat(&self) -> Self {
        let [logprobs, mean, likeliest, mask] =
            [&self.logprobs, &self.mean, &self.likeliest, &self.mask].map(|tensor| tensor.flatten(0, -1));
        Self { logprobs, mean, likeliest, mask }
    }

    fn loss(&self, weights: Option<&Tensor>, config: &SftConfig) -> (Tensor, SftStats) {
        let (mean, likeliest) = (Some(&self.mean), Some(&self.likeliest));
        sft_loss_of_logprobs(&self.logprobs, &self.mask, mean, likeliest, weights, config).unwrap()
    }
}

#[test]
fn values_gradients_and_statistics_equal_those_of_the_logits() {
    let (logits, labels, weights) = batch();
    let spread = weights.unsqueeze(1).expand([B, T - 1], false).flatten(0, -1);
    let objectives = [(Objective::CrossEntropy, 0.0), (Objective::CrossEntropy, 0.1), (Objective::Dft, 0.0)];
    for (objective, label_smoothing) in objectives {
        for normalizer in [Normalizer::Local, Normalizer::Global(17.0)] {
            for weighted in [false, true] {
                let config = SftConfig { objective, label_smoothing, normalizer, ..Default::default() };
                let leaf = || logits.copy().set_requires_grad(true);
                let expected = leaf();
                let (loss, stats) =
                    weighted_sft_loss(&expected, &labels, weighted.then_some(&weights), &config).unwrap();
                loss.backward();
                for ragged in [false, true] {
                    let got = leaf();
                    let said = Said::of(&got, &labels);
                    let (loss, said_stats) = if ragged {
                        said.flat().loss(weighted.then_some(&spread), &config)
                    } else {
                        said.loss(weighted.then_some(&weights), &config)
                    };
                    loss.backward();
                    let what = format!("{config:?} weighted {weighted} ragged {ragged}");
                    assert!(distance(&got.grad(), &expected.grad()) < 1e-12, "{what}");
                    assert!((said_stats.loss - stats.loss).abs() < 1e-12, "{what}");
                    assert!((said_stats.nll - stats.nll).abs() < 1e-12, "{what}");
                    assert_eq!((said_stats.accuracy, said_stats.tokens), (stats.accuracy, stats.tokens), "{what}");
                }
            }
        }
    }
}

#[test]
fn a_head_in_chunks_trains_as_the_logits_do() {
    let (_, labels, _) = batch();
    let config = SftConfig { label_smoothing: 0.2, ..Default::default() };
    let (hidden, matrix) = (Tensor::randn([B, T, 5], F64), Tensor::randn([V, 5], F64));
    let leaves = || [hidden.copy().set_requires_grad(true), matrix.copy().set_requires_grad(true)];
    let [h0, w0] = leaves();
    let (expected, stats) = sft_loss(&h0.matmul(&w0.tr()), &labels, &config).unwrap();
    expected.backward();
    let [h, w] = leaves();
    let targets = labels.narrow(1, 1, T - 1).flatten(0, -1);
    let rows = targets.ne(IGNORED).nonzero().squeeze_dim(-1);
    let head = Head { chunk: 4, vocabulary_mean: VocabularyMean::Taken, ..Head::new(&w) };
    let states = h.narrow(1, 0, T - 1).flatten(0, 1).index_select(0, &rows);
    let out = head_logprobs(&states, &targets.index_select(0, &rows), &head).unwrap();
    let (mask, mean) = (out.logprobs.ones_like(), out.mean_logprobs.as_ref());
    let (loss, got) = sft_loss_of_logprobs(&out.logprobs, &mask, mean, Some(&out.likeliest), None, &config).unwrap();
    loss.backward();
    assert!((got.loss - stats.loss).abs() < 1e-12 && got.accuracy == stats.accuracy);
    assert!(distance(&h.grad(), &h0.grad()) < 1e-12 && distance(&w.grad(), &w0.grad()) < 1e-12);
}

#[test]
fn a_masked_nan_has_no_gradient() {
    let logprobs = Tensor::from_slice(&[-1f64, f64::NAN, f64::INFINITY]).set_requires_grad(true);
    let mean = Tensor::from_slice(&[-2f64, f64::NAN, f64::NAN]);
    let mask = Tensor::from_slice(&[true, false, false]);
    let config = SftConfig { label_smoothing: 0.25, ..Default::default() };
    let (loss, stats) = sft_loss_of_logprobs(&logprobs, &mask, Some(&mean), None, None, &config).unwrap();
    assert_eq!((stats.loss, stats.nll, stats.tokens), (0.75 + 0.5, 1.0, 1));
    loss.backward();
    assert_eq!(Vec::<f64>::try_from(logprobs.grad()).unwrap(), [-0.75, 0.0, 0.0]);
}

#[test]
fn a_part_without_a_label_adds_nothing_and_a_whole_without_one_is_an_error() {
    let (logprobs, none) = (Tensor::zeros([2, 3], F64).set_requires_grad(true), Tensor::zeros([2, 3], F64));
    let run = |config: &SftConfig| sft_loss_of_logprobs(&logprobs, &none, None, None, None, config);
    assert!(matches!(run(&SftConfig::default()), Err(Error::NoLabels)));
    let (loss, stats) = run(&SftConfig { normalizer: Normalizer::Global(4.0), ..Default::default() }).unwrap();
    assert_eq!((loss.double_value(&[]), stats.tokens), (0.0, 0));
    assert!(loss.requires_grad());
}

#[test]
fn what_is_wrong_is_named() {
    let (logprobs, mask) = (Tensor::from_slice(&[-1f64, -2.0]), Tensor::from_slice(&[1i64, 1]));
    let run = |logprobs: &Tensor, mean: Option<&Tensor>, weights: Option<&Tensor>, label_smoothing| {
        let config = SftConfig { label_smoothing, ..Default::default() };
        sft_loss_of_logprobs(logprobs, &mask, mean, None, weights, &config).map(|_| ()).unwrap_err()
    };
    assert_eq!(
        run(&logprobs, None, None, 0.1).to_string(),
        "`mean_logprobs` is needed because `label_smoothing` is not 0"
    );
    let bad = Tensor::from_slice(&[f64::NEG_INFINITY, -1.0]);
    assert!(matches!(run(&bad, None, None, 0.0), Error::NonFinite { name: "logprobs" }));
    assert!(matches!(run(&bad, Some(&logprobs), None, 0.1), Error::NonFinite { name: "logprobs" }));
    assert!(matches!(run(&logprobs, Some(&bad), None, 0.1), Error::NonFinite { name: "mean_logprobs" }));
    assert_eq!(
        run(&logprobs, None, Some(&Tensor::from_slice(&[1f64])), 0.0).to_string(),
        "`weights` must have shape [2] to go with `logprobs`, but its shape is [1]"
    );
    let negative = Tensor::from_slice(&[1f64, -0.5]);
    assert!(matches!(run(&logprobs, None, Some(&negative), 0.0), Error::Setting { field: "weights", got: -0.5, .. }));
    assert_eq!(
        run(&logprobs.view([1, 1, 2]), None, None, 0.0).to_string(),
        "`logprobs` must have 2 dimension(s), but its shape is [1, 1, 2]"
    );
}

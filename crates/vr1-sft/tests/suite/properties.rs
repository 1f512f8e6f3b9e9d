//! Invariants of the supervised loss and of labels, on drawn inputs.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use proptest::prelude::*;
use tch::{Kind, Tensor};
use vr1_sft::{
    Alignment, IGNORED, Normalizer, Objective, Role, SftConfig, SftStats, Span, TrainOn, labels_from_spans, neftune,
    pack, packed_boundaries, packed_labels, packed_position_ids, weighted_sft_loss,
};

const B: usize = 3;
const T: usize = 4;
const V: usize = 5;

fn pick<T: Clone + std::fmt::Debug + 'static>(values: &[T]) -> impl Strategy<Value = T> + use<T> {
    prop::sample::select(values.to_vec())
}

fn configs() -> impl Strategy<Value = SftConfig> {
    let objective = prop_oneof![
        Just((Objective::CrossEntropy, 0.0)),
        Just((Objective::Dft, 0.0)),
        (0.01..0.5).prop_map(|smoothing| (Objective::CrossEntropy, smoothing))
    ];
    (objective, pick(&[Alignment::NextToken, Alignment::Aligned])).prop_map(
        |((objective, label_smoothing), alignment)| SftConfig {
            objective,
            label_smoothing,
            alignment,
            ..SftConfig::default()
        },
    )
}

#[derive(Debug)]
struct Batch {
    logits: Tensor,
    labels: Tensor,
    weights: Tensor,
}

fn batches() -> impl Strategy<Value = Batch> {
    let label = prop_oneof![2 => 0..V as i64, 1 => Just(IGNORED)];
    let labels = prop::collection::vec(label, B * T).prop_filter("a label past the first place", |labels| {
        labels.chunks(T).any(|row| row[1..].iter().any(|&label| label != IGNORED))
    });
    (prop::collection::vec(-4.0..4.0, B * T * V), labels, prop::collection::vec(0.1..2.0, B)).prop_map(
        |(logits, labels, weights): (Vec<f64>, Vec<i64>, Vec<f64>)| Batch {
            logits: Tensor::from_slice(&logits).view([B as i64, T as i64, V as i64]),
            labels: Tensor::from_slice(&labels).view([B as i64, T as i64]),
            weights: Tensor::from_slice(&weights),
        },
    )
}

impl Batch {
    fn map(&self, f: impl Fn(&Tensor) -> Tensor) -> Self {
        Self { logits: f(&self.logits), labels: f(&self.labels), weights: f(&self.weights) }
    }

    fn run(&self, config: &SftConfig) -> (SftStats, Tensor) {
        let (leaf, weights) = (self.logits.copy().set_requires_grad(true), self.weights.copy().set_requires_grad(true));
        let (loss, stats) = weighted_sft_loss(&leaf, &self.labels, Some(&weights), config).unwrap();
        loss.backward();
        assert!(!weights.grad().defined(), "a gradient beside the logits");
        assert_eq!(stats.loss, loss.double_value(&[]));
        (stats, leaf.grad())
    }

    /// Which logits predict a label, `[B, T]`.
    fn predicts(&self, alignment: Alignment) -> Tensor {
        let labelled = self.labels.ne(IGNORED).to_kind(Kind::Int64);
        match alignment {
            Alignment::Aligned => labelled.ne(0),
            Alignment::NextToken => labelled.narrow(1, 1, T as i64 - 1).constant_pad_nd([0, 1]).ne(0),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn logits_without_a_label_change_nothing(b in batches(), config in configs(), filler in prop_oneof![Just(f64::NAN), Just(f64::INFINITY), -9.0..9.0]) {
        let (stats, gradient) = b.run(&config);
        let without = b.predicts(config.alignment).logical_not().unsqueeze(-1);
        let spoiled = Batch { logits: b.logits.masked_fill(&without, filler), ..b.map(Tensor::copy) };
        let (again, gradient_again) = spoiled.run(&config);
        prop_assert_eq!(stats, again);
        prop_assert_eq!(&gradient, &gradient_again);
        prop_assert_eq!(gradient.masked_select(&without).abs().sum(Kind::Double).double_value(&[]), 0.0);
    }

    #[test]
    fn micro_batches_add_up_to_the_batch(b in batches(), config in configs(), cut in 1i64..3) {
        let (stats, gradient) = b.run(&config);
        let labels = b.predicts(config.alignment).to_kind(Kind::Double);
        let weight = (labels * b.weights.unsqueeze(1)).sum(Kind::Double).double_value(&[]);
        let config = SftConfig { normalizer: Normalizer::Global(weight), ..config };
        let parts = [(0, cut), (cut, B as i64 - cut)].map(|(start, size)| b.map(|tensor| tensor.narrow(0, start, size)).run(&config));
        prop_assert!((parts[0].0.loss + parts[1].0.loss - stats.loss).abs() < 1e-10);
        let together = Tensor::cat(&[&parts[0].1, &parts[1].1], 0);
        prop_assert!((together - gradient).abs().max().double_value(&[]) < 1e-12);
    }

    #[test]
    fn gradients_agree_with_finite_differences(b in batches(), config in configs()) {
        // DFT's weight is detached: its gradient is that of cross-entropy under weights that stand still.
        prop_assume!(config.objective == Objective::CrossEntropy);
        let (_, gradient) = b.run(&config);
        for i in 0..(B * T * V) as i64 {
            let moved = |by: f64| {
                let b = b.map(Tensor::copy);
                let _ = b.logits.view([-1]).get(i).g_add_scalar_(by);
                b.run(&config).0.loss
            };
            let (expected, got) = ((moved(1e-6) - moved(-1e-6)) / 2e-6, gradient.view([-1]).double_value(&[i]));
            prop_assert!((got - expected).abs() < 1e-7, "{got} {expected}");
        }
    }

    #[test]
    fn weights_are_a_mean_of_the_equation(b in batches(), smoothing in 0.0..0.5) {
        // loss = Σ_i w_i Σ_t ((1 − ε)·nll + ε·mean_v(−log p_v)) / Σ_i w_i N_i, by hand in f64.
        let config = SftConfig { label_smoothing: smoothing, alignment: Alignment::Aligned, ..SftConfig::default() };
        prop_assume!(b.labels.ne(IGNORED).any().int64_value(&[]) == 1);
        let (mut total, mut count) = (0.0, 0.0);
        for row in 0..B as i64 {
            let weight = b.weights.double_value(&[row]);
            for t in 0..T as i64 {
                let label = b.labels.int64_value(&[row, t]);
                let logits = Vec::<f64>::try_from(b.logits.get(row).get(t)).unwrap();
                let normalizer = logits.iter().map(|logit| logit.exp()).sum::<f64>().ln();
                if label != IGNORED {
                    let uniform = logits.iter().map(|logit| normalizer - logit).sum::<f64>() / V as f64;
                    total += weight * ((1.0 - smoothing) * (normalizer - logits[label as usize]) + smoothing * uniform);
                    count += weight;
                }
            }
        }
        prop_assert!((b.run(&config).0.loss - total / count).abs() < 1e-12);
    }

    #[test]
    fn noise_has_the_size_of_the_papers_equation(
        noise in prop::collection::vec(-1.0f64..1.0, 2 * 4 * 3), lengths in prop::collection::vec(0i64..5, 2), alpha in 0.0..10.0,
    ) {
        let grid = Tensor::from_slice(&noise).view([2, 4, 3]);
        let mask = Tensor::arange(4, (Kind::Int64, tch::Device::Cpu)).unsqueeze(0).lt_tensor(&Tensor::from_slice(&lengths).unsqueeze(1));
        let out = neftune(&grid.zeros_like(), &grid, &mask.to_kind(Kind::Int64), alpha).unwrap();
        for (i, value) in Vec::<f64>::try_from(out.view([-1])).unwrap().into_iter().enumerate() {
            let length = lengths[i / 12];
            let expected = if ((i / 3) % 4) < length as usize { alpha / (length as f64 * 3.0).sqrt() * noise[i] } else { 0.0 };
            prop_assert!((value - expected).abs() < 1e-12);
        }
    }

    #[test]
    fn every_label_is_the_token_or_nothing(
        roles in prop::collection::vec((0usize..5, pick(&[Role::System, Role::User, Role::Assistant, Role::Tool, Role::Media, Role::Padding])), 0..8),
        train_on in pick(&[TrainOn::Assistant, TrainOn::Completion, TrainOn::Everything]),
    ) {
        let mut start = 0;
        let spans: Vec<Span> = roles.iter().map(|&(length, role)| {
            let span = Span { start, end: start + length, role };
            start += length;
            span
        }).collect();
        let ids: Vec<i64> = (0..start as i64).map(|id| id + 100).collect();
        let last = spans.iter().rev().find(|span| span.role == Role::Assistant && span.start < span.end);
        for (t, label) in labels_from_spans(&ids, &spans, train_on).unwrap().into_iter().enumerate() {
            let span = spans.iter().find(|span| (span.start..span.end).contains(&t)).unwrap();
            let learnt = match train_on {
                TrainOn::Assistant => span.role == Role::Assistant,
                TrainOn::Completion => Some(span) == last,
                TrainOn::Everything => !matches!(span.role, Role::Media | Role::Padding),
            };
            prop_assert_eq!(label, if learnt { ids[t] } else { IGNORED });
        }
    }

    #[test]
    fn every_sequence_stands_in_exactly_one_row(lengths in prop::collection::vec(0usize..50, 0..60), capacity in 50usize..120) {
        let packs = pack(&lengths, capacity).unwrap();
        let mut seen: Vec<usize> = packs.iter().flat_map(|pack| pack.sequences.clone()).collect();
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..lengths.len()).collect::<Vec<_>>());
        for pack in &packs {
            prop_assert!(pack.tokens <= capacity);
            prop_assert_eq!(pack.tokens, pack.sequences.iter().map(|&i| lengths[i]).sum::<usize>());
        }
        // Of any two rows one is more than half full, or they would be one.
        prop_assert!(packs.iter().filter(|pack| pack.tokens * 2 <= capacity).count() <= 1);
    }

    #[test]
    fn a_packed_row_starts_again_at_every_sequence(lengths in prop::collection::vec(1usize..9, 1..6)) {
        let (positions, boundaries) = (packed_position_ids(&lengths), packed_boundaries(&lengths));
        let labels: Vec<Vec<i64>> = lengths.iter().map(|&length| vec![7; length]).collect();
        let labels = packed_labels(&labels.iter().map(Vec::as_slice).collect::<Vec<_>>());
        prop_assert_eq!(boundaries.len(), lengths.len() + 1);
        for (t, (&position, &label)) in positions.iter().zip(&labels).enumerate() {
            let start = boundaries.iter().rfind(|&&start| start <= t as i64).unwrap();
            prop_assert_eq!(position, t as i64 - start);
            prop_assert_eq!(label, if position == 0 { IGNORED } else { 7 });
        }
    }
}

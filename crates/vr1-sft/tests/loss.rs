//! Properties of the supervised loss.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use tch::{Device, Kind, Tensor};
use vr1_sft::{Alignment, Error, Normalizer, Objective, SftConfig, sft_loss};

fn batch() -> (Tensor, Tensor) {
    tch::manual_seed(1);
    let logits = Tensor::randn([3, 5, 7], (Kind::Double, Device::Cpu));
    let labels = Tensor::randint(7, [3, 5], (Kind::Int64, Device::Cpu));
    let ignored = Tensor::rand([3, 5], (Kind::Double, Device::Cpu)).lt(0.4);
    (logits, labels.masked_fill(&ignored, -100))
}

#[test]
fn the_shift_inside_equals_a_shift_outside() {
    let (logits, labels) = batch();
    let (inside, _) = sft_loss(&logits, &labels, &SftConfig::default()).unwrap();
    let aligned = SftConfig { alignment: Alignment::Aligned, ..Default::default() };
    let (outside, _) = sft_loss(&logits.narrow(1, 0, 4), &labels.narrow(1, 1, 4), &aligned).unwrap();
    assert_eq!(inside, outside);
}

#[test]
fn logits_without_a_label_do_not_matter() {
    let (logits, labels) = batch();
    for objective in [Objective::CrossEntropy, Objective::Dft] {
        let config = SftConfig { objective, ..Default::default() };
        let without = labels.narrow(1, 1, 4).eq(-100).constant_pad_nd([0, 1]).logical_not().logical_not();
        let spoiled = logits.masked_fill(&without.unsqueeze(-1), f64::NAN);
        let run = |logits: &Tensor| {
            let leaf = logits.copy().set_requires_grad(true);
            let (loss, stats) = sft_loss(&leaf, &labels, &config).unwrap();
            loss.backward();
            (stats, leaf.grad())
        };
        assert_eq!(run(&logits), run(&spoiled));
    }
}

#[test]
fn micro_batches_add_up_to_the_batch() {
    let (logits, labels) = batch();
    for config in [
        SftConfig { label_smoothing: 0.1, ..Default::default() },
        SftConfig { objective: Objective::Dft, ..Default::default() },
    ] {
        let (whole, stats) = sft_loss(&logits, &labels, &config).unwrap();
        let config = SftConfig { normalizer: Normalizer::Global(stats.tokens as f64), ..config };
        let parts = (0..3).map(|i| sft_loss(&logits.narrow(0, i, 1), &labels.narrow(0, i, 1), &config).unwrap().0);
        assert!((parts.map(|part| part.double_value(&[])).sum::<f64>() - whole.double_value(&[])).abs() < 1e-12);
    }
}

#[test]
fn bad_input_is_an_error_that_names_it() {
    let (logits, labels) = batch();
    let config = SftConfig::default();
    assert!(matches!(sft_loss(&logits, &labels.full_like(-100), &config), Err(Error::NoLabels)));
    assert_eq!(
        sft_loss(&logits, &labels.full_like(7), &config).unwrap_err().to_string(),
        "`labels` holds the id 7, outside a vocabulary of 7"
    );
    assert!(sft_loss(&logits, &labels.narrow(1, 0, 3), &config).unwrap_err().to_string().contains("[3, 5]"));
    assert!(matches!(sft_loss(&logits.full_like(f64::NAN), &labels, &config), Err(Error::NonFinite { .. })));
}

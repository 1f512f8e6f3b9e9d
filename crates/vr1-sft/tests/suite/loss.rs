//! Properties of the supervised loss.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use tch::{Device, Kind, Tensor};
use vr1_sft::{Alignment, SftConfig, sft_loss};

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

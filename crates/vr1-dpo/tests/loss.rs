//! Properties of the preference losses that need no reference.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use tch::{Device, Kind, Tensor};
use vr1_dpo::{Divergence, DpoConfig, DpoLoss, Error, Extras, Normalizer, dpo_loss, dpo_loss_with};

const LOSSES: [DpoLoss; 16] = [
    DpoLoss::Sigmoid,
    DpoLoss::SigmoidNorm,
    DpoLoss::Hinge,
    DpoLoss::Ipo,
    DpoLoss::Exo,
    DpoLoss::Nca,
    DpoLoss::Robust,
    DpoLoss::Bco { shift: 0.1 },
    DpoLoss::Sppo,
    DpoLoss::ApoZero,
    DpoLoss::ApoDown,
    DpoLoss::DiscoPop { temperature: 0.05 },
    DpoLoss::ChosenNll,
    DpoLoss::ChosenNllPerPair,
    DpoLoss::Aot,
    DpoLoss::AotUnpaired,
];

fn config(loss: DpoLoss) -> DpoConfig {
    let label_smoothing = if matches!(loss, DpoLoss::Exo | DpoLoss::Robust) { 0.1 } else { 0.0 };
    DpoConfig { loss, label_smoothing, ..Default::default() }
}

fn batch() -> ([Tensor; 4], Tensor, Tensor) {
    tch::manual_seed(1);
    let f64 = (Kind::Double, Device::Cpu);
    let tokens = || Tensor::randint_low(1, 20, [6], f64);
    ([(); 4].map(|()| Tensor::randn([6], f64) * 0.5 - 20.0), tokens(), tokens())
}

fn run(logprobs: &[Tensor; 4], chosen: &Tensor, rejected: &Tensor, config: &DpoConfig) -> (f64, [Tensor; 2]) {
    let leaves = [0, 1].map(|i: usize| logprobs[i].copy().set_requires_grad(true));
    let inputs = [&leaves[0], &leaves[1], &logprobs[2], &logprobs[3]];
    let extras = Extras { chosen_tokens: Some(chosen), rejected_tokens: Some(rejected), ..Default::default() };
    let (loss, stats) = dpo_loss_with(inputs, extras, config).unwrap();
    loss.backward();
    (stats.loss, leaves.map(|leaf| if leaf.grad().defined() { leaf.grad() } else { leaf.zeros_like() }))
}

#[test]
fn micro_batches_add_up_to_the_batch() {
    let (logprobs, chosen, rejected) = batch();
    for loss in &LOSSES[..14] {
        let config = config(*loss);
        let (whole, gradient) = run(&logprobs, &chosen, &rejected, &config);
        let normalizer = Normalizer::Global { pairs: 6.0, chosen_tokens: chosen.sum(Kind::Double).double_value(&[]) };
        let config = DpoConfig { normalizer, ..config };
        let (mut total, mut parts) = (0.0, Vec::new());
        for (start, size) in [(0, 1), (1, 2), (3, 3)] {
            let cut = |tensor: &Tensor| tensor.narrow(0, start, size);
            let logprobs = [0, 1, 2, 3].map(|i: usize| cut(&logprobs[i]));
            let (loss, [chosen, _]) = run(&logprobs, &cut(&chosen), &cut(&rejected), &config);
            total += loss;
            parts.push(chosen);
        }
        assert!((total - whole).abs() < 1e-10, "{loss:?}");
        assert!((Tensor::cat(&parts, 0) - &gradient[0]).abs().max().double_value(&[]) < 1e-12, "{loss:?}");
    }
}

#[test]
fn gradients_agree_with_finite_differences() {
    let (logprobs, chosen, rejected) = batch();
    let divergences = [Divergence::ReverseKl, Divergence::JensenShannon, Divergence::ForwardKl, Divergence::Alpha(0.5)];
    for divergence in divergences {
        for loss in LOSSES {
            let config = DpoConfig { divergence, beta: 0.3, ..config(loss) };
            if config.validate().is_err() {
                continue;
            }
            let (_, gradient) = run(&logprobs, &chosen, &rejected, &config);
            for side in [0, 1] {
                for i in 0..6 {
                    let moved = |by: f64| {
                        let moved = [0, 1, 2, 3].map(|j: usize| logprobs[j].copy());
                        let _ = moved[side].get(i).g_add_scalar_(by);
                        run(&moved, &chosen, &rejected, &config).0
                    };
                    let expected = (moved(1e-6) - moved(-1e-6)) / 2e-6;
                    let got = gradient[side].double_value(&[i]);
                    assert!((got - expected).abs() < 1e-6 * (1.0 + expected.abs()), "{config:?}: {got} {expected}");
                }
            }
        }
    }
}

#[test]
fn bad_input_is_an_error_that_names_it() {
    let ([a, b, c, d], _, _) = batch();
    let default = DpoConfig::default();
    let message = dpo_loss(&a, &b.narrow(0, 0, 2), &c, &d, &default).unwrap_err().to_string();
    assert_eq!(message, "`rejected_logprobs` must have shape [6] to go with `chosen_logprobs`, but its shape is [2]");
    let nan = c.full_like(f64::NAN);
    assert!(matches!(
        dpo_loss(&a, &b, &nan, &d, &default),
        Err(Error::NonFinite { name: "ref_chosen_logprobs", count: 6 })
    ));
    let none = a.narrow(0, 0, 0);
    assert!(matches!(dpo_loss(&none, &none, &none, &none, &default), Err(Error::EmptyBatch)));
    assert!(matches!(dpo_loss(&a, &b, &c, &d, &config(DpoLoss::SigmoidNorm)), Err(Error::Missing { .. })));
    let unused = DpoConfig { divergence: Divergence::ForwardKl, ..config(DpoLoss::Nca) };
    assert!(matches!(dpo_loss(&a, &b, &c, &d, &unused), Err(Error::Unused { field: "divergence", .. })));
    let disco = config(DpoLoss::DiscoPop { temperature: 0.05 });
    assert!(matches!(dpo_loss(&(a - 1e5), &b, &c, &d, &disco), Err(Error::Overflow { .. })));
}

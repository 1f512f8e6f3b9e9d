//! What TRL 1.16 does not have, against the papers' equations written out in f64.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use tch::Tensor;
use vr1_dpo::{
    DpoConfig, DpoLoss, Extras, PairRule, ReferenceFreeConfig, dpo_loss_with, preference_pairs, reference_free_loss,
};

const CHOSEN: [f64; 3] = [-10.0, -4.0, -7.5];
const REJECTED: [f64; 3] = [-12.0, -3.0, -7.0];
const REF_CHOSEN: [f64; 3] = [-11.0, -4.5, -7.0];
const REF_REJECTED: [f64; 3] = [-11.5, -3.5, -8.0];
const TOKENS: [f64; 3] = [5.0, 2.0, 3.0];
const BETA: f64 = 0.4;

fn log_sigmoid(x: f64) -> f64 {
    -(-x).exp().ln_1p()
}

fn run(loss: DpoLoss, label_smoothing: f64) -> f64 {
    let tensors = [CHOSEN, REJECTED, REF_CHOSEN, REF_REJECTED].map(|x| Tensor::from_slice(&x));
    let tokens = Tensor::from_slice(&TOKENS);
    let extras = Extras { chosen_tokens: Some(&tokens), ..Default::default() };
    let config = DpoConfig { loss, label_smoothing, beta: BETA, ..Default::default() };
    let inputs = [&tensors[0], &tensors[1], &tensors[2], &tensors[3]];
    dpo_loss_with(inputs, extras, &config).unwrap().0.double_value(&[])
}

fn mean(value: impl Fn(usize) -> f64) -> f64 {
    (0..3).map(value).sum::<f64>() / 3.0
}

fn c(i: usize) -> f64 {
    BETA * (CHOSEN[i] - REF_CHOSEN[i])
}

fn r(i: usize) -> f64 {
    BETA * (REJECTED[i] - REF_REJECTED[i])
}

#[test]
fn conservative_dpo_mixes_both_directions() {
    let expected = mean(|i| -0.9 * log_sigmoid(c(i) - r(i)) - 0.1 * log_sigmoid(r(i) - c(i)));
    assert!((run(DpoLoss::Sigmoid, 0.1) - expected).abs() < 1e-12);
}

#[test]
fn bco_measures_rewards_from_its_shift() {
    let expected = mean(|i| -log_sigmoid(c(i) - 0.2) - log_sigmoid(-(r(i) - 0.2)));
    assert!((run(DpoLoss::Bco { shift: 0.2 }, 0.0) - expected).abs() < 1e-12);
}

#[test]
fn ipo_without_token_counts_is_the_equation_as_printed() {
    let tensors = [CHOSEN, REJECTED, REF_CHOSEN, REF_REJECTED].map(|x| Tensor::from_slice(&x));
    let config = DpoConfig { loss: DpoLoss::Ipo, beta: BETA, ..Default::default() };
    let loss = vr1_dpo::dpo_loss(&tensors[0], &tensors[1], &tensors[2], &tensors[3], &config).unwrap().0;
    let expected = mean(|i| ((c(i) - r(i)) / BETA - 0.5 / BETA).powi(2));
    assert!((loss.double_value(&[]) - expected).abs() < 1e-12);
}

#[test]
fn the_likelihood_of_rpo_weighs_pairs_alike() {
    assert!((run(DpoLoss::ChosenNllPerPair, 0.0) - mean(|i| -CHOSEN[i] / TOKENS[i])).abs() < 1e-12);
}

#[test]
fn cpo_adds_the_likelihood_of_the_chosen() {
    let t = |x: &[f64; 3]| Tensor::from_slice(x);
    let config = ReferenceFreeConfig::CPO;
    let (loss, _) = reference_free_loss(&t(&CHOSEN), &t(&REJECTED), &t(&TOKENS), &t(&TOKENS), &config).unwrap();
    let nll = -CHOSEN.iter().sum::<f64>() / TOKENS.iter().sum::<f64>();
    let expected = mean(|i| -log_sigmoid(0.1 * (CHOSEN[i] - REJECTED[i]))) + nll;
    assert!((loss.double_value(&[]) - expected).abs() < 1e-12);
}

#[test]
fn ties_and_missing_scores_make_no_pair() {
    for rule in [PairRule::BestWorst, PairRule::All] {
        assert_eq!(preference_pairs(&[0.5; 8], 4, 0.0, rule).unwrap(), []);
        assert_eq!(preference_pairs(&[f32::NAN, 1.0, f32::NAN, f32::NAN], 4, 0.0, rule).unwrap(), []);
        assert!(preference_pairs(&[0.0; 5], 4, 0.0, rule).is_err() && preference_pairs(&[], 0, 0.0, rule).is_err());
    }
    let pairs = preference_pairs(&[0.0, 1.0, 1.0, 0.0], 4, 0.0, PairRule::BestWorst).unwrap();
    assert_eq!((pairs[0].chosen, pairs[0].rejected), (1, 0));
}

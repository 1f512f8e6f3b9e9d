//! Configurations as recipes write them; with `--features serde`.
#![cfg(feature = "serde")]
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use vr1_dpo::{
    Divergence, DpoConfig, DpoLoss, KtoConfig, KtoLoss, MPO, Normalizer, PairRule, RPO, ReferenceFreeConfig,
    ReferenceFreeLoss,
};

fn yaml<T: DeserializeOwned>(text: &str) -> T {
    serde_yaml::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refused<T: DeserializeOwned + Debug>(text: &str) -> String {
    serde_yaml::from_str::<T>(text).unwrap_err().to_string()
}

fn survives<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T) {
    let text = serde_yaml::to_string(&value).unwrap();
    assert_eq!(yaml::<T>(&text), value, "{text}");
    let text = serde_json::to_string(&value).unwrap();
    assert_eq!(serde_json::from_str::<T>(&text).unwrap(), value, "{text}");
}

#[test]
fn every_choice_survives_its_recipe() {
    use DpoLoss::*;
    let losses = [
        Sigmoid,
        SigmoidNorm,
        Hinge,
        Ipo,
        Exo,
        Nca,
        Robust,
        Bco { shift: 0.25 },
        Sppo,
        Aot,
        AotUnpaired,
        ApoZero,
        ApoDown,
        DiscoPop { temperature: 0.1 },
        ChosenNll,
        ChosenNllPerPair,
    ];
    for loss in losses {
        survives(DpoConfig { loss, beta: 1.0 / 3.0, label_smoothing: 1e-3, ..Default::default() });
    }
    let divergences = [Divergence::ReverseKl, Divergence::ForwardKl, Divergence::JensenShannon, Divergence::Alpha(0.5)];
    for divergence in divergences {
        let normalizer = Normalizer::Global { pairs: 4.0, chosen_tokens: 100.0 };
        survives(DpoConfig { divergence, normalizer, ..Default::default() });
    }
    survives(MPO);
    survives(RPO);
    for loss in [KtoLoss::Kto, KtoLoss::ApoZero] {
        survives(KtoConfig { loss, undesirable_weight: 1.5, completions: Some(8.0), ..Default::default() });
    }
    use ReferenceFreeLoss as Free;
    for loss in [Free::SimPo { gamma: 0.5 }, Free::Orpo, Free::Cpo, Free::Hinge, Free::Ipo] {
        let (beta, label_smoothing, nll_weight) = (0.7, 0.1, 0.3);
        survives(ReferenceFreeConfig { loss, beta, label_smoothing, nll_weight, whole: Some((4.0, 100.0)) });
        survives(ReferenceFreeConfig::of(loss));
    }
    survives([PairRule::BestWorst, PairRule::All]);
}

#[test]
fn recipes_of_papers_are_read() {
    assert_eq!(yaml::<DpoConfig>("{}"), DpoConfig::default());
    assert_eq!(yaml::<KtoConfig>("{}"), KtoConfig::default());
    let conservative: DpoConfig = yaml("{label_smoothing: 0.1, beta: 1}");
    assert_eq!(conservative, DpoConfig { label_smoothing: 0.1, beta: 1.0, ..Default::default() });
    assert_eq!(yaml::<DpoConfig>("loss: {kind: discopop}").loss, DpoLoss::DiscoPop { temperature: 0.05 });
    assert_eq!(yaml::<DpoConfig>("loss: {kind: bco}").loss, DpoLoss::Bco { shift: 0.0 });
    assert_eq!(yaml::<DpoConfig>("divergence: {kind: alpha, alpha: 0.5}").divergence, Divergence::Alpha(0.5));
    assert_eq!(yaml::<KtoConfig>("loss: apo_zero").loss, KtoLoss::ApoZero);
    assert_eq!(yaml::<PairRule>("best_worst"), PairRule::BestWorst);
}

#[test]
fn a_mixture_is_a_list_of_weights_and_losses() {
    let mpo: Vec<(f64, DpoLoss)> = yaml("[[0.8, {kind: sigmoid}], [0.2, {kind: bco}], [1, {kind: chosen_nll}]]");
    assert_eq!(mpo, MPO);
    let rpo: Vec<(f64, DpoLoss)> = yaml("- [1, {kind: sigmoid}]\n- [1.0, {kind: chosen_nll}]\n");
    assert_eq!(rpo, RPO);
    let error = refused::<Vec<(f64, DpoLoss)>>("[[0.8, {kind: sigmoids}]]");
    assert!(error.contains("sigmoids") && error.contains("sigmoid_norm"), "{error}");
}

#[test]
fn a_reference_free_loss_brings_its_own_settings() {
    assert_eq!(yaml::<ReferenceFreeConfig>("loss: {kind: simpo}"), ReferenceFreeConfig::SIMPO);
    assert_eq!(yaml::<ReferenceFreeConfig>("loss: {kind: orpo}"), ReferenceFreeConfig::ORPO);
    assert_eq!(yaml::<ReferenceFreeConfig>("loss: {kind: cpo}"), ReferenceFreeConfig::CPO);
    let simpo: ReferenceFreeConfig = yaml("{loss: {kind: sim_po, gamma: 1.4}, beta: 2.5}");
    let loss = ReferenceFreeLoss::SimPo { gamma: 1.4 };
    assert_eq!(simpo, ReferenceFreeConfig { loss, beta: 2.5, ..ReferenceFreeConfig::SIMPO });
    assert!(refused::<ReferenceFreeConfig>("beta: 2").contains("loss"));
}

#[test]
fn a_key_that_has_no_place_is_refused() {
    for (key, text) in [
        ("betta", "betta: 0.1"),
        ("shift", "loss: {kind: sigmoid, shift: 1}"),
        ("shift", "loss: {kind: chosen_nll_per_pair, shift: 1}"),
        ("shift", "loss: {kind: discopop, shift: 1}"),
        ("pairs", "normalizer: {kind: local, pairs: 8}"),
        ("tokens", "normalizer: {kind: global, pairs: 8, chosen_tokens: 9, tokens: 9}"),
        ("beta", "divergence: {kind: alpha, alpha: 0.5, beta: 1}"),
        ("alfa", "divergence: {kind: forward_kl, alfa: 1}"),
    ] {
        let error = refused::<DpoConfig>(text);
        assert!(error.contains(key), "{text}: {error}");
    }
    assert!(refused::<KtoConfig>("weight: 1").contains("weight"));
    for (key, text) in [("gamma", "loss: {kind: orpo, gamma: 1}"), ("lambda", "{loss: {kind: orpo}, lambda: 0.1}")] {
        let error = refused::<ReferenceFreeConfig>(text);
        assert!(error.contains(key), "{text}: {error}");
    }
}

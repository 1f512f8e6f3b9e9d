//! Configurations as recipes write them; with `--features serde`.
#![cfg(feature = "serde")]
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use vr1_grpo::{
    AdvantageConfig, Aggregation, Baseline, CispoCap, Compat, EmptyRows, EntropyMask, GroupOfOne, GrpoConfig,
    Importance, KlEstimator, KlGradient, KlWeight, Normalizer, Objective, ReinforceConfig, SamplerCorrection, Scale,
    Whitening,
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
}

#[test]
fn a_configuration_survives_its_recipe() {
    for system in [Compat::Trl, Compat::Verl, Compat::EasyR1, Compat::VlmR1, Compat::OpenR1] {
        let text = serde_json::to_string(&system.grpo()).unwrap();
        assert_eq!(serde_json::from_str::<GrpoConfig>(&text).unwrap(), system.grpo(), "{text}");
        survives(system);
        survives(system.grpo());
        survives(system.advantages());
    }
}

#[test]
fn every_choice_survives_its_recipe() {
    let grpo = GrpoConfig::default();
    let objectives = [Objective::Clip, Objective::SAPO, Objective::VESPO, Objective::Unclipped, Objective::Reinforce];
    let caps = [CispoCap::Absolute, CispoCap::Around].map(|cap| Objective::Cispo { cap });
    objectives.into_iter().chain(caps).for_each(|objective| survives(GrpoConfig { objective, ..grpo }));
    let importance = [Importance::Token, Importance::Sequence, Importance::SequenceToken, Importance::SequenceProduct];
    importance.into_iter().for_each(|importance| survives(GrpoConfig { importance, ..grpo }));
    let aggregations =
        [Aggregation::Sequence, Aggregation::Token, Aggregation::Constant(512), Aggregation::SequenceSum];
    aggregations.into_iter().for_each(|aggregation| survives(GrpoConfig { aggregation, ..grpo }));
    for normalizer in [Normalizer::Local, Normalizer::Global { sequences: 8.0, tokens: 1234.5 }] {
        survives(GrpoConfig { normalizer, empty_rows: EmptyRows::Skipped, ..grpo });
    }
    for kl in [KlEstimator::K1, KlEstimator::K2, KlEstimator::K3, KlEstimator::Absolute] {
        survives(GrpoConfig { kl, kl_weight: KlWeight::Ratio, kl_gradient: KlGradient::K2, ..grpo });
    }
    for entropy_mask in [EntropyMask::All, EntropyMask::Top(0.2), EntropyMask::AtLeast(1.0 / 3.0)] {
        survives(GrpoConfig { entropy_mask, ..grpo });
    }
    let (min, max) = (Some(0.5), f64::INFINITY);
    for sampler_correction in [
        SamplerCorrection::None,
        SamplerCorrection::TokenTruncate { min: None, max: 2.0 },
        SamplerCorrection::TokenMask { min, max },
        SamplerCorrection::SequenceTruncate { min, max: 1e6 },
        SamplerCorrection::SequenceMask { min, max },
    ] {
        survives(GrpoConfig { sampler_correction, off_policy_threshold: Some(0.1), ..grpo });
    }
    for baseline in [Baseline::GroupMean, Baseline::LeaveOneOut, Baseline::BatchMean, Baseline::None] {
        for scale in [Scale::Group, Scale::Batch, Scale::None] {
            survives(AdvantageConfig { baseline, scale, epsilon: 1e-6, group_of_one: GroupOfOne::RawReward });
        }
        for whitening in [Whitening::Tokens, Whitening::None] {
            survives(ReinforceConfig { baseline, kl_coefficient: 1e-3, gamma: 0.99, whitening });
        }
    }
}

#[test]
fn recipes_of_papers_are_read() {
    let dapo: GrpoConfig = yaml("{aggregation: {kind: token}, epsilon_high: 0.28, beta: 0}");
    assert_eq!((dapo.aggregation, dapo.epsilon_high, dapo.beta), (Aggregation::Token, Some(0.28), 0.0));
    let dr: GrpoConfig = yaml("aggregation: {kind: constant, tokens: 512}");
    assert_eq!(dr.aggregation, Aggregation::Constant(512));
    let cispo: GrpoConfig = yaml("{objective: {kind: cispo}, epsilon_high: 5}");
    assert_eq!(cispo.objective, Objective::Cispo { cap: CispoCap::Absolute });
    assert_eq!(yaml::<GrpoConfig>("objective: {kind: sapo}").objective, Objective::SAPO);
    assert_eq!(yaml::<GrpoConfig>("objective: {kind: vespo}").objective, Objective::VESPO);
    let tempered: GrpoConfig = yaml("objective: {kind: sapo, temperature_negative: 2}");
    let (temperature_positive, temperature_negative) = (1.0, 2.0);
    assert_eq!(tempered.objective, Objective::Sapo { temperature_positive, temperature_negative });
    let sampled: GrpoConfig =
        yaml("{sampler_correction: {kind: sequence_mask, max: 3}, entropy_mask: {kind: top, value: 0.2}}");
    assert_eq!(sampled.sampler_correction, SamplerCorrection::SequenceMask { min: None, max: 3.0 });
    assert_eq!(sampled.entropy_mask, EntropyMask::Top(0.2));
    let rloo: AdvantageConfig = yaml("{baseline: leave_one_out, scale: none}");
    assert_eq!((rloo.baseline, rloo.scale), (Baseline::LeaveOneOut, Scale::None));
    let plus_plus: ReinforceConfig = yaml("kl_coefficient: 0.01");
    assert_eq!(plus_plus, ReinforceConfig { kl_coefficient: 0.01, ..Default::default() });
    assert_eq!(yaml::<ReinforceConfig>("baseline: group_mean"), ReinforceConfig::WITH_BASELINE);
}

#[test]
fn fields_left_out_are_the_papers_and_unknown_ones_are_refused() {
    assert_eq!(yaml::<GrpoConfig>("{}"), GrpoConfig::default());
    assert_eq!(yaml::<AdvantageConfig>("{}"), AdvantageConfig::default());
    assert_eq!(yaml::<ReinforceConfig>("{}"), ReinforceConfig::default());
    let error = refused::<GrpoConfig>("bata: 0.1");
    assert!(error.contains("bata") && error.contains("beta"), "{error}");
    assert!(refused::<AdvantageConfig>("scales: batch").contains("scales"));
    assert!(refused::<ReinforceConfig>("gama: 1").contains("gama"));
}

#[test]
fn a_key_that_its_kind_has_no_place_for_is_refused() {
    for (key, text) in [
        ("temperature_positive", "objective: {kind: clip, temperature_positive: 2}"),
        ("cap", "objective: {kind: unclipped, cap: around}"),
        ("cap", "objective: {kind: reinforce, cap: around}"),
        ("cap", "objective: {kind: sapo, cap: around}"),
        ("length", "aggregation: {kind: token, length: 512}"),
        ("length", "aggregation: {kind: constant, tokens: 512, length: 512}"),
        ("tokens", "normalizer: {kind: local, tokens: 512}"),
        ("pairs", "normalizer: {kind: global, sequences: 8, tokens: 512, pairs: 8}"),
        ("share", "entropy_mask: {kind: all, share: 0.2}"),
        ("share", "entropy_mask: {kind: top, value: 0.2, share: 0.2}"),
        ("max", "sampler_correction: {kind: none, max: 3}"),
        ("least", "sampler_correction: {kind: token_mask, max: 3, least: 1}"),
    ] {
        let error = refused::<GrpoConfig>(text);
        assert!(error.contains(key), "{text}: {error}");
    }
}

//! Configurations as recipes write them; with `--features serde`.
#![cfg(feature = "serde")]
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use vr1_sft::{Alignment, Normalizer, Objective, SftConfig, TrainOn};

#[test]
fn every_choice_survives_its_recipe() {
    for objective in [Objective::CrossEntropy, Objective::Dft] {
        for alignment in [Alignment::NextToken, Alignment::Aligned] {
            for normalizer in [Normalizer::Local, Normalizer::Global(1234.5)] {
                let config = SftConfig { objective, alignment, normalizer, label_smoothing: 1.0 / 3.0 };
                let text = serde_yaml::to_string(&config).unwrap();
                assert_eq!(serde_yaml::from_str::<SftConfig>(&text).unwrap(), config, "{text}");
            }
        }
    }
    let everything = [TrainOn::Assistant, TrainOn::Completion, TrainOn::Everything];
    let text = serde_yaml::to_string(&everything).unwrap();
    assert_eq!(serde_yaml::from_str::<[TrainOn; 3]>(&text).unwrap(), everything, "{text}");
}

#[test]
fn fields_left_out_are_hugging_faces_and_unknown_ones_are_refused() {
    assert_eq!(serde_yaml::from_str::<SftConfig>("{}").unwrap(), SftConfig::default());
    assert_eq!(serde_yaml::from_str::<SftConfig>("objective: dft").unwrap().objective, Objective::Dft);
    for (key, text) in [
        ("smoothing", "smoothing: 0.1"),
        ("sequences", "normalizer: {kind: global, tokens: 9, sequences: 2}"),
        ("sequences", "normalizer: {kind: local, sequences: 2}"),
    ] {
        let error = serde_yaml::from_str::<SftConfig>(text).unwrap_err().to_string();
        assert!(error.contains(key), "{text}: {error}");
    }
}

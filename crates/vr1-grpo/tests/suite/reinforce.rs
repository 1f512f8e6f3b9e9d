//! KL terms in rewards, and the advantages of tokens.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use proptest::prelude::*;
use vr1_grpo::{
    AdvantageConfig, Baseline, Error, ReinforceConfig, Scale, Whitening, advantages_by_group, kl_in_reward,
    reinforce_advantages, whiten_by_tokens,
};

/// Completions of 2, 3, 1 and 2 tokens, and how much likelier than their reference they are.
fn sequences() -> (Vec<Vec<f32>>, Vec<Vec<f32>>, [f32; 4]) {
    let logprobs = vec![vec![-1.0, -2.0], vec![-0.5, -0.5, -1.0], vec![-3.0], vec![-1.0, -1.0]];
    let reference = vec![vec![-1.5, -2.5], vec![-0.5, -1.0, -2.0], vec![-1.0], vec![-1.0, -1.0]];
    (logprobs, reference, [1.0, 1.5, -2.0, 0.0])
}

#[test]
fn the_kl_term_of_a_completion_is_the_sum_of_its_tokens() {
    let (logprobs, reference, gaps) = sequences();
    let rewards = [1.0, 0.0, 0.5, f32::NAN];
    let got = kl_in_reward(&rewards, &logprobs, &reference, 0.25).unwrap();
    for ((got, reward), gap) in got.iter().zip(&rewards).zip(gaps) {
        assert!(*got == reward - 0.25 * gap || (got.is_nan() && reward.is_nan()));
    }
    assert_eq!(kl_in_reward(&rewards, &logprobs, &reference, 0.0).unwrap()[..3], rewards[..3]);
    // RLOO: the others of the first completion of three have 0 − 0.375 and 0.5 + 0.5 left.
    let rloo = AdvantageConfig { baseline: Baseline::LeaveOneOut, scale: Scale::None, ..Default::default() };
    let advantages = advantages_by_group(&got[..3], &[3], &rloo).unwrap();
    assert!((advantages[0] - (0.75 - (-0.375 + 1.0) / 2.0)).abs() < 1e-6);
}

#[test]
fn returns_carry_the_kl_term_of_what_follows() {
    let (logprobs, reference, _) = sequences();
    let config = ReinforceConfig { kl_coefficient: 0.5, gamma: 0.5, whitening: Whitening::None, ..Default::default() };
    let got = reinforce_advantages(&[1.0, 2.0, 3.0, 4.0], &[2, 2], &logprobs, Some(&reference), &config).unwrap();
    // Rewards of tokens: (−¼, 1 − ¼), (0, −¼, 2 − ½), (3 + 1), (0, 4).
    let expected =
        [vec![-0.25 + 0.375, 0.75], vec![0.5 * (-0.25 + 0.75), -0.25 + 0.75, 1.5], vec![4.0], vec![2.0, 4.0]];
    assert_eq!(got, expected);
}

#[test]
fn without_discount_and_kl_term_tokens_share_what_whitening_by_completion_gives() {
    let (logprobs, _, _) = sequences();
    let rewards = [1.0, 0.0, 0.5, 2.0];
    let centred = AdvantageConfig { scale: Scale::None, ..Default::default() };
    let centred = advantages_by_group(&rewards, &[3, 1], &centred).unwrap();
    for (config, before) in [(ReinforceConfig::default(), rewards.to_vec()), (ReinforceConfig::WITH_BASELINE, centred)]
    {
        let expected = whiten_by_tokens(&before, &[2, 3, 1, 2]).unwrap();
        let got = reinforce_advantages(&rewards, &[3, 1], &logprobs, None, &config).unwrap();
        for (i, row) in got.iter().enumerate() {
            assert_eq!(row.len(), logprobs[i].len());
            // A group of one is equal throughout, so that the variant with a baseline gives it 0.
            let expected = if config.baseline == Baseline::GroupMean && i == 3 { 0.0 } else { expected[i] };
            assert!(row.iter().all(|got| (got - expected).abs() < 1e-6), "{row:?} {expected}");
        }
    }
}

#[test]
fn equal_rewards_of_a_group_give_exactly_zero_unless_the_kl_term_tells_them_apart() {
    let logprobs = vec![vec![-1f32; 3], vec![-1.0; 2], vec![-2.0], vec![-1.0; 4]];
    let rewards = [0.9, 0.9, 1.0, 0.0];
    let config = ReinforceConfig::WITH_BASELINE;
    let got = reinforce_advantages(&rewards, &[2, 2], &logprobs, None, &config).unwrap();
    assert_eq!(got[..2], [vec![0.0; 3], vec![0.0; 2]]);
    assert!(got[2][0] > 0.0 && got[3][0] < 0.0);
    let with_kl = ReinforceConfig { kl_coefficient: 0.1, ..config };
    // A policy that is its reference.
    let got = reinforce_advantages(&rewards, &[2, 2], &logprobs, Some(&logprobs), &with_kl).unwrap();
    assert_eq!(got[..2], [vec![0.0; 3], vec![0.0; 2]]);
    let mut reference = logprobs.clone();
    reference[0][2] = -2.0;
    let got = reinforce_advantages(&rewards, &[2, 2], &logprobs, Some(&reference), &with_kl).unwrap();
    assert!(got[0][0] < got[1][0]);
    // Every prompt has the same reward, under REINFORCE++ itself.
    let got = reinforce_advantages(&[0.9; 4], &[1; 4], &logprobs, None, &ReinforceConfig::default()).unwrap();
    assert!(got.iter().flatten().all(|&advantage| advantage == 0.0));
}

#[test]
fn a_missing_reward_is_no_part_of_the_batch() {
    let (mut logprobs, mut reference, _) = sequences();
    let config = ReinforceConfig { kl_coefficient: 0.1, ..Default::default() };
    let with = reinforce_advantages(&[1.0, f32::NAN, 0.5, 2.0], &[1; 4], &logprobs, Some(&reference), &config).unwrap();
    assert_eq!(with[1], [0.0; 3]);
    logprobs.remove(1);
    reference.remove(1);
    let without = reinforce_advantages(&[1.0, 0.5, 2.0], &[1; 3], &logprobs, Some(&reference), &config).unwrap();
    assert_eq!([&with[0], &with[2], &with[3]], [&without[0], &without[1], &without[2]]);
}

#[test]
fn what_does_not_fit_is_named() {
    let (logprobs, mut reference, _) = sequences();
    let rewards = [1.0, 0.0, 0.5, 2.0];
    let run = |rewards: &[f32], reference: Option<&[Vec<f32>]>, kl_coefficient| {
        let config = ReinforceConfig { kl_coefficient, ..Default::default() };
        reinforce_advantages(rewards, &[rewards.len()], &logprobs, reference, &config).unwrap_err().to_string()
    };
    assert_eq!(run(&rewards, None, 0.1), "`ref_logprobs` is needed because `kl_coefficient` is not 0");
    assert_eq!(run(&rewards[..3], None, 0.0), "`logprobs` has 4 value(s), but `rewards` calls for 3");
    assert_eq!(run(&rewards, Some(&reference[..2]), 0.1), "`ref_logprobs` has 2 value(s), but `logprobs` calls for 4");
    assert!(run(&rewards, Some(&reference), -0.1).starts_with("`kl_coefficient` must be a finite number ≥ 0"));
    reference[2] = vec![];
    let message = "`ref_logprobs` of sequence 2 has 0 value(s), but `logprobs` of it has 1";
    assert_eq!(run(&rewards, Some(&reference), 0.1), message);
    assert_eq!(kl_in_reward(&rewards, &logprobs, &reference, 0.1).unwrap_err().to_string(), message);
    reference[2] = vec![f32::NAN];
    let bad = kl_in_reward(&rewards, &logprobs, &reference, 0.1);
    assert!(matches!(bad, Err(Error::NonFinite { name: "ref_logprobs", count: 1 })));
    let infinite = kl_in_reward(&[f32::INFINITY], &[[0.0]], &[[0.0]], 0.1);
    assert!(matches!(infinite, Err(Error::InfiniteReward { index: 0, .. })));
    let far = [vec![f32::MAX; 2], reference[1].clone(), vec![-1.0], reference[3].clone()];
    let config = ReinforceConfig { kl_coefficient: 2.0, ..Default::default() };
    let large = reinforce_advantages(&rewards, &[4], &logprobs, Some(&far[..]), &config);
    assert!(matches!(large, Err(Error::TooLarge { name: "return", index: 0, .. })));
    let large = kl_in_reward(&[0.0, f32::NAN], &[[0.0], [0.0]], &[[f32::MAX], [f32::MAX]], 2.0);
    assert!(matches!(large, Err(Error::TooLarge { index: 0, .. })));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_handed_in_the_answer_is_an_error_or_finite(
        rewards in prop::collection::vec(prop_oneof![9 => -2.0f32..2.0, 1 => prop::sample::select(vec![f32::NAN, f32::INFINITY, f32::MAX, f32::MIN])], 0..7),
        lengths in prop::collection::vec(0usize..4, 0..7), odd in prop::option::weighted(0.1, prop::sample::select(vec![f32::NAN, f32::NEG_INFINITY, f32::MIN])),
        drift in -2.0f32..2.0, kl_coefficient in prop::sample::select(vec![0.0, 0.1, 1e18, -1.0, f64::NAN]), gamma in prop::sample::select(vec![0.0, 0.9, 1.0, 1.5]),
        baseline in prop::sample::select(vec![Baseline::None, Baseline::GroupMean, Baseline::LeaveOneOut, Baseline::BatchMean]),
        whitening in prop::sample::select(vec![Whitening::Tokens, Whitening::None]), cut in 0usize..7,
    ) {
        let lengths: Vec<usize> = lengths.into_iter().chain([1; 7]).take(rewards.len()).collect();
        let sequences = |value: f32| lengths.iter().map(|&n| vec![value; n]).collect::<Vec<_>>();
        let (logprobs, reference) = (sequences(-1.0), sequences(odd.unwrap_or(-1.0 + drift)));
        let cut = cut.min(rewards.len());
        let sizes: Vec<usize> = [cut, rewards.len() - cut].into_iter().filter(|&size| size > 0).collect();
        let config = ReinforceConfig { baseline, kl_coefficient, gamma, whitening };
        if let Ok(got) = reinforce_advantages(&rewards, &sizes, &logprobs, Some(&reference), &config) {
            prop_assert_eq!(got.iter().map(Vec::len).collect::<Vec<_>>(), lengths);
            prop_assert!(got.iter().flatten().all(|advantage| advantage.is_finite()));
        }
        if let Ok(got) = kl_in_reward(&rewards, &logprobs, &reference, kl_coefficient) {
            prop_assert!(got.iter().zip(&rewards).all(|(got, reward)| got.is_finite() || got.is_nan() && reward.is_nan()));
        }
    }
}

//! Advantages of groups that are not all of one size.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use proptest::prelude::*;
use vr1_grpo::{
    AdvantageConfig, Baseline, Error, GroupOfOne, Scale, advantages, advantages_by_group, per_reward_advantages,
    per_reward_advantages_by_group,
};

const BASELINES: [Baseline; 4] = [Baseline::GroupMean, Baseline::LeaveOneOut, Baseline::BatchMean, Baseline::None];
const SCALES: [Scale; 3] = [Scale::Group, Scale::Batch, Scale::None];

fn pick<T: Clone + std::fmt::Debug + 'static>(values: &[T]) -> impl Strategy<Value = T> + use<T> {
    prop::sample::select(values.to_vec())
}

/// Groups of two to five rewards, some of which are missing.
fn groups() -> impl Strategy<Value = Vec<Vec<f32>>> {
    let reward = prop_oneof![9 => -5.0f32..5.0, 1 => Just(f32::NAN)];
    prop::collection::vec(prop::collection::vec(reward, 2..6), 1..6)
}

fn sizes<T>(groups: &[Vec<T>]) -> Vec<usize> {
    groups.iter().map(Vec::len).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_group_knows_nothing_of_the_others(
        groups in groups(), scale in pick(&[Scale::Group, Scale::None]), baseline in pick(&[Baseline::GroupMean, Baseline::LeaveOneOut]),
    ) {
        let config = AdvantageConfig { scale, baseline, ..Default::default() };
        let together = advantages_by_group(&groups.concat(), &sizes(&groups), &config).unwrap();
        let alone: Vec<f32> = groups.iter().flat_map(|group| advantages(group, group.len(), &config).unwrap()).collect();
        prop_assert_eq!(together, alone);
    }

    #[test]
    fn sizes_that_are_all_the_same_are_a_group_size(
        rewards in prop::collection::vec(-5.0f32..5.0, 12), size in pick(&[1usize, 2, 3, 4, 6, 12]),
        scale in pick(&SCALES), baseline in pick(&BASELINES), group_of_one in pick(&[GroupOfOne::Refused, GroupOfOne::RawReward]),
    ) {
        let config = AdvantageConfig { scale, baseline, group_of_one, ..Default::default() };
        let sizes = vec![size; 12 / size];
        prop_assert_eq!(advantages_by_group(&rewards, &sizes, &config).ok(), advantages(&rewards, size, &config).ok());
        let by_group = per_reward_advantages_by_group(&rewards, &[1.0], &sizes, 1e-4).ok();
        prop_assert_eq!(by_group, per_reward_advantages(&rewards, &[1.0], size, 1e-4).ok());
    }

    #[test]
    fn equal_rewards_give_exactly_zero_whatever_the_sizes(
        groups in groups(), reward in -5.0f32..5.0, size in 2usize..17, scale in pick(&SCALES), baseline in pick(&[Baseline::GroupMean, Baseline::LeaveOneOut]),
    ) {
        let mut groups = groups;
        groups.push(vec![reward; size]);
        let config = AdvantageConfig { scale, baseline, ..Default::default() };
        let got = advantages_by_group(&groups.concat(), &sizes(&groups), &config).unwrap();
        prop_assert!(got[got.len() - size..].iter().all(|&advantage| advantage == 0.0));
        // Two rewards, each equal throughout the group.
        let table: Vec<f32> = groups.concat().iter().flat_map(|&reward| [reward, 3.0 * reward]).collect();
        let got = per_reward_advantages_by_group(&table, &[0.9, 0.1], &sizes(&groups), 1e-4).unwrap();
        prop_assert!(got[got.len() - size..].iter().all(|&advantage| advantage == 0.0));
    }

    #[test]
    fn turning_the_groups_turns_the_advantages(groups in groups(), by in 0usize..6, scale in pick(&SCALES), baseline in pick(&BASELINES)) {
        let by = by % groups.len();
        let mut turned = groups.clone();
        turned.rotate_left(by);
        let config = AdvantageConfig { scale, baseline, ..Default::default() };
        let one = |groups: &[Vec<f32>]| advantages_by_group(&groups.concat(), &sizes(groups), &config).unwrap();
        let table = |groups: &[Vec<f32>]| {
            let table: Vec<f32> = groups.concat().iter().flat_map(|&reward| [reward, reward * reward]).collect();
            per_reward_advantages_by_group(&table, &[1.0, -0.5], &sizes(groups), 1e-4).unwrap()
        };
        let cut = sizes(&groups)[..by].iter().sum::<usize>();
        for (mut plain, turned) in [(one(&groups), one(&turned)), (table(&groups), table(&turned))] {
            plain.rotate_left(cut);
            for (a, b) in plain.iter().zip(&turned) {
                prop_assert!((a - b).abs() < 1e-4, "{a} {b}");
            }
        }
    }
}

#[test]
fn the_batch_scale_divides_every_group_by_the_same() {
    let config = AdvantageConfig { scale: Scale::Batch, ..Default::default() };
    let got = advantages_by_group(&[0.0, 2.0, 4.0, 6.0, 8.0], &[2, 3], &config).unwrap();
    let deviation = 10f64.sqrt(); // of 0, 2, 4, 6, 8 around 4
    for (got, centred) in got.iter().zip([-1.0, 1.0, -2.0, 0.0, 2.0]) {
        assert!((f64::from(*got) - centred / (deviation + 1e-4)).abs() < 1e-6);
    }
}

#[test]
fn a_group_of_one_is_refused_by_its_place_or_keeps_its_reward() {
    let rewards = [1.0, 0.0, 0.5, f32::NAN];
    let run = |config: &AdvantageConfig| advantages_by_group(&rewards, &[2, 1, 1], config);
    let refused = run(&AdvantageConfig::default()).unwrap_err();
    assert!(matches!(refused, Error::LoneCompletion { group: 1, .. }), "{refused}");
    let none = AdvantageConfig { scale: Scale::None, ..Default::default() };
    assert_eq!(run(&none).unwrap(), [0.5, -0.5, 0.0, 0.0]);
    let left_out = AdvantageConfig { baseline: Baseline::LeaveOneOut, ..none };
    assert!(matches!(run(&left_out), Err(Error::LoneCompletion { group: 1, .. })));
    let raw = AdvantageConfig { group_of_one: GroupOfOne::RawReward, ..left_out };
    assert_eq!(run(&raw).unwrap(), [1.0, -1.0, 0.5, 0.0]);
    let batch = AdvantageConfig { baseline: Baseline::BatchMean, scale: Scale::Batch, ..Default::default() };
    assert_eq!(run(&batch).unwrap()[2..], [0.0, 0.0]); // ½ is the mean of the batch
    assert!(matches!(
        per_reward_advantages_by_group(&rewards, &[1.0], &[2, 1, 1], 1e-4),
        Err(Error::LoneCompletion { group: 1, .. })
    ));
}

#[test]
fn sizes_that_do_not_fit_are_named() {
    let run = |sizes: &[usize]| {
        let one = advantages_by_group(&[0.0, 1.0, 2.0], sizes, &AdvantageConfig::default()).unwrap_err().to_string();
        let table = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];
        let many = per_reward_advantages_by_group(&table, &[1.0, 1.0], sizes, 1e-4).unwrap_err().to_string();
        assert_eq!(one, many);
        one
    };
    assert_eq!(run(&[2, 0, 1]), "group 1 has size 0: leave it out");
    assert_eq!(run(&[2]), "the sizes of 1 group(s) add up to 2, but there are 3 reward(s)");
    assert_eq!(run(&[2, 2]), "the sizes of 2 group(s) add up to 4, but there are 3 reward(s)");
    assert!(run(&[usize::MAX, usize::MAX]).starts_with("the sizes of 2 group(s) add up to"));
    assert_eq!(advantages_by_group(&[], &[], &AdvantageConfig::default()).unwrap(), [0f32; 0]);
    assert!(matches!(
        advantages_by_group(&[0.0, f32::INFINITY, 1.0], &[2, 1], &AdvantageConfig::default()),
        Err(Error::InfiniteReward { index: 1, .. })
    ));
}

#[test]
fn prompts_of_one_completion_each_are_compared_with_the_batch() {
    let config = AdvantageConfig { baseline: Baseline::BatchMean, scale: Scale::Batch, ..Default::default() };
    let got = advantages(&[0.0, 2.0, 4.0], 1, &config).unwrap();
    for (got, expected) in got.iter().zip([-2.0 / (2.0 + 1e-4), 0.0, 2.0 / (2.0 + 1e-4)]) {
        assert!((f64::from(*got) - expected).abs() < 1e-6);
    }
}

//! Properties of advantages.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use vr1_grpo::{AdvantageConfig, Baseline, Error, GroupOfOne, Scale, advantages, group_advantages, teaches_nothing};

#[test]
fn equal_rewards_give_exactly_zero() {
    for hundredths in 1..1000 {
        let reward = hundredths as f32 / 100.0;
        for group_size in [2, 3, 5, 8, 16] {
            for scale in [Scale::Group, Scale::Batch, Scale::None] {
                let mut rewards = vec![reward; group_size];
                assert_eq!(group_advantages(&rewards, group_size, scale).unwrap(), vec![0.0; group_size]);
                rewards.extend((0..group_size).map(|i| i as f32)); // Another group of the batch changes nothing.
                assert_eq!(group_advantages(&rewards, group_size, scale).unwrap()[..group_size], vec![0.0; group_size]);
            }
        }
    }
}

#[test]
fn a_missing_reward_gets_zero_and_leaves_the_others_alone() {
    let with = group_advantages(&[1.0, f32::NAN, 0.0, 0.5], 4, Scale::Group).unwrap();
    let without = group_advantages(&[1.0, 0.0, 0.5], 3, Scale::Group).unwrap();
    assert_eq!([with[0], with[2], with[3]], without[..]);
    assert_eq!(with[1], 0.0);
    assert_eq!(group_advantages(&[f32::NAN; 4], 4, Scale::Group).unwrap(), [0.0; 4]);
    assert_eq!(group_advantages(&[f32::NAN, 3.0], 2, Scale::Group).unwrap(), [0.0; 2]);
    assert!(teaches_nothing(&[f32::NAN, 3.0]) && teaches_nothing(&[]) && !teaches_nothing(&[1.0, f32::NAN, 0.0]));
}

#[test]
fn the_batch_scale_centres_by_group_and_divides_by_the_batch() {
    let got = group_advantages(&[0.0, 2.0, 4.0, 6.0], 2, Scale::Batch).unwrap();
    let deviation = (20f64 / 3.0).sqrt(); // of 0, 2, 4, 6 around 3
    for (got, centred) in got.iter().zip([-1.0, 1.0, -1.0, 1.0]) {
        assert!((f64::from(*got) - centred / (deviation + 1e-4)).abs() < 1e-6);
    }
}

#[test]
fn leave_one_out_compares_with_the_others() {
    let config = AdvantageConfig { baseline: Baseline::LeaveOneOut, scale: Scale::None, ..Default::default() };
    assert_eq!(advantages(&[1.0, 0.0, 0.0, 3.0], 4, &config).unwrap(), [0.0, -4.0 / 3.0, -4.0 / 3.0, 8.0 / 3.0]);
}

#[test]
fn bad_groups_and_rewards_are_named() {
    assert!(matches!(
        group_advantages(&[0.0; 5], 2, Scale::Group),
        Err(Error::GroupSize { rewards: 5, group_size: 2 })
    ));
    assert!(matches!(group_advantages(&[0.0; 4], 0, Scale::Group), Err(Error::GroupSize { .. })));
    assert!(matches!(group_advantages(&[0.0, 1.0], 1, Scale::Group), Err(Error::GroupOfOne { .. })));
    assert_eq!(group_advantages(&[0.0, 1.0], 1, Scale::None).unwrap(), [0.0, 0.0]);
    let raw = AdvantageConfig { group_of_one: GroupOfOne::RawReward, ..Default::default() };
    assert_eq!(advantages(&[0.5, f32::NAN], 1, &raw).unwrap(), [0.5, 0.0]);
    assert!(matches!(
        group_advantages(&[0.0, f32::INFINITY], 2, Scale::Group),
        Err(Error::InfiniteReward { index: 1, .. })
    ));
}

//! The numbers that decide sampled tokens.

use std::collections::HashSet;

use proptest::prelude::*;
use vr1_rollout::{SampleKey, uniform};

/// A number for each of these, in their order.
fn numbers(each: usize) -> Vec<f64> {
    let mut numbers = Vec::new();
    for seed in 0..2 {
        for (dataset, epoch) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            for index in 0..each {
                for completion in 0..each {
                    let key = SampleKey { dataset, epoch, index: index as u64 };
                    numbers.extend((0..each).map(|position| uniform(seed, key, completion, position)));
                }
            }
        }
    }
    numbers
}

#[test]
fn no_two_tokens_are_decided_by_one_number() {
    let numbers = numbers(20);
    let distinct: HashSet<u64> = numbers.iter().map(|number| number.to_bits()).collect();
    assert_eq!(distinct.len(), numbers.len());
}

/// Shares and neighbours are those of independent numbers, within five standard deviations.
#[test]
fn numbers_are_even_and_independent_of_their_neighbours() {
    let numbers = numbers(20);
    let count = numbers.len() as f64;
    for tenth in 0..10 {
        let share = numbers.iter().filter(|&&u| (u * 10.0) as usize == tenth).count() as f64 / count;
        assert!((share - 0.1).abs() < 5.0 * (0.09 / count).sqrt(), "{tenth}: {share}");
    }
    // One position, one completion, one sample, one epoch, one seed further on.
    for step in [1, 20, 400, 8000, 32_000] {
        let products: f64 = numbers.iter().zip(&numbers[step..]).map(|(a, b)| (a - 0.5) * (b - 0.5)).sum();
        let pairs = (numbers.len() - step) as f64;
        // The variance of a product of two independent ones is 1/144.
        assert!((products / pairs).abs() < 5.0 / (12.0 * pairs.sqrt()), "{step}: {}", products / pairs);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_number_is_below_one_and_depends_on_each_part(
        seed: u64, dataset: u32, epoch: u32, index: u64, completion in 0usize..1 << 40, position in 0usize..1 << 40,
    ) {
        let key = SampleKey { dataset, epoch, index };
        let number = uniform(seed, key, completion, position);
        prop_assert!((0.0..1.0).contains(&number));
        prop_assert_eq!(number, uniform(seed, key, completion, position));
        let others = [
            uniform(seed ^ 1, key, completion, position),
            uniform(seed, SampleKey { dataset: dataset ^ 1, ..key }, completion, position),
            uniform(seed, SampleKey { epoch: epoch ^ 1, ..key }, completion, position),
            uniform(seed, SampleKey { index: index ^ 1, ..key }, completion, position),
            uniform(seed, key, completion + 1, position),
            uniform(seed, key, completion, position + 1),
            // A dataset is not an epoch, a completion no position.
            uniform(seed, SampleKey { dataset: epoch, epoch: dataset.wrapping_add(1), ..key }, completion, position),
            uniform(seed, key, position + 1, completion),
        ];
        prop_assert!(others.iter().all(|other| *other != number));
    }
}

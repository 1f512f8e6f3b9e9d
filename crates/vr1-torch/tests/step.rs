//! The parts of a decoding step by libtorch's operators, against their definitions.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use tch::{Device, Kind, Tensor};
use vr1_torch::{
    Draw, Gate, OwnKeys, SharedKeys, add_rms_norm, gated, group_attention, rotate_into_cache, sample, uniforms,
};

const CPU: (Kind, Device) = (Kind::Double, Device::Cpu);

fn random(size: &[i64]) -> Tensor {
    Tensor::randn(size, CPU)
}

fn off(found: &Tensor, expected: &Tensor) -> f64 {
    (found.to_kind(Kind::Double) - expected).abs().max().double_value(&[])
}

#[test]
fn a_norm_is_that_of_the_sum_which_is_left_behind() {
    let (x, y, weight) = (random(&[3, 2, 24]), random(&[3, 2, 24]), random(&[24]));
    let by_definition = |sum: &Tensor| {
        let mean = sum.square().mean_dim(-1, true, Kind::Double);
        sum / (mean + 0.1).sqrt() * &weight
    };
    let residual = x.copy();
    let out = add_rms_norm(&residual, &y, &weight, 0.1).unwrap();
    assert_eq!(residual, &x + &y);
    assert!(off(&out, &by_definition(&residual)) < 1e-12);
    // In another kind the sum is rounded once, and the norm is that of what it was rounded to.
    for (kind, rounding) in [(Kind::Float, 2e-7), (Kind::BFloat16, 8e-3)] {
        let [x, y, weight] = [&x, &y, &weight].map(|x| x.to_kind(kind));
        let residual = x.copy();
        let out = add_rms_norm(&residual, &y, &weight, 0.1).unwrap();
        assert_eq!(residual, x + y);
        let expected = by_definition(&residual.to_kind(Kind::Double));
        assert!(off(&out, &expected) < 2.0 * rounding * expected.abs().max().double_value(&[]), "{kind:?}");
    }
}

#[test]
fn a_gate_is_its_activation_times_the_other_half() {
    let x = random(&[3, 10]);
    let numbers = Vec::<f64>::try_from(x.flatten(0, 1)).unwrap();
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    // Φ by its series, which is exact enough for what a normal draw gives.
    let phi = |x: f64| {
        let mut term = x;
        let mut sum = x;
        for n in 1..120 {
            term *= x * x / f64::from(2 * n + 1);
            sum += term;
        }
        0.5 + sum * (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt()
    };
    let tanh = |x: f64| x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh()) / 2.0;
    let gates: [(Gate, &dyn Fn(f64) -> f64); 4] = [
        (Gate::Silu, &|x| x * sigmoid(x)),
        (Gate::Gelu, &|x| x * phi(x)),
        (Gate::GeluTanh, &tanh),
        (Gate::QuickGelu, &|x| x * sigmoid(1.702 * x)),
    ];
    for (gate, activation) in gates {
        let out = gated(&x, gate).unwrap();
        assert_eq!(out.size(), [3, 5]);
        for row in 0..3 {
            for column in 0..5 {
                let expected = activation(numbers[row * 10 + column]) * numbers[row * 10 + 5 + column];
                assert!((out.double_value(&[row as i64, column as i64]) - expected).abs() < 1e-12, "{gate:?}");
            }
        }
    }
}

#[test]
fn heads_are_turned_pair_by_pair_and_stored_at_their_places() {
    let (rows, heads, shared, d, capacity) = (3, 4, 2, 6, 5);
    let qkv = random(&[rows, (heads + 2 * shared) * d]);
    let angles = random(&[rows, d]);
    let (cos, sin) = (angles.cos(), angles.sin());
    let [keys, values] = [0, 1].map(|_| random(&[rows, capacity, shared, d]));
    let before = [&keys, &values].map(|x| x.copy());
    let places = [4i32, -1, 5];
    let query =
        rotate_into_cache(&qkv, (heads, shared, d), (&cos, &sin), (&keys, &values), &Tensor::from_slice(&places));
    let query = query.unwrap();
    let given = |row: i64, head: i64, i: i64| qkv.double_value(&[row, head * d + i]);
    let turned = |row: i64, head: i64, i: i64| {
        let other = if i < d / 2 { -given(row, head, i + d / 2) } else { given(row, head, i - d / 2) };
        given(row, head, i) * cos.double_value(&[row, i]) + other * sin.double_value(&[row, i])
    };
    for row in 0..rows {
        for i in 0..d {
            for head in 0..heads {
                assert!((query.double_value(&[row, head, i]) - turned(row, head, i)).abs() < 1e-14);
            }
            for head in 0..shared {
                for place in 0..capacity {
                    let at = [row, place, head, i];
                    let new = place == i64::from(places[row as usize]);
                    let key = if new { turned(row, heads + head, i) } else { before[0].double_value(&at) };
                    let value = if new { given(row, heads + shared + head, i) } else { before[1].double_value(&at) };
                    assert!(
                        (keys.double_value(&at) - key).abs() < 1e-14 && values.double_value(&at) == value,
                        "{at:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_row_attends_to_its_groups_prefix_and_to_its_own_keys_as_if_they_were_one_list() {
    let (groups, each, heads, shared, d, capacity) = (3i64, 2i64, 6i64, 2i64, 8i64, 7i64);
    let rows = groups * each;
    let query = random(&[rows, heads, d]);
    let [prefix_keys, prefix_values] = [0, 1].map(|_| random(&[30, shared, d]));
    let [own_keys, own_values] = [0, 1].map(|_| random(&[rows, capacity, shared, d]));
    let (starts, prefix_lengths) = ([12i32, 0, 29], [9i32, 12, 0]);
    for lengths in [[0i32, 7, 3, 1, 2, 5], [4; 6], [0; 6]] {
        let prefix = SharedKeys {
            keys: &prefix_keys,
            values: &prefix_values,
            starts: &Tensor::from_slice(&starts),
            lengths: &Tensor::from_slice(&prefix_lengths),
            longest: 12,
        };
        let own = OwnKeys { keys: &own_keys, values: &own_values, lengths: &Tensor::from_slice(&lengths) };
        let out = group_attention(&query, &prefix, &own).unwrap();
        for row in 0..rows {
            let group = (row / each) as usize;
            let [keys, values] = [(&prefix_keys, &own_keys), (&prefix_values, &own_values)].map(|(prefix, own)| {
                let prefix = prefix.narrow(0, i64::from(starts[group]), i64::from(prefix_lengths[group]));
                Tensor::cat(&[prefix, own.select(0, row).narrow(0, 0, i64::from(lengths[row as usize]))], 0)
            });
            let [keys, values] = [keys, values].map(|x| x.repeat_interleave_self_int(heads / shared, 1, None));
            let scores = (keys * query.select(0, row)).sum_dim_intlist([-1i64].as_slice(), false, Kind::Double);
            let weights = (scores / (d as f64).sqrt()).softmax(0, Kind::Double).unsqueeze(-1);
            let expected = (weights * values).sum_dim_intlist([0i64].as_slice(), false, Kind::Double);
            assert!(off(&out.select(0, row), &expected) < 1e-12, "row {row} of {lengths:?}");
        }
    }
}

#[test]
fn lengths_that_are_not_there_are_named() {
    let zeros = |size: &[i64]| Tensor::zeros(size, CPU);
    let (keys, own_keys, query) = (zeros(&[5, 1, 8]), zeros(&[2, 3, 1, 8]), zeros(&[2, 1, 8]));
    let error = |start: i32, length: i32, own: i32| {
        let (starts, lengths) = (Tensor::from_slice(&[start]), Tensor::from_slice(&[length]));
        let prefix = SharedKeys { keys: &keys, values: &keys, starts: &starts, lengths: &lengths, longest: 4 };
        let own = OwnKeys { keys: &own_keys, values: &own_keys, lengths: &Tensor::from_slice(&[1, own]) };
        group_attention(&query, &prefix, &own).unwrap_err().to_string()
    };
    assert_eq!(error(2, 4, 0), "group_attention: group 0 has a prefix of 4 keys from 2 on, of 5, and of at most 4");
    assert_eq!(error(0, 5, 0), "group_attention: group 0 has a prefix of 5 keys from 0 on, of 5, and of at most 4");
    assert_eq!(error(0, 4, 4), "group_attention: row 1 sees 4 of 3 keys");
}

fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn uniform(state: i64, position: i64) -> f64 {
    (mix(mix(state as u64) ^ position as u64) >> 11) as f64 / (1u64 << 53) as f64
}

#[test]
fn numbers_are_those_of_splitmix64_in_unsigned_integers() {
    // The first output of SplitMix64 from state 0, as its authors publish it.
    assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf);
    let states: Vec<i64> = (0..200u64).map(|i| mix(i) as i64).chain([0, -1, i64::MIN, i64::MAX]).collect();
    let positions: Vec<i64> = (0..states.len() as i64).map(|i| i * 37 % 4096).collect();
    let found = uniforms(&Tensor::from_slice(&states), &Tensor::from_slice(&positions)).unwrap();
    let same = uniforms(&Tensor::from_slice(&states), &Tensor::from_slice(&[9i64])).unwrap();
    for (row, (&state, &position)) in states.iter().zip(&positions).enumerate() {
        assert_eq!(found.double_value(&[row as i64]), uniform(state, position));
        assert_eq!(same.double_value(&[row as i64]), uniform(state, 9));
    }
}

#[test]
fn a_token_is_the_first_whose_cumulative_probability_exceeds_the_number() {
    for vocabulary in [5, 1009, 2048] {
        for temperature in [1.0, 0.6] {
            let rows = 40;
            let logits = random(&[rows, vocabulary]) * 2.0;
            let hidden = random(&[vocabulary]).gt(0.3);
            let _ = hidden.narrow(0, 2, 1).fill_(0);
            let (states, positions) = (Tensor::arange(rows, (Kind::Int64, Device::Cpu)), Tensor::from_slice(&[3i64]));
            let draw = Draw { temperature, unreachable: Some(&hidden), states: &states, positions: &positions };
            let drawn = sample(&logits, &draw).unwrap();
            for row in 0..rows {
                let list = |x: &Tensor| Vec::<f64>::try_from(x.select(0, row)).unwrap();
                let likely = list(&logits.softmax(-1, Kind::Double));
                let scaled = (&logits / temperature).masked_fill(&hidden, f64::NEG_INFINITY);
                let drawn_from = list(&scaled.softmax(-1, Kind::Double));
                let number = uniform(row, 3);
                let mut sum = 0.0;
                let id = drawn_from.iter().position(|p| {
                    sum += p;
                    sum > number
                });
                let id = id.unwrap();
                assert_eq!(drawn.ids.int64_value(&[row]), id as i64);
                let entropy: f64 = likely.iter().map(|p| -p * p.ln()).sum();
                let found = [&drawn.logprobs, &drawn.drawn_logprobs, &drawn.entropies].map(|x| x.double_value(&[row]));
                for (found, expected) in found.into_iter().zip([likely[id].ln(), drawn_from[id].ln(), entropy]) {
                    assert!((found - expected).abs() < 1e-10, "row {row}: {found} for {expected}");
                }
            }
        }
    }
}

#[test]
fn without_temperature_the_first_of_the_likeliest_that_can_be_drawn_is_taken() {
    let logits = Tensor::from_slice(&[3.0f32, 1.0, 2.0, 2.0]).view([1, 4]);
    let (states, positions) = (Tensor::from_slice(&[5i64]), Tensor::from_slice(&[0i64]));
    let hidden = Tensor::from_slice(&[true, false, false, false]);
    let draw = Draw { temperature: 0.0, unreachable: Some(&hidden), states: &states, positions: &positions };
    let drawn = sample(&logits, &draw).unwrap();
    assert_eq!((drawn.ids.int64_value(&[0]), drawn.drawn_logprobs.double_value(&[0])), (2, 0.0));
    let whole = (3f64.exp() + 1f64.exp() + 2.0 * 2f64.exp()).ln();
    assert!((drawn.logprobs.double_value(&[0]) - (2.0 - whole)).abs() < 1e-6);
}

#[test]
fn an_impossible_token_counts_nothing_in_an_entropy() {
    let logits = Tensor::from_slice(&[0.0f32, f32::NEG_INFINITY, 0.0]).view([1, 3]);
    let (states, positions) = (Tensor::from_slice(&[5i64]), Tensor::from_slice(&[0i64]));
    let draw = Draw { temperature: 1.0, unreachable: None, states: &states, positions: &positions };
    assert!((sample(&logits, &draw).unwrap().entropies.double_value(&[0]) - 2f64.ln()).abs() < 1e-6);
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let floats = |size: &[i64]| Tensor::zeros(size, (Kind::Float, Device::Cpu));
    let told = |error: vr1_torch::Error, parts: &[&str]| {
        let text = error.to_string();
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    };
    told(
        add_rms_norm(&floats(&[2, 4]), &floats(&[4]), &floats(&[4]), 0.0).unwrap_err(),
        &["add_rms_norm: Float [2, 4]"],
    );
    told(gated(&floats(&[2, 3]), Gate::Silu).unwrap_err(), &["gated: Float [2, 3]"]);
    let (rotation, cache) = (floats(&[2, 4]), floats(&[2, 3, 1, 4]));
    let rotated = |qkv: &Tensor, places: &Tensor| {
        rotate_into_cache(qkv, (1, 1, 4), (&rotation, &rotation), (&cache, &cache), places).unwrap_err()
    };
    told(rotated(&floats(&[2, 8]), &Tensor::from_slice(&[0i32, 0])), &["[2, 8]", "1 and 1 heads of size 4"]);
    told(rotated(&floats(&[2, 12]), &Tensor::from_slice(&[0i64, 0])), &["places Int64 [2]"]);
    let states = Tensor::from_slice(&[0i64, 0]);
    told(
        uniforms(&states, &Tensor::from_slice(&[0i64, 0, 0])).unwrap_err(),
        &["uniforms: states Int64 [2]", "Int64 [3]"],
    );
    let draw = |temperature| Draw { temperature, unreachable: None, states: &states, positions: &states };
    told(sample(&floats(&[3, 5]), &draw(1.0)).unwrap_err(), &["sample: logits Float [3, 5]"]);
    told(sample(&floats(&[2, 5]), &draw(-1.0)).unwrap_err(), &["temperature -1"]);
}

//! AdamW with moments of 8 bits, as they lie.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use tch::{Device, Kind, Tensor};
use vr1_torch::{AdamWStep, Blockwise, blockwise_adamw};

/// Values of both signs, or of one, by the paper's figure 2, and the middles between them.
fn codebook(signed: bool) -> [Vec<f32>; 2] {
    let mut values = vec![0.0, 1.0];
    for exponent in 0..7u32 {
        let steps = if signed { 1 << exponent } else { 2 << exponent };
        for i in 0..steps {
            let value = (0.1 + 0.9 * (f64::from(i) + 0.5) / f64::from(steps)) * 10f64.powi(exponent as i32 - 6);
            values.push(value);
            values.extend(signed.then_some(-value));
        }
    }
    values.sort_by(f64::total_cmp);
    assert_eq!(values.len(), 256);
    let middles = values.windows(2).map(|pair| ((pair[0] + pair[1]) / 2.0) as f32).collect();
    [values.iter().map(|&value| value as f32).collect(), middles]
}

struct Held {
    codes: Tensor,
    scales: Tensor,
    tables: [Tensor; 2],
}

impl Held {
    fn new(count: i64, signed: bool) -> Self {
        let blocks = (count + 255) / 256;
        Self {
            codes: Tensor::full([blocks, 256], if signed { 127 } else { 0 }, (Kind::Uint8, Device::Cpu)),
            scales: Tensor::zeros([blocks], (Kind::Float, Device::Cpu)),
            tables: codebook(signed).map(|table| Tensor::from_slice(&table)),
        }
    }

    fn blocks(&self) -> Blockwise<'_> {
        Blockwise { codes: &self.codes, scales: &self.scales, values: &self.tables[0], middles: &self.tables[1] }
    }
}

/// No decay and no memory: the moments are the gradient and its square.
const FORGETFUL: AdamWStep =
    AdamWStep { learning_rate: 1e-3, beta1: 0.0, beta2: 0.0, weight_decay: 0.0, epsilon: 1e-8 };

fn step(parameter: &Tensor, gradient: &Tensor, held: &[Held; 2], hyper: &AdamWStep) {
    let [mean, square] = held.each_ref().map(Held::blocks);
    blockwise_adamw(parameter, (gradient, 1.0), &mean, &square, 1.0, hyper).unwrap();
}

/// The code of the value that is nearest to `share`; where two are as near, either.
fn nearest(values: &[f32], share: f64, found: u8, signed: bool) -> bool {
    let far = |value: f32| (f64::from(value) - share).abs();
    let allowed = |value: &&f32| signed || share == 0.0 || **value > 0.0;
    let least = values.iter().filter(allowed).map(|&value| far(value)).fold(f64::INFINITY, f64::min);
    // A middle is rounded to f32.
    far(values[found as usize]) <= least + 2e-7 * share.abs() + 1e-12 && allowed(&&values[found as usize])
}

#[test]
fn every_number_is_held_as_the_nearest_value() {
    for signed in [true, false] {
        let [values, middles] = codebook(signed);
        // All values and middles, what is next to them, and what lies between.
        let mut shares: Vec<f32> =
            values.iter().chain(&middles).flat_map(|&x| [x, x.next_up(), x.next_down()]).collect();
        shares.extend((0..40_000).map(|i| (i as f32 * 0.37).sin().powi(1 + i % 9)));
        shares.extend([0.0, -0.0, 1e-9, f32::MIN_POSITIVE, 5e-7]);
        shares.retain(|share| share.abs() <= 1.0);
        // Each block has a 1, so that numbers are shares.
        let blocks: Vec<f32> = shares.chunks(255).flat_map(|some| [&[1.0], some].concat()).collect();
        let given: Vec<f32> = if signed { blocks } else { blocks.iter().map(|x| x.abs().sqrt()).collect() };
        let count = given.len() as i64;
        let held = [Held::new(count, true), Held::new(count, false)];
        let parameter = Tensor::zeros([count], (Kind::Float, Device::Cpu));
        step(&parameter, &Tensor::from_slice(&given), &held, &FORGETFUL);
        let which = &held[usize::from(!signed)];
        let codes = Vec::<u8>::try_from(which.codes.view([-1]).narrow(0, 0, count)).unwrap();
        assert!(Vec::<f32>::try_from(&which.scales).unwrap().iter().all(|scale| *scale == 1.0));
        for (number, code) in given.iter().zip(codes) {
            let share = f64::from(if signed { *number } else { *number * *number });
            assert!(nearest(&values, share, code, signed), "{share} is held as {}", values[code as usize]);
        }
    }
}

#[test]
fn a_scale_is_the_largest_of_its_block_and_what_is_missing_is_nothing() {
    let given = Tensor::arange(300, (Kind::Float, Device::Cpu)) - 200.0;
    let held = [Held::new(300, true), Held::new(300, false)];
    step(&given.zeros_like(), &given, &held, &FORGETFUL);
    assert_eq!(Vec::<f32>::try_from(&held[0].scales).unwrap(), [200.0, 99.0]);
    assert_eq!(Vec::<f32>::try_from(&held[1].scales).unwrap(), [40_000.0, 9801.0]);
    for (held, zero) in held.iter().zip([127, 0]) {
        assert_eq!(Vec::<u8>::try_from(held.codes.get(1).narrow(0, 44, 212)).unwrap(), vec![zero; 212]);
    }
    // A block of nothing but 0 stays so.
    let held = [Held::new(300, true), Held::new(300, false)];
    let parameter = given.ones_like();
    step(&parameter, &given.zeros_like(), &held, &FORGETFUL);
    assert!(parameter.equal(&given.ones_like()));
    assert_eq!(Vec::<f32>::try_from(&held[0].scales).unwrap(), [0.0, 0.0]);
}

#[test]
fn it_does_not_depend_on_how_many_threads_there_are() {
    let before = tch::get_num_threads();
    let given = (Tensor::arange(300_001, (Kind::Float, Device::Cpu)) * 0.7).sin();
    let hyper = AdamWStep { beta1: 0.9, beta2: 0.98, weight_decay: 0.1, ..FORGETFUL };
    let found = [1, 2].map(|threads| {
        tch::set_num_threads(threads);
        let (parameter, held) = (given.copy(), [Held::new(300_001, true), Held::new(300_001, false)]);
        (0..3).for_each(|_| step(&parameter, &given, &held, &hyper));
        (parameter, held)
    });
    tch::set_num_threads(before);
    let [(one, its), (two, others)] = &found;
    assert!(
        one.equal(two) && its.iter().zip(others).all(|(a, b)| a.codes.equal(&b.codes) && a.scales.equal(&b.scales))
    );
}

#[test]
fn what_does_not_fit_is_named() {
    let (parameter, held) = (Tensor::zeros([600], (Kind::Float, Device::Cpu)), Held::new(300, true));
    let error = blockwise_adamw(&parameter, (&parameter, 1.0), &held.blocks(), &held.blocks(), 1.0, &FORGETFUL);
    let text = error.unwrap_err().to_string();
    assert!(text.starts_with("blockwise_adamw: moments of 3 blocks cannot be made of Uint8 [2, 256] on Cpu"), "{text}");
    let error = blockwise_adamw(&parameter, (&parameter.get(0), 1.0), &held.blocks(), &held.blocks(), 1.0, &FORGETFUL);
    assert!(error.unwrap_err().to_string().contains("Float [600] on Cpu has no gradient Float [] on Cpu"));
    let near =
        Held { tables: [held.tables[0].copy(), held.tables[0].narrow(0, 0, 255) * 1e-9], ..Held::new(600, true) };
    let error = blockwise_adamw(&parameter, (&parameter, 1.0), &near.blocks(), &near.blocks(), 1.0, &FORGETFUL);
    assert!(error.unwrap_err().to_string().contains("lie too near each other"));
}

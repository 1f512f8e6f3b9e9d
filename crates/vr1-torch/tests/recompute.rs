//! What is recomputed has the gradients of what is kept, and keeps its input alone.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{Mutex, MutexGuard, PoisonError};

use tch::{Device, Kind, Tensor};
use vr1_torch::{allocated, recomputed, recomputed_with, take_gradient};

fn numbers(size: &[i64], kind: Kind, seed: i64) -> Tensor {
    tch::manual_seed(seed);
    Tensor::randn(size, (Kind::Double, Device::Cpu)).to_kind(kind)
}

/// The process's generators, for one test at a time.
fn generators() -> MutexGuard<'static, ()> {
    static GENERATORS: Mutex<()> = Mutex::new(());
    GENERATORS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The CPU, and a GPU where there is one.
fn devices() -> Vec<Device> {
    let gpu = vr1_torch::device("cuda");
    if let Err(error) = &gpu {
        println!("no GPU: only the CPU is tested ({error})");
    }
    [Device::Cpu].into_iter().chain(gpu).collect()
}

fn layer(x: &Tensor, weight: &Tensor) -> Tensor {
    x + x.matmul(weight).gelu("none").dropout(0.3, true)
}

/// The gradients of the input and of the weights of three layers, and the value.
fn gradients(device: Device, kind: Kind, recompute: bool, input_collects: bool) -> Vec<Tensor> {
    let leaf = |size: &[i64], seed| numbers(size, kind, seed).to_device(device);
    let x = leaf(&[5, 8], 0).set_requires_grad(input_collects);
    let weights: Vec<Tensor> = (1..4).map(|seed| leaf(&[8, 8], seed).set_requires_grad(true)).collect();
    tch::manual_seed(7);
    let mut y = x.shallow_clone();
    for weight in &weights {
        let held = weight.shallow_clone();
        y = if recompute { recomputed(&y, move |x| layer(x, &held)).unwrap() } else { layer(&y, weight) };
    }
    let after = y.dropout(0.5, true);
    after.square().sum(kind).backward();
    let mut out: Vec<Tensor> = weights.iter().map(|weight| take_gradient(weight).unwrap()).collect();
    if input_collects {
        out.push(take_gradient(&x).unwrap());
    }
    out.push(after.detach());
    // The generator goes on from the same place.
    out.push(Tensor::rand([3], (Kind::Float, device)));
    out
}

#[test]
fn gradients_are_the_same_to_the_last_bit_masks_of_dropout_included() {
    let _mine = generators();
    for device in devices() {
        for kind in [Kind::Float, Kind::Double, Kind::BFloat16] {
            for input_collects in [true, false] {
                let [kept, again] = [false, true].map(|recompute| gradients(device, kind, recompute, input_collects));
                assert_eq!(kept, again, "{device:?}, {kind:?}, {input_collects}");
            }
        }
    }
}

#[test]
fn the_input_alone_is_kept() {
    let _mine = generators();
    let weight = numbers(&[64, 64], Kind::Float, 1).set_requires_grad(true);
    let held = |recompute: bool| {
        let x = numbers(&[1000, 64], Kind::Float, 2).set_requires_grad(true);
        let weight = weight.shallow_clone();
        let (_y, bytes) = allocated(|| match recompute {
            true => recomputed(&x, move |x| layer(x, &weight)).unwrap(),
            false => layer(&x, &weight),
        })
        .unwrap();
        bytes.left
    };
    let output = 1000 * 64 * 4;
    let generators = 8192; // dropout draws from them
    assert!(held(false) >= 3 * output, "{}", held(false));
    assert!(held(true) <= output + generators, "{}", held(true));
}

#[test]
fn nothing_is_kept_where_nothing_is_collected() {
    let _mine = generators();
    let (x, weight) = (numbers(&[4, 8], Kind::Float, 0), numbers(&[8, 8], Kind::Float, 1));
    let held = weight.shallow_clone();
    assert!(!recomputed(&x, move |x| layer(x, &held)).unwrap().requires_grad());
    let held = weight.set_requires_grad(true);
    let y = tch::no_grad(|| recomputed(&x, move |x| layer(x, &held))).unwrap();
    assert!(!y.requires_grad());
}

#[test]
fn a_panic_is_an_error_of_the_pass_that_it_is_in() {
    let _mine = generators();
    use std::sync::atomic::{AtomicUsize, Ordering};
    let x = numbers(&[2], Kind::Float, 0).set_requires_grad(true);
    let error = recomputed(&x, |_| panic!("no such layer")).unwrap_err();
    assert!(error.to_string().contains("no such layer"), "{error}");

    let runs = AtomicUsize::new(0);
    let y = recomputed(&x, move |x| match runs.fetch_add(1, Ordering::Relaxed) {
        0 => x * 2.0,
        _ => panic!("gone the second time"),
    });
    let error = y.unwrap().sum(Kind::Float).f_backward().unwrap_err();
    assert!(error.to_string().contains("gone the second time"), "{error}");
    assert!(take_gradient(&x).is_none());
}

#[test]
fn a_graph_that_is_dropped_drops_what_it_holds() {
    let _mine = generators();
    let held = std::sync::Arc::new(());
    let x = numbers(&[2], Kind::Float, 0).set_requires_grad(true);
    let inner = held.clone();
    let y = recomputed(&x, move |x| {
        let _ = &inner;
        x * 2.0
    });
    assert_eq!(std::sync::Arc::strong_count(&held), 2);
    drop(y);
    assert_eq!(std::sync::Arc::strong_count(&held), 1);
}

/// What three layers read beside their input, made by another: the gradients of what made it, and of the input.
#[test]
fn what_is_read_beside_the_input_gets_the_gradients_of_all_who_read_it() {
    let _mine = generators();
    let found = [false, true].map(|recompute| {
        let leaf = |size: &[i64], seed| numbers(size, Kind::Double, seed).set_requires_grad(true);
        let (x, beside, weight) = (leaf(&[5, 8], 0), leaf(&[3, 8], 1), leaf(&[8, 8], 2));
        let made = beside.matmul(&weight).gelu("none");
        let mut y = x.shallow_clone();
        for _ in 0..3 {
            let held = weight.shallow_clone();
            let read = move |x: &Tensor, made: &Tensor| x + x.matmul(&held).matmul(&made.tr()).matmul(made);
            y = match recompute {
                true => recomputed_with(&y, &[&made], move |x, beside| read(x, &beside[0])).unwrap(),
                false => read(&y, &made),
            };
        }
        y.square().sum(Kind::Double).backward();
        [x, beside, weight].map(|leaf| take_gradient(&leaf).unwrap())
    });
    let [kept, again] = found;
    for (kept, again) in kept.iter().zip(&again) {
        assert!(kept.allclose(again, 1e-12, 0.0, false) && kept.abs().max().double_value(&[]) > 0.0);
    }
}

#[test]
fn of_several_inputs_each_gets_its_gradient_or_none() {
    let _mine = generators();
    let leaf = |collects| numbers(&[4], Kind::Double, 3).set_requires_grad(collects);
    let (x, y) = (leaf(false), leaf(true));
    recomputed_with(&x, &[&y], |x, beside| x * &beside[0]).unwrap().sum(Kind::Double).backward();
    assert_eq!(take_gradient(&y).unwrap(), x);
    assert!(take_gradient(&x).is_none());
}

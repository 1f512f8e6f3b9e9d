//! Memory that is given back and taken again under tensors that stay.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{Arc, Mutex};

use tch::{Device, Kind, Tensor};
use vr1_torch::{Passed, Storage, allocated, recomputed_with_end, take_gradient};

fn numbers(size: &[i64], seed: i64) -> Tensor {
    let count = size.iter().product::<i64>();
    ((Tensor::arange(count, (Kind::Float, Device::Cpu)) + seed).sin() * 0.5).view(size)
}

#[test]
fn views_of_one_memory_come_and_go_together() {
    let whole = numbers(&[6, 4], 0);
    let parts = whole.split_with_sizes([2, 4], 0);
    let [all, first, second, other] =
        [&whole, &parts[0], &parts[1], &numbers(&[6, 4], 0)].map(|x| Storage::of(x).unwrap());
    assert!(all.number() == first.number() && first.number() == second.number() && all.number() != other.number());
    let (before, kept) = ([0, 1].map(|i| parts[i].copy()), first.bytes().unwrap().copy());
    assert_eq!(kept.size(), [6 * 4 * 4]);
    second.free().unwrap();
    assert!(!all.is_there() && !first.is_there() && other.is_there());
    // Views are still made, of what is not there.
    let later = whole.narrow(0, 3, 2);
    all.take().unwrap();
    first.bytes().unwrap().copy_(&kept);
    assert_eq!(parts[0], before[0]);
    assert_eq!(parts[1], before[1]);
    assert_eq!(later, numbers(&[6, 4], 0).narrow(0, 3, 2));
}

#[test]
fn what_is_given_back_is_no_longer_held() {
    let made = || {
        let tensor = numbers(&[1000], 0);
        Storage::of(&tensor).unwrap().free().unwrap();
        tensor
    };
    let (tensor, bytes) = allocated(made).unwrap();
    assert_eq!(bytes.left, 0);
    let ((), bytes) = allocated(|| Storage::of(&tensor).unwrap().take().unwrap()).unwrap();
    assert_eq!(bytes.left, 4000);
}

/// Layers whose weights are there only while they run, forwards and again backwards, and from another memory each time.
#[test]
fn a_backward_pass_goes_through_layers_whose_weights_were_gone_between() {
    let gradients = |gone: bool| {
        let x = numbers(&[5, 8], 1).set_requires_grad(true);
        let weights: Vec<Tensor> = (2..5).map(|seed| numbers(&[8, 8], seed).set_requires_grad(true)).collect();
        let ended = Arc::new(Mutex::new(Vec::new()));
        let mut y = x.shallow_clone();
        for (number, weight) in weights.iter().enumerate() {
            let storage = || Storage::of(weight).unwrap();
            let (kept, here, after) = (storage().bytes().unwrap().copy(), storage(), storage());
            let (held, told) = (weight.shallow_clone(), ended.clone());
            let work = move |x: &Tensor, _: &[Tensor]| {
                if gone && !here.is_there() {
                    here.take().unwrap();
                    here.bytes().unwrap().copy_(&kept);
                }
                x + x.matmul(&held).gelu("none")
            };
            let end = move |passed| {
                if gone {
                    after.free().unwrap();
                }
                told.lock().unwrap().push((number, passed));
            };
            y = recomputed_with_end(&y, &[], work, end).unwrap();
            if gone {
                storage().free().unwrap();
            }
        }
        y.square().sum(Kind::Float).backward();
        assert!(weights.iter().all(|weight| Storage::of(weight).unwrap().is_there() != gone));
        let expected: Vec<_> = (0..3).rev().map(|number| (number, Passed::Whole)).collect();
        assert_eq!(*ended.lock().unwrap(), expected);
        weights.iter().chain([&x]).map(|leaf| take_gradient(leaf).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(gradients(true), gradients(false));
}

#[test]
fn a_backward_pass_that_breaks_off_ends_what_it_ran() {
    let x = numbers(&[4], 0).set_requires_grad(true);
    let ended = Arc::new(Mutex::new(Vec::new()));
    let layer = |fails_at: usize, end_fails: bool| {
        let (told, runs) = (ended.clone(), Mutex::new(0));
        let work = move |x: &Tensor, _: &[Tensor]| {
            let mut runs = runs.lock().unwrap();
            *runs += 1;
            assert!(*runs != fails_at, "it is broken");
            x * 2.0
        };
        let end = move |passed| {
            told.lock().unwrap().push(passed);
            assert!(!end_fails, "the end is broken");
        };
        recomputed_with_end(&x, &[], work, end)
    };
    let backward = |y: Tensor| y.sum(Kind::Float).f_backward().unwrap_err().to_string();
    assert!(layer(1, false).unwrap_err().to_string().contains("it is broken"));
    assert!(ended.lock().unwrap().is_empty(), "no backward pass ran it");
    let said = backward(layer(2, false).unwrap());
    assert!(said.contains("it is broken"), "{said}");
    let said = backward(layer(2, true).unwrap());
    assert!(said.contains("it is broken"), "what failed first is told: {said}");
    let said = backward(layer(0, true).unwrap());
    assert!(said.contains("the end is broken"), "{said}");
    assert_eq!(*ended.lock().unwrap(), [Passed::BrokenOff, Passed::BrokenOff, Passed::Whole]);
}

//! libtorch's exceptions are errors inside a guard.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::panic::{AssertUnwindSafe, catch_unwind};

use tch::{Device, Kind, Tensor};
use vr1_torch::{Error, guarded, recomputed};

fn giant() -> Tensor {
    Tensor::zeros([1 << 50], (Kind::Float, Device::Cpu))
}

#[test]
fn a_tensor_that_does_not_fit_is_out_of_memory() {
    let error = guarded(giant).unwrap_err();
    assert!(matches!(error, Error::OutOfMemory { .. }), "{error:?}");
    assert_eq!(error.to_string(), "the machine is out of memory: 4194304.00 GiB more were asked for");
}

#[test]
fn so_is_one_in_a_piece_that_is_recomputed() {
    let x = Tensor::zeros([1], (Kind::Float, Device::Cpu)).set_requires_grad(true);
    let error = recomputed(&x, |_| giant()).unwrap_err();
    assert!(matches!(error, Error::OutOfMemory { .. }), "{error:?}");
}

#[test]
fn what_else_libtorch_throws_says_what_it_said() {
    let error = guarded(|| Tensor::zeros([2], (Kind::Float, Device::Cpu)).view([3])).unwrap_err();
    assert!(matches!(&error, Error::Torch(text) if text == "shape '[3]' is invalid for input of size 2"), "{error:?}");
}

#[test]
fn another_panic_goes_on() {
    let panic = catch_unwind(AssertUnwindSafe(|| guarded(|| panic!("a mistake")))).unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"a mistake"));
}

#[test]
fn a_gpu_out_of_memory_is_named() {
    let device = match vr1_torch::device("cuda") {
        Ok(device) => device,
        Err(error) => return println!("no GPU: nothing is tested ({error})"),
    };
    let error = guarded(|| Tensor::zeros([1 << 45], (Kind::Float, device))).unwrap_err();
    assert!(matches!(&error, Error::OutOfMemory { device, .. } if device.starts_with("GPU 0 (of ")), "{error:?}");
    // And nothing is broken.
    assert_eq!(guarded(|| Tensor::ones([2], (Kind::Float, device)).sum(Kind::Float).double_value(&[])).unwrap(), 2.0);
}

#[test]
fn gradients_are_collected_again_after_an_error_where_none_were() {
    let wrong = || {
        tch::no_grad(|| Tensor::ones([2], (Kind::Float, Device::Cpu)) + Tensor::ones([3], (Kind::Float, Device::Cpu)))
    };
    assert!(vr1_torch::guarded(wrong).is_err() && vr1_torch::gradients_collected());
    let none = tch::no_grad(|| {
        let wrong = || {
            tch::with_grad(|| {
                Tensor::ones([2], (Kind::Float, Device::Cpu)) + Tensor::ones([3], (Kind::Float, Device::Cpu))
            })
        };
        (vr1_torch::guarded(wrong).is_err(), vr1_torch::gradients_collected())
    });
    assert_eq!(none, (true, false));
}

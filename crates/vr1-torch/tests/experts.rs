//! Rows by their experts' matrices against each row for itself, by every way that there is.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use tch::{Device, Kind, Tensor};
use vr1_torch::expert_products;

const EXPERTS: i64 = 6;

/// Rows for experts of which some have none, matrices that lie either way, and where rows end.
fn case(rows: i64, (inputs, outputs): (i64, i64), turned: bool, kind: Kind, device: Device) -> [Tensor; 3] {
    tch::manual_seed(rows + inputs);
    let options = (Kind::Float, Device::Cpu);
    let matrices = if turned {
        Tensor::randn([EXPERTS, outputs, inputs], options).to_device(device).to_kind(kind).transpose(1, 2)
    } else {
        Tensor::randn([EXPERTS, inputs, outputs], options).to_device(device).to_kind(kind)
    };
    let ends = Tensor::from_slice(&[0, rows / 2, rows / 2, rows - 1, rows, rows].map(|end| end as i32));
    [Tensor::randn([rows, inputs], options).to_device(device).to_kind(kind), matrices, ends.to_device(device)]
}

/// In f64.
fn slowly(x: &Tensor, matrices: &Tensor, ends: &Tensor) -> Tensor {
    let ends = Vec::<i64>::try_from(&ends.to_kind(Kind::Int64)).unwrap();
    let row = |i: i64| {
        let expert = ends.iter().position(|&end| i < end).unwrap() as i64;
        x.get(i).to_kind(Kind::Double).matmul(&matrices.get(expert).to_kind(Kind::Double))
    };
    Tensor::stack(&(0..x.size()[0]).map(row).collect::<Vec<_>>(), 0)
}

fn assert_right(device: Device, kinds: &[(Kind, f64)]) {
    for &(kind, off) in kinds {
        for (rows, shape, turned) in
            [(9, (8, 16), true), (9, (8, 16), false), (9, (5, 3), true), (1200, (8, 16), false), (1, (7, 8), true)]
        {
            let [x, matrices, ends] = case(rows, shape, turned, kind, device);
            let expected = slowly(&x, &matrices, &ends);
            let (x, matrices) = (x.detach().set_requires_grad(true), matrices.detach().set_requires_grad(true));
            let found = expert_products(&x, &matrices, &ends).unwrap();
            assert_eq!((found.kind(), found.size()), (kind, vec![rows, shape.1]));
            let close = |found: &Tensor, expected: &Tensor, what: &str| {
                let error = (found.to_kind(Kind::Double) - expected).abs().max().double_value(&[]);
                let bound = off * expected.abs().max().double_value(&[]).max(1.0);
                assert!(error <= bound, "{kind:?} {rows} {shape:?} {turned} {what}: {error}");
            };
            close(&found, &expected, "products");
            let back = Tensor::ones_like(&found).cos();
            (&found * &back).sum(kind).backward();
            let (wide_x, wide) = (
                x.detach().to_kind(Kind::Double).set_requires_grad(true),
                matrices.detach().to_kind(Kind::Double).set_requires_grad(true),
            );
            (slowly(&wide_x, &wide, &ends) * back.to_kind(Kind::Double)).sum(Kind::Double).backward();
            close(&x.grad(), &wide_x.grad(), "rows");
            close(&matrices.grad(), &wide.grad(), "matrices");
        }
    }
}

#[test]
fn rows_go_through_their_own_experts() {
    let kinds = [(Kind::Float, 1e-5), (Kind::Double, 1e-12), (Kind::BFloat16, 2e-2), (Kind::Half, 3e-3)];
    assert_right(Device::Cpu, &kinds);
}

#[test]
fn rows_go_through_their_own_experts_on_a_gpu() {
    let Ok(device @ Device::Cuda(_)) = vr1_torch::device("cuda") else {
        println!("skipped: there is no GPU");
        return;
    };
    assert_right(device, &[(Kind::Float, 2e-3), (Kind::Double, 1e-12), (Kind::BFloat16, 2e-2), (Kind::Half, 3e-3)]);
}

#[test]
fn what_does_not_fit_is_refused() {
    let [x, matrices, ends] = case(4, (8, 8), false, Kind::Float, Device::Cpu);
    for (x, matrices, ends) in [
        (&x.narrow(1, 0, 7), &matrices, &ends),
        (&x, &matrices.to_kind(Kind::Double), &ends),
        (&x, &matrices, &ends.to_kind(Kind::Int64)),
        (&x, &matrices, &ends.narrow(0, 0, 3)),
    ] {
        assert!(expert_products(x, matrices, ends).unwrap_err().to_string().contains("do not fit"));
    }
}

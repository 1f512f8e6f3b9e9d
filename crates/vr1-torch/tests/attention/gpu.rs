//! The kernels of CUDA; where there is no GPU, these tests say so and pass.

use tch::{Device, Kind};

use crate::case::{Case, Lengths, assert_about_as_exact, assert_close, by_definition, ragged, shared};

fn gpu() -> Option<Device> {
    vr1_torch::device("cuda").inspect_err(|error| println!("skipped: {error}")).ok()
}

/// No suffixes at all; one group, which is slices; tokens alone, for which a kernel would lay its log-sum-exp out in
/// another way; many.
fn layouts() -> Vec<Lengths> {
    vec![
        vec![(33, vec![]), (5, vec![])],
        vec![(130, (0..64).map(|i| 20 + i * 7 % 23).collect())],
        vec![(1, vec![1; 40]), (1, vec![1; 3])],
        ragged(),
    ]
}

#[test]
fn half_kinds_are_about_as_exact_as_whole_sequences_on_a_gpu() {
    let Some(device) = gpu() else { return };
    for lengths in layouts() {
        for heads in [(4, 4, 64), (8, 2, 128), (4, 1, 8), (2, 1, 256), (4, 2, 20)] {
            for kind in [Kind::BFloat16, Kind::Half] {
                assert_about_as_exact(&lengths, heads, kind, device);
            }
        }
    }
}

#[test]
fn full_kinds_on_a_gpu_give_what_each_sequence_alone_gives() {
    let Some(device) = gpu() else { return };
    for lengths in layouts() {
        for heads in [(4, 4, 64), (8, 2, 16)] {
            let mut case = Case::new(lengths.clone(), heads, 1);
            let expected = case.run(Kind::Double, by_definition);
            case.device = device;
            assert_close(&case.run(Kind::Double, shared), &expected, 1e-12, "f64 on a GPU");
            assert_close(&case.run(Kind::Float, shared), &expected, 1e-5, "f32 on a GPU");
        }
    }
}

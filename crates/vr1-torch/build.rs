//! Compiles the C++ shim against the libtorch that tch is built against.

use std::env;
use std::path::PathBuf;

const SOURCES: [&str; 11] = [
    "src/allocated.cpp",
    "src/attend.cpp",
    "src/attention.cpp",
    "src/foreach.cpp",
    "src/gradient.cpp",
    "src/graph.cpp",
    "src/launch.cpp",
    "src/recompute.cpp",
    "src/segments.cpp",
    "src/shim.cpp",
    "src/sums.cpp",
];
/// Loops of our own, of which no build for debugging may make slow ones: the layers of every model run through them.
const LOOPS: [&str; 3] = ["src/few_rows.cpp", "src/rotation.cpp", "src/silu_product.cpp"];
const HEADERS: [&str; 6] = [
    "src/attention_dense.h",
    "src/attention_kernels.h",
    "src/attention_plan.h",
    "src/attention_ragged.h",
    "src/few_rows_kernel.h",
    "src/message.h",
];

fn main() {
    for file in SOURCES.iter().chain(&LOOPS).chain(&HEADERS) {
        println!("cargo:rerun-if-changed={file}");
    }
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    println!("cargo:rerun-if-env-changed=LIBTORCH_INCLUDE");
    let root = env::var_os("LIBTORCH_INCLUDE").or_else(|| env::var_os("LIBTORCH")).map(PathBuf::from);
    let Some(include) = root.map(|root| root.join("include")).filter(|include| include.is_dir()) else {
        println!("cargo::error=libtorch is not set up: run `cargo xtask setup`, or point LIBTORCH at libtorch 2.11.0");
        return;
    };
    let mut build = cc::Build::new();
    build
        .cpp(true)
        .warnings(false)
        .include(&include)
        .include(include.join("torch/csrc/api/include"))
        .flag("-std=c++17")
        .define("_GLIBCXX_USE_CXX11_ABI", "1");
    build.clone().files(SOURCES).compile("vr1_torch_shim");
    build.opt_level(3).files(LOOPS).compile("vr1_torch_loops");
}

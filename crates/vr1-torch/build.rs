//! Compiles the C++ shim against the libtorch that tch is built against.

use std::path::PathBuf;
use std::{env, fs, io};

/// Most of the time goes to reading libtorch's headers, so what is compiled at once reads them once: in two units,
/// for two cores. Names in a file's unnamed namespace are that file's alone among those of its unit.
const UNITS: [&[&str]; 2] = [
    &[
        "src/attend.cpp",
        "src/blockwise.cpp",
        "src/decode_layer.cpp",
        "src/draw.cpp",
        "src/few_rows.cpp",
        "src/foreach.cpp",
        "src/graph.cpp",
        "src/launch.cpp",
        "src/memory.cpp",
        "src/message.cpp",
        "src/process_group.cpp",
        "src/storage.cpp",
        "src/sums.cpp",
    ],
    &[
        "src/allocated.cpp",
        "src/attention.cpp",
        "src/beside.cpp",
        "src/gradient.cpp",
        "src/quick_gelu.cpp",
        "src/recompute.cpp",
        "src/rotation.cpp",
        "src/segments.cpp",
        "src/silu_product.cpp",
    ],
];
const HEADERS: [&str; 18] = [
    "src/adamw.h",
    "src/attention_dense.h",
    "src/attention_kernels.h",
    "src/attention_plan.h",
    "src/attention_ragged.h",
    "src/decode_layer.h",
    "src/draw.h",
    "src/few_rows.h",
    "src/few_rows_kernel.h",
    "src/gloo/algorithm.h",
    "src/gloo/common/error.h",
    "src/gloo/context.h",
    "src/gloo/rendezvous/store.h",
    "src/gloo/transport/device.h",
    "src/message.h",
    "src/own.h",
    "src/parallel.h",
    "src/rows.h",
];

/// The units, each a file that includes its own.
fn written() -> io::Result<Vec<PathBuf>> {
    let to = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let unit = |(number, files): (usize, &&[&str])| {
        let path = to.join(format!("unit_{number}.cpp"));
        let includes: String =
            files.iter().map(|file| format!("#include \"{}\"\n", file.trim_start_matches("src/"))).collect();
        fs::write(&path, includes).map(|()| path)
    };
    UNITS.iter().enumerate().map(unit).collect()
}

fn main() {
    for file in UNITS.concat().into_iter().chain(HEADERS) {
        println!("cargo:rerun-if-changed={file}");
    }
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    println!("cargo:rerun-if-env-changed=LIBTORCH_INCLUDE");
    let root = env::var_os("LIBTORCH_INCLUDE").or_else(|| env::var_os("LIBTORCH")).map(PathBuf::from);
    let Some(include) = root.map(|root| root.join("include")).filter(|include| include.is_dir()) else {
        println!("cargo::error=libtorch is not set up: run `cargo xtask setup`, or point LIBTORCH at libtorch 2.11.0");
        return;
    };
    let units = match written() {
        Ok(units) => units,
        Err(error) => return println!("cargo::error=the shim's units cannot be written to OUT_DIR: {error}"),
    };
    cc::Build::new()
        .cpp(true)
        .warnings(false)
        .include(&include)
        .include(include.join("torch/csrc/api/include"))
        // Behind libtorch's own: what a unit includes, and what libtorch's headers lack of Gloo.
        .include("src")
        .flag("-std=c++17")
        // What runs for every token is fast in every profile.
        .opt_level(3)
        .flag_if_supported("-fopenmp-simd")
        // A note about vectors as arguments, which none of ours crosses a library with.
        .flag_if_supported("-Wno-psabi")
        // Nobody reads errno; a root of many numbers at once cannot set it.
        .flag_if_supported("-fno-math-errno")
        .define("_GLIBCXX_USE_CXX11_ABI", "1")
        .files(units)
        .compile("vr1_torch_shim");
}

//! Compiles the C++ shim against the libtorch that tch is built against.

use std::env;
use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-changed=src");
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    println!("cargo:rerun-if-env-changed=LIBTORCH_INCLUDE");
    let root = env::var_os("LIBTORCH_INCLUDE").or_else(|| env::var_os("LIBTORCH")).map(PathBuf::from);
    let Some(include) = root.map(|root| root.join("include")).filter(|include| include.is_dir()) else {
        println!("cargo::error=libtorch is not set up: run `cargo xtask setup`, or point LIBTORCH at libtorch 2.11.0");
        return;
    };
    cc::Build::new()
        .cpp(true)
        .warnings(false)
        .include(&include)
        .include(include.join("torch/csrc/api/include"))
        .flag("-std=c++17")
        .define("_GLIBCXX_USE_CXX11_ABI", "1")
        .files(["src/attention.cpp", "src/shim.cpp"])
        .compile("vr1_torch_shim");
}

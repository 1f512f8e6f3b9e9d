//! Compiles `chunked_logprobs.cpp` against the libtorch that tch is built against.

use std::env;
use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-changed=src/chunked_logprobs.cpp");
    // Without it tch is built for documentation only, and nothing is linked.
    let Some(library) = env::var_os("DEP_TCH_LIBTORCH_LIB").map(PathBuf::from) else { return };
    let include = env::var_os("LIBTORCH_INCLUDE").map_or_else(|| library.join(".."), PathBuf::from).join("include");
    cc::Build::new()
        .cpp(true)
        .warnings(false)
        .include(&include)
        .include(include.join("torch/csrc/api/include"))
        .flag("-std=c++17")
        .define("_GLIBCXX_USE_CXX11_ABI", env::var("LIBTORCH_CXX11_ABI").as_deref().unwrap_or("1"))
        .file("src/chunked_logprobs.cpp")
        .compile("vr1_ops_chunked_logprobs");
}

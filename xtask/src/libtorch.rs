//! Is a folder the libtorch that tch is bound to?

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::fs;
use std::path::Path;

use anyhow::{Result, bail, ensure};

/// The one libtorch that tch 0.24 is bound to.
pub(crate) const VERSION: &str = "2.11.0";

/// Where the version is defined: in the first since 2.9, in the second before.
const VERSION_HEADERS: [&str; 2] =
    ["include/torch/headeronly/version.h", "include/torch/csrc/api/include/torch/version.h"];

/// Checks that `dir` holds libtorch's libraries and headers, at [`VERSION`]; the error is a clause about `dir`.
pub(crate) fn inspect(dir: &Path) -> Result<()> {
    ensure!(dir.is_dir(), "is no folder");
    for name in ["torch", "torch_cpu", "c10"] {
        let library = format!("lib/{DLL_PREFIX}{name}{DLL_SUFFIX}");
        ensure!(dir.join(&library).is_file(), "holds no libtorch: {library} is missing");
    }
    ensure!(
        dir.join("include/torch/csrc/api/include/torch/torch.h").is_file(),
        "holds no libtorch headers: include/torch/csrc/api/include/torch/torch.h is missing"
    );
    match VERSION_HEADERS.iter().find_map(|header| version(&fs::read_to_string(dir.join(header)).ok()?)) {
        Some(found) if found == VERSION => Ok(()),
        Some(found) => bail!("holds libtorch {found}, and vr1 needs {VERSION}"),
        None => bail!("holds a libtorch of unknown version: {} does not say", VERSION_HEADERS[0]),
    }
}

/// `2.11.0` from the header's `#define TORCH_VERSION_MAJOR 2` and its two siblings.
fn version(header: &str) -> Option<String> {
    let part = |name: &str| {
        header.lines().find_map(|line| {
            let mut words = line.split_whitespace();
            (words.next() == Some("#define") && words.next() == Some(name)).then(|| words.next()).flatten()
        })
    };
    let (major, minor, patch) =
        (part("TORCH_VERSION_MAJOR")?, part("TORCH_VERSION_MINOR")?, part("TORCH_VERSION_PATCH")?);
    Some(format!("{major}.{minor}.{patch}"))
}

//! A crate outside the workspace, with verifiers of its own, builds and runs against this one.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn a_crate_of_a_users_own_calls_its_verifiers_from_yaml() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let there = Path::new(env!("CARGO_TARGET_TMPDIR")).join("outside");
    fs::create_dir_all(there.join("src")).unwrap();
    let manifest = fs::read_to_string(here.join("tests/outside/Cargo.toml")).unwrap();
    fs::write(there.join("Cargo.toml"), manifest.replace("../..", here.to_str().unwrap())).unwrap();
    fs::copy(here.join("tests/outside/src/main.rs"), there.join("src/main.rs")).unwrap();
    // The versions that are here already: a test needs no network.
    fs::copy(here.join("../../Cargo.lock"), there.join("Cargo.lock")).unwrap();
    let output = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--offline", "--target-dir", "target"])
        .current_dir(&there)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let expected = "1.5
error: `names_color` has no argument `kase`
error: `colors` of `names_color` needs a list of text, and this is a number
error: `case` cannot be 'ignored'
";
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
}

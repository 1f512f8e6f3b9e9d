//! The crate stands alone: what it needs without libtorch, and a crate outside the workspace that trains with it.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

fn cargo() -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

#[test]
fn without_default_features_the_tree_has_at_most_ten_packages_and_no_libtorch() {
    let arguments =
        ["tree", "--offline", "-p", "vr1-grpo", "--no-default-features", "-e", "normal,build", "--prefix", "none"];
    let output = cargo().args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let packages: BTreeSet<&str> = text.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(packages.len() <= 10 && packages.contains("vr1-grpo"), "{packages:?}");
    assert!(!packages.contains("tch") && !packages.contains("torch-sys"), "{packages:?}");
}

/// It compiles tch once more, in its own folder under `target/`: minutes, so it runs with `cargo test -p vr1-grpo -- --ignored`.
#[test]
#[ignore = "compiles tch a second time"]
fn a_crate_outside_the_workspace_trains_a_policy_to_optimum() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = manifest.join("../..");
    let mut command = cargo();
    command.args(["run", "--quiet", "--manifest-path", "tests/alone/Cargo.toml", "--target-dir"]);
    command.arg(root.join("target/alone"));
    if std::env::var_os("LIBTORCH").is_none() {
        command.env("LIBTORCH", root.join(".libtorch"));
    }
    let library = std::env::var_os("LIBTORCH").map_or_else(|| root.join(".libtorch"), Into::into).join("lib");
    let output = command.env("LD_LIBRARY_PATH", library).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("the rewarded action has probability 0.9") || text.contains("probability 1.000"), "{text}");
}

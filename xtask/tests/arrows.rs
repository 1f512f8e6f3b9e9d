//! Which crates may depend on which, tried on small workspaces.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const FORBID: &str = "[workspace]\nresolver = \"3\"\nmembers = [\"crates/*\", \"xtask\"]\n\
                      [workspace.lints.rust]\nunsafe_code = \"forbid\"\n";
const LINTED: &str = "[lints]\nworkspace = true\n";

/// A workspace in a temporary folder, with `tch` and `picture` (which is drawn on `tch`) outside of it.
struct Workspace(tempfile::TempDir);

impl Workspace {
    fn new() -> Self {
        let workspace = Self(tempfile::tempdir().unwrap());
        fs::create_dir(workspace.root()).unwrap();
        fs::write(workspace.root().join("Cargo.toml"), FORBID).unwrap();
        workspace.package(&workspace.0.path().join("tch"), "tch", "");
        workspace.package(
            &workspace.0.path().join("picture"),
            "picture",
            "[dependencies]\ntch = { path = \"../tch\" }\n",
        );
        workspace.package(&workspace.root().join("xtask"), "xtask", LINTED);
        workspace
    }

    fn root(&self) -> PathBuf {
        self.0.path().join("checkout")
    }

    fn package(&self, dir: &Path, name: &str, rest: &str) {
        fs::create_dir_all(dir.join("src")).unwrap();
        let head = format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n");
        fs::write(dir.join("Cargo.toml"), head + rest).unwrap();
        fs::write(dir.join("src/lib.rs"), "").unwrap();
    }

    /// Adds a crate whose `[dependencies]` (or another table) hold these lines.
    fn with(self, name: &str, rest: &str) -> Self {
        self.package(&self.root().join("crates").join(name), name, &format!("{LINTED}{rest}"));
        self
    }

    /// What the check says: the sum where all is well, or the faults.
    fn check(&self) -> Result<String, String> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let lock =
            Command::new(&cargo).args(["generate-lockfile", "--offline"]).current_dir(self.root()).output().unwrap();
        assert!(lock.status.success(), "{}", String::from_utf8_lossy(&lock.stderr));
        let mut xtask = Command::new(env!("CARGO_BIN_EXE_xtask"));
        let output = xtask.args(["lint", "arrows"]).current_dir(self.root()).env("CARGO", cargo).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        if output.status.success() { Ok(stderr) } else { Err(stderr) }
    }
}

#[test]
fn the_arrows_as_drawn_pass_and_are_counted() {
    let workspace = Workspace::new()
        .with("vr1-ops", "[dependencies]\ntch = { path = \"../../../tch\" }\n")
        .with("vr1-grpo", "[dependencies]\nvr1-ops = { path = \"../vr1-ops\", optional = true }\n")
        .with("vr1-data", "")
        .with("vr1-train", "[dependencies]\nvr1-grpo.path = \"../vr1-grpo\"\nvr1-data.path = \"../vr1-data\"\n");
    assert!(workspace.check().unwrap().contains("5 crates, 3 arrows, all as drawn"));
}

#[test]
fn a_crate_may_use_what_its_own_arrows_lead_to_and_nothing_beside_them() {
    let along =
        Workspace::new().with("vr1-data", "").with("vr1-rollout", "[dependencies]\nvr1-data.path = \"../vr1-data\"\n");
    along.check().unwrap();
    let beside = Workspace::new()
        .with("vr1-reward", "")
        .with("vr1-rollout", "[dependencies]\nvr1-reward.path = \"../vr1-reward\"\n");
    assert!(beside.check().unwrap_err().contains("vr1-rollout depends on vr1-reward"));
}

#[test]
fn an_arrow_that_points_back_is_a_fault_even_behind_a_feature() {
    let workspace = Workspace::new()
        .with("vr1-nn", "[dependencies]\nvr1-llm = { path = \"../vr1-llm\", optional = true }\n")
        .with("vr1-llm", "");
    assert!(
        workspace.check().unwrap_err().contains("vr1-nn depends on vr1-llm, an arrow that the architecture does not")
    );
}

#[test]
fn an_objective_that_sees_a_model_is_a_fault() {
    let workspace =
        Workspace::new().with("vr1-nn", "").with("vr1-dpo", "[dependencies]\nvr1-nn.path = \"../vr1-nn\"\n");
    assert!(workspace.check().unwrap_err().contains("vr1-dpo depends on vr1-nn"));
}

#[test]
fn a_test_may_use_a_crate_below_its_own_but_none_above() {
    let below = Workspace::new()
        .with("vr1-rollout", "[dev-dependencies]\nvr1-reward.path = \"../vr1-reward\"\n")
        .with("vr1-reward", "");
    below.check().unwrap();
    let above = Workspace::new()
        .with("vr1-rollout", "")
        .with("vr1-reward", "[dev-dependencies]\nvr1-rollout.path = \"../vr1-rollout\"\n");
    assert!(above.check().unwrap_err().contains("vr1-reward is tested with vr1-rollout"));
}

#[test]
fn a_tensor_library_seen_through_others_is_a_fault_that_tells_the_way() {
    for table in ["dependencies", "dev-dependencies", "build-dependencies"] {
        let workspace = Workspace::new().with("vr1-data", &format!("[{table}]\npicture.path = \"../../../picture\"\n"));
        let error = workspace.check().unwrap_err();
        assert!(error.contains("vr1-data must not see tch, and does: vr1-data -> picture -> tch"), "{error}");
    }
}

#[test]
fn grpo_must_lose_the_tensor_library_with_its_default_features() {
    let optional =
        "[features]\ndefault = [\"tch\"]\n[dependencies]\ntch = { path = \"../../../tch\", optional = true }\n";
    Workspace::new().with("vr1-grpo", optional).check().unwrap();
    let always = Workspace::new().with("vr1-grpo", "[dependencies]\ntch.path = \"../../../tch\"\n");
    assert!(always.check().unwrap_err().contains("vr1-grpo sees tch even with its default features off"));
}

#[test]
fn a_crate_without_the_workspaces_lints_is_a_fault_unless_it_bridges_to_libtorch() {
    let workspace = Workspace::new();
    workspace.package(
        &workspace.root().join("crates/vr1-torch"),
        "vr1-torch",
        "[lints.rust]\nunsafe_code = \"warn\"\n",
    );
    workspace.check().unwrap();
    workspace.package(&workspace.root().join("crates/vr1-nn"), "vr1-nn", "[lints.rust]\nunsafe_code = \"warn\"\n");
    assert!(workspace.check().unwrap_err().contains("vr1-nn must take the workspace's lints"));
}

#[test]
fn a_workspace_that_allows_unsafe_is_a_fault() {
    let workspace = Workspace::new().with("vr1-data", "");
    fs::write(workspace.root().join("Cargo.toml"), FORBID.replace("forbid", "warn")).unwrap();
    assert!(workspace.check().unwrap_err().contains("must hold unsafe_code = \"forbid\""));
}

#[test]
fn a_crate_that_the_architecture_does_not_know_is_a_fault() {
    let workspace = Workspace::new().with("vr1-utils", "");
    assert!(workspace.check().unwrap_err().contains("vr1-utils is not in the table"));
}

#[test]
fn all_faults_are_told_at_once() {
    let workspace = Workspace::new().with("vr1-utils", "").with("vr1-extras", "");
    let error = workspace.check().unwrap_err();
    assert!(error.contains("vr1-utils") && error.contains("vr1-extras"), "{error}");
}

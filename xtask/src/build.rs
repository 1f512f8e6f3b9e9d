//! Benches and tests that cargo builds, and where it puts them.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::checkout::Checkout;
use crate::process;

/// The programs that `cargo ARGS` builds: their targets' names and their files.
pub(crate) fn programs(checkout: &Checkout, args: &[&str]) -> Result<Vec<(String, PathBuf)>> {
    eprintln!("$ cargo {}", args.join(" "));
    let mut cargo = process::cargo(checkout, args);
    cargo.arg("--message-format=json-render-diagnostics").stderr(Stdio::inherit());
    let output = cargo.output().context("cannot start cargo")?;
    if !output.status.success() {
        bail!("`cargo {}` failed", args.join(" "));
    }
    Ok(String::from_utf8_lossy(&output.stdout).lines().filter_map(program).collect())
}

/// The program that a line of cargo's tells of.
fn program(line: &str) -> Option<(String, PathBuf)> {
    let said: Value = serde_json::from_str(line).ok()?;
    let name = said.get("target")?.get("name")?.as_str()?;
    Some((name.to_owned(), said.get("executable")?.as_str()?.into()))
}

#[cfg(test)]
mod tests {
    use super::program;

    #[test]
    fn only_lines_about_programs_name_one() {
        let built = r#"{"reason":"compiler-artifact","target":{"name":"peers"},"executable":"/t/peers-1"}"#;
        assert_eq!(program(built), Some(("peers".to_owned(), "/t/peers-1".into())));
        assert_eq!(program(r#"{"reason":"compiler-artifact","target":{"name":"vr1"},"executable":null}"#), None);
        assert_eq!(program("running 2 tests"), None);
    }
}

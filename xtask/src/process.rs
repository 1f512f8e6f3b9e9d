//! Other programs, run so that a person sees which and with what end.

use std::env;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::checkout::Checkout;

/// Settings that replace the rpaths of `.cargo/config.toml`, or move the binaries that these are relative to.
const HIDE_RPATH: [&str; 5] =
    ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTDOCFLAGS", "CARGO_TARGET_DIR", "CARGO_BUILD_TARGET_DIR"];

/// The cargo that runs this program, at the root of the checkout.
pub(crate) fn cargo<A: AsRef<OsStr>>(checkout: &Checkout, args: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(checkout.root()).args(args);
    find_libtorch(&mut command, checkout);
    command
}

/// A program that was built here, at the root of the checkout.
pub(crate) fn command(program: &Path, checkout: &Checkout) -> Command {
    let mut command = Command::new(program);
    command.current_dir(checkout.root());
    find_libtorch(&mut command, checkout);
    command
}

/// The folder that cargo builds into.
pub(crate) fn target(checkout: &Checkout) -> PathBuf {
    let own = ["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET_DIR"].iter().find_map(env::var_os);
    own.map_or_else(|| checkout.root().join("target"), |own| checkout.root().join(own))
}

/// Has programs that `command` starts find libtorch where their own rpath does not lead to it.
pub(crate) fn find_libtorch(command: &mut Command, checkout: &Checkout) {
    if HIDE_RPATH.iter().any(|name| env::var_os(name).is_some()) {
        let mut path = vec![checkout.link().join("lib")];
        path.extend(env::split_paths(&env::var_os("LD_LIBRARY_PATH").unwrap_or_default()));
        if let Ok(path) = env::join_paths(path) {
            command.env("LD_LIBRARY_PATH", path);
        }
    }
}

/// Runs `command` with its output on the terminal.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = shown(command);
    eprintln!("$ {line}");
    let status = command.status().with_context(|| format!("cannot start `{line}`"))?;
    match status.code() {
        Some(0) => Ok(()),
        Some(code) => bail!("`{line}` failed with exit code {code}"),
        None => bail!("`{line}` was ended by a signal"),
    }
}

/// Runs `command` quietly: its standard output if it succeeds, its standard error if not.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let line = shown(command);
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start `{line}`"))?;
    if !output.status.success() {
        bail!("`{line}` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs `command` with its output on the terminal; where it fails, what it wrote to standard error.
pub(crate) fn watched(command: &mut Command) -> Result<Result<(), String>> {
    let line = shown(command);
    eprintln!("$ {line}");
    let mut child = command.stderr(Stdio::piped()).spawn().with_context(|| format!("cannot start `{line}`"))?;
    let mut told = String::new();
    if let Some(stderr) = child.stderr.take() {
        for bytes in BufReader::new(stderr).split(b'\n') {
            let text = String::from_utf8_lossy(&bytes?).into_owned();
            writeln!(std::io::stderr(), "{text}")?;
            told += &text;
            told.push('\n');
        }
    }
    Ok(if child.wait()?.success() { Ok(()) } else { Err(told) })
}

fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

//! A machine that is not there: a checkout, a cache and a PATH in a temporary folder, with scripts for programs.
#![allow(clippy::unwrap_used, dead_code, reason = "test code; each test file uses a part of this module")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

/// Held while a script is written and while a child is started: a child that is forked in the midst of a write holds
/// the script open until it becomes another program, and to start the script fails for so long.
static WRITING_OR_FORKING: Mutex<()> = Mutex::new(());

pub(crate) struct Machine {
    dir: tempfile::TempDir,
}

/// How a run of xtask ended.
pub(crate) struct Ended {
    pub(crate) good: bool,
    pub(crate) stderr: String,
}

impl Ended {
    /// The one line of the error, without `error: `.
    pub(crate) fn error(&self) -> &str {
        assert!(!self.good, "it succeeded: {}", self.stderr);
        let (_, error) = self.stderr.rsplit_once("error: ").unwrap();
        assert_eq!(error.trim_end().lines().count(), 1, "more than one line: {error}");
        error.trim_end()
    }

    pub(crate) fn succeeded(&self) -> &str {
        assert!(self.good, "it failed: {}", self.stderr);
        &self.stderr
    }
}

impl Machine {
    /// A checkout, an empty home, a C++ compiler, a cargo that only keeps a log, room on the disk, and no Python.
    pub(crate) fn new() -> Self {
        let machine = Self { dir: tempfile::tempdir().unwrap() };
        fs::create_dir_all(machine.checkout().join("xtask")).unwrap();
        fs::write(machine.checkout().join("xtask/Cargo.toml"), "").unwrap();
        for folder in ["bin", "home"] {
            fs::create_dir(machine.path(folder)).unwrap();
        }
        machine.program("c++", "");
        machine.program("cargo", "");
        machine.disk(50_000_000);
        machine
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(name)
    }

    pub(crate) fn checkout(&self) -> PathBuf {
        self.path("checkout")
    }

    pub(crate) fn link(&self) -> PathBuf {
        self.checkout().join(".libtorch")
    }

    /// Where the private environment's torch belongs.
    pub(crate) fn private(&self) -> PathBuf {
        self.path("cache/vr1/libtorch-2.11.0/torch")
    }

    /// Puts a shell script on the PATH; it keeps a log of its arguments.
    pub(crate) fn program(&self, name: &str, script: &str) -> PathBuf {
        let path = self.path("bin").join(name);
        let text = format!("#!/bin/sh\nPATH=/usr/bin:/bin\necho \"$*\" >> \"{}.log\"\n{script}\n", path.display());
        let _guard = WRITING_OR_FORKING.lock();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// What `program` was asked for so far, a line a call.
    pub(crate) fn log(&self, program: &str) -> String {
        fs::read_to_string(self.path("bin").join(format!("{program}.log"))).unwrap_or_default()
    }

    pub(crate) fn disk(&self, free_kibibytes: u64) {
        self.program("df", &format!("echo Filesystem Blocks Used Free; echo /dev/a 99 9 {free_kibibytes} 1% /"));
    }

    /// A `python3`: `torch` is where its torch lies, `pip` what its `pip install` does ("$site" is the target).
    pub(crate) fn python(&self, torch: Option<&Path>, pip: Option<&str>) {
        let torch = torch.map_or(String::new(), |torch| torch.display().to_string());
        let version = if pip.is_some() { "exit 0" } else { "exit 1" };
        let script = format!(
            "case \"$1 $2 $3\" in\n\
             '-c import'*) echo '{torch}' ;;\n\
             '-m pip --version') {version} ;;\n\
             '-m pip install') while [ \"$1\" != --target ]; do shift; done; site=$2\n{}\n;;\n\
             '-m venv '*) exit 1 ;;\nesac",
            pip.unwrap_or("exit 1")
        );
        self.program("python3", &script);
    }

    /// A line for a `pip install` that works.
    pub(crate) fn good_pip(&self) -> String {
        let torch = self.torch("wheel", "2.11.0");
        format!("mkdir -p $site && cp -r {} $site/torch", torch.display())
    }

    /// A folder with the names that a torch of this version has.
    pub(crate) fn torch(&self, name: &str, version: &str) -> PathBuf {
        let dir = self.path(name);
        let headers = ["include/torch/csrc/api/include/torch", "include/torch/headeronly"];
        for folder in headers.iter().chain(&["lib"]) {
            fs::create_dir_all(dir.join(folder)).unwrap();
        }
        for library in ["torch", "torch_cpu", "c10"] {
            let file = format!("lib/{}{library}{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
            fs::write(dir.join(file), "").unwrap();
        }
        fs::write(dir.join(headers[0]).join("torch.h"), "").unwrap();
        let defines = ["MAJOR", "MINOR", "PATCH"].into_iter().zip(version.split('.'));
        let defines: String =
            defines.map(|(part, number)| format!("#define TORCH_VERSION_{part} {number}\n")).collect();
        fs::write(dir.join(headers[1]).join("version.h"), format!("#pragma once\n\n{defines}")).unwrap();
        dir
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(args).current_dir(self.checkout()).env_clear();
        command.env("PATH", self.path("bin")).env("HOME", self.path("home")).env("CARGO", self.path("bin/cargo"));
        command.env("XDG_CACHE_HOME", self.path("cache"));
        command
    }

    /// Runs xtask here, as cargo would: with LIBTORCH set to the link.
    pub(crate) fn xtask(&self, args: &[&str]) -> Ended {
        finish(self.command(args).env("LIBTORCH", self.link()))
    }
}

pub(crate) fn finish(command: &mut Command) -> Ended {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let guard = WRITING_OR_FORKING.lock();
    let child = command.spawn().unwrap();
    drop(guard);
    let output = child.wait_with_output().unwrap();
    Ended { good: output.status.success(), stderr: String::from_utf8(output.stderr).unwrap() }
}

pub(crate) fn start(command: &mut Command) -> Child {
    let _guard = WRITING_OR_FORKING.lock();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

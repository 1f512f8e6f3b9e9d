//! Where libtorch comes from, and what is said where it cannot come.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]

mod machine;

use std::fs;
use std::os::unix::fs::symlink;

use machine::{Machine, finish, start};

#[test]
fn the_users_libtorch_wins_over_the_link_and_over_python() {
    let machine = Machine::new();
    let (own, old) = (machine.torch("own", "2.11.0"), machine.torch("old", "2.11.0"));
    machine.python(Some(&machine.torch("pythons", "2.11.0")), None);
    symlink(&old, machine.link()).unwrap();
    finish(machine.command(&["setup"]).env("LIBTORCH", &own)).succeeded();
    assert_eq!(fs::read_link(machine.link()).unwrap(), own);
    assert_eq!(machine.log("python3"), "");
}

#[test]
fn what_was_compiled_against_the_old_libtorch_is_forgotten() {
    let machine = Machine::new();
    let own = machine.torch("own", "2.11.0");
    finish(machine.command(&["setup"]).env("LIBTORCH", &own)).succeeded();
    assert_eq!(machine.log("cargo"), "", "there was no old one");
    let other = machine.torch("other", "2.11.0");
    finish(machine.command(&["setup"]).env("LIBTORCH", other)).succeeded();
    assert!(machine.log("cargo").contains("clean --quiet --profile release -p torch-sys"));
}

#[test]
fn a_libtorch_that_will_not_do_names_the_variable_the_place_and_the_reason() {
    let machine = Machine::new();
    let cases = [
        (machine.torch("old", "2.9.1"), "holds libtorch 2.9.1, and vr1 needs 2.11.0"),
        (machine.path("home"), "holds no libtorch: lib/"),
        (machine.path("nowhere"), "is no folder"),
    ];
    for (place, reason) in cases {
        let ended = finish(machine.command(&["setup"]).env("LIBTORCH", &place));
        let error = ended.error();
        assert!(error.contains(&format!("LIBTORCH={} {reason}", place.display())), "{error}");
        assert!(error.contains("unset it"), "{error}");
        assert!(!machine.link().exists());
    }
}

#[test]
fn a_relative_libtorch_is_refused() {
    let machine = Machine::new();
    let ended = finish(machine.command(&["setup"]).env("LIBTORCH", "../own"));
    assert!(ended.error().contains("LIBTORCH=../own is relative"));
}

#[test]
fn a_good_link_is_kept_and_nobody_is_asked() {
    let machine = Machine::new();
    let torch = machine.torch("mine", "2.11.0");
    machine.python(Some(&machine.torch("pythons", "2.11.0")), None);
    symlink(&torch, machine.link()).unwrap();
    machine.xtask(&["setup"]).succeeded();
    assert_eq!(fs::read_link(machine.link()).unwrap(), torch);
    assert_eq!(machine.log("python3"), "");
}

#[test]
fn a_link_to_nothing_or_to_another_version_is_replaced() {
    for old in ["gone", "old"] {
        let machine = Machine::new();
        machine.torch("old", "2.10.0");
        let torch = machine.torch("pythons", "2.11.0");
        machine.python(Some(&torch), None);
        symlink(machine.path(old), machine.link()).unwrap();
        machine.xtask(&["setup"]).succeeded();
        assert_eq!(fs::read_link(machine.link()).unwrap(), torch);
    }
}

#[test]
fn a_folder_in_the_place_of_the_link_is_never_removed() {
    let machine = Machine::new();
    fs::create_dir(machine.link()).unwrap();
    machine.python(Some(&machine.torch("pythons", "2.11.0")), None);
    assert!(machine.xtask(&["setup"]).error().contains("is in the way: move it aside"));
    assert!(machine.link().is_dir());
}

#[test]
fn the_torch_of_python3_is_used_without_pip() {
    let machine = Machine::new();
    let torch = machine.torch("pythons", "2.11.0");
    machine.python(Some(&torch), Some("exit 1"));
    machine.xtask(&["setup"]).succeeded();
    assert_eq!(fs::read_link(machine.link()).unwrap(), torch);
    assert!(!machine.log("python3").contains("pip"));
}

#[test]
fn another_torch_in_python3_is_told_and_passed_over() {
    let machine = Machine::new();
    machine.python(Some(&machine.torch("pythons", "2.9.1")), Some(&machine.good_pip()));
    let ended = machine.xtask(&["setup"]);
    assert!(ended.succeeded().contains("holds libtorch 2.9.1, and vr1 needs 2.11.0"), "{}", ended.stderr);
    assert_eq!(fs::read_link(machine.link()).unwrap(), machine.private());
}

#[test]
fn pip_installs_once_and_the_second_checkout_shares_it() {
    let machine = Machine::new();
    machine.python(None, Some(&machine.good_pip()));
    machine.xtask(&["setup"]).succeeded();
    assert_eq!(fs::read_link(machine.link()).unwrap(), machine.private());
    assert!(machine.log("python3").contains("torch==2.11.0"));
    fs::remove_file(machine.link()).unwrap();
    machine.xtask(&["setup"]).succeeded();
    assert_eq!(fs::read_link(machine.link()).unwrap(), machine.private());
    assert_eq!(machine.log("python3").matches("pip install").count(), 1);
}

#[test]
fn a_private_environment_needs_no_python_any_more() {
    let machine = Machine::new();
    fs::create_dir_all(machine.path("cache/vr1/libtorch-2.11.0")).unwrap();
    machine.torch("cache/vr1/libtorch-2.11.0/torch", "2.11.0");
    machine.xtask(&["setup"]).succeeded();
    assert_eq!(fs::read_link(machine.link()).unwrap(), machine.private());
}

#[test]
fn an_install_that_broke_off_leaves_nothing_behind_and_is_made_again() {
    let machine = Machine::new();
    machine.python(None, Some(&format!("{}; exit 1", machine.good_pip())));
    machine.xtask(&["setup"]).error();
    assert!(!machine.path("cache/vr1/libtorch-2.11.0").exists());
    assert!(!machine.path("cache/vr1/libtorch-2.11.0.part").exists());
    // One that was killed had no time to tidy up.
    fs::create_dir_all(machine.path("cache/vr1/libtorch-2.11.0.part/site/torch/lib")).unwrap();
    machine.python(None, Some(&format!("[ ! -e $site ] || exit 1; {}", machine.good_pip())));
    machine.xtask(&["setup"]).succeeded();
    assert_eq!(fs::read_link(machine.link()).unwrap(), machine.private());
}

#[test]
fn a_private_environment_that_lost_a_file_is_made_again() {
    let machine = Machine::new();
    machine.python(None, Some(&machine.good_pip()));
    machine.xtask(&["setup"]).succeeded();
    fs::remove_dir_all(machine.private().join("include")).unwrap();
    machine.xtask(&["setup"]).succeeded();
    assert!(machine.private().join("include").is_dir());
}

#[test]
fn two_set_ups_at_once_install_once() {
    let machine = Machine::new();
    machine.python(None, Some(&format!("sleep 1; {}", machine.good_pip())));
    let mut first = start(&mut machine.command(&["setup"]));
    machine.xtask(&["setup"]).succeeded();
    assert!(first.wait().unwrap().success());
    assert_eq!(machine.log("python3").matches("pip install").count(), 1);
}

#[test]
fn without_pip_a_virtual_environment_lends_one() {
    let machine = Machine::new();
    let pip = format!("case $3 in install) site=$9; {};; esac", machine.good_pip());
    let lent = machine.program("lent", &pip);
    let venv = format!("mkdir -p $3/bin && cp {} $3/bin/python", lent.display());
    machine.program("python3", &format!("case \"$1 $2\" in '-m pip') exit 1;; '-m venv') {venv};; esac"));
    machine.xtask(&["setup"]).succeeded();
    assert!(machine.log("lent").contains("-m pip install"));
    assert_eq!(fs::read_link(machine.link()).unwrap(), machine.private());
}

#[test]
fn what_is_missing_is_said_in_one_line_with_what_to_do() {
    let fails = |stderr: &str| Some(format!("echo \"{stderr}\" >&2; exit 1"));
    let cases = [
        (None, "python3 has no pip", "sudo apt install python3-pip"),
        (
            fails("WARNING: Retrying (Retry(total=4, ...)): /simple/torch/\nERROR: No matching distribution found"),
            "pip cannot reach its package index",
            "check the network",
        ),
        (fails("ERROR: Could not install: [Errno 28] No space left on device"), "is full", "free some room"),
        (
            fails("ERROR: Could not find a version\nERROR: No matching distribution found for torch==2.11.0"),
            "no build for this Python",
            "use another python3",
        ),
        (fails("ERROR: something else\nhint: none"), "pip failed: ERROR: something else", ""),
        (Some("mkdir -p $site/torch".into()), "what pip installed: holds no libtorch", ""),
    ];
    for (pip, what, to_do) in cases {
        let machine = Machine::new();
        machine.python(None, pip.as_deref());
        let ended = machine.xtask(&["setup"]);
        assert!(ended.error().contains(what) && ended.error().contains(to_do), "{what}: {}", ended.stderr);
        assert!(!machine.link().exists());
    }
}

#[test]
fn no_python_is_said_in_one_line_with_what_to_do() {
    let machine = Machine::new();
    let ended = machine.xtask(&["setup"]);
    assert!(ended.error().contains("no python3 that starts") && ended.error().contains("set LIBTORCH"));
    machine.program("python3", "echo 'pyenv: python3: command not found' >&2; exit 127");
    assert!(machine.xtask(&["setup"]).error().contains("no python3 that starts"));
}

#[test]
fn a_disk_too_full_is_found_before_anything_is_downloaded() {
    let machine = Machine::new();
    machine.python(None, Some(&machine.good_pip()));
    machine.disk(2_000_000);
    let ended = machine.xtask(&["setup"]);
    assert!(ended.error().contains("needs 8 GB") && ended.error().contains("2.0 GB free"), "{}", ended.stderr);
    assert!(ended.error().contains("XDG_CACHE_HOME"));
    assert!(!machine.log("python3").contains("pip install"));
}

#[test]
fn a_cache_that_cannot_be_written_is_said_in_one_line_with_what_to_do() {
    let machine = Machine::new();
    machine.python(None, Some(&machine.good_pip()));
    fs::write(machine.path("cache"), "a file").unwrap();
    assert!(machine.xtask(&["setup"]).error().contains("set XDG_CACHE_HOME to a folder you can write"));
}

#[test]
fn no_compiler_is_found_before_anything_else() {
    let machine = Machine::new();
    fs::remove_file(machine.path("bin/c++")).unwrap();
    machine.python(None, Some(&machine.good_pip()));
    let ended = machine.xtask(&["setup"]);
    assert!(ended.error().contains("no C++ compiler") && ended.error().contains("sudo apt install g++"));
    assert_eq!(machine.log("python3"), "");
    machine.program("my-c++", "");
    finish(machine.command(&["setup"]).env("CXX", "my-c++ -O1")).succeeded();
}

//! What each command runs, and that no failure is lost on the way to the exit code.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]

mod machine;

use std::os::unix::fs::symlink;

use machine::{Machine, finish};

/// A machine that is set up.
fn ready() -> Machine {
    let machine = Machine::new();
    symlink(machine.torch("mine", "2.11.0"), machine.link()).unwrap();
    machine
}

#[test]
fn no_command_and_an_unknown_one_print_the_usage_and_fail() {
    for args in [&[][..], &["tset"], &["test", "--quick"], &["fetch"]] {
        let ended = Machine::new().xtask(args);
        assert!(!ended.good && ended.stderr.contains("easy-vqa"), "{}", ended.stderr);
    }
    assert!(Machine::new().xtask(&["tset"]).stderr.contains("`tset` is no command\nusage: cargo xtask COMMAND"));
}

#[test]
fn outside_a_checkout_is_said_so() {
    let machine = Machine::new();
    let ended = finish(machine.command(&["setup"]).current_dir(machine.path("home")));
    assert!(ended.error().contains("is not inside a checkout of vr1"));
}

#[test]
fn the_demo_sets_up_and_hands_its_arguments_on() {
    let machine = Machine::new();
    machine.python(Some(&machine.torch("pythons", "2.11.0")), None);
    machine.xtask(&["demo", "--smoke"]).succeeded();
    assert!(machine.link().exists());
    assert_eq!(machine.log("cargo"), "run --release -p vr1 --example visualthinker_sat -- --smoke\n");
}

#[test]
fn a_demo_without_set_up_is_not_run() {
    let machine = Machine::new();
    machine.xtask(&["demo"]).error();
    assert_eq!(machine.log("cargo"), "");
}

const SMOKE_RUNS: usize = 12;

#[test]
fn the_tests_are_all_tests_and_a_smoke_run_of_each_example_with_a_recipe() {
    let machine = ready();
    machine.xtask(&["test"]).succeeded();
    assert!(machine.log("cargo").starts_with("test --workspace"));
    assert_eq!(machine.log("cargo").matches("-- --smoke").count(), SMOKE_RUNS);
}

#[test]
fn a_test_or_a_smoke_run_that_fails_is_told_after_the_others_ran() {
    for failing in ["test", "*vlm_r1_rec*smoke"] {
        let machine = ready();
        machine.program("cargo", &format!("case \"$*\" in {failing}*) exit 101;; esac"));
        let ended = machine.xtask(&["test"]);
        assert!(ended.error().contains("failed with exit code 101"), "{}", ended.stderr);
        assert_eq!(ended.stderr.matches("FAILED").count(), 1);
        assert_eq!(machine.log("cargo").matches("-- --smoke").count(), SMOKE_RUNS);
    }
}

#[test]
fn a_lint_that_fails_is_told_after_the_others_ran() {
    let machine = ready();
    machine.program("cargo", "case \"$1\" in fmt|metadata) exit 1;; esac");
    let ended = machine.xtask(&["lint"]);
    assert!(!ended.good && ended.stderr.contains("error: fmt: `cargo fmt --all --check` failed"), "{}", ended.stderr);
    assert!(machine.log("cargo").contains("clippy") && machine.log("cargo").contains("doc --locked"));
}

#[test]
fn one_step_of_lint_runs_alone() {
    let machine = ready();
    machine.xtask(&["lint", "fmt"]).succeeded();
    assert_eq!(machine.log("cargo"), "fmt --all --check\n");
    assert!(machine.xtask(&["lint", "fmtt"]).error().contains("these are: fmt, arrows, package, clippy, doc, deny"));
}

#[test]
fn deny_is_skipped_aloud_where_it_is_not_installed() {
    let machine = ready();
    machine.program("cargo", "[ \"$1\" != deny ]");
    assert!(machine.xtask(&["lint", "deny"]).succeeded().contains("deny: skipped"));
}

#[test]
fn advisories_count_where_their_list_can_be_reached() {
    let machine = ready();
    let fails = |why: &str| format!("case \"$*\" in *advisories) echo '{why}' >&2; exit 1;; esac");
    machine.program("cargo", &fails("failed to fetch advisory database"));
    assert!(machine.xtask(&["lint", "deny"]).succeeded().contains("cannot be reached"));
    machine.program("cargo", &fails("error[vulnerability]: a fault"));
    assert!(machine.xtask(&["lint", "deny"]).error().contains("a known fault"));
    machine.program("cargo", "case \"$*\" in *licenses*) exit 1;; esac");
    assert!(machine.xtask(&["lint", "deny"]).error().contains("check bans licenses sources"));
}

#[test]
fn the_check_script_ends_with_the_exit_code_of_what_failed_first() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../.ci/run");
    for (failing, code, calls) in [("nothing", 0, 2), ("lint", 7, 1), ("test", 7, 2)] {
        let machine = Machine::new();
        std::fs::create_dir(machine.checkout().join(".ci")).unwrap();
        std::fs::copy(script, machine.checkout().join(".ci/run")).unwrap();
        machine.program("cargo", &format!("case \"$*\" in *{failing}) exit 7;; esac"));
        let path = format!("{}:/usr/bin:/bin", machine.path("bin").display());
        let status =
            std::process::Command::new("bash").arg(machine.checkout().join(".ci/run")).env("PATH", path).status();
        assert_eq!(status.unwrap().code(), Some(code), "{failing}");
        assert_eq!(machine.log("cargo").lines().count(), calls, "{failing}");
    }
}

#[test]
fn flags_that_hide_the_rpath_do_not_hide_libtorch() {
    for (name, shown) in [("RUSTFLAGS", true), ("CARGO_TARGET_DIR", true), ("CARGO_TERM_COLOR", false)] {
        let machine = ready();
        machine.program("cargo", "echo \"$LD_LIBRARY_PATH\" > \"$0.path\"");
        finish(machine.command(&["demo"]).env(name, "x")).succeeded();
        let path = std::fs::read_to_string(machine.path("bin/cargo.path")).unwrap();
        assert_eq!(path.contains(&*machine.link().join("lib").to_string_lossy()), shown, "{name}");
    }
}

//! The first Ctrl-C asks, the second ends. Signals are sent to processes of the tests' own.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, ChildStderr, Command, Stdio},
    time::{Duration, Instant},
};

use vr1_run::Interrupt;

#[test]
fn asking_sets_the_flag_of_every_copy() {
    let interrupt = Interrupt::default();
    let copy = interrupt.clone();
    assert!(!copy.requested());
    interrupt.request();
    assert!(copy.requested() && !Interrupt::default().requested());
}

#[test]
fn installing_twice_gives_the_same_flag() {
    let first = Interrupt::install().unwrap();
    let second = Interrupt::install().unwrap();
    second.request();
    assert!(first.requested());
}

/// A loop of steps: polite until asked, and, told to be stubborn, deaf to the first press.
#[test]
#[ignore = "run by the tests below in a process of its own"]
fn runs_steps() {
    let interrupt = Interrupt::install().unwrap();
    eprintln!("ready");
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(5));
        if interrupt.requested() && std::env::var_os("VR1_STUBBORN").is_none() {
            eprintln!("saved");
            return;
        }
    }
}

fn start(stubborn: bool) -> (Child, BufReader<ChildStderr>) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "runs_steps", "--ignored", "--nocapture"]).stdout(Stdio::null()).stderr(Stdio::piped());
    if stubborn {
        command.env("VR1_STUBBORN", "1");
    }
    let mut child = command.spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("ready") {
        assert!(said.read_line(&mut line).unwrap() > 0, "{line}");
    }
    (child, said)
}

fn press(child: &Child, signal: &str) {
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn the_first_press_lets_the_loop_save_and_end_well() {
    for signal in ["-INT", "-TERM"] {
        let (mut child, mut said) = start(false);
        press(&child, signal);
        let mut rest = String::new();
        said.read_to_string(&mut rest).unwrap();
        assert!(child.wait().unwrap().success());
        assert!(rest.contains("saved"), "{rest}");
    }
}

#[test]
fn the_second_press_ends_at_once_with_130() {
    let (mut child, mut said) = start(true);
    press(&child, "-INT");
    let mut line = String::new();
    while !line.contains("press Ctrl-C again") {
        assert!(said.read_line(&mut line).unwrap() > 0, "the first press is answered: {line}");
    }
    assert!(child.try_wait().unwrap().is_none(), "and does not end it");
    press(&child, "-INT");
    // Left alone it would end well.
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

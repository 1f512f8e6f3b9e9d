//! The easy-VQA data set, fetched whole or not at all.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]

mod machine;

use std::fs;

use machine::Machine;

/// A `pip install` that keeps the requirements and leaves what the wheel holds.
const WHEEL: &str = "cp ${site%/site}/requirements.txt \"$0.requirements\"\n\
                     mkdir -p $site/easy_vqa/data/train $site/easy_vqa-1.0.dist-info\n\
                     echo MIT > $site/easy_vqa-1.0.dist-info/LICENSE\n\
                     echo '[]' > $site/easy_vqa/data/train/questions.json";

#[test]
fn the_data_set_comes_once_by_name_version_and_hash() {
    let machine = Machine::new();
    machine.python(None, Some(WHEEL));
    machine.xtask(&["fetch", "easy-vqa"]).succeeded();
    let place = machine.checkout().join("data/easy-vqa");
    assert_eq!(fs::read_to_string(place.join("train/questions.json")).unwrap(), "[]\n");
    assert_eq!(fs::read_to_string(place.join("LICENSE")).unwrap(), "MIT\n");
    let asked = fs::read_to_string(machine.path("bin/python3.requirements")).unwrap();
    assert!(asked.starts_with("easy-vqa==1.0 --hash=sha256:fcb51b309b78c7b0"), "{asked}");
    assert!(machine.log("python3").contains("--no-deps --require-hashes"));
    assert!(machine.xtask(&["fetch", "easy-vqa"]).succeeded().contains("already"));
    assert_eq!(machine.log("python3").matches("pip install").count(), 1);
}

#[test]
fn a_fetch_that_fails_leaves_nothing_and_can_be_run_again() {
    let machine = Machine::new();
    machine.python(None, Some(&format!("{WHEEL}\necho 'ERROR: PACKAGES DO NOT MATCH THE HASHES' >&2; exit 1")));
    assert!(machine.xtask(&["fetch", "easy-vqa"]).error().contains("its sha256 differs, and it was not used"));
    assert_eq!(fs::read_dir(machine.checkout().join("data")).unwrap().count(), 0);
    machine.python(None, Some(WHEEL));
    machine.xtask(&["fetch", "easy-vqa"]).succeeded();
}

#[test]
fn an_unknown_data_set_names_the_known_one() {
    assert!(Machine::new().xtask(&["fetch", "clevr"]).error().contains("nothing is known as `clevr`"));
}

#[test]
fn no_python_is_said_in_one_line_with_what_to_do() {
    assert!(Machine::new().xtask(&["fetch", "easy-vqa"]).error().contains("install Python with pip"));
}

//! Faults point into the file, formatting is stable, and the probe finds what can be hacked.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use vr1_reward::{Error, Program, Registry, Severity, builtin_programs, format_program};

fn fault(yaml: &str) -> (usize, usize, String) {
    match Program::parse(yaml, &Registry::default()).unwrap_err() {
        Error::Program { diagnostics, .. } => {
            let first = diagnostics.into_iter().find(|d| d.severity == Severity::Error).unwrap();
            let marked = first.source_line.chars().skip(first.column - 1).take(first.width).collect();
            (first.line, first.column, marked)
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_fault_points_at_its_line_and_column_in_the_file() {
    let rest = "\ntotal: a\n";
    let marked = |yaml: &str| fault(&format!("{yaml}{rest}"));
    assert_eq!(marked("terms:\n  a: exact(answr, solution)"), (2, 12, "answr".into()));
    assert_eq!(marked("# ü\nterms:\n  a: 'exact(answr, solution)'"), (3, 13, "answr".into()));
    assert_eq!(marked("terms: { b: tokens, a: \"exact(answr, solution)\" }"), (1, 31, "answr".into()));
    assert_eq!(marked("terms:\n  a: >-\n    1 +\n    exact(answr,\n    solution)"), (4, 11, "answr".into()));
    assert_eq!(marked("terms:\n  a: |\n    1 +\n    exact(answr,\n    solution)"), (4, 11, "answr".into()));
    assert_eq!(marked("terms:\n  a: 'contains(completion, ''x'') and answr'"), (2, 39, "answr".into()));
}

#[test]
fn the_report_looks_like_a_compilers() {
    let yaml = "terms:\n  accuracy: exact(answer, solutoin)\ntotal: accuracy\n";
    let error = Program::parse_file("mine.yaml", yaml, &Registry::default()).unwrap_err();
    let expected = "\
error: nothing is called `solutoin`
 --> mine.yaml:2:27 (terms.accuracy)
  |
2 |   accuracy: exact(answer, solutoin)
  |                           ^^^^^^^^ unknown name
  |
  = help: did you mean `solution`?";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_test_of_an_unknown_term_points_at_the_test() {
    let yaml = "terms:\n  a: exact(answer, solution)\ntotal: a\ntests:\n  - { completion: x, expect: { b: 1 } }\n";
    assert_eq!(fault(yaml).0, 5);
}

#[test]
fn a_wrong_key_is_told_the_nearest() {
    let error = Program::parse("termz: {}\ntotal: 1", &Registry::default()).unwrap_err().to_string();
    let expected = "\
error: unknown field `termz`, expected one of `name`, `about`, `terms`, `metrics`, `total`, `tests`
 --> reward.yaml:1:1 (the file itself)
  |
1 | termz: {}
  | ^
  |
  = help: did you mean `terms`?";
    assert_eq!(error, expected);
}

#[test]
fn every_fault_of_a_program_is_reported_at_once() {
    let yaml = "terms:\n  a: exat(answer, solution)\n  b: 1 / tokens\n  c: nothing\ntotal: a + b + c\n";
    let error = Program::parse(yaml, &Registry::default()).unwrap_err().to_string();
    assert_eq!(error.matches("error: ").count(), 3, "{error}");
}

#[test]
fn formatting_is_stable_and_means_the_same() {
    for (name, yaml) in builtin_programs() {
        let once = format_program(name, yaml).unwrap();
        let twice = format_program(name, &once).unwrap();
        assert_eq!(once, twice);
        let (before, after) = (
            Program::builtin(name, &Registry::default()).unwrap(),
            Program::parse(&once, &Registry::default()).unwrap(),
        );
        assert_eq!(before.source().tests, after.source().tests, "{name}");
        assert_eq!(before.bounds(), after.bounds(), "{name}");
        assert!(after.check().passed(), "{name}: {}", after.check());
    }
    let odd = "terms: { a: \"if not (finished and (1 < 2)) then -(1 - (2 - 3)) * 'it''s' == 'x' else missing ?? 1\" }\ntotal: (a)";
    let once = format_program("odd", odd).unwrap();
    assert_eq!(once, format_program("odd", &once).unwrap());
    assert!(once.contains("if not (finished and 1 < 2) then -(1 - (2 - 3)) * 'it''s' == 'x'"), "{once}");
}

#[test]
fn the_probe_finds_nothing_in_the_built_in_programs_but_the_published_fault_of_one() {
    for (name, _) in builtin_programs() {
        let hacks = Program::builtin(name, &Registry::default()).unwrap().probe(&[]);
        let found: Vec<&str> = hacks.iter().map(|hack| hack.name).collect();
        println!("{name}: {found:?}");
        // VLM-R1's detection calls an answer without a box as good as a solution without one: a list of all options
        // passes for an answer.
        let known: &[&str] = if name == "vlm_r1_od" { &["every option listed"] } else { &[] };
        assert_eq!(found, known, "{name}");
    }
}

#[test]
fn warnings_name_the_file() {
    let yaml = "terms: { a: 'exact(answer, solution)', b: tokens }\ntotal: a";
    let report = Program::parse_file("mine.yaml", yaml, &Registry::default()).unwrap().check();
    assert!(report.to_string().contains("--> mine.yaml:1:"), "{report}");
}

#[test]
fn the_probe_lists_the_samples_own_options() {
    let yaml = "
terms: { a: 'to_number(solution in completion)' }
total: a
tests: [{ completion: '<answer>teal</answer>', solution: teal, choices: [teal, ochre], expect: { a: 1 } }]";
    let report = Program::parse(yaml, &Registry::default()).unwrap().check();
    let listed = report.hacks.iter().find(|hack| hack.name == "every option listed");
    assert!(listed.is_some_and(|hack| hack.completion.contains("<answer>teal ochre (A)")), "{report}");
}

#[test]
fn the_probe_sees_a_reward_for_length_alone() {
    let yaml = "terms: { a: 'exact(answer, solution)', b: 'length(tokens, 0.01)' }\ntotal: a + b";
    let report = Program::parse(yaml, &Registry::default()).unwrap().check();
    assert!(report.hacks.iter().any(|hack| hack.name == "a thousand repeats"), "{report}");
    let yaml = "terms: { a: 'contains(completion, solution)' }\ntotal: to_number(a > 0)";
    let report = Program::parse(yaml, &Registry::default()).unwrap().check();
    assert!(report.hacks.iter().any(|hack| hack.name == "every option listed"), "{report}");
}

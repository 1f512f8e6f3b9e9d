//! The built-in programs pass their own tests and give the systems' published values.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use vr1_reward::{Fields, Program, Registry, Reward, Rollout, builtin_programs};

fn score(program: &str, completion: &str, solution: &str) -> f32 {
    let program = Program::builtin(program, &Registry::default()).unwrap();
    let fields = Fields::new();
    program.score(&Rollout { prompt: "?", completion, solution, tokens: 3, finished: true, fields: &fields }).unwrap()
}

#[test]
fn every_built_in_program_passes_its_own_tests_without_warnings() {
    for (name, _) in builtin_programs() {
        let program = Program::builtin(name, &Registry::default()).unwrap();
        let report = program.check();
        assert!(report.passed(), "{name}: {report}");
        assert!(report.tests >= 2, "{name} has {} tests", report.tests);
        assert!(report.warnings.is_empty(), "{name}: {report}");
    }
}

#[test]
fn an_unknown_program_is_told_the_nearest_one() {
    let error = Program::builtin("vlm_r1_rek", &Registry::default()).unwrap_err();
    assert!(error.to_string().contains("`vlm_r1_rec`"), "{error}");
}

#[test]
fn vlm_r1_takes_the_first_box_of_the_first_answer() {
    let completion = "<think>a</think><answer>{[0, 0, 10, 10], [5, 5, 9, 9]}</answer><answer>{[5, 5, 9, 9]}</answer>";
    assert_eq!(score("vlm_r1_rec", completion, "[0, 0, 10, 10]"), 2.0);
    assert_eq!(score("vlm_r1_rec", "<answer>[0.5, 0, 10, 10]</answer>", "[0, 0, 10, 10]"), 0.0);
}

#[test]
fn vlm_r1_gives_nothing_for_an_overlap_of_one_pixel() {
    let rec = |a: &str, b: &str| score("vlm_r1_rec", &format!("<answer>{a}</answer>"), b);
    assert_eq!(rec("[0, 0, 1, 1]", "[0, 0, 1, 1]"), 0.0);
    assert_eq!(rec("[0, 0, 2, 2]", "[0, 0, 2, 2]"), 1.0);
    assert_eq!(rec("[0, 0, 2, 4]", "[0, 0, 4, 4]"), 0.5);
}

#[test]
fn a_base_models_think_tag_is_in_its_prompt() {
    assert_eq!(score("visualthinker_sat", "so</think><answer>left</answer>", "left"), 2.0);
    assert_eq!(score("visualthinker_sat", "so</think><answer>left</answer> and more", "left"), 1.0);
}

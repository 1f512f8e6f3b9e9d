//! Whatever comes in, a reward is a finite number, a missing value or an error, within its limits.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::time::Duration;

use proptest::prelude::*;
use vr1_reward::{Budget, Error, Fields, Limits, MathConfig, Program, Record, Registry, Rollout, math_equal};

/// Uses most of the language and every kind of verifier.
const WIDE: &str = r#"
terms:
  mathematics: math(completion, solution, within='prose')
  plain: math(answer, solution)
  number: number(answer, solution)
  choice: choice(completion, solution, compat='vlm_r1')
  likeness: levenshtein(completion, solution)
  edits: edit_distance(answer, solution)
  overlap: iou(first_answer, '[1, 2, 3, 4]')
  boxes: >-
    map(completion, '[{"bbox_2d": [1, 2, 3, 4], "label": "a"}]')
  format: format(completion, style='rec')
  repeats: repetition(completion)
  tags: "to_number(count(find_all(completion, '<[a-z]+>'), t => length(t) > 3))"
  words: "sum(map(words(completion), w => length(w))) / max(length(unique(words(completion))), 1)"
  rank: group_rank(tokens) + (group_share(answer) ?? 0)
  looks: "length(join(split(replace(completion, 'a', 'bb'), ' '), '-'))"
total: mathematics + (plain ?? 0) + (likeness ?? 0) + (words ?? 0) + rank + overlap + boxes + tags + number + choice + edits + format + repeats + looks
"#;

fn wide() -> Program {
    Program::parse(WIDE, &Registry::default()).unwrap().with_limits(fuel_alone(5_000_000))
}

/// Limits in which the work that is counted ends a reward, and no clock.
fn fuel_alone(fuel: u64) -> Limits {
    Limits { fuel, deadline: Duration::from_secs(24 * 3600) }
}

fn judge(program: &Program, completion: &str, solution: &str) {
    let fields = Fields::new();
    let rollout = Rollout { prompt: "p", completion, solution, tokens: 7, finished: true, fields: &fields };
    match program.outcome(&rollout) {
        Ok(outcome) => {
            let values = outcome.terms.iter().map(|(_, value)| *value).chain([outcome.total]);
            assert!(values.flatten().all(f32::is_finite));
        }
        Err(Error::Fuel { .. } | Error::Verifier { .. }) => {}
        Err(other) => panic!("{other}"),
    }
}

fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("<answer>".to_owned()),
        Just("</answer>".to_owned()),
        Just("<think>".to_owned()),
        Just("</think>".to_owned()),
        Just("\\boxed{".to_owned()),
        Just("\\frac{1}{2}".to_owned()),
        Just("\\sqrt[3]".to_owned()),
        Just("\\begin{pmatrix}1&2\\\\".to_owned()),
        Just("\\left(".to_owned()),
        Just("\\{1, 2\\}".to_owned()),
        Just("(1,2]".to_owned()),
        Just("[1, 2, 3, 4]".to_owned()),
        Just("\\cup ".to_owned()),
        Just("\\pm ".to_owned()),
        Just("x^{2".to_owned()),
        Just("$".to_owned()),
        Just("}".to_owned()),
        Just(" = ".to_owned()),
        Just("!".to_owned()),
        Just("answer: ".to_owned()),
        Just("final answer is ".to_owned()),
        Just("\\text{".to_owned()),
        Just("10:30".to_owned()),
        Just("2 p.m.".to_owned()),
        Just("2023-05-12".to_owned()),
        Just(" 000".to_owned()),
        Just("1e999".to_owned()),
        Just("5'10\"".to_owned()),
        "[½²⁻⁵⁄√₂９π−°]{1,3}",
        "[-0-9.,%/^()a-z ]{0,6}",
        "\\PC{0,4}",
    ];
    prop::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_text_gets_a_finite_reward_a_missing_one_or_an_error(completion in pieces(), solution in pieces()) {
        judge(&wide(), &completion, &solution);
    }

    #[test]
    fn an_answer_always_equals_itself_where_it_can_be_read(text in pieces()) {
        let formula = format!("${}$", text.replace(['$', '\n'], ""));
        // Where there is no candidate at all, there is nothing to be equal.
        if math_equal("$1$", &formula, MathConfig::default()) {
            prop_assert!(math_equal(&formula, "$1$", MathConfig::default()) || formula.contains(['=', '>', '<', 'q', '%', '\\']));
        }
    }

    #[test]
    fn any_text_as_a_program_is_a_program_or_an_error(expression in "[a-z0-9_+*/().,'<>=? -]{0,40}", yaml in "\\PC{0,60}") {
        let _ = Program::parse(&yaml, &Registry::default());
        let quoted = format!("terms:\n  a: {}\ntotal: a\n", serde_json::to_string(&expression).unwrap());
        let _ = Program::parse(&quoted, &Registry::default());
    }

    #[test]
    fn any_line_is_a_record_or_an_error(line in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = Record::parse_bytes(&line);
    }

    #[test]
    fn formatted_expressions_mean_the_same(a in -5i32..5, b in 1i32..5, completion in "[a-d ]{0,12}") {
        let expression = format!("({a} - (length(completion) - {b})) * -(2 + {a}) / ({b} * {b}) + (if (tokens > {b}) then 1 else (2 - 1))");
        let yaml = format!("terms: {{ x: '{expression}' }}\ntotal: x + exact(answer, solution)");
        let again = vr1_reward::format_program("x", &yaml).unwrap();
        let fields = Fields::new();
        let rollout = Rollout { prompt: "", completion: &completion, solution: "", tokens: 3, finished: true, fields: &fields };
        let score = |yaml: &str| Program::parse(yaml, &Registry::default()).unwrap().outcome(&rollout).unwrap().total;
        prop_assert_eq!(score(&yaml), score(&again));
    }
}

#[test]
fn pathological_texts_end_by_what_is_counted() {
    let program = wide();
    let deep = |open: &str, close: &str| format!("\\boxed{{{}1{}}}", open.repeat(10_000), close.repeat(10_000));
    let texts = [
        deep("{", "}"),
        deep("\\frac{1}{", "}"),
        deep("(", ")"),
        deep("\\sqrt{", "}"),
        deep("-", ""),
        deep("|", "|"),
        "\\boxed{9^{9^{9}}}".to_owned(),
        "\\boxed{1000000000!}".to_owned(),
        "\\boxed{\\sum_{k=1}^{1000000000} k}".to_owned(),
        "\\boxed{(1+x)^{1000000}}".to_owned(),
        "\\boxed{2^{2^{2^{2^{2}}}}}".to_owned(),
        "$".repeat(100_000),
        "\\[".repeat(100_000),
        "<answer>".repeat(100_000),
        "</answer><answer>".repeat(50_000),
        "\\boxed{".repeat(50_000),
        "🦀".repeat(50_000),
        "\u{202e}مرحبا".repeat(10_000),
        "answer ".repeat(30_000),
        "final answer is ".repeat(20_000),
        "a".repeat(10 << 20),
        "1 ".repeat(5 << 20),
    ];
    for text in &texts {
        for solution in ["3", text.get(..2000).unwrap_or("")] {
            judge(&program, text, solution);
        }
    }
}

#[test]
fn a_pattern_that_would_hang_elsewhere_is_linear_here() {
    let yaml = "terms: { a: \"matches(completion, '^(a+)+$')\" }\ntotal: to_number(a > 0) + exact(answer, solution)";
    let program = Program::parse(yaml, &Registry::default()).unwrap();
    // In the square of a megabyte it would not end.
    judge(&program.with_limits(fuel_alone(5_000_000)), &format!("{}!", "a".repeat(1 << 20)), "");
    let yaml = "terms: { a: \"matches(completion, '(((a{1,1000}){1,1000}){1,1000})')\" }\ntotal: to_number(a > 0)";
    assert!(Program::parse(yaml, &Registry::default()).unwrap_err().to_string().contains("regular expression"));
}

#[test]
fn a_list_that_is_looked_at_for_each_of_its_items_costs_its_length_each_time() {
    let completion = "word ".repeat(100_000);
    for costly in [
        "let all = words(completion) in sum(map(all, w => length(all)))",
        "let all = words(completion) in count(all, w => 'w' in all)",
        "length(unique(map(words(completion), w => completion)))",
        "length(sort(map(words(completion), w => completion)))",
    ] {
        let yaml = format!("terms: {{ a: \"{costly}\" }}\ntotal: (a ?? 0) + exact(answer, solution)");
        let program = Program::parse(&yaml, &Registry::default()).unwrap().with_limits(fuel_alone(5_000_000));
        let fields = Fields::new();
        let rollout =
            Rollout { prompt: "", completion: &completion, solution: "3", tokens: 1, finished: true, fields: &fields };
        let outcome = program.outcome(&rollout);
        assert!(matches!(outcome, Err(Error::Fuel { .. })), "{costly}: {outcome:?}");
    }
}

#[test]
fn fuel_ends_a_reward_that_costs_too_much() {
    let program = wide().with_limits(Limits { fuel: 1000, ..Limits::default() });
    let fields = Fields::new();
    let completion = "word ".repeat(10_000);
    let rollout =
        Rollout { prompt: "", completion: &completion, solution: "3", tokens: 1, finished: true, fields: &fields };
    assert!(matches!(program.outcome(&rollout), Err(Error::Fuel { limit: 1000, .. })));
}

#[test]
fn the_deadline_stands_still_while_somebody_else_is_waited_for() {
    let sleep = || std::thread::sleep(Duration::from_millis(400));
    let after = |pause: &dyn Fn(&Budget)| {
        let budget = Budget::new(Limits { deadline: Duration::from_millis(200), ..Limits::default() });
        budget.spend(2_000, "before").unwrap(); // the clock starts
        pause(&budget);
        budget.spend(30_000, "after")
    };
    assert!(matches!(after(&|_| sleep()), Err(Error::Deadline { limit_ms: 200, .. })));
    // A busy machine may stand still for as long between two lines, but not each time.
    assert!((0..20).any(|_| after(&|budget| budget.wait(sleep)).is_ok()));
}

#[test]
fn a_program_that_begins_a_run_asks_its_judge_nothing_but_its_tests() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    let asked = Arc::new(AtomicUsize::new(0));
    let mut registry = vr1_reward::Registry::default();
    let heard = asked.clone();
    registry.register("ask", move |_| {
        heard.fetch_add(1, Ordering::SeqCst);
        Ok(1.0)
    });
    let text = "terms: { right: 'ask(answer)' }\ntotal: right\ntests: [{ completion: '<answer>4</answer>', solution: '4', expect: { right: 1 } }]";
    vr1_reward::Program::parse(text, &registry).unwrap().tested().unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 1, "its one test");
    assert!(vr1_reward::Program::parse(text, &registry).unwrap().check().passed());
    assert!(asked.load(Ordering::SeqCst) > 10, "a check probes for hacks");
}

//! What expressions mean, and which are refused.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use vr1_reward::{Error, Fields, Program, Registry, Reward, Rollout};

fn value(expression: &str, completion: &str) -> Result<Option<f32>, Error> {
    let yaml = serde_yaml::to_string(&serde_json::json!({
        "terms": { "x": expression },
        "total": "(x ?? 0) + length(completion) + exact(answer, solution)",
    }))
    .unwrap();
    let program = Program::parse(&yaml, &Registry::default())?;
    let fields: Fields =
        serde_json::from_str(r#"{"choices": ["left", "right"], "box": [0, 0, 4, 4], "n": 3}"#).unwrap();
    let rollout = Rollout { prompt: "p", completion, solution: "3", tokens: 7, finished: true, fields: &fields };
    Ok(program.terms(&rollout)?[0].1)
}

#[track_caller]
fn gives(expression: &str, expected: impl Into<Option<f32>>) {
    let found = value(expression, "<think>one two</think><answer>left</answer>");
    assert_eq!(found, Ok(expected.into()), "{expression}");
}

#[track_caller]
fn refused(expression: &str, reason: &str) {
    let error = value(expression, "").unwrap_err().to_string();
    assert!(error.contains(reason), "{expression}: {error}");
}

#[test]
fn arithmetic_binds_as_in_school() {
    gives("1 + 2 * 3 - tokens", 0.0);
    gives("(1 + 2) * 3", 9.0);
    gives("-2 * -3", 6.0);
    gives("7 % 4", 3.0);
    gives("1e3 + 1_000", 2000.0);
    gives("10 - 4 - 3", 3.0);
}

#[test]
fn conditions_are_numbers_only_as_a_whole_term() {
    gives("tokens > 3 and not finished", 0.0);
    gives("tokens > 3 or 1 > 2", 1.0);
    gives("if tokens >= 7 then 2 else 3", 2.0);
    refused("1 + finished", "needs a number, and this is a boolean");
    refused("if tokens then 1 else 0", "needs a boolean, and this is a number");
    refused("1 < 2 < 3", "comparisons do not chain");
}

#[test]
fn a_missing_value_spreads_until_something_stands_in_for_it() {
    gives("to_number(answer)", None);
    gives("to_number(answer) + 1", None);
    gives("to_number(answer) ?? 5", 5.0);
    gives("to_number(answer) > 3", 0.0);
    gives("is_missing(fields.nothing)", 1.0);
    gives("length(fields.nothing ?? 'ab')", 2.0);
}

#[test]
fn fields_lists_and_regexes_work_together() {
    gives("answer in fields.choices", 1.0);
    gives("count(fields.choices, c => length(c) > 4)", 1.0);
    gives("sum(map(words(think), w => length(w)))", 6.0);
    gives("length(capture(completion, '<think>(?<thought>.*)</think>', 'thought'))", 7.0);
    gives("length(find_all(completion, '<[a-z]+>'))", 2.0);
    gives("let n = word_count(think) in n * n", 4.0);
    gives("area(box(fields.box))", 16.0);
    gives("fields.choices[1] == 'right'", 1.0);
    gives("is_missing(fields.choices[2])", 1.0);
}

#[test]
fn an_unknown_name_is_told_the_nearest_one() {
    refused("complction == 'a'", "did you mean `completion`?");
    refused("exat(answer, solution)", "did you mean `exact`?");
    refused("exact(answer, solution, caze='ignore')", "did you mean `case`?");
    refused("exact(answer, solution, case='ignored')", "it is one of 'sensitive', 'ignore'");
    refused("capture(completion, '(?<number>[0-9]+)', 'numbr')", "did you mean `number`?");
}

#[test]
fn a_division_that_can_be_by_zero_is_refused() {
    refused("1 / length(completion)", "can divide by zero");
    refused("1 / 0", "divides by zero");
    gives("6 / max(word_count(think), 1)", 3.0);
    gives("if word_count(think) > 0 then 6 / word_count(think) else 0", 3.0);
    gives("14 / (tokens + 7)", 1.0);
}

#[test]
fn what_a_branch_knows_does_not_reach_a_hidden_name_or_another_rollout() {
    refused("let n = tokens in if n > 0 then (let n = word_count(think) in 1 / n) else 0", "can divide by zero");
    refused("let n = tokens in if n > 0 then sum([1, 2], n => 1 / n) else 0", "can divide by zero");
    refused("if tokens > 0 then group_mean(1 / tokens) else 0", "can divide by zero");
    gives("let n = tokens in if n > 0 then (let m = 7 in m / n) else 0", 1.0);
}

#[test]
fn types_are_checked_before_anything_runs() {
    refused("length(finished)", "`tokens` of `length` needs a number, and this is a boolean");
    refused("answer == 3", "is never equal to");
    refused("answer", "must be a number, and is a text");
    refused("if finished then 1 else 'a'", "the branches of `if` differ");
    refused("matches(completion, '(?=a)')", "look-around");
    refused("matches(completion, answer)", "written in the program itself");
    refused("[1, 'a']", "a list holds values of one type");
}

#[test]
fn the_length_of_a_text_is_a_count_and_of_a_number_a_reward() {
    gives("length('four')", 4.0);
    gives("length([1, 2])", 2.0);
    gives("length(fields.choices)", 2.0);
    gives("length(let t = think in t)", 7.0);
    gives("length(tokens)", 0.007);
    gives("let n = tokens in length(if finished then n else 0, rate=0.5)", 3.5);
    // Nested, it is still checked once.
    gives(&format!("{}tokens{}", "length(".repeat(50), ", rate=1)".repeat(50)), 7.0);
}

#[test]
fn nesting_without_end_is_refused() {
    refused(&format!("{}1{}", "(".repeat(100_000), ")".repeat(100_000)), "bytes long");
    refused(&format!("{}1{}", "(".repeat(10_000), ")".repeat(10_000)), "nested deeper");
    refused(&"-".repeat(10_000), "nested deeper");
    refused(&format!("1{}", "+1".repeat(10_000)), "nested deeper");
}

#[test]
fn faults_point_at_the_place_as_a_compiler_does() {
    let error = value("1 + lenght(completion)", "").unwrap_err().to_string();
    assert!(error.contains("1 + lenght(completion)"), "{error}");
    assert!(error.contains("    ^^^^^^ unknown function"), "{error}");
    assert!(error.contains("help: did you mean `length`?"), "{error}");
}

#[test]
fn a_total_that_teaches_nothing_is_refused() {
    let parse = |yaml: &str| Program::parse(yaml, &Registry::default()).map_err(|error| error.to_string());
    assert!(parse("terms: { a: '1' }\ntotal: a").unwrap_err().contains("always the same"));
    assert!(parse("terms: { a: length(prompt) }\ntotal: a").unwrap_err().contains("does not look at the completion"));
    let program = parse("terms: { a: length(completion), b: tokens }\ntotal: a").unwrap();
    let warnings: Vec<&str> = program.warnings().iter().map(|warning| warning.message.as_str()).collect();
    assert!(warnings.iter().any(|text| text.contains("neither at the solution")), "{warnings:?}");
    assert!(warnings.iter().any(|text| text.contains("does not use the term `b`")), "{warnings:?}");
}

#[test]
fn a_group_is_compared_with_itself() {
    let yaml = "
terms:
  length: length(completion)
  rank: group_rank(length)
  relative: length - group_mean(length)
  diversity: group_diversity(answer)
total: exact(answer, solution) - rank + relative + (diversity ?? 0)
";
    let program = Program::parse(yaml, &Registry::default()).unwrap();
    let fields = Fields::new();
    let texts = ["a", "bbb", "bb", "<answer>3</answer>"];
    let group: Vec<Rollout<'_>> = texts
        .iter()
        .map(|completion| Rollout { prompt: "", completion, solution: "3", tokens: 1, finished: true, fields: &fields })
        .collect();
    let outcomes: Vec<_> = program.outcomes(&group).into_iter().map(Result::unwrap).collect();
    let column = |index: usize| outcomes.iter().map(|o| o.terms[index].1.unwrap()).collect::<Vec<_>>();
    assert_eq!(column(0), [1.0, 3.0, 2.0, 18.0]);
    assert_eq!(column(1), [0.0, 2.0 / 3.0, 1.0 / 3.0, 1.0]);
    assert_eq!(column(2), [-5.0, -3.0, -4.0, 12.0]);
    let scores = program.score_group(&group).unwrap();
    assert_eq!(scores, outcomes.iter().map(|o| o.total.unwrap()).collect::<Vec<_>>());
}

#[test]
fn a_missing_total_is_an_error_and_never_zero() {
    let program = Program::parse("terms: { a: to_number(answer) }\ntotal: a", &Registry::default()).unwrap();
    let fields = Fields::new();
    let rollout = Rollout { prompt: "", completion: "", solution: "", tokens: 1, finished: true, fields: &fields };
    assert_eq!(program.score(&rollout), Err(Error::NoTotal { missing: vec!["a".into(), "answer".into()] }));
    assert_eq!(program.outcome(&rollout).unwrap().total, None);
}

/// What an expression that is the total lacks on an empty completion without fields.
fn lacks(total: &str) -> Vec<String> {
    let yaml = serde_yaml::to_string(&serde_json::json!({
        "terms": { "gold": "exact(completion, fields.gold)", "none": "ln(0 * tokens)", "next": "gold + length(think)" },
        "total": total,
    }));
    let program = Program::parse(&yaml.unwrap(), &Registry::default()).unwrap();
    let fields = Fields::new();
    let rollout = Rollout { prompt: "", completion: "", solution: "", tokens: 1, finished: true, fields: &fields };
    let outcome = program.outcome(&rollout).unwrap();
    assert_eq!(outcome.total, None, "{total}");
    assert_eq!(program.score(&rollout), outcome.reward());
    outcome.missing
}

#[test]
fn a_missing_total_names_what_it_lacks() {
    assert_eq!(lacks("gold"), ["gold", "fields.gold"]);
    assert_eq!(lacks("next"), ["next", "gold", "fields.gold", "think"]);
    assert_eq!(lacks("fields.a.b * exact(completion, 'x')"), ["fields.a.b"]);
    assert_eq!(lacks("none + exact(completion, 'x')"), ["none"], "no name where a function gave no value");
    assert_eq!(lacks("none * (fields.a ?? 1)"), ["none"], "what has another value does not matter");
    assert_eq!(lacks("fields.a ?? fields.b ?? gold"), ["fields.a", "fields.b", "gold", "fields.gold"]);
    assert_eq!(lacks("if is_missing(fields.a) then to_number(answer) else tokens"), ["answer"]);
    assert_eq!(lacks("let x = fields.a in -x * group_mean(tokens)"), ["fields.a"]);
}

#[test]
fn without_a_reference_there_is_no_score_even_where_there_is_no_answer() {
    assert_eq!(lacks("exact(answer, fields.gold)"), ["fields.gold"]);
    assert_eq!(lacks("iou(answer, '[1, 2, 3, 4]', width=fields.width)"), ["fields.width"]);
}

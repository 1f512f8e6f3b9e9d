//! Every verifier gives the published value, or the sound one; by hand from the systems' rules.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use serde_json::json;
use vr1_reward::{Error, Fields, Program, Registry, Rollout};

fn run(expression: &str, completion: &str, solution: &str) -> Result<Option<f32>, Error> {
    let yaml = serde_yaml::to_string(&json!({
        "terms": { "x": expression },
        "total": "(if is_missing(solution) then 1 else 0) + exact(completion, solution) + x",
    }))
    .unwrap();
    let program = Program::parse(&yaml, &Registry::default())?;
    let fields: Fields = serde_json::from_value(json!({"golds": ["cat", "a dog"], "w": 200, "h": 100})).unwrap();
    let rollout = Rollout { prompt: "p", completion, solution, tokens: 512, finished: true, fields: &fields };
    Ok(program.terms(&rollout)?[0].1)
}

#[track_caller]
fn gives(expression: &str, completion: &str, solution: &str, expected: f32) {
    let found = run(expression, completion, solution).unwrap().unwrap();
    assert!((found - expected).abs() < 1e-5, "{expression} on {completion:?}: {found}, expected {expected}");
}

#[test]
fn choices_are_read_as_people_write_them() {
    for answer in ["B", "b", "(B)", "B.", "B) red", "The answer is (B).", "Answer: B", "**B**"] {
        gives("choice(completion, solution)", answer, "B", 1.0);
    }
    for answer in ["A", "A or B", "(A) (B) (C) (D)", "", "A big cube", "bed"] {
        gives("choice(completion, solution)", answer, "B", 0.0);
    }
}

#[test]
fn each_systems_choice_keeps_its_fault() {
    gives("choice(completion, solution, compat='visualthinker')", "A or B", "B", 1.0);
    gives("choice(completion, solution, compat='visualthinker')", "B.", "B", 0.0);
    // VLM-R1 reads no letter out of `(C)`, so a solution written so is never right.
    gives("choice(completion, solution, compat='vlm_r1')", "(C)", "(C)", 0.0);
    gives("choice(completion, solution, compat='vlm_r1')", "The correct answer is B. Not A.", "B", 1.0);
    gives("choice(completion, solution, compat='r1_onevision')", "it is c", "C", 1.0);
    gives("choice(completion, solution, compat='r1_onevision')", "it is c", "Answer: C", 1.0);
    gives("choice(completion, solution, compat='r1_onevision')", "it is a", "Answer: C", 0.0);
}

#[test]
fn numbers_need_one_value() {
    gives("number(completion, solution)", "3 cubes", "3", 1.0);
    gives("number(completion, solution)", "1,234.0", "1234", 1.0);
    gives("number(completion, solution)", "2 or 3", "3", 0.0);
    gives("number(completion, solution, relative=0.1)", "95", "100", 1.0);
    gives("number(completion, solution, compat='float')", "3 cubes", "3", 0.0);
    gives("number(completion, solution, compat='float')", " 3.0 ", "3", 1.0);
}

#[test]
fn yes_and_no_are_words() {
    gives("yes_no(completion, solution)", "Yes, it is.", "yes", 1.0);
    gives("yes_no(completion, solution)", "I do not know", "no", 0.0);
    gives("yes_no(completion, solution, compat='vlm_r1')", "I do not know", "no", 1.0);
    gives("yes_no(completion, solution)", "yes and no", "yes", 0.0);
}

#[test]
fn likeness_of_texts_is_what_the_formulas_say() {
    // LCS of kitten and sitting is 4: 2·4 / 13.
    gives("levenshtein(completion, solution)", "kitten", "sitting", 8.0 / 13.0);
    gives("levenshtein(completion, solution)", "Red.", "red", 1.0);
    gives("levenshtein(completion, solution, compat='r1_onevision')", "Red.", "red.", 6.0 / 7.0);
    gives("edit_distance(completion, solution)", "kitten", "sitting", 1.0 - 3.0 / 7.0);
    gives("anls(completion, fields.golds)", "a dig", "", 0.8);
    gives("anls(completion, fields.golds)", "zzzzz", "", 0.0);
    gives("relaxed(completion, solution)", "96", "100", 1.0);
    gives("relaxed(completion, solution)", "94", "100", 0.0);
    gives("relaxed(completion, solution)", "5%", "0.05", 1.0);
    gives("rouge_l(completion, solution)", "the cat sat", "the cat on the mat", 0.5);
    gives("bleu(completion, solution)", "the cat sat on the mat", "the cat sat on the mat", 1.0);
    gives("bleu(completion, solution)", "dog", "the cat", 0.0);
    gives("first_letter(completion, solution)", "B. cat", "B.", 1.0);
    gives("all_match(completion, solution)", "Operation\nNo Response.", "operation no response", 1.0);
}

#[test]
fn long_texts_are_alike_as_short_ones_are() {
    let (a, b) = ("ab".repeat(200), "ba".repeat(200));
    // All but the first character of one is in the other.
    gives("levenshtein(completion, solution)", &a, &b, 2.0 * 399.0 / 800.0);
}

const TWO: &str = r#"[{"bbox_2d": [0, 0, 10, 10], "label": "cat"}, {"bbox_2d": [20, 20, 30, 30], "label": "dog"}]"#;

#[test]
fn mean_average_precision_is_cocos() {
    gives("map(completion, solution)", TWO, TWO, 1.0);
    // An overlap of 0.8 is a hit at 7 of the 10 thresholds (0.5 … 0.8); the dog is missed.
    let one = r#"[{"bbox_2d": [0, 0, 8, 10], "label": "cat"}]"#;
    gives("map(completion, solution)", one, TWO, 0.35);
    gives("ap50(completion, solution)", one, TWO, 0.5);
    gives("map(completion, solution)", "nothing", TWO, 0.0);
    // A box too much comes after the right one: precision stays 1 up to full recall.
    let more = r#"[{"bbox_2d": [0, 0, 10, 10], "label": "cat"}, {"bbox_2d": [0, 0, 1, 1], "label": "owl"}]"#;
    let cat = r#"[{"bbox_2d": [0, 0, 10, 10], "label": "cat"}]"#;
    gives("map(completion, solution, compat='vlm_r1')", more, cat, 1.0);
    gives("map(completion, solution)", more, cat, 0.5);
    gives("od_length(completion, solution, compat='vlm_r1')", more, cat, 0.5);
    gives("od_length(completion, solution)", "None", "None", 1.0);
    gives("od_length(completion, solution)", cat, "None", 0.0);
    let fenced = format!("here:\n```json\n{cat}\n```");
    gives("ap50(completion, solution)", &fenced, &fenced, 1.0);
}

#[test]
fn a_box_that_cannot_be_read_is_counted_and_spoils_no_other() {
    let gold = r#"[{"bbox_2d": [0, 0, 10, 10], "label": "cat"}]"#;
    let broken = r#"[{"bbox_2d": [0, 0, 10, 10], "label": "cat"}, {"bbox_2d": "?", "label": "cat"}]"#;
    gives("map(completion, solution)", broken, gold, 1.0);
    gives("od_length(completion, solution)", broken, gold, 0.5);
    gives("od_length(completion, solution)", "```json\n\"cat\"\n```", gold, 0.0);
}

#[test]
fn of_several_fences_map_reads_the_last_and_weighted_sum_the_first() {
    let gold = r#"[{"bbox_2d": [0, 0, 10, 10], "label": "cat"}]"#;
    let two = format!("```json\n{gold}\n```\nor\n```json\n[]\n```");
    gives("map(completion, solution)", &two, gold, 0.0);
    gives("weighted_sum(completion, solution)", &two, gold, 1.0);
}

#[test]
fn the_published_order_of_answer_and_reference_can_be_had() {
    // Math-Verify lets a set answer a relation, and no relation a set.
    gives("math(completion, solution)", "$(1, 2)$", "$1 < x < 2$", 1.0);
    gives("math(completion, solution, compat='swapped')", "$(1, 2)$", "$1 < x < 2$", 0.0);
    gives("math(completion, solution, compat='swapped')", "$1 < x < 2$", "$(1, 2)$", 1.0);
}

#[test]
fn weighted_sum_weighs_place_and_completeness() {
    gives("weighted_sum(completion, solution)", TWO, TWO, 1.0);
    // One of two found, exactly: 0.7·0.5 + 0.3·(1 − (1/2 + 0)/2).
    let one = r#"[{"bbox_2d": [0, 0, 10, 10], "label": "cat"}]"#;
    gives("weighted_sum(completion, solution)", one, TWO, 0.35 + 0.3 * 0.75);
    gives("weighted_sum(completion, solution)", "none", "None.", 1.0);
}

#[test]
fn boxes_are_compared_in_the_solutions_pixels() {
    gives("iou(completion, solution)", "[0, 0, 2, 2]", "[1, 0, 3, 2]", 1.0 / 3.0);
    gives("iou(completion, solution)", "at [0.5, 0.5, 2.5, 2.5]", "[0.5, 0.5, 2.5, 2.5]", 1.0);
    gives("iou(completion, solution, threshold=0.5)", "[0, 0, 2, 2]", "[1, 0, 3, 2]", 0.0);
    let thousandths = "iou(completion, solution, units='thousandths', width=fields.w, height=fields.h)";
    gives(thousandths, "[0, 0, 500, 500]", "[0, 0, 100, 50]", 1.0);
    let resized = "iou(completion, solution, width=fields.w, height=fields.h, resized_width=100, resized_height=50)";
    gives(resized, "[0, 0, 50, 25]", "[0, 0, 100, 50]", 1.0);
    assert!(
        run("iou(completion, solution)", "[0, 0, 1, 1]", "no box").unwrap_err().to_string().contains("holds no box")
    );
}

#[test]
fn length_rewards_follow_their_papers() {
    gives("cosine_length(1, tokens)", "", "", 0.75);
    gives("cosine_length(1, 0)", "", "", 1.0);
    gives("cosine_length(1, 2048)", "", "", 0.5);
    gives("cosine_length(1, 2048, compat='vlm_r1')", "", "", 1.0);
    gives("cosine_length(0, 0)", "", "", -0.5);
    gives("cosine_length(0, 1024)", "", "", 0.0);
    gives("overlong(tokens, 1024, 256)", "", "", 0.0);
    gives("overlong(tokens, 600, 176)", "", "", -0.5);
    gives("overlong(tokens, 400, 100)", "", "", -1.0);
    gives("length(tokens)", "", "", 0.512);
    gives("length(2000)", "", "", 0.512);
    gives("length(2000, compat='visualthinker')", "", "", 2.0);
    gives("length(completion)", "a text is as long as it is", "", 26.0);
    gives("repetition(completion, 2)", "a b a b a b", "", -(1.0 - 2.0 / 5.0));
    gives("repetition(completion)", "too short", "", 0.0);
    gives("answer_only_rate(completion)", "<answer>4</answer>", "", 1.0);
    gives("answer_only_rate(completion)", "<think>one two three</think><answer>4</answer>", "", 0.0);
}

#[test]
fn formats_are_the_published_patterns() {
    let many_lines = "<think>a\nb</think>\n<answer>c</answer>";
    gives("format(completion)", many_lines, "", 1.0);
    gives("format(completion)", &format!("{many_lines} more"), "", 0.0);
    gives("format(completion, style='prefix')", &format!("{many_lines} more"), "", 1.0);
    gives("format(completion, style='prefix_one_line')", many_lines, "", 0.0);
    gives("format(completion, style='base')", "a</think><answer>c</answer>", "", 1.0);
    let rec = r#"<think>a</think><answer>{"bbox": [1, 2, 3, 4]}</answer>"#;
    gives("format(completion, style='rec')", rec, "", 1.0);
    gives("format(completion, style='rec')", &rec.replace(['{', '}'], ""), "", 0.0);
    gives("format(completion, style='rec_internvl')", &rec.replace(['{', '}'], ""), "", 1.0);
    gives("format(completion, style='rec')", &rec.replace("1,", "1.5,"), "", 0.0);
}

#[test]
fn words_are_not_products_of_their_letters() {
    gives("math(completion, solution)", "left", "felt", 0.0);
    gives("math(completion, solution)", "Left", "left", 1.0);
    gives("math(completion, solution)", "1/2", "0.5", 1.0);
    gives("math(completion, solution)", r"\frac{1}{2}", "0.5", 1.0);
    gives("math(completion, solution, within='prose')", "so it is $0.5$.", r"$\frac12$", 1.0);
}

#[test]
fn a_judge_nobody_bound_is_an_error_and_not_a_zero() {
    assert!(run("judge(completion, solution)", "a", "b").unwrap_err().to_string().contains("no judge is bound"));
}

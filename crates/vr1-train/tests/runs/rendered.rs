//! Questions that a recipe has drawn as pictures.

use super::*;

/// A step of GRPO on what `train.jsonl` asks, drawn as `settings` say.
fn drawn(settings: &str) -> String {
    let train = format!("{{ kind: rendered, of: {{ kind: jsonl, path: train.jsonl }}, {settings} }}");
    let sampling = "sampling: { max_completion_tokens: 3 }";
    format!("steps: 1\nobjective: {{ kind: grpo, train: {train}, prompts_per_step: 6, group_size: 2, {sampling} }}")
}

/// The prompts of a step.
fn prompts(out: &Path) -> Vec<String> {
    let rows = rows_of(out, 1);
    let rows = rows.lines().map(|row| serde_json::from_str::<serde_json::Value>(row).unwrap());
    rows.map(|row| row["prompt"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_step_is_made_of_questions_that_are_shown_and_of_typed_ones_by_their_share() {
    let dir = folder();
    let look = "lettering: { width: 112, font_size: 10 }";
    let told = |share: f64| {
        let recipe = recipe(dir.path(), &drawn(&format!("share: {share}, question: 'Read it.', {look}")));
        let out = dir.path().join(format!("run-{share}"));
        trainer(&recipe, &out).step().unwrap();
        let prompts = prompts(&out);
        let shown = prompts.iter().filter(|prompt| prompt.contains("<|image_pad|>")).count();
        for prompt in &prompts {
            let reads = prompt.contains("Read it.");
            assert_eq!(
                (reads, !reads),
                (prompt.contains("<|image_pad|>"), prompt.contains("What is number")),
                "{prompt}"
            );
        }
        (shown, prompts.len())
    };
    assert_eq!(told(1.0), (12, 12));
    assert_eq!(told(0.0), (0, 12));
    let (some, all) = told(0.5);
    assert!(some > 0 && some < all, "{some} of {all}");
}

#[test]
fn paths_of_rows_and_typefaces_are_taken_from_the_recipes_folder() {
    let dir = folder();
    std::fs::write(dir.path().join("face.ttf"), "no typeface").unwrap();
    let recipe = recipe(dir.path(), &drawn("lettering: { fonts: [face.ttf] }"));
    for name in ["train.jsonl", "face.ttf"] {
        let near = format!("{:?}", dir.path().join(name));
        assert!(format!("{recipe:?}").contains(&near), "{recipe:?}");
    }
    let error = Trainer::new(recipe, options(&dir.path().join("run"))).err().unwrap().to_string();
    assert!(error.contains(&format!("{}: no typeface in it", dir.path().join("face.ttf").display())), "{error}");
}

#[test]
fn settings_of_drawn_questions_that_cannot_work_are_refused_with_their_place() {
    let dir = folder();
    for (settings, reason) in [
        ("share: 1.5", "`share` is 1.5"),
        ("question: ' '", "`question` is empty"),
        ("lettering: { width: 8 }", "lettering.width"),
        ("lettering: { font: a.ttf }", "objective.train.lettering.font: unknown key, did you mean `fonts`?"),
        ("fonts: [a.ttf]", "objective.train.fonts: unknown key"),
    ] {
        let error = read(dir.path(), &drawn(settings), &[]).unwrap_err().to_string();
        assert!(error.contains("objective") && error.contains(reason), "{settings}: {error}");
    }
}

#[test]
fn other_data_is_drawn_as_the_recipes_own_and_drawn_sets_stay_beside_the_typed_one() {
    let dir = folder();
    questions(dir.path(), "other.jsonl", ["other".to_owned()]);
    let drawn_set =
        "evaluation.sets.drawn={ kind: rendered, of: { kind: jsonl, path: test.jsonl }, question: 'Read it.' }";
    let mut recipe = read(dir.path(), &drawn("share: 0.5"), &[drawn_set]).unwrap();
    recipe.use_data(&dir.path().join("other.jsonl")).unwrap();
    let text = format!("{recipe:?}");
    assert!(text.contains("other.jsonl") && !text.contains("train.jsonl"), "{text}");
    assert!(text.contains("share: 0.5"), "{text}");
    assert_eq!(recipe.evaluation.sets.keys().collect::<Vec<_>>(), ["drawn", "test"]);
    assert!(format!("{:?}", recipe.evaluation.sets["drawn"]).contains("Read it."));
}

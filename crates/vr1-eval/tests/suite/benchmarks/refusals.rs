use vr1_eval::Benchmark;

fn refused(benchmark: &str, file: &str, text: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    image::RgbImage::new(8, 8).save(folder.path().join("a.png")).unwrap();
    let path = folder.path().join(file);
    std::fs::write(&path, text).unwrap();
    let error = Benchmark::named(benchmark).unwrap().open(&path, None).unwrap_err().to_string();
    error.replace(&format!("{}/", folder.path().display()), "")
}

#[test]
fn a_bad_row_is_named_by_its_file_its_place_its_column_and_the_reason() {
    let row = |more: &str| format!("{{\"image_path\": \"a.png\", \"question\": \"How many?\"{more}}}\n");
    let text = row(", \"ground_truth\": 3") + &row(", \"ground_truth\": \"many\"");
    let error = refused("superclevr", "rows.jsonl", &text);
    assert_eq!(error, "rows.jsonl: row 2: ground_truth: \"many\" is no number");
    let error = refused("superclevr", "rows.jsonl", &row(""));
    assert!(
        error.starts_with("rows.jsonl:1: ") && error.contains("ground_truth") && error.contains("question"),
        "{error}"
    );
    let error = refused("superclevr", "rows.jsonl", &row(", \"ground_truth\": 3").replace("a.png", "b.png"));
    assert!(error.starts_with("rows.jsonl:1: image_path: no file ") && error.ends_with("b.png"), "{error}");
    let error = refused("superclevr", "rows.jsonl", "{\"question\":\n");
    assert!(error.starts_with("rows.jsonl:1: not a JSON object: "), "{error}");
}

#[test]
fn an_answer_that_names_no_option_is_refused() {
    let row = r#"{"idx": 1, "prompt": "Which?", "choices": ["a", "b"], "answer": "(C)", "filename": "a.png"}"#;
    assert_eq!(refused("cv-bench", "test.jsonl", row), "test.jsonl: row 1: answer: \"(C)\" names none of 2 options");
}

#[test]
fn annotations_of_what_is_not_there_are_refused() {
    let text = r#"{"categories": [{"id": 0, "name": "car"}], "images": [{"id": 0, "file_name": "a.png", "width": 8, "height": 8}],
        "annotations": [{"id": 0, "image_id": 0, "category_id": 7, "bbox": [0, 0, 1, 1]}, {"id": 1, "image_id": 9, "category_id": 0, "bbox": [0, 0, 1, 1]}]}"#;
    let error = refused("ovdeval", "color.json", text);
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(lines[0], "color.json: annotations[0].category_id: there is no category 7");
    assert_eq!(lines[1], "color.json: annotations[1].image_id: there is no image 9");
}

#[test]
fn a_folder_without_a_benchmarks_files_says_which_are_looked_for() {
    let folder = tempfile::tempdir().unwrap();
    let error = Benchmark::named("geoqa").unwrap().open(folder.path(), None).unwrap_err().to_string();
    assert!(error.contains("geoqa_test_prompts.jsonl"), "{error}");
}

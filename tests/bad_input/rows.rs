//! Rows that cannot be read, or that say another thing than they show.

use super::*;

#[test]
fn a_file_of_rows_is_refused_in_words_that_say_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    image::RgbImage::new(48, 40).save(folder.path().join("a.png")).unwrap();
    let said = |question: &str| {
        serde_json::json!([{"from": "human", "value": question}, {"from": "gpt", "value": "3"}]).to_string()
    };
    let row = |media: &str, question: &str| format!("{{{media} \"conversations\": {}}}\n", said(question));
    let cases: [(&str, Vec<u8>, &[&str]); 9] = [
        (
            "markers",
            row("\"image\": \"a.png\",", "<image><image>q").into(),
            &[":1: images: the row has 1,", "places for 2"],
        ),
        ("key", row("\"image_url\": \"a.png\",", "q").into(), &[":1: image_url: not a key that media are read from"]),
        (
            "address",
            row("\"image\": \"https://example.org/a.png\",", "q").into(),
            &["is an address: nothing is fetched"],
        ),
        ("empty_path", row("\"image\": \"\",", "q").into(), &["image: \"\" is an empty path"]),
        ("layout", "{\"messages\": [], \"images\": []}".into(), &["messages: an empty list"]),
        (
            "system",
            row("", "q").replacen("human", "system", 1).into(),
            &["conversations: an answer without a question"],
        ),
        (
            "long",
            row(&format!("\"image\": {{\"bytes\": \"{}\"}},", "x".repeat(20_000)), "q").into(),
            &["image.bytes: 15000 bytes that do not begin as a picture does"],
        ),
        ("lines", row("", "q").replace(':', ":\n").into(), &[":1: one JSON object over many lines"]),
        ("utf16", row("", "q").encode_utf16().flat_map(u16::to_le_bytes).collect(), &["UTF-16, not UTF-8"]),
    ];
    for (name, content, expected) in cases {
        let rows = written(folder.path(), &format!("{name}.jsonl"), content);
        let recipe =
            RECIPE.replace("kind: scenes, task: spatial, split: train", &format!("kind: jsonl, path: {rows:?}"));
        let recipe = written(folder.path(), "recipe.yaml", recipe);
        let said = train(&recipe, &folder.path().join("run"), &[]);
        says(&said, &[&format!("{name}.jsonl")]);
        says(&said, expected);
        assert!(said.lines().count() == 1 && said.len() < 600, "{said}");
    }
}

#[test]
fn a_file_that_a_recipe_names_by_an_address_is_called_so() {
    let folder = tempfile::tempdir().unwrap();
    let source = "kind: jsonl, path: 'https://example.org/rows.jsonl'";
    let recipe =
        written(folder.path(), "recipe.yaml", RECIPE.replace("kind: scenes, task: spatial, split: train", source));
    says(&train(&recipe, &folder.path().join("run"), &[]), &["https://example.org/rows.jsonl", "is an address"]);
    says(&generate(Path::new(TINY), &["--image", "https://example.org/a.png"]), &["image 0", "is an address"]);
}

#[test]
fn what_systems_leave_in_a_folder_is_no_frame() {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in [("._1.png", "Mac OS X"), (".hidden.jpg", "x"), ("Thumbs.db", "x")] {
        written(folder.path(), name, bytes);
    }
    let asked = ["--video", folder.path().to_str().unwrap()];
    says(&generate(Path::new(TINY), &asked), &["a folder without frames", "do not begin with a dot"]);
    image::RgbImage::new(40, 30).save(folder.path().join("1.png")).unwrap();
    let output = vr1()
        .args(["generate", "--model", TINY, "--prompt", "What?", "--max-new-tokens", "2", "--json"])
        .args(asked)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

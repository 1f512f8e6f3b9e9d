//! A fault in a recipe is reported with its file, line, column, dotted key and reason, wherever it stands.
#![allow(dead_code, reason = "what a recipe says is checked while it is read")]

use std::collections::BTreeMap;

use serde::Deserialize;
use vr1_run::{Document, YamlError, from_str, load};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Recipe {
    seed: u64,
    training: Training,
    #[serde(default)]
    reward: Option<Reward>,
    #[serde(default)]
    data: Vec<Source>,
    #[serde(default)]
    notes: BTreeMap<String, f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Training {
    steps: u64,
    learning_rate: f64,
    #[serde(default)]
    schedule: Option<Schedule>,
    #[serde(default)]
    name: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Schedule {
    Constant,
    Cosine,
}

/// Internally tagged: serde buffers it and forgets where everything stood.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum Reward {
    BoxIou { threshold: f64, box_format: BoxFormat },
    Sum { terms: Vec<Self> },
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum BoxFormat {
    Corners,
    Centre,
}

/// Flattened: buffered too.
#[derive(Debug, Deserialize)]
struct Source {
    path: String,
    #[serde(flatten)]
    filter: Filter,
}

#[derive(Debug, Deserialize)]
struct Filter {
    limit: u32,
    weight: f32,
}

fn complaint(text: &str) -> String {
    from_str::<Recipe>("r.yaml", text, &[]).unwrap_err().to_string()
}

fn complaint_with(text: &str, overrides: &[&str]) -> String {
    let overrides: Vec<String> = overrides.iter().map(|&text| text.to_owned()).collect();
    from_str::<Recipe>("r.yaml", text, &overrides).unwrap_err().to_string()
}

const GOOD: &str = "seed: 1\ntraining:\n  steps: 10\n  learning_rate: 1e-6\n";

#[test]
fn a_sound_recipe_is_read() {
    let recipe: Recipe = from_str("r.yaml", GOOD, &[]).unwrap();
    assert_eq!((recipe.seed, recipe.training.steps, recipe.training.learning_rate), (1, 10, 1e-6));
}

#[test]
fn an_unknown_key_names_its_place_and_the_nearest_right_one() {
    let text = "seed: 1\ntraining:\n  learning_rate: 1\n  stesp: 10\n";
    assert_eq!(complaint(text), "r.yaml:4:3: training.stesp: unknown key, did you mean `steps`?");
    let text = "seed: 1\ntraining: {steps: 10, Learning-Rate: 1}\n";
    assert_eq!(complaint(text), "r.yaml:2:23: training.Learning-Rate: unknown key, did you mean `learning_rate`?");
}

#[test]
fn an_unknown_key_like_no_other_lists_what_there_is() {
    let text = "seed: 1\nzzz: 2\ntraining: {steps: 1, learning_rate: 1}\n";
    assert_eq!(complaint(text), "r.yaml:2:1: zzz: unknown key, expected one of: seed, training, reward, data, notes");
}

#[test]
fn a_key_that_is_no_name_is_placed() {
    let text = "seed: 1\ntraining:\n  steps: 1\n  7: 2\n";
    assert_eq!(complaint(text), "r.yaml:4:3: training.7: a key here is a name");
}

#[test]
fn the_right_one_of_two_equal_keys_is_blamed() {
    // `threshold` is a good key of the reward and a bad one of the training block; `e` also stands in serde's words.
    let text = "seed: 1\nreward: {kind: box_iou, threshold: 1, box_format: centre}\ntraining:\n  threshold: 3\n";
    assert!(complaint(text).starts_with("r.yaml:4:3: training.threshold: unknown key"), "{}", complaint(text));
    let text = "seed: 1\nnotes: {e: 1}\ntraining:\n  e: 3\n";
    assert!(complaint(text).starts_with("r.yaml:4:3: training.e: unknown key"), "{}", complaint(text));
}

#[test]
fn a_wrong_type_says_what_was_expected_and_what_was_found() {
    let text = "seed: 1\ntraining:\n  steps: many\n  learning_rate: 1\n";
    assert_eq!(complaint(text), "r.yaml:3:10: training.steps: expected an integer, 0 or more, found \"many\"");
    let text = "seed: 1\ntraining:\n  steps: 1.5\n  learning_rate: 1\n";
    assert_eq!(complaint(text), "r.yaml:3:10: training.steps: expected an integer, 0 or more, found 1.5");
    let text = "seed: -3\ntraining: {steps: 1, learning_rate: 1}\n";
    assert_eq!(complaint(text), "r.yaml:1:7: seed: expected an integer, 0 or more, found -3");
    let text = "seed: 1\ntraining: {steps: 1, learning_rate: true}\n";
    assert_eq!(complaint(text), "r.yaml:2:37: training.learning_rate: expected a number, found true");
    let text = "seed: 1\ntraining: {steps: 1, learning_rate: [1]}\n";
    assert_eq!(complaint(text), "r.yaml:2:37: training.learning_rate: expected a number, found a list");
    let text = "seed: 1\ntraining: {steps: 1, learning_rate: {a: 1}}\n";
    assert_eq!(complaint(text), "r.yaml:2:37: training.learning_rate: expected a number, found a mapping");
    let text = "seed: 1\ntraining: {steps: 1, learning_rate: 2, name: 7}\n";
    assert_eq!(complaint(text), "r.yaml:2:46: training.name: expected text, found 7");
    let text = "seed: 1\ntraining: {steps: , learning_rate: 2}\n";
    assert!(complaint(text).ends_with("training.steps: expected an integer, 0 or more, found nothing"));
    assert!(complaint(text).starts_with("r.yaml:2:"), "{}", complaint(text));
}

#[test]
fn an_unknown_enum_value_names_the_nearest_right_one() {
    let text = "seed: 1\ntraining:\n  name: cosin\n  steps: 1\n  learning_rate: 1\n  schedule: cosin\n";
    assert_eq!(complaint(text), "r.yaml:6:13: training.schedule: unknown value `cosin`, did you mean `cosine`?");
}

const NESTED: &str = "\
seed: 1
training: {steps: 1, learning_rate: 1}
reward:
  kind: sum
  terms:
    - kind: box_iou
      threshold: 0.5
      box_format: corners
    - kind: box_iou
      threshold: 0.5
      box_format: corners
";

/// `NESTED` with its line `at` exchanged.
fn nested(at: usize, line: &str) -> String {
    let mut lines: Vec<&str> = NESTED.lines().collect();
    lines[at - 1] = line;
    lines.retain(|line| !line.is_empty());
    lines.join("\n")
}

#[test]
fn faults_inside_tagged_enums_keep_their_place() {
    assert!(from_str::<Recipe>("r.yaml", NESTED, &[]).is_ok());
    let cases = [
        (
            nested(10, "      treshold: 0.5"),
            "r.yaml:10:7: reward.terms.1.treshold: unknown key, did you mean `threshold`?",
        ),
        (
            nested(7, "      threshold: half"),
            "r.yaml:7:18: reward.terms.0.threshold: expected a number, found \"half\"",
        ),
        (
            nested(10, "      threshold: [0.5]"),
            "r.yaml:10:18: reward.terms.1.threshold: expected a number, found a list",
        ),
        (
            nested(9, "    - kind: box_iuo"),
            "r.yaml:9:13: reward.terms.1.kind: unknown value `box_iuo`, did you mean `box_iou`?",
        ),
        (
            nested(11, "      box_format: corner"),
            "r.yaml:11:19: reward.terms.1.box_format: unknown value `corner`, did you mean `corners`?",
        ),
        (nested(10, ""), "r.yaml:9:7: reward.terms.1: missing key `threshold`"),
    ];
    for (text, expected) in cases {
        assert_eq!(complaint(&text), expected, "in\n{text}");
    }
}

#[test]
fn faults_inside_flattened_structs_keep_their_place() {
    let head = "seed: 1\ntraining: {steps: 1, learning_rate: 1}\ndata:\n- {path: a, limit: 3, weight: 1}\n";
    let with = |line: &str| complaint(&format!("{head}{line}\n"));
    assert_eq!(
        with("- {path: a, limit: x, weight: 1}"),
        "r.yaml:5:20: data.1.limit: expected an integer, 0 or more, found \"x\""
    );
    assert_eq!(
        with("- {path: a, limit: -3, weight: 1}"),
        "r.yaml:5:20: data.1.limit: expected an integer, 0 or more, found -3"
    );
    assert_eq!(with("- {path: a, weight: 1}"), "r.yaml:5:3: data.1: missing key `limit`");
}

#[test]
fn a_slip_where_unknown_keys_pass_is_seen_by_what_is_missing() {
    let head = "seed: 1\ntraining: {steps: 1, learning_rate: 1}\ndata:\n";
    let with = |line: &str| complaint(&format!("{head}{line}\n"));
    assert_eq!(with("- {path: a, limt: 3, weight: 1}"), "r.yaml:4:13: data.0.limt: unknown key, did you mean `limit`?");
    assert_eq!(with("- {pth: a, limit: 3, weight: 1}"), "r.yaml:4:4: data.0.pth: unknown key, did you mean `path`?");
    // `height` is a key in its own right, however like `weight`.
    #[derive(Debug, Deserialize)]
    struct Body {
        height: Option<f64>,
        weight: f64,
    }
    let said = from_str::<Body>("b.yaml", "height: 1\n", &[]).unwrap_err().to_string();
    assert_eq!(said, "b.yaml:1:1: missing key `weight`");
}

#[test]
fn an_unknown_key_beside_a_flattened_struct_is_placed() {
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Strict {
        path: String,
        #[serde(flatten)]
        filter: Filter,
    }
    let text = "path: a\nlimit: 3\nwieght: 2\nweight: 1\n";
    let said = from_str::<Strict>("s.yaml", text, &[]).unwrap_err().to_string();
    assert_eq!(said, "s.yaml:3:1: wieght: unknown key");
}

#[test]
fn what_fits_no_form_names_the_forms() {
    #[derive(Debug, Deserialize)]
    #[serde(untagged)]
    enum Form {
        Answer { text: String },
        Turns { turns: Vec<String> },
    }
    let said = from_str::<BTreeMap<String, Form>>("f.yaml", "a: {text: b}\nb: {txt: c}\n", &[]).unwrap_err();
    assert_eq!(said.to_string(), "f.yaml:2:4: b: its keys and values fit none of the forms of `Form`");
}

#[test]
fn a_missing_key_names_its_section() {
    assert_eq!(complaint("seed: 1\ntraining:\n  steps: 1\n"), "r.yaml:2:1: training: missing key `learning_rate`");
    assert_eq!(complaint("seed: 1\n"), "r.yaml:1:1: missing key `training`");
    assert_eq!(complaint(""), "r.yaml:1:1: missing key `seed`");
}

#[test]
fn broken_yaml_names_line_and_column_once() {
    let said = complaint("seed: 1\ntraining: {steps: 1\n");
    assert!(said.starts_with("r.yaml:3:1: did not find expected ',' or '}'"), "{said}");
    assert!(complaint("a: 1\n\tb: 2\n").starts_with("r.yaml:2:1: "), "{}", complaint("a: 1\n\tb: 2\n"));
    assert!(complaint("seed: 1\nseed: 2\n").contains("duplicate entry with key \"seed\""));
}

#[test]
fn overrides_exchange_values_add_keys_and_enter_lists() {
    let overrides = ["training.steps=7", "data.0.path=b=c", "training.name='8'", "notes.x=1e-3", "notes.y=2"];
    let text = format!("{GOOD}data:\n- {{path: a, limit: 3, weight: 1}}\n");
    let recipe: Recipe = from_str("r.yaml", &text, &overrides.map(str::to_owned)).unwrap();
    assert_eq!((recipe.training.steps, recipe.data[0].path.as_str()), (7, "b=c"));
    assert_eq!(recipe.training.name.as_deref(), Some("8"));
    assert_eq!(recipe.notes, BTreeMap::from([("x".into(), 1e-3), ("y".into(), 2.0)]));
}

#[test]
fn a_later_override_wins() {
    let overrides = ["seed=2", "seed=3"].map(str::to_owned);
    assert_eq!(from_str::<Recipe>("r.yaml", GOOD, &overrides).unwrap().seed, 3);
}

#[test]
fn a_fault_in_an_override_names_the_override() {
    let cases = [
        ("training.stepz=3", "--set training.stepz=3: training.stepz: unknown key, did you mean `steps`?"),
        ("trainin.steps=3", "--set trainin.steps=3: trainin: unknown key, did you mean `training`?"),
        (
            "training.steps=many",
            "--set training.steps=many: training.steps: expected an integer, 0 or more, found \"many\"",
        ),
        ("training.steps", "--set training.steps: expected key=value"),
        ("=3", "--set =3: `` is no dotted key"),
        ("a..b=3", "--set a..b=3: `a..b` is no dotted key"),
        ("seed.x=3", "--set seed.x=3: `seed` holds a single value, so it has no `x`"),
        (
            "seed=[1",
            "--set seed=[1: the value is not YAML: did not find expected ',' or ']', while parsing a flow sequence",
        ),
    ];
    for (given, expected) in cases {
        assert_eq!(complaint_with(GOOD, &[given]), expected);
    }
    let text = format!("{GOOD}data:\n- {{path: a, limit: 3, weight: 1}}\n");
    let said = complaint_with(&text, &["data.3.path=b"]);
    assert_eq!(said, "--set data.3.path=b: `data` is a list of 1, and `3` is no position in it");
}

#[test]
fn a_fault_beside_an_override_stays_in_the_file() {
    let text = "seed: 1\ntraining:\n  steps: 10\n  learning_rate: fast\n";
    assert!(complaint_with(text, &["training.steps=3"]).starts_with("r.yaml:4:18: training.learning_rate: "));
}

#[test]
fn a_fault_found_later_can_be_placed_too() {
    let document = Document::new("r.yaml", GOOD, &["seed=0".into()]).unwrap();
    let said = |key| document.error(key, "must be odd").to_string();
    assert_eq!(said("training.steps"), "r.yaml:3:10: training.steps: must be odd");
    assert_eq!(said("seed"), "--set seed=0: seed: must be odd");
    assert_eq!(said("training.warmup"), "r.yaml: training.warmup: must be odd");
}

#[test]
fn an_unreadable_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("missing.yaml");
    let error = load::<Recipe>(&path, &[]).unwrap_err();
    assert!(matches!(error, YamlError::Read { .. }));
    assert!(error.to_string().starts_with(&format!("cannot read {}: ", path.display())));
    std::fs::write(&path, [b's', 0xff, 0xfe]).unwrap();
    assert!(load::<Recipe>(&path, &[]).unwrap_err().to_string().contains("UTF-8"));
}

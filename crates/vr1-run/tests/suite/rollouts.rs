//! Rows of rollouts: written, read, and what damage says.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};
use vr1_run::{RunFolder, read_rows, rollout_steps};

fn rows(path: &Path) -> Result<Vec<Value>, vr1_run::RunError> {
    read_rows(path)?.collect()
}

fn written(dir: &Path, count: usize) -> std::path::PathBuf {
    let run = RunFolder::create(&dir.join("run")).unwrap();
    run.write_rollouts(3, (0..count).map(|i| json!({ "completion": format!("number {i}\n of \u{1f600}") }))).unwrap()
}

proptest! {
    #[test]
    fn log_probabilities_come_back_bit_for_bit(bits in proptest::collection::vec(any::<u32>(), 1..50)) {
        let numbers: Vec<f32> = bits.into_iter().map(f32::from_bits).filter(|number| number.is_finite()).collect();
        let dir = tempfile::tempdir().unwrap();
        let run = RunFolder::create(dir.path()).unwrap();
        let path = run.write_rollouts(1, [&numbers]).unwrap();
        let back: Vec<Vec<f32>> = read_rows(&path).unwrap().collect::<Result<_, _>>().unwrap();
        let bits = |numbers: &[f32]| numbers.iter().map(|number| number.to_bits()).collect::<Vec<_>>();
        prop_assert_eq!(bits(&back[0]), bits(&numbers));
    }
}

#[test]
fn a_file_is_lines_of_json_behind_zstd_and_an_uncompressed_one_is_read_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = written(dir.path(), 4);
    assert!(path.ends_with("rollouts/step-3.jsonl.zst"));
    let text = String::from_utf8(zstd::decode_all(fs::File::open(&path).unwrap()).unwrap()).unwrap();
    assert_eq!(text.lines().count(), 4);
    assert_eq!(rows(&path).unwrap()[3]["completion"], "number 3\n of \u{1f600}");
    let older = dir.path().join("run/rollouts/step-1.jsonl");
    fs::write(&older, text).unwrap();
    assert_eq!(rows(&older).unwrap(), rows(&path).unwrap());
    assert_eq!(rollout_steps(&dir.path().join("run")).unwrap(), [(1, older), (3, path)]);
}

#[test]
fn a_cut_and_a_flipped_bit_are_told_with_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = written(dir.path(), 400);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let error = rows(&path).unwrap_err().to_string();
    assert!(error.contains("step-3.jsonl.zst:"), "{error}");
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 4;
    fs::write(&path, flipped).unwrap();
    let error = rows(&path).unwrap_err().to_string();
    assert!(error.contains("step-3.jsonl.zst:"), "{error}");
    fs::write(&path, b"{\"completion\": \"a\"}\n{\"comp").unwrap();
    let error = rows(&path).unwrap_err().to_string();
    assert!(error.contains("step-3.jsonl.zst:2: "), "{error}");
}

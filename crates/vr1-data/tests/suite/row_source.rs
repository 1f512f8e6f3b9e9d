//! Which rows are taken, under which names, and from where.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first thing that is not as it should be")]

use std::collections::BTreeSet;
use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;
use vr1_data::{Portion, RowSource, SampleSet, Side};

/// A hundred rows of two levels, ten pictures and four subjects.
fn rows(dir: &TempDir) {
    let row = |n: usize| {
        let subject = ["algebra", "geometry", "counting", "logic"][n % 4];
        let level = if n % 10 == 9 { Value::Null } else { json!(n % 5) };
        json!({"text": format!("q{n}"), "gold": n, "level": level, "subject": subject, "group": n % 10}).to_string()
    };
    std::fs::write(dir.path().join("rows.jsonl"), (0..100).map(|n| row(n) + "\n").collect::<String>()).unwrap();
}

fn open(dir: &TempDir, more: Value) -> vr1_data::Result<SampleSet> {
    let mut source = json!({"path": dir.path().join("rows.jsonl"), "columns": {"question": "text", "answer": "gold"}});
    source.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    SampleSet::of(&serde_json::from_value(source).unwrap())
}

fn solutions(set: &SampleSet) -> Vec<usize> {
    (0..set.len()).map(|index| set.get(index).unwrap().solution.parse().unwrap()).collect()
}

fn message(dir: &TempDir, more: Value) -> String {
    open(dir, more).unwrap_err().to_string().replace(&format!("{}/", dir.path().display()), "")
}

#[test]
fn a_filter_keeps_the_rows_that_pass_all_its_tests() {
    let dir = TempDir::new().unwrap();
    rows(&dir);
    let kept = |filters: Value| solutions(&open(&dir, json!({"filters": filters})).unwrap());
    let by = |keeps: &dyn Fn(usize) -> bool| (0..100).filter(|n| keeps(*n)).collect::<Vec<_>>();
    let level = |n: usize| (n % 10 != 9).then_some(n % 5);
    assert_eq!(kept(json!([{"column": "level", "is": 2}])), by(&|n| level(n) == Some(2)));
    assert_eq!(kept(json!([{"column": "level", "is": [1.0, null]}])), by(&|n| level(n).is_none_or(|l| l == 1)));
    assert_eq!(kept(json!([{"column": "level", "is_not": [0, 1]}])), by(&|n| level(n).is_none_or(|l| l > 1)));
    assert_eq!(kept(json!([{"column": "level", "min": 1, "max": 2}])), by(&|n| matches!(level(n), Some(1 | 2))));
    assert_eq!(kept(json!([{"column": "subject", "matches": "^(al|lo)g"}])), by(&|n| matches!(n % 4, 0 | 3)));
    assert_eq!(kept(json!([{"column": "subject", "max_length": 7}])), by(&|n| matches!(n % 4, 0 | 3)));
    let two = json!([{"column": "subject", "min_length": 8}, {"column": "gold", "max": 9}]);
    assert_eq!(kept(two), [1, 2, 5, 6, 9]);
}

#[test]
fn the_two_sides_of_a_split_have_every_row_once_and_equal_values_together() {
    let dir = TempDir::new().unwrap();
    rows(&dir);
    for by in [None, Some("group")] {
        let side = |side: &str| {
            let split = match by {
                None => json!({"side": side, "train_share": 0.7}),
                Some(by) => json!({"side": side, "train_share": 0.7, "by": by}),
            };
            solutions(&open(&dir, json!({"split": split})).unwrap())
        };
        let (train, test) = (side("train"), side("test"));
        let all: BTreeSet<_> = train.iter().chain(&test).copied().collect();
        assert_eq!((all.len(), train.len() + test.len()), (100, 100));
        assert!((50..90).contains(&train.len()), "{} of 100 rows, of which 70 are asked for", train.len());
        if by.is_some() {
            let groups = |rows: &[usize]| rows.iter().map(|n| n % 10).collect::<BTreeSet<_>>();
            assert!(groups(&train).is_disjoint(&groups(&test)));
        }
    }
}

#[test]
fn a_side_is_the_same_for_ever() {
    let portion = Portion { side: Side::Train, train_share: 0.5, by: None };
    let held: String = ('a'..='z').map(|c| if portion.holds(&c.to_string()) { c } else { '.' }).collect();
    assert_eq!(held, SIDES);
}

/// As `generate.py` computes them.
const SIDES: &str = include_str!("../fixtures/published/sides.txt");

#[test]
fn of_what_is_left_the_first_the_last_or_some_are_taken() {
    let dir = TempDir::new().unwrap();
    rows(&dir);
    let taken = |take: &str| {
        let filters = json!([{"column": "level", "is": 0}]); // 0, 5, 10, … 95
        solutions(&open(&dir, json!({"take": take, "filters": filters})).unwrap())
    };
    assert_eq!(taken("first:3"), [0, 5, 10]);
    assert_eq!(taken("end:2"), [90, 95]);
    assert_eq!(taken("first:11%"), [0, 5, 10]);
    assert_eq!((taken("all").len(), taken("random:50%").len(), taken("first:1000").len()), (20, 10, 20));
    assert_eq!(taken("random:5"), taken("random:5"));
    assert_ne!(taken("random:5"), taken("first:5"));
}

#[test]
fn a_mistake_in_a_source_names_itself() {
    let dir = TempDir::new().unwrap();
    rows(&dir);
    let filter = |filter: Value| message(&dir, json!({"filters": [filter]}));
    assert_eq!(
        filter(json!({"column": "levle", "is": 1})),
        "rows.jsonl: filters, split: no row has the column \"levle\"; the keys are text, gold, level, subject, group"
    );
    assert_eq!(
        filter(json!({"column": "level"})),
        "filters[0].column: \"level\" without a test; add is, is_not, matches, min_length, max_length, min or max"
    );
    assert!(filter(json!({"column": "level", "matches": "("})).starts_with("filters[0].matches: regex parse error"));
    assert_eq!(
        filter(json!({"column": "level", "is": 77})),
        "rows.jsonl: no rows: filters, split and take leave none of 100"
    );
    assert_eq!(
        message(&dir, json!({"split": {"side": "test", "train_share": 1.0}})),
        "split.train_share: 1, should be above 0 and below 1"
    );
    let columns = message(&dir, json!({"columns": {"question": "problem", "answer": "gold"}}));
    assert!(
        columns.starts_with("rows.jsonl:1: columns.question: the row has no \"problem\"; it has the keys text, gold,"),
        "{columns}"
    );
    let take =
        |take: &str| serde_json::from_value::<RowSource>(json!({"path": "a", "take": take})).unwrap_err().to_string();
    for wrong in ["some", "first", "first:-1", "first:101%", "last:3"] {
        assert_eq!(
            take(wrong),
            format!("{wrong:?}, should be all, first:N, end:N or random:N, N a number of rows or a share as 5%")
        );
    }
    let wrong = serde_json::from_value::<RowSource>(json!({"path": "a", "filter": []})).unwrap_err().to_string();
    assert!(wrong.starts_with("unknown field `filter`, expected one of `path`, `files`"), "{wrong}");
}

#[test]
fn a_column_goes_by_its_new_name_alone() {
    let dir = TempDir::new().unwrap();
    rows(&dir);
    let sample = open(&dir, json!({"columns": {"question": "text", "answer": "gold", "topic": "subject", "tags": ["subject", "level", "none"]}}))
        .unwrap()
        .get(9)
        .unwrap();
    assert_eq!(json!(sample.fields), json!({"group": 9, "tags": ["geometry"], "topic": "geometry"}));
}

#[test]
fn rows_of_many_files_are_one_set_and_a_bad_one_is_named_by_its_own() {
    let dir = TempDir::new().unwrap();
    for (name, row) in
        [("b/2.jsonl", r#"{"question": "2", "answer": 2}"#), ("a/1.jsonl", r#"{"question": "1", "answer": 1}"#)]
    {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, row).unwrap();
    }
    let set = SampleSet::of(&RowSource::all(dir.path())).unwrap();
    assert_eq!(solutions(&set), [1, 2]);
    std::fs::write(dir.path().join("b/2.jsonl"), "{\"question\": \"2\"}\n").unwrap();
    std::fs::write(dir.path().join("a/1.jsonl"), "no\n").unwrap();
    let error = SampleSet::of(&RowSource::all(dir.path())).unwrap_err().to_string();
    let lines: Vec<_> = error.lines().collect();
    assert!(lines.len() == 2 && lines[0].contains("a/1.jsonl:1: not a JSON object"), "{error}");
    assert!(lines[1].contains("b/2.jsonl:1: question: without an answer"), "{error}");
}

#[test]
fn pictures_in_base64_that_are_none_say_so() {
    let dir = TempDir::new().unwrap();
    let said = |image: Value| {
        let row = json!({"question": "q", "answer": "a", "image": image}).to_string();
        std::fs::write(dir.path().join("rows.jsonl"), row).unwrap();
        let read = SampleSet::open(dir.path().join("rows.jsonl"), dir.path());
        read.map_or_else(
            |e| e.to_string().replace(&format!("{}/", dir.path().display()), ""),
            |set| set.len().to_string(),
        )
    };
    assert_eq!(
        said(json!("data:image/png;base64,Y2F0")),
        "rows.jsonl:1: image: 3 bytes that do not begin as a picture does"
    );
    assert_eq!(said(json!("data:image/png,cat")), "rows.jsonl:1: image: a data URI that is not in base64");
    assert_eq!(said(json!({"bytes": "c a t!"})), "rows.jsonl:1: image.bytes: not base64: Invalid symbol 33, offset 3.");
    assert_eq!(said(json!({"bytes": null, "path": null})), "rows.jsonl:1: image: neither bytes nor path");
    assert_eq!(said(json!("/9j/4AAQ")), "rows.jsonl:1: image: no file /9j/4AAQ");
}

#[test]
fn what_would_be_lost_is_refused() {
    let dir = TempDir::new().unwrap();
    let said = |more: &str| {
        let row = format!(
            r#"{{"messages": [{{"role": "user", "content": "q"}}, {{"role": "assistant", "content": "a"}}], {more}}}"#
        );
        std::fs::write(dir.path().join("rows.jsonl"), row).unwrap();
        let read = SampleSet::open(dir.path().join("rows.jsonl"), dir.path());
        read.map_or_else(
            |e| e.to_string().replace(&format!("{}/", dir.path().display()), ""),
            |set| set.len().to_string(),
        )
    };
    assert!(
        said(r#""tools": [{"name": "zoom"}]"#).starts_with("rows.jsonl:1: tools: descriptions of tools are not read")
    );
    assert!(said(r#""audios": ["a.wav"]"#).starts_with("rows.jsonl:1: audios: sounds are not read"));
    assert_eq!(said(r#""tools": "", "audios": []"#), "1");
}

#[cfg(feature = "hub")]
mod hub {
    use super::*;
    use vr1_data::{Hub, Network};

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    /// A cached data set with these files, each a link into `blobs/` as the clients make them.
    fn cached(cache: &Path, files: &[&str]) -> Hub {
        let folder = cache.join("datasets--owner--set");
        let snapshot = folder.join("snapshots").join(COMMIT);
        for sub in ["refs", "blobs"] {
            std::fs::create_dir_all(folder.join(sub)).unwrap();
        }
        std::fs::create_dir_all(snapshot.join("data")).unwrap();
        std::fs::write(folder.join("refs/main"), COMMIT).unwrap();
        for (number, name) in files.iter().enumerate() {
            let row = format!("{{\"question\": \"{name}\", \"answer\": {number}}}");
            std::fs::write(folder.join(format!("blobs/{number}")), row).unwrap();
            let blob = Path::new("../../../blobs").join(number.to_string());
            std::os::unix::fs::symlink(blob, snapshot.join("data").join(name)).unwrap();
        }
        // Port 9 discards: nothing answers there.
        let endpoint = Some("http://127.0.0.1:9".to_owned());
        Hub { cache: cache.to_owned(), network: Network::Offline, endpoint, token: None }
    }

    #[test]
    fn a_data_set_of_the_hub_is_its_snapshot_in_the_cache() {
        let cache = TempDir::new().unwrap();
        let hub = cached(cache.path(), &["train-00000-of-00001.jsonl", "test-00000-of-00001.jsonl"]);
        let source = RowSource { files: Some("data/test-*".to_owned()), ..RowSource::all("owner/set") };
        for network in [Network::Offline, Network::Allowed] {
            let found = source.resolve_from(&Hub { network, ..hub.clone() }).unwrap();
            let set = SampleSet::of(&found).unwrap();
            assert_eq!((set.len(), set.get(0).unwrap().question.as_str()), (1, "test-00000-of-00001.jsonl"));
        }
        let source = RowSource { path: format!("owner/set@{COMMIT}").into(), ..source };
        assert!(source.resolve_from(&hub).unwrap().path.ends_with(COMMIT));
    }

    #[test]
    fn what_the_cache_lacks_of_a_data_set_is_named() {
        let cache = TempDir::new().unwrap();
        let hub = cached(cache.path(), &["train-00000-of-00002.jsonl"]);
        let said = |path: &str| RowSource::all(path).resolve_from(&hub).unwrap_err().to_string();
        let lacking = said("owner/set");
        assert!(
            lacking.ends_with(
                "lacks its rows: data/train-00001-of-00002.jsonl is missing, and HF_HUB_OFFLINE forbids fetching it"
            ),
            "{lacking}"
        );
        assert!(said("owner/other").starts_with("owner/other: nothing of it in the cache ("));
        let file = RowSource::all("no/such.jsonl");
        assert_eq!(file.resolve_from(&hub).unwrap(), file);
    }
}

proptest! {
    #[test]
    fn any_take_is_read_as_it_is_written(rows: usize, percent in 0u32..=100, how in 0usize..3) {
        for amount in [rows.to_string(), format!("{percent}%")] {
            let text = format!("{}:{amount}", ["first", "end", "random"][how]);
            prop_assert_eq!(text.parse::<vr1_data::Take>().unwrap().to_string(), text);
        }
    }
}
